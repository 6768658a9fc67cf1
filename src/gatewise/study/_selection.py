"""Which arm on which runtime to take, when time, quality, memory and size all count: a condition's Pareto front."""

from collections.abc import Iterator, Sequence
from typing import Any

from gatewise.core import METRICS
from gatewise.scenarios import Choice, Objective, Point, Value, select

from ._cells import cells
from ._evidence import Judged
from ._record import Record

RATIOS = ("latency", "peak_memory")
GIVEN = ("quality", "output_difference")
"""What says whether the model still does its work: quality where there is a target, else how far outputs move."""

FEWEST = 3
UNKNOWN = "whether it still does its work was not measured"
UNJUDGED = "no clear winner: whether the model still does its work was not measured (quality, or output_difference)"


def selections(record: Record, found: Sequence[Judged]) -> Iterator[dict[str, Any]]:
    """One entry per timed condition of a part with three or more points.

    A point is an arm on a runtime. Its values stand against the baseline's: ratios of time, peak memory and size, and
    differences of quality or outputs, each with the interval of its comparison. A point without a time is left out; an
    objective that some point has no value for is left out for all; an arm of which nobody knows whether it still does
    its work is shown and never recommended. What is recommended keeps quality (or outputs) within the plan's margin for
    certain; among those it is the fastest, then the smallest in memory, then in size.
    Where neither was measured nothing is recommended: the fastest might be useless.
    """
    if record.part.measure is None:
        return
    for cell in cells(record.part.measure):
        if not cell.times("latency") or "latency" not in record.part.measure.metrics:
            continue
        points = _points(record, found, cell.conditions)
        if len(points) < FEWEST:
            continue
        given = next((name for name in GIVEN if sum(name in values for values in points.values()) > 1), "")
        judged = {label: values for label, values in points.items() if not given or given in values}
        names = [n for n in (*RATIOS, given, "size_bytes") if all(n in values for values in judged.values())]
        objectives = [_objective(record, name) for name in names]
        kept = [Point(name=label, values={n: values[n] for n in names}) for label, values in judged.items()]
        limits = {name: _limit(record, name) for name in names if name in GIVEN}
        order = [name for name in ("latency", "peak_memory", "size_bytes") if name in names]
        choice = select(kept, objectives=objectives, limits=limits, prefer=order)
        yield _entry(record, cell.conditions, objectives, points, choice)


def _points(record: Record, found: Sequence[Judged], conditions: dict[str, Any]) -> dict[str, dict[str, Value]]:
    """By run arm, its values; the baseline first, at 1 and 0."""
    base, *others = record.arms
    sizes = {run.label: _size(record, run.label, run.arm) for run in record.arms}
    points: dict[str, dict[str, Value]] = {base.label: {}}
    for name in (*RATIOS, *GIVEN):
        mine = {
            each.question.arm: each.comparison
            for each in found
            if each.question.metric == name
            and not each.question.twin
            and (METRICS[name].evidence == "item" or each.question.conditions == conditions)
        }
        same = _identical(record) if name == "output_difference" else []  # stated, so no answer holds them
        if not mine and not same:
            continue
        points[base.label][name] = Value(estimate=1.0 if METRICS[name].kind == "ratio" else 0.0)
        for run in others:
            comparison = mine.get(run.label)
            if comparison and comparison.estimate is not None and comparison.interval is not None:
                low, high = comparison.interval
                estimate = min(max(comparison.estimate, low), high)
                points.setdefault(run.label, {})[name] = Value(estimate=estimate, interval=(low, high))
        for label in same:
            points.setdefault(label, {})[name] = Value(estimate=0.0)
    for label, values in points.items():
        size, reference = sizes.get(label), sizes[base.label]
        if size and reference:
            values["size_bytes"] = Value(estimate=size / reference)
    return {label: values for label, values in points.items() if "latency" in values}


def _identical(record: Record) -> list[str]:
    """The run arms whose outputs lie at no distance from the baseline's on any item."""
    found: dict[str, dict[str, Any]] = record.prepared.get("outputs", {})
    return [label for label, entry in found.items() if entry.get("values") and not any(entry["values"])]


def _size(record: Record, label: str, arm: str) -> int | None:
    facts = record.prepared.get("runtimes", {}).get(label, {})
    return facts.get("size_bytes") or record.prepared.get("arms", {}).get(arm, {}).get("weight_bytes")


def _objective(record: Record, name: str) -> Objective:
    metric = METRICS[name]
    margin = metric.margin if metric.exact else record.part.judge.margin_of(name)
    return Objective(name=name, direction=metric.direction, margin=margin, relative=metric.kind == "ratio")


def _limit(record: Record, name: str) -> float:
    margin = record.part.judge.margin_of(name)
    return margin if METRICS[name].direction == "lower" else -margin


def _entry(
    record: Record,
    conditions: dict[str, Any],
    objectives: Sequence[Objective],
    points: dict[str, dict[str, Value]],
    choice: Choice,
) -> dict[str, Any]:
    judged = any(each.name in GIVEN for each in objectives)

    def unknown(values: dict[str, Value]) -> bool:
        return any(each.name in GIVEN and each.name not in values for each in objectives)

    return {
        "part": record.part.name,
        "conditions": conditions,
        "objectives": [
            {"name": each.name, "unit": "against the baseline", "direction": each.direction, "margin": each.margin}
            for each in objectives
        ],
        "points": [
            {
                "label": label,
                "values": {
                    each.name: {"estimate": values[each.name].estimate, "interval": values[each.name].interval}
                    if each.name in values
                    else None
                    for each in objectives
                },
                "dominated_by": list(choice.dominated.get(label, ())),
                "front": label in choice.front,
                "refused": choice.refused.get(label) if judged and not unknown(values) else UNKNOWN if judged else None,
            }
            for label, values in points.items()
        ],
        "recommendation": choice.recommended if judged else None,
        "reasons": list(choice.reasons) if judged else [UNJUDGED],
    }
