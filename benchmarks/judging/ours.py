"""Our judge on many streams at once: the running interval of every study, and the first verdict that stands in it.

A vectorised twin of `SequentialComparison`, which takes its ranks from the same function and its limits from the same
rule. `disagreements` runs the real one on some of the same streams, after every pair; one disagreement fails the run.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewise.core import Rule, SequentialComparison, rank

from .streams import Array

WORDS = ("inconclusive", "better", "worse", "equivalent")
ROUNDING = 1e-12
WIDEST = 20.0


def units(baseline: Array, arm: Array, block: int) -> Array:
    """The effects that count: log-ratios, or their medians by process."""
    effects = arm - baseline
    return effects if block == 1 else np.median(effects.reshape(len(effects), -1, block), axis=2)


@dataclass(frozen=True, kw_only=True)
class Running:
    """The interval of every study after every unit (studies, units); infinite while there is none.

    `middle` is the median of all units so far.
    """

    lower: Array
    upper: Array
    middle: Array
    constant: NDArray[np.bool_]
    shown: tuple[Array, Array]

    def missed(self) -> NDArray[np.bool_]:
        """Whether the interval of a study ever missed the truth, which is 0."""
        return ((self.lower > ROUNDING) | (self.upper < -ROUNDING)).any(axis=1)


def running(effects: Array, alpha: float) -> Running:
    """Judge studies (studies, units) after every unit."""
    lower, upper = np.full_like(effects, -np.inf), np.full_like(effects, np.inf)
    middle = np.empty_like(effects)
    for n in range(1, effects.shape[1] + 1):
        k = rank(n, alpha)
        middle[:, n - 1] = np.median(effects[:, :n], axis=1)
        if k is not None:
            found = np.partition(effects[:, :n], sorted({n - k, k - 1}), axis=1)
            lower[:, n - 1], upper[:, n - 1] = found[:, n - k], found[:, k - 1]
    constant = np.maximum.accumulate(effects, axis=1) - np.minimum.accumulate(effects, axis=1) <= ROUNDING
    lower, upper = np.maximum.accumulate(lower, axis=1), np.minimum.accumulate(upper, axis=1)
    shown = _shown(effects, lower, upper)
    return Running(lower=lower, upper=upper, middle=middle, constant=constant, shown=shown)


def _shown(effects: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    """The limits with half a step on either side where they are equal: ties of a coarse clock."""
    low, high = lower.copy(), upper.copy()
    with np.errstate(invalid="ignore"):
        tied = (upper - lower <= ROUNDING) & (upper >= lower)
    for i in np.flatnonzero(tied.any(axis=0)):
        rows = np.flatnonzero(tied[:, i])
        seen, at_low, at_high = effects[rows, : i + 1], lower[rows, i], upper[rows, i]
        below = np.where(seen < at_low[:, None] - ROUNDING, at_low[:, None] - seen, np.inf).min(axis=1)
        above = np.where(seen > at_high[:, None] + ROUNDING, seen - at_high[:, None], np.inf).min(axis=1)
        low[rows, i] -= np.where(np.isfinite(below), below, above) / 2
        high[rows, i] += np.where(np.isfinite(above), above, below) / 2
    return low, high


def first_verdicts(run: Running, effect: float, rule: Rule) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The verdict that ends each study (an index into `WORDS`) and after how many units (0: never).

    `effect` is the log-ratio that is put into the arm.
    """
    lower, upper = run.shown[0] + effect, run.shown[1] + effect
    outer, inner = rule.bound + ROUNDING, rule.bound - ROUNDING
    usable = (
        np.isfinite(lower)
        & np.isfinite(upper)
        & (run.lower <= run.upper)
        & ~run.constant
        & (run.shown[0] - ROUNDING <= run.middle)  # else the effect changed while it was measured
        & (run.middle <= run.shown[1] + ROUNDING)
        & (np.maximum(abs(lower), abs(upper)) <= WIDEST)
    )
    words = np.select([lower > outer, upper < -outer, (lower > -inner) & (upper < inner)], [2, 1, 3], 0) * usable
    ended = words != 0
    at = ended.argmax(axis=1)
    return words[np.arange(len(words)), at], np.where(ended.any(axis=1), at + 1, 0)


def disagreements(baseline: Array, arm: Array, block: int, rule: Rule, *, alpha: float, effect: float) -> int:
    """How many studies the real judge, looked at after every unit, ends otherwise than the twin."""
    words, ends = first_verdicts(running(units(baseline, arm, block), alpha), effect, rule)
    wrong = 0
    for study in range(len(baseline)):
        judge = SequentialComparison(kind=rule.kind, direction=rule.direction, margin=rule.margin, alpha=alpha)
        verdict, end = "inconclusive", 0
        for i, (b, a) in enumerate(zip(np.exp(baseline[study]), np.exp(arm[study] + effect), strict=True)):
            judge.update(b, a, block=None if block == 1 else i // block)
            if block > 1 and i % block == block - 1:
                judge.close()
            if judge.settled:
                verdict, end = judge.comparison().verdict, judge.comparison().n
                break
        wrong += int((verdict, end) != (WORDS[words[study]], int(ends[study])))
    return wrong
