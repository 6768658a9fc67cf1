"""Two-sample t-tests from printed means, SDs and run counts, and Holm's correction over a family of them."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

from ._table import Arm, Table


@dataclass(frozen=True, kw_only=True)
class Test:
    """A two-sided t-test of `first - second`. `lowest` to `highest` is what rounding of the figures leaves open."""

    first: str
    second: str
    difference: float
    standard_error: float
    df: float
    p: float
    lowest: float
    highest: float
    cohen_d: float

    def allows(self, p: float) -> bool:
        """Whether figures that print like these could have had this p-value."""
        return self.lowest <= p <= self.highest

    def interval(self, alpha: float) -> tuple[float, float]:
        """The t interval of the difference at level alpha."""
        reach = t_quantile(1 - alpha / 2, self.df) * self.standard_error
        return self.difference - reach, self.difference + reach


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A member of a family after Holm: its adjusted p-value, and the level at which it was tested."""

    p: float
    level: float
    rejected: bool


def obstacle(table: Table, *arms: Arm) -> str | None:
    """Why nothing can be tested with these arms, or None."""
    single = [arm.name for arm in arms if arm.n == 1]
    if single:
        return f"n = 1 ({', '.join(single)})" if len(single) < len(arms) else "n = 1"
    if table.statistic == "median":
        return "medians of runs, no dispersion is given"
    if any(arm.sd is None for arm in arms):
        return "no dispersion is given"
    if any(arm.n is None for arm in arms):
        return "the number of runs is not stated"
    return None


def test(first: Arm, second: Arm, *, pooled: bool) -> Test:
    """Welch's t-test, or the pooled one. Both arms have an SD and at least two runs."""
    if first.sd is None or second.sd is None or first.n is None or second.n is None:
        raise ValueError("a test needs an SD and a number of runs on both sides")
    counts = first.n, second.n
    difference = first.mean.minus(second.mean)
    error, df, p = _t(difference, (first.sd.value, second.sd.value), counts, pooled=pooled)
    blur = first.mean.half_unit + second.mean.half_unit
    gaps = max(abs(difference) - blur, 0.0), abs(difference) + blur
    corners = [
        _t(gap, spreads, counts, pooled=pooled)[2]
        for gap in gaps
        for spreads in itertools.product(_possible(first), _possible(second))
    ]
    spread = math.sqrt(((counts[0] - 1) * first.sd.value**2 + (counts[1] - 1) * second.sd.value**2) / (sum(counts) - 2))
    return Test(
        first=first.name,
        second=second.name,
        difference=difference,
        standard_error=error,
        df=df,
        p=p,
        lowest=min(corners),
        highest=max(corners),
        cohen_d=difference / spread,
    )


def _possible(arm: Arm) -> tuple[float, float]:
    if arm.sd is None:
        raise ValueError("no SD")
    # An SD that was printed as .001 to three digits may be close to .0005, never 0.
    return max(arm.sd.low, arm.sd.value / 100), arm.sd.high


def _t(
    difference: float, spreads: tuple[float, float], counts: tuple[int, int], *, pooled: bool
) -> tuple[float, float, float]:
    terms = [spread**2 / count for spread, count in zip(spreads, counts, strict=True)]
    if pooled:
        df = float(sum(counts) - 2)
        variance = sum((count - 1) * spread**2 for spread, count in zip(spreads, counts, strict=True)) / df
        error = math.sqrt(variance * sum(1 / count for count in counts))
    else:
        error = math.sqrt(sum(terms))
        df = sum(terms) ** 2 / sum(term**2 / (count - 1) for term, count in zip(terms, counts, strict=True))
    return error, df, min(1.0, 2 * t_tail(abs(difference) / error, df))


def t_tail(value: float, df: float) -> float:
    """The chance that Student's t is beyond `value`."""
    from scipy.special import stdtr

    return float(stdtr(df, -value))


def t_quantile(level: float, df: float) -> float:
    """The value that Student's t stays below with the chance `level`."""
    from scipy.special import stdtrit

    return float(stdtrit(df, level))


def holm(p_values: Sequence[float], alpha: float) -> list[Judged]:
    """Holm's step-down: adjusted p-values, and the level each was tested at; after the first failure it stays."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    found: dict[int, Judged] = {}
    adjusted, level, open_ = 0.0, alpha, True
    for rank, index in enumerate(order):
        remaining = len(order) - rank
        level = alpha / remaining if open_ else level
        adjusted = min(1.0, max(adjusted, remaining * p_values[index]))
        open_ = open_ and adjusted <= alpha
        found[index] = Judged(p=adjusted, level=level, rejected=open_)
    return [found[index] for index in range(len(order))]
