"""What a part asks, from what the store holds: one question per arm, metric and condition, and the twins as guards."""

import math
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from gatewise.core import Evidence, Product, Rule

from ._cells import MEMORY, TRAIN, Cell, RunArm, cells, forward_cells, groups
from ._effects import NOT_MEASURED, items, seeds, stepped, timed, training_memory_key, weighed
from ._evidence import Judged, Question, judge_all, rule_of
from ._plan import LEARNT
from ._record import Record


def _timed(record: Record, cell: Cell) -> Iterator[Question]:
    part, arms = record.part, record.arms
    if part.measure is None:
        return
    for name in (metric for metric in part.measure.metrics if cell.times(metric)):
        rule = rule_of(name, part.judge)
        for arm in groups(arms, together=True)[0][1:]:
            found = timed(record, cell, arm.label, arms[0].label, rule)
            yield Question(
                metric=name,
                arm=arm.label,
                baseline=arms[0].label,
                conditions=cell.conditions,
                evidence=Evidence(effects=found.in_order, rule=rule, method="median"),
                twin=arm.twin,
                guard=f"{name} {cell.id}",
                notes=_notes(record, arm),
            )


def _notes(record: Record, arm: RunArm) -> tuple[str, ...]:
    facts = record.prepared.get("arms", {}).get(arm.arm, {})
    unfair = facts.get("unfair")
    planted = f"planted slowdown of {arm.slowdown:.1%}" if arm.slowdown else None
    return tuple(note for note in (unfair, planted) if note)


def memory_key(cell: Cell) -> Callable[[str], str]:
    """Where the store keeps the peak memory of an arm under a condition."""
    return lambda label: f"{MEMORY}{label}|{cell.id}"


def _memory(record: Record, cell: Cell) -> Iterator[Question]:
    part = record.part
    if part.measure and "peak_memory" in part.measure.metrics:
        yield from _weighed(record, "peak_memory", memory_key(cell), cell.conditions, f"peak_memory {cell.id}")


def _weighed(
    record: Record, metric: str, key: Callable[[str], str], conditions: dict[str, Any], guard: str
) -> Iterator[Question]:
    arms = record.arms
    rule = rule_of(metric, record.part.judge)
    for arm in groups(arms, together=True)[0][1:]:
        found = weighed(record, key, arm.label, arms[0].label, rule)
        yield Question(
            metric=metric,
            arm=arm.label,
            baseline=arms[0].label,
            conditions=conditions,
            evidence=Evidence(effects=found.in_order, rule=rule, method="median"),
            refusal=found.refusal,
            twin=arm.twin,
            guard=guard,
            notes=_notes(record, arm),
        )


def _items(record: Record, metric: str) -> Iterator[Question]:
    """Output difference, quality and repeated calls: one value per data item, from the preparation."""
    part = record.part
    if part.measure is None or metric not in part.measure.metrics:
        return
    rule = rule_of(metric, part.judge)
    baseline, *others = record.arms
    for run in others:
        found = items(record, metric, run.label, baseline.label)
        if found.refusal == NOT_MEASURED:
            continue
        if found.refusal is None and not any(found.in_order) and metric == "output_difference":
            continue  # equal on every item: an exact count, stated with the arm and not judged
        yield Question(
            metric=metric,
            arm=run.label,
            baseline=baseline.label,
            conditions={"items": len(found.values) or None},
            evidence=None if found.refusal else Evidence(effects=found.in_order, rule=rule, method=found.method),
            refusal=found.refusal,
        )


def _trained(record: Record) -> Iterator[Question]:
    part = record.part
    if part.train is None:
        return
    arms = [arm for arm in record.arms if arm.arm != part.baseline]
    steps_done = {row["steps"] for key, rows in record.rows.items() if key.startswith(TRAIN) for _, row in rows}
    at_time = part.train.compare_at == "time"  # then each arm has steps of its own
    conditions = {"steps": max(steps_done)} if steps_done and not at_time else {}
    schedules: dict[str, Any] = record.prepared.get("training", {}).get("equal_schedule", {})
    if part.train.steps_timed:
        yield from _step_times(record)
    if "training_memory" in part.train.metrics:
        alone = {"threads": 1, "device": "cpu"}
        yield from _weighed(record, "training_memory", training_memory_key, alone, "training_memory")
    for arm in arms:
        notes = (*_notes(record, arm), *([schedules[arm.arm]["note"]] if arm.arm in schedules else []))
        ask = partial(Question, arm=arm.label, baseline=part.baseline, conditions=conditions, notes=notes)
        for name in (metric for metric in part.train.metrics if metric in LEARNT and metric != "time_to_target"):
            rule = rule_of(name, part.judge)
            found = seeds(record, name, arm.label, part.baseline, rule)
            evidence = None if found.refusal else Evidence(effects=found.in_order, rule=rule, method="mean")
            yield ask(metric=name, evidence=evidence, refusal=found.refusal)
        if "time_to_target" in part.train.metrics:
            both, refusal = time_to_target(record, arm.label, part.baseline, rule_of("time_to_target", part.judge))
            yield ask(metric="time_to_target", evidence=both, refusal=refusal, guard="step_time")


def _step_times(record: Record) -> Iterator[Question]:
    part = record.part
    rule = rule_of("step_time", part.judge)
    for arm in groups(record.arms, together=True)[0][1:]:
        found = stepped(record, arm.label, part.baseline, rule)
        if arm.twin and found.refusal:
            continue
        yield Question(
            metric="step_time",
            arm=arm.label,
            baseline=part.baseline,
            twin=arm.twin,
            conditions={"threads": 1, "device": "cpu"},
            evidence=Evidence(effects=found.in_order, rule=rule, method="median"),
            refusal=found.refusal,
            guard="step_time",
            notes=_notes(record, arm),
        )


def time_to_target(record: Record, arm: str, than: str, rule: Rule) -> tuple[Product | None, str | None]:
    """Steps to the target times the time of a step, with both uncertainties; or why there is none."""
    steps_rule, step_rule = rule_of("steps_to_target", record.part.judge), rule_of("step_time", record.part.judge)
    reach = seeds(record, "steps_to_target", arm, than, steps_rule)
    speed = stepped(record, arm, than, step_rule)
    if reach.refusal or speed.refusal:
        return None, reach.refusal or "the step time was not measured"
    first = Evidence(effects=reach.in_order, rule=steps_rule, method="mean")
    second = Evidence(effects=speed.in_order, rule=step_rule, method="median")
    return Product(first=first, second=second, rule=rule), None


def questions(record: Record) -> list[Question]:
    """Everything a part asks, in the order of the report."""
    found: list[Question] = []
    if record.part.measure is not None:
        for cell in cells(record.part.measure):
            found += _timed(record, cell)
        for cell in forward_cells(record.part.measure):
            found += _memory(record, cell)
        for metric in ("output_difference", "quality", "repeat_difference"):
            found += _items(record, metric)
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
