"""Matched and unmatched side by side: how much of what a wider gate gains are its parameters."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from gatewise.core import METRICS, Evidence, Rule
from gatewise.study import Part, Record, between, endings

METRIC = "heldout_loss"
FEWEST = 4


def side_by_side(records: Sequence[Record], alpha: float) -> list[dict[str, Any]]:
    """One row for each gate that a part trained both at the baseline's parameters and without matching.

    `matched` and `unmatched` are gains over the baseline as log-ratios of losses, positive where the gate is better,
    with intervals at `alpha` by seed, not corrected for their number. `parameters_share` is the part of the unmatched
    gain that is gone once parameters are matched, with Fieller's interval; None where the unmatched gain itself is not
    told apart from none, so that there is nothing to divide.
    """
    return [_row(record, *pair, alpha) for record in records for pair in _pairs(record.part)]


def _pairs(part: Part) -> list[tuple[str, str]]:
    """Labels of a gate matched by parameters, and of the same gate unmatched."""
    if part.train is None or METRIC not in part.train.metrics:
        return []
    others = [arm for arm in part.arms if arm.label != part.baseline]
    return [
        (matched.label, wide.label)
        for matched in others
        for wide in others
        if matched.name == wide.name and matched.matching == "params" and wide.matching == "none"
    ]


def _row(record: Record, matched: str, wide: str, alpha: float) -> dict[str, Any]:
    base = record.part.baseline
    facts: Mapping[str, Any] = record.prepared.get("arms", {})
    near, far = _gains(record, matched), _gains(record, wide)
    shared = sorted(near.keys() & far.keys())
    gains = {name: [found[seed] for seed in shared] for name, found in (("matched", near), ("unmatched", far))}
    rest = [b - a for a, b in zip(gains["matched"], gains["unmatched"], strict=True)]
    share, interval, reason = _share(rest, gains["unmatched"], alpha)
    return {
        "part": record.part.name,
        "metric": METRIC,
        "baseline": base,
        "matched_arm": matched,
        "unmatched_arm": wide,
        "parameters": {label: facts.get(label, {}).get("parameters") for label in (base, matched, wide)},
        "loss": {label: _mean(record, label, shared) for label in (base, matched, wide)},
        "n": len(shared),
        "alpha": alpha,
        "matched": _gain(gains["matched"], alpha),
        "unmatched": _gain(gains["unmatched"], alpha),
        "parameters_gain": _gain(rest, alpha),
        "parameters_share": share,
        "parameters_share_interval": interval,
        "reason": reason,
    }


def _gains(record: Record, label: str) -> dict[int, float]:
    """By seed, log(baseline's loss / the arm's): positive where the arm is better."""
    found = between(record, METRIC, label, record.part.baseline)
    return {seed: -effect for each in found for seed, effect in each.effects.values.items()}


def _mean(record: Record, label: str, seeds: Sequence[int]) -> float | None:
    values = endings(record, METRIC, label)
    return fmean(values[seed] for seed in seeds) if seeds else None


def _gain(values: Sequence[float], alpha: float) -> dict[str, Any]:
    """A mean gain as a share (0.02: a loss 2 % lower), with its interval; the interval is None where seeds are few."""
    if not values:
        return {"estimate": None, "interval": None}
    rule = Rule(kind=METRICS[METRIC].kind, direction="lower", margin=0.0)
    found = Evidence(effects=tuple(-value for value in values), rule=rule, method="mean").at(alpha)
    low, high = found.interval or (None, None)
    return {
        "estimate": 1.0 - math.exp(-fmean(values)),
        "interval": None if low is None or high is None else [1.0 - high, 1.0 - low],
    }


def _share(
    part: Sequence[float], whole: Sequence[float], alpha: float
) -> tuple[float | None, list[float] | None, str | None]:
    """mean(part) / mean(whole) of paired values, with Fieller's interval at `alpha`; or why there is none.

    Fieller, E. C. (1954), Some problems in interval estimation, Journal of the Royal Statistical Society B 16.
    """
    n = len(whole)
    if n < FEWEST:
        return None, None, f"{n} seeds are too few"
    from scipy.stats import t as student

    a, b = fmean(whole), fmean(part)
    reach = float(student.ppf(1.0 - alpha / 2, n - 1)) ** 2 / n
    saa, sbb, sab = _cov(whole, whole), _cov(part, part), _cov(whole, part)
    first, half, last = a * a - reach * saa, a * b - reach * sab, b * b - reach * sbb
    if first <= 0 or a <= 0:
        return None, None, "without matching there is no gain that is told apart from none"
    root = math.sqrt(max(half * half - first * last, 0.0))
    return b / a, [(half - root) / first, (half + root) / first], None


def _cov(x: Sequence[float], y: Sequence[float]) -> float:
    mx, my = fmean(x), fmean(y)
    return math.fsum((a - mx) * (b - my) for a, b in zip(x, y, strict=True)) / (len(x) - 1)
