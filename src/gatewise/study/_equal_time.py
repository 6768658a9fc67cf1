"""Held-out losses when all arms have trained equally long, for the record: stated with an interval, and not judged.

It is no verdict, for the slower arm is cut short at a rate that has not fallen. An arm matched by time needs no cut.
"""

import math
from typing import Any

from gatewise.core import Evidence, GatewiseError

from ._cells import TRAIN
from ._effects import stepped
from ._evidence import guard_refusal, rule_of, twin_comparisons
from ._questions import judged
from ._record import Record


def equal_times(record: Record) -> list[dict[str, Any]]:
    """One entry an arm: steps done by then, mean losses, their difference with its interval, or why there is none."""
    part = record.part
    if part.train is None or not part.train.steps_timed or "heldout_loss" not in part.train.metrics:
        return []
    refusal = _noisy(record)
    arms = [arm.label for arm in record.arms if arm.arm != part.baseline]
    return [{"arm": arm, "baseline": part.baseline} | _entry(record, arm, refusal) for arm in arms]


def with_equal_times(record: Record) -> dict[str, Any] | None:
    """What the preparation knows of a part's training, with `equal_time` where there is any; None without training."""
    training: dict[str, Any] | None = record.prepared.get("training")
    found = equal_times(record) if training else []
    return training | {"equal_time": found} if training and found else training


def _noisy(record: Record) -> str | None:
    """Why step times cannot be used, from how the baseline's twin came out."""
    guards = twin_comparisons([each.question for each in judged(record)], record.part.judge)
    return guard_refusal(guards.get("step_time"))


def _entry(record: Record, arm: str, refusal: str | None) -> dict[str, Any]:
    from gatewise import train

    part, none = record.part, dict.fromkeys(("steps", "baseline_steps", "loss", "baseline_loss", "difference"))
    missing = none | {"interval": None, "alpha": part.judge.alpha, "seeds": 0}
    times = stepped(record, arm, part.baseline, rule_of("step_time", part.judge))
    if refusal or times.refusal:
        return missing | {"reason": refusal or times.refusal}
    rule = rule_of("step_time", part.judge)
    found = Evidence(effects=times.in_order, rule=rule, method="median").at(part.judge.alpha / 2)
    if found.estimate is None or found.interval is None:
        return missing | {"reason": found.reason}
    base, mine = (dict(record.rows.get(TRAIN + label, [])) for label in (part.baseline, arm))
    seeds = sorted(base.keys() & mine.keys())
    curves = [(base[seed]["curve"], mine[seed]["curve"]) for seed in seeds]
    if any(base[seed]["failure"] or mine[seed]["failure"] for seed in seeds):
        return missing | {"reason": "a run of it, or of the baseline, failed"}
    try:
        both = train.at_equal_time(curves, found.estimate, found.interval, alpha=part.judge.alpha)
        losses = [train.loss_at(curve, both.baseline_step) for curve, _ in curves]
    except GatewiseError as error:
        return missing | {"reason": str(error).splitlines()[0]}
    baseline_loss = math.fsum(losses) / len(losses)
    return {
        "steps": both.arm_step,
        "baseline_steps": both.baseline_step,
        "loss": baseline_loss + both.difference,
        "baseline_loss": baseline_loss,
        "difference": both.difference,
        "interval": list(both.interval),
        "alpha": both.alpha,
        "seeds": len(seeds),
        "reason": None,
    }
