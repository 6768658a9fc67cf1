"""What a part asks, from what the store holds: one question per arm, metric and condition, and the twins as guards."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gatewise.core import Evidence, Product, Store

from ._cells import MEMORY, STEP_CELL, TRAIN, Cell, RunArm, cells, groups, run_arms
from ._evidence import Judged, Question, judge_all, rule_of, timing_evidence
from ._plan import TIMED, Part


@dataclass(frozen=True, kw_only=True)
class Record:
    """Everything stored about a part: its preparation, and the finished cells by id in order of process."""

    part: Part
    prepared: dict[str, Any]
    rows: dict[str, list[tuple[int, dict[str, Any]]]]

    @property
    def arms(self) -> list[RunArm]:
        """The arms that run, baseline first."""
        facts = self.prepared.get("arms", {})
        return run_arms(self.part, {label: facts[label].get("folder", "") for label in facts})

    def processes(self, cell: str) -> list[dict[str, Any]]:
        """The records of one cell, of all its groups."""
        return [
            record
            for key, rows in self.rows.items()
            if key == cell or key.startswith(cell + " group=")
            for _, record in rows
        ]

    def next_process(self, cell: str) -> int:
        """The number of the first process of a cell that is not stored yet."""
        rows = self.rows.get(cell, [])
        return rows[-1][0] + 1 if rows else 0


def read_record(store: Store, part: Part) -> Record:
    """What the store holds of a part."""
    rows: dict[str, list[tuple[int, dict[str, Any]]]] = {}
    for cell, process, record in store.cells(part.name):
        rows.setdefault(cell, []).append((process, record))
    return Record(part=part, prepared=store.get(f"prepared:{part.name}") or {}, rows=rows)


def _timed(record: Record, cell: Cell) -> Iterator[Question]:
    part = record.part
    arms = record.arms
    found = record.processes(cell.id)
    if part.measure is None:
        return
    for name in (metric for metric in part.measure.metrics if metric in TIMED):
        rule = rule_of(name, part.judge)
        for arm in (*groups(arms, together=True)[0][1:],):
            evidence = timing_evidence(found, arms[0].label, arm.label, rule)
            notes = _notes(record, arm)
            yield Question(
                metric=name,
                arm=arm.label,
                baseline=arms[0].label,
                conditions=cell.conditions,
                evidence=evidence,
                twin=arm.twin,
                guard=f"{name} {cell.id}",
                notes=notes,
            )


def _notes(record: Record, arm: RunArm) -> tuple[str, ...]:
    facts = record.prepared.get("arms", {}).get(arm.arm, {})
    unfair = facts.get("unfair")
    planted = f"planted slowdown of {arm.slowdown:.1%}" if arm.slowdown else None
    return tuple(note for note in (unfair, planted) if note)


def _memory(record: Record, cell: Cell) -> Iterator[Question]:
    part, arms = record.part, record.arms
    if part.measure is None or "peak_memory" not in part.measure.metrics:
        return
    rule = rule_of("peak_memory", part.judge)

    def values(arm: RunArm) -> dict[int, float]:
        rows = record.rows.get(f"{MEMORY}{arm.label}|{cell.id}", [])
        return {process: row["value"] for process, row in rows}

    baseline = values(arms[0])
    for arm in groups(arms, together=True)[0][1:]:
        mine = values(arm)
        shared = sorted(baseline.keys() & mine.keys())
        yield Question(
            metric="peak_memory",
            arm=arm.label,
            baseline=arms[0].label,
            conditions=cell.conditions,
            evidence=Evidence(
                effects=tuple(rule.effect(baseline[p], mine[p]) for p in shared), rule=rule, method="median"
            ),
            refusal=None if shared else "it was not measured",
            twin=arm.twin,
            guard=f"peak_memory {cell.id}",
            notes=_notes(record, arm),
        )


def _items(record: Record, metric: str, key: str) -> Iterator[Question]:
    """Output difference and quality: one value per data item, from the preparation."""
    part = record.part
    if part.measure is None or metric not in part.measure.metrics:
        return
    rule = rule_of(metric, part.judge)
    found: dict[str, dict[str, Any]] = record.prepared.get(key, {})
    labels = {run.arm: run.label for run in reversed(record.arms)}  # outputs are taken on an arm's first runtime
    for arm in part.arms:
        if arm.label == part.baseline or arm.label not in found:
            continue
        entry, base = found[arm.label], found.get(part.baseline, {})
        refusal = entry.get("reason") or (base.get("reason") if key == "quality" else None)
        effects: tuple[float, ...] = ()
        if refusal is None:
            values = entry["values"]
            zeros = base["values"] if key == "quality" else [0.0] * len(values)
            effects = tuple(value - zero for value, zero in zip(values, zeros, strict=True))
            if not any(effects):
                continue  # equal on every item: an exact count, stated with the arm and not judged
        yield Question(
            metric=metric,
            arm=labels[arm.label],
            baseline=labels[part.baseline],
            conditions={"items": len(effects) or None},
            evidence=None if refusal else Evidence(effects=effects, rule=rule, method="mean"),
            refusal=refusal,
        )


def reached(record: Record, label: str) -> dict[int, float | None]:
    """After how many steps each seed of an arm reached the target that the baseline's own curve sets."""
    from gatewise import train

    base = dict(record.rows.get(TRAIN + record.part.baseline, []))
    return {
        seed: train.steps_to_target(row["curve"], train.target_of(base[seed]["curve"]))
        for seed, row in record.rows.get(TRAIN + label, [])
        if seed in base and not row["failure"] and not base[seed]["failure"]
    }


def _seed_evidence(record: Record, label: str, metric: str) -> tuple[Evidence | None, str | None]:
    """Paired seeds of one arm against the baseline, on a value that each run ends with; or why there are none."""
    part = record.part
    rule = rule_of(metric, part.judge)
    base = dict(record.rows.get(TRAIN + part.baseline, []))
    mine = dict(record.rows.get(TRAIN + label, []))
    shared = sorted(base.keys() & mine.keys())
    if not shared:
        return None, "it was not trained"
    for name, runs in ((part.baseline, base), (label, mine)):
        failures = [runs[seed]["failure"] for seed in shared if runs[seed]["failure"]]
        if failures:
            return None, f"{name}: {failures[0]} ({len(failures)} of {len(shared)} seeds)"
    if metric == "heldout_loss":
        pairs = [(base[seed]["final_loss"], mine[seed]["final_loss"]) for seed in shared]
    else:
        baseline, arm = reached(record, part.baseline), reached(record, label)
        pairs = [(baseline[seed], arm[seed]) for seed in shared]
    missing = sum(None in pair for pair in pairs)
    if missing:
        return None, f"{label} did not reach the target in {missing} of {len(shared)} seeds"
    effects = tuple(rule.effect(b, a) for b, a in pairs if b is not None and a is not None)
    return Evidence(effects=effects, rule=rule, method="mean"), None


def _trained(record: Record) -> Iterator[Question]:
    part = record.part
    if part.train is None:
        return
    steps = record.processes(STEP_CELL)
    arms = [arm for arm in record.arms if arm.arm != part.baseline]
    twin = groups(record.arms, together=True)[0][1]
    steps_done = {row["steps"] for key, rows in record.rows.items() if key.startswith(TRAIN) for _, row in rows}
    conditions = {"steps": max(steps_done)} if steps_done else {}
    step_rule = rule_of("step_time", part.judge)
    for arm in (twin, *arms):
        ask = partial(
            Question, arm=arm.label, baseline=part.baseline, twin=arm.twin, notes=_notes(record, arm), guard=""
        )
        speed = timing_evidence(steps, part.baseline, arm.label, step_rule)
        if speed.effects or not arm.twin:
            refusal = None if speed.effects else "it was not measured"
            alone = {"threads": 1, "device": "cpu"}
            yield ask(metric="step_time", conditions=alone, evidence=speed, refusal=refusal, guard="step_time")
        if arm.twin:
            continue
        loss, loss_reason = _seed_evidence(record, arm.label, "heldout_loss")
        yield ask(metric="heldout_loss", conditions=conditions, evidence=loss, refusal=loss_reason)
        reach, reason = _seed_evidence(record, arm.label, "steps_to_target")
        yield ask(metric="steps_to_target", conditions=conditions, evidence=reach, refusal=reason)
        rule = rule_of("time_to_target", part.judge)
        both = Product(first=reach, second=speed, rule=rule) if reach and speed.effects else None
        refusal = None if both else reason or "the step time was not measured"
        yield ask(metric="time_to_target", conditions=conditions, evidence=both, refusal=refusal, guard="step_time")


def questions(record: Record) -> list[Question]:
    """Everything a part asks, in the order of the report."""
    found: list[Question] = []
    if record.part.measure is not None:
        for cell in cells(record.part.measure):
            found += _timed(record, cell)
        for cell in cells(record.part.measure):
            found += _memory(record, cell)
        found += _items(record, "output_difference", "outputs")
        found += _items(record, "quality", "quality")
    found += _trained(record)
    return found


def judged(record: Record) -> list[Judged]:
    """Everything a part asks, answered as the record stands."""
    return judge_all(questions(record), record.part.judge)


def unsettled(answers: Sequence[Judged], metric_names: Sequence[str]) -> set[str]:
    """The guards (cells) in which some timed comparison, or the twin, is still open."""
    return {
        answer.question.guard
        for answer in answers
        if answer.question.metric in metric_names and answer.comparison.verdict == "inconclusive"
    }


def overhead_share(record: Record) -> float | None:
    """The timing loop's own cost as a share of the shortest median call that it timed."""
    shares = [
        row["overhead_s"] / sorted(values)[len(values) // 2]
        for rows in record.rows.values()
        for _, row in rows
        if "overhead_s" in row
        for values in row["values"].values()
        if values
    ]
    return max(shares) if shares and all(math.isfinite(share) for share in shares) else None
