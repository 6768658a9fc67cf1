"""The judge. One interval per kind of evidence, one rule from interval to verdict. There is no other judge in gatewise.

    better or worse   the interval lies wholly beyond the margin
    equivalent        the interval lies wholly inside the margin
    inconclusive      anything else, and whatever is refused (then `reason` says why and there is no interval)

Ratios are judged on the log scale, where a margin of 2 % means the limits 1/1.02 and 1.02: an arm that is judged
better by its latency is judged better by its throughput too, and swapping the two arms mirrors the verdict.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from ._errors import GatewiseError
from ._metrics import Direction, Kind
from ._sequence import ROUNDING, MedianSequence, fewest

Verdict = Literal["better", "worse", "equivalent", "inconclusive"]
Method = Literal["median", "mean", "paired"]

LARGEST = 700.0
"""The largest log-ratio whose ratio is still a number."""

WIDEST = 20.0
"""The widest interval of a log-ratio that is worth showing."""

FARTHEST = 1e150
"""The largest difference of two values whose square, summed, is still a number."""

STREAM = "confidence sequence on the median"
"""How a stream of effects is judged."""

TOO_FAR = "the values are too far apart to be compared in floating point"

POWER_QUANTILE = 0.8416  # standard normal quantile of the 80 % power behind `smallest_detectable`


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """An arm against the baseline on one metric.

    Attributes:
        verdict: better, worse, equivalent or inconclusive.
        estimate: arm / baseline for ratios, arm - baseline for differences; None when refused without one.
        interval: where the effect lies, on the scale of `estimate`; None when refused.
        smallest_detectable: the smallest change beyond no effect that evidence of this size and spread would have
            called better or worse four times out of five (a fraction for ratios); None when refused.
        reason: why there is no decision, in one line; None where there is one.
        limits: the margin on the scale of `estimate`.
        n: independent units of evidence. `method`: how the interval was made.
    """

    verdict: Verdict
    estimate: float | None
    interval: tuple[float, float] | None
    smallest_detectable: float | None
    reason: str | None
    kind: Kind
    direction: Direction
    alpha: float
    margin: float
    limits: tuple[float, float]
    n: int
    method: str


def number(name: str, value: object) -> float:
    """A number as a float; text, truth values and whatever else is no number are refused with `GatewiseError`."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise GatewiseError(f"{name} must be a number, not {value!r}")
    try:
        return float(value)  # pyright: ignore[reportArgumentType]
    except (TypeError, ValueError, OverflowError) as error:
        raise GatewiseError(f"{name} must be a number that fits a float, not {type(value).__name__}") from error


def numbers(name: str, values: object) -> list[float]:
    """A list, tuple or array of numbers, in order. Raises `GatewiseError` for anything without an order."""
    if isinstance(values, (str, bytes, set, frozenset, dict)) or not isinstance(values, Iterable):
        raise GatewiseError(f"{name} must be a list of numbers, not {type(values).__name__}")
    return [number(f"each of {name}", value) for value in values]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is fixed before any value is seen: the kind of effect, which way is good, and the margin."""

    kind: Kind = "ratio"
    direction: Direction = "lower"
    margin: float = 0.02

    def __post_init__(self) -> None:
        if self.kind not in ("ratio", "difference"):
            raise GatewiseError(f"kind must be 'ratio' or 'difference', not {self.kind!r}")
        if self.direction not in ("lower", "higher"):
            raise GatewiseError(f"direction must be 'lower' or 'higher' (which is better), not {self.direction!r}")
        if not (0 <= number("margin", self.margin) < math.inf):
            raise GatewiseError(f"margin must be a finite number of 0 or more, not {self.margin!r}")

    @property
    def bound(self) -> float:
        """The margin on the scale the evidence is judged on: log(1 + margin) for ratios."""
        return math.log1p(self.margin) if self.kind == "ratio" else self.margin

    def shown(self, effect: float) -> float:
        """An effect on the scale that people read: a ratio for ratios."""
        return math.exp(max(-LARGEST, min(LARGEST, effect))) if self.kind == "ratio" else effect

    def effect(self, baseline: float, arm: float) -> float:
        """The effect of one pair: log(arm / baseline), or arm - baseline. Raises `GatewiseError` on impossible ones."""
        if not (math.isfinite(baseline) and math.isfinite(arm)):
            raise GatewiseError(f"a pair must be finite, not ({baseline!r}, {arm!r})")
        if self.kind == "difference":
            if abs(arm - baseline) > FARTHEST:
                raise GatewiseError(TOO_FAR)
            return arm - baseline
        if baseline <= 0 or arm <= 0:
            raise GatewiseError(f"a ratio needs values above 0, not ({baseline!r}, {arm!r}); use kind='difference'")
        return math.log(arm) - math.log(baseline)

    def decide(self, low: float, high: float) -> Verdict:
        """The verdict of an interval of effects. One that ends on a limit, but for rounding, is not beyond it."""
        outer, inner = self.bound + ROUNDING, self.bound - ROUNDING
        if low > outer:
            return "worse" if self.direction == "lower" else "better"
        if high < -outer:
            return "better" if self.direction == "lower" else "worse"
        if -inner < low and high < inner:
            return "equivalent"
        return "inconclusive"

    def refuse(self, reason: str, *, alpha: float, n: int, method: str, estimate: float | None = None) -> Comparison:
        """A comparison that is not decided, with its reason and no interval."""
        return self._comparison("inconclusive", alpha, n, method, estimate=estimate, reason=reason)

    def conclude(
        self, center: float, low: float, high: float, spread: float, *, alpha: float, n: int, method: str
    ) -> Comparison:
        """The comparison of an interval of effects; `spread` is the standard error of its centre."""
        if self.kind == "ratio" and max(abs(low), abs(high)) > WIDEST:
            reason = f"n = {n}: at this level the interval spans more than a factor of {math.exp(WIDEST):.0e}"
            return self.refuse(reason, alpha=alpha, n=n, method=method, estimate=self.shown(center))
        verdict = self.decide(low, high)
        reason = None
        if verdict == "inconclusive":
            if self.margin == 0:
                reason = "the interval contains no effect, and a margin of 0 asks for a direction only"
            else:
                reason = "the interval crosses the margin; more evidence would narrow it"
        seen = self.bound + max(center - low, high - center) + POWER_QUANTILE * spread
        comparison = self._comparison(verdict, alpha, n, method, estimate=self.shown(center), reason=reason)
        return replace(
            comparison,
            interval=(self.shown(low), self.shown(high)),
            smallest_detectable=math.expm1(seen) if self.kind == "ratio" else seen,
        )

    def _comparison(
        self, verdict: Verdict, alpha: float, n: int, method: str, *, estimate: float | None, reason: str | None
    ) -> Comparison:
        return Comparison(
            verdict=verdict,
            estimate=estimate,
            interval=None,
            smallest_detectable=None,
            reason=reason,
            kind=self.kind,
            direction=self.direction,
            alpha=alpha,
            margin=self.margin,
            limits=(self.shown(-self.bound), self.shown(self.bound)),
            n=n,
            method=method,
        )


def check_alpha(alpha: float) -> None:
    """Raises `GatewiseError` unless 0 < alpha <= 0.5: beyond that an interval promises nothing."""
    if not 0 < number("alpha", alpha) <= 0.5:
        raise GatewiseError(f"alpha must lie above 0 and be at most 0.5, not {alpha!r}")


def judge_median(effects: Sequence[float], rule: Rule, alpha: float) -> Comparison:
    """Independent effects in the order they came, by the anytime-valid sequence on their median."""
    sequence = MedianSequence(alpha)
    for effect in effects:
        sequence.add(effect)
    return conclude_sequence(sequence, rule)


def conclude_sequence(sequence: MedianSequence, rule: Rule) -> Comparison:
    """The verdict of a confidence sequence as it stands."""
    n, alpha, method = len(sequence), sequence.alpha, STREAM
    if n == 0:
        return rule.refuse("no pair yet", alpha=alpha, n=0, method=method)
    estimate = rule.shown(sequence.median)
    if n > 1 and sequence.constant:
        reason = f"all {n} values are identical: a spread of zero is no evidence of precision"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=estimate)
    if sequence.interval is None:
        reason = f"n = {n}: at this level an interval needs at least {fewest(alpha)}"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=estimate)
    low, high = sequence.interval
    if low > high:
        reason = "the effect changed while it was measured: no single median fits all of the record"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=estimate)
    tied = high - low <= ROUNDING
    if tied:  # a value of a coarse clock stands for all that it rounds: half a step either way
        down, up = sequence.steps(low, high)
        low, high = low - down / 2, high + up / 2
    if not low - ROUNDING <= sequence.median <= high + ROUNDING:  # earlier looks refuted what the whole record says
        reason = "the effect changed while it was measured: the median of all lies outside the interval of the stream"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=estimate)
    center = min(max(sequence.median, low), high)
    spread = 1.2533 * sequence.spread / math.sqrt(n)  # standard error of a median, normal approximation
    comparison = rule.conclude(center, low, high, spread, alpha=alpha, n=n, method=method)
    if tied and comparison.verdict == "inconclusive":
        return replace(
            comparison, reason="most values are equal: only a finer clock, or more calls a value, narrows it"
        )
    return comparison


def judge_mean(effects: Sequence[float], rule: Rule, alpha: float) -> Comparison:
    """Independent effects of a number fixed beforehand, by a t interval on their mean (paired when they are pairs)."""
    n, method = len(effects), "paired t"
    if n == 0:
        return rule.refuse("no pair", alpha=alpha, n=0, method=method)
    mean = math.fsum(effects) / n
    if n == 1:
        reason = "n = 1: a single run has no spread to judge by"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=rule.shown(mean))
    variance = math.fsum((value - mean) ** 2 for value in effects) / (n - 1)
    return _t_interval(mean, variance / n, n - 1, rule, alpha, n=n, method=method)


def judge_unpaired(baseline: Sequence[float], arm: Sequence[float], rule: Rule, alpha: float) -> Comparison:
    """Two independent samples of sizes fixed beforehand, by Welch's t interval (of logs, for ratios)."""
    n, method = min(len(baseline), len(arm)), "Welch's t"
    if n == 0:
        return rule.refuse("no values", alpha=alpha, n=0, method=method)
    anchor = 1.0 if rule.kind == "ratio" else 0.0
    samples = [[rule.effect(anchor, value) for value in values] for values in (baseline, arm)]
    means = [math.fsum(sample) / len(sample) for sample in samples]
    if n == 1:
        reason = "n = 1: a single run has no spread to judge by"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=rule.shown(means[1] - means[0]))
    errors = [
        math.fsum((value - mean) ** 2 for value in sample) / (len(sample) - 1) / len(sample)
        for sample, mean in zip(samples, means, strict=True)
    ]
    total = errors[0] + errors[1]
    if total == 0:
        freedom = math.inf
    else:
        freedom = 1 / sum((e / total) ** 2 / (len(s) - 1) for e, s in zip(errors, samples, strict=True))
    return _t_interval(means[1] - means[0], total, freedom, rule, alpha, n=n, method=method)


def _t_interval(
    mean: float, error_squared: float, freedom: float, rule: Rule, alpha: float, *, n: int, method: str
) -> Comparison:
    from scipy.special import stdtrit

    error = math.sqrt(error_squared)
    if error <= 1e-15 * abs(mean) or error == 0:
        reason = f"all {n} values are identical: a spread of zero is no evidence of precision"
        return rule.refuse(reason, alpha=alpha, n=n, method=method, estimate=rule.shown(mean))
    half = float(stdtrit(freedom, 1 - alpha / 2)) * error
    return rule.conclude(mean, mean - half, mean + half, error, alpha=alpha, n=n, method=method)
