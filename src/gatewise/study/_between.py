"""What a part's record knows between any two of its arms on one metric: one entry per condition and runtime."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from gatewise.core import METRICS, Comparison, Evidence, Judgeable, Rule

from ._cells import STEP_CELL, TRAIN, Cell, RunArm, cells, forward_cells
from ._effects import Effects, items, seeds, stepped, timed, training_memory_key, weighed
from ._evidence import guard_refusal, twin_comparisons
from ._plan import LEARNT
from ._questions import memory_key, questions, time_to_target
from ._record import Record


@dataclass(frozen=True, kw_only=True)
class Between:
    """What is known of `arm` against `than` under one condition, on one runtime.

    Attributes:
        effects: by process, seed or item, on the rule's scale; empty with a `refusal`.
        evidence: what is judged, unless there is a refusal.
        refusal: why there is nothing to judge: not measured, a run that failed, a twin that is not equivalent.
        guard: the cell whose twin guards it, empty where there is none.
        notes: what must be said beside the verdict, such as unmatched parameters.
        implementation: what ran for `arm`, in words.
    """

    part: str
    metric: str
    arm: str
    than: str
    runtime: str
    conditions: Mapping[str, Any]
    rule: Rule
    effects: Effects
    evidence: Judgeable | None
    refusal: str | None
    guard: str
    notes: tuple[str, ...]
    implementation: str | None


def between(record: Record, metric: str, arm: str, than: str, *, margin: float | None = None) -> list[Between]:
    """Everything a part's record holds of `arm` against `than` (labels of the plan) on a metric.

    `margin` replaces the plan's. `cost` is read from latency: at one price and utilisation their ratios are the same.
    A part that does not measure the metric gives an empty list.
    """
    facts = METRICS[metric]
    chosen = record.part.judge.margin_of(metric) if margin is None else margin
    rule = Rule(kind=facts.kind, direction=facts.direction, margin=chosen)
    guards = twin_comparisons(questions(record), record.part.judge)
    return [
        _entry(record, metric, pair, rule, where, guards)
        for pair in _pairs(record, metric, arm, than)
        for where in _conditions(record, metric)
    ]


Where = tuple[Cell | None, str]
"""A cell, or None where there is none, and the guard: the name under which its twin was judged."""


def _pairs(record: Record, metric: str, arm: str, than: str) -> Iterator[tuple[RunArm, RunArm]]:
    """Run arms of the two labels, each on the same runtime; metrics that know no runtime come once."""
    mine = [run for run in record.arms if run.arm == arm]
    others = [run for run in record.arms if run.arm == than]
    pairs = [(one, other) for one in mine for other in others if one.runtime == other.runtime]
    by_runtime = METRICS[metric].evidence == "process" and metric not in ("step_time", "training_memory")
    yield from pairs if by_runtime else pairs[:1]


def _conditions(record: Record, metric: str) -> Iterator[Where]:
    measured, trained = record.part.measure, record.part.train
    timed_as = "latency" if metric == "cost" else metric
    if measured and timed_as in measured.metrics:
        if timed_as == "peak_memory":
            yield from ((cell, f"peak_memory {cell.id}") for cell in forward_cells(measured))
        elif METRICS[metric].evidence == "process":
            yield from ((cell, f"{timed_as} {cell.id}") for cell in cells(measured) if cell.times(timed_as))
        else:
            yield None, ""
    if trained and metric in trained.metrics:
        yield None, "step_time" if metric == "time_to_target" else metric


def _entry(
    record: Record, metric: str, pair: tuple[RunArm, RunArm], rule: Rule, where: Where, guards: Mapping[str, Comparison]
) -> Between:
    (arm, than), (cell, guard) = pair, where
    effects, evidence = _known(record, metric, arm, than, rule, cell)
    refusal = effects.refusal
    if refusal is None and guard:
        refusal = guard_refusal(guards.get(guard))
    facts = record.prepared.get("arms", {})
    unfair = [facts.get(run.arm, {}).get("unfair") for run in (arm, than)]
    return Between(
        part=record.part.name,
        metric=metric,
        arm=arm.label if cell else arm.arm,
        than=than.label if cell else than.arm,
        runtime=arm.runtime,
        conditions=_shown(record, metric, cell),
        rule=rule,
        effects=effects,
        evidence=evidence,
        refusal=refusal,
        guard=guard,
        notes=tuple(note for note in unfair if note),
        implementation=_implementation(record, arm, cell, metric),
    )


def _known(
    record: Record, metric: str, arm: RunArm, than: RunArm, rule: Rule, cell: Cell | None
) -> tuple[Effects, Judgeable | None]:
    if metric == "time_to_target":
        both, refusal = time_to_target(record, arm.arm, than.arm, rule)
        return Effects(refusal=refusal), both
    if cell is not None and metric == "peak_memory":
        effects = weighed(record, memory_key(cell), arm.label, than.label, rule)
    elif cell is not None:
        effects = timed(record, cell, arm.label, than.label, rule)
    elif metric == "step_time":
        effects = stepped(record, arm.arm, than.arm, rule)
    elif metric == "training_memory":
        effects = weighed(record, training_memory_key, arm.arm, than.arm, rule)
    elif metric in LEARNT:
        effects = seeds(record, metric, arm.arm, than.arm, rule)
    else:
        effects = items(record, metric, arm.arm, than.arm)
    return effects, Evidence(effects=effects.in_order, rule=rule, method=effects.method)


def _shown(record: Record, metric: str, cell: Cell | None) -> dict[str, Any]:
    if cell is not None:
        return cell.conditions
    if metric in LEARNT:
        steps = {row["steps"] for key, rows in record.rows.items() if key.startswith(TRAIN) for _, row in rows}
        return {"steps": max(steps)} if steps else {}
    return {"threads": 1, "device": "cpu"} if METRICS[metric].evidence == "process" else {}


def _implementation(record: Record, arm: RunArm, cell: Cell | None, metric: str) -> str | None:
    """What ran, from the record where it says so and from the preparation otherwise."""
    rows = record.numbered(cell.id) if cell else record.numbered(STEP_CELL) if metric == "step_time" else []
    for _, row in rows:
        found = row.get("implementations", {}).get(arm.label)
        if found:
            return str(found)
    return record.prepared.get("arms", {}).get(arm.arm, {}).get("implementation")
