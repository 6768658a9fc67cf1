"""What moves the time of a call, the runtime or the activation? Side by side, so that neither passes for the other.

A runtime often moves a latency twofold where an activation moves it by a few hundredths. A reader who sees
`relu/onnxruntime` against `gelu/eager` must not take the whole for ReLU's.
"""

import math
from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from gatewise.core import Evidence, Rule

from ._cells import Cell, RunArm, cells
from ._effects import timed
from ._evidence import guard_refusal, twin_comparisons
from ._questions import questions
from ._record import Record
from ._words import sentence

_RULE = Rule(kind="ratio", direction="lower", margin=0.0)


def moves(record: Record) -> Iterator[dict[str, Any]]:
    """One entry per timed condition of a part with several runtimes and several arms.

    `runtime`: the baseline's fastest runtime against the plan's first. `activation`: the arm that moves the time most
    against the baseline on the same runtime. Each with `arm`, `than`, `estimate` (ratio of times), `interval` (a
    confidence sequence at the part's alpha, without correction for the choice; None where there is none yet) and
    `factor`, the estimate's distance from 1 as a number of times (2 for twice or half).
    """
    measured = record.part.measure
    if measured is None or "latency" not in measured.metrics:
        return
    base = [arm for arm in record.arms if arm.arm == record.part.baseline]
    others = [
        arm
        for arm in record.arms  # a planted slowdown is ours, and what another kernel moves is no activation's
        if arm.arm != record.part.baseline and not arm.slowdown and base and arm.kernel == base[0].kernel
    ]
    if len(base) < 2 or not others:
        return
    guards = twin_comparisons(questions(record), record.part.judge)
    for cell in cells(measured):
        if not cell.times("latency"):
            continue
        refusal = guard_refusal(guards.get(f"latency {cell.id}"))
        runtimes = _ratios(record, cell, [(arm, base[0]) for arm in base[1:]])
        same = [(arm, than) for arm in others for than in base if arm.runtime == than.runtime]
        activations = _ratios(record, cell, same)
        if runtimes and activations:
            entry: dict[str, Any] = {
                "part": record.part.name,
                "conditions": cell.conditions,
                "runtime": min(runtimes, key=lambda row: row["estimate"]),
                "activation": max(activations, key=lambda row: row["factor"]),
                "runtimes": runtimes,
                "activations": activations,
            }
            if refusal:
                entry |= {"refusal": refusal}
                for row in (*runtimes, *activations):
                    row["interval"] = None
                yield entry | {"text": sentence(f"{_where(entry)} nothing is told apart: {refusal}.")}
            else:
                yield entry | {"text": sentence(f"{told(entry)}.")}


def _ratios(record: Record, cell: Cell, pairs: Sequence[tuple[RunArm, RunArm]]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    for arm, than in pairs:
        effects = timed(record, cell, arm.label, than.label, _RULE).in_order
        if not effects:
            continue
        estimate = math.exp(median(effects))
        found = Evidence(effects=effects, rule=_RULE, method="median").at(record.part.judge.alpha)
        rows.append(
            {
                "arm": arm.label,
                "than": than.label,
                "estimate": estimate,
                "interval": list(found.interval) if found.interval else None,
                "factor": max(estimate, 1.0 / estimate),
            }
        )
    return rows


def told(entry: dict[str, Any]) -> str:
    """One entry as a sentence."""
    runtime, activation = entry["runtime"], entry["activation"]
    one, other = (abs(math.log(row["estimate"])) for row in (runtime, activation))
    if other < 0.2 * one:
        compared = "the activation moves it far less"
    elif other < 0.8 * one:
        compared = "the activation moves it less"
    elif other <= 1.25 * one:
        compared = "the activation moves it about as much"
    else:
        compared = "the activation moves it more"
    return (
        f"{_where(entry)} the runtime and its precision move the time of a call {_times(runtime)}; {compared}, "
        f"{_times(activation)}"
    )


def _where(entry: dict[str, Any]) -> str:
    conditions = entry["conditions"]
    return "at " + ", ".join(f"{name} {conditions[name]}" for name in ("batch", "tokens") if name in conditions)


def _times(row: dict[str, Any]) -> str:
    factor = f"{row['factor']:.2f} times"
    pair = f"{row['arm']} is {'faster' if row['estimate'] < 1 else 'slower'} than {row['than']}"
    if row["interval"] is None:
        return f"{factor} so far, with too few processes for an interval ({pair})"
    low, high = row["interval"]
    if low <= 1.0 <= high:
        return f"{factor}, which is not told apart from 1 ({row['arm']} against {row['than']})"
    return f"{factor} ({pair})"
