"""The width at which a gated arm's optimiser step takes as long as the baseline's, as measured here and now.

Equal parameters are not equal time: an elementwise product costs what no count of FLOPs tells. The width is found by
bisection over multiples of 8 on the median ratio of interleaved pairs; what was found is then built anew and measured
again, so that the figures given are not those that won the search. Another machine, or another hour, may give another
width: it is recorded, and a study that is resumed keeps it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

MULTIPLE = 8
TOLERANCE = 0.05
"""An arm counts as matched where the whole interval of the ratio lies within this share of 1."""

LEVEL = 0.95
_WIDEST = 4
"""How many times the first guess is looked at, at most."""

Step = Callable[[], object]
LogRatios = Callable[[int], Sequence[float]]
"""Log-ratios of interleaved pairs: the step at a width over the baseline's. Every call builds and measures anew."""


@dataclass(frozen=True, kw_only=True)
class TimeMatch:
    """A width matched by time.

    Attributes:
        hidden: the width, a multiple of 8.
        ratio: median of the step's time over the baseline's, measured apart from the search.
        interval: 95 %, of the median over the pairs of that one process.
        pairs: how many.
        looked_at: every width that was tried, with its ratio in the search.
    """

    hidden: int
    ratio: float
    interval: tuple[float, float]
    pairs: int
    looked_at: tuple[tuple[int, float], ...]

    @property
    def matched(self) -> bool:
        """Whether the interval lies within `TOLERANCE` of 1."""
        return self.interval[0] >= 1 - TOLERANCE and self.interval[1] <= 1 + TOLERANCE

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a record."""
        ends = [end if math.isfinite(end) else None for end in self.interval]
        return asdict(self) | {
            "interval": ends,
            "matched": self.matched,
            "tolerance": TOLERANCE,
            "level": LEVEL,
            "reproducible": False,
        }


def match_time(log_ratios: LogRatios, *, guess: int, final: LogRatios | None = None) -> TimeMatch:
    """Find the width. `guess` is where it is looked for first, say the width of equal parameters.

    Args:
        log_ratios: measures a width; called about eight times.
        final: measures the width that was found, with more pairs; None takes `log_ratios`.
    """
    seen: dict[int, float] = {}

    def ratio(units: int) -> float:
        if units not in seen:
            seen[units] = median(log_ratios(units * MULTIPLE))
        return seen[units]

    low = high = max(1, round(guess / MULTIPLE))
    most = _WIDEST * low
    if ratio(low) > 0:
        while low > 1 and ratio(low) > 0:
            high, low = low, max(1, low // 2)
    else:
        while high < most and ratio(high) <= 0:
            low, high = high, min(most, high * 2)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if ratio(middle) > 0 else (middle, high)
    ratio(low)
    ratio(high)
    best = min(seen, key=lambda units: abs(seen[units]))
    values = sorted((final or log_ratios)(best * MULTIPLE))
    ends = median_interval(values, LEVEL)
    return TimeMatch(
        hidden=best * MULTIPLE,
        ratio=math.exp(median(values)),
        interval=(math.exp(ends[0]), math.exp(ends[1])),
        pairs=len(values),
        looked_at=tuple((units * MULTIPLE, math.exp(value)) for units, value in sorted(seen.items())),
    )


def median_interval(values: Sequence[float], level: float) -> tuple[float, float]:
    """The interval of the median between two order statistics, by the binomial distribution of the signs.

    With too few values for the level it is unbounded.
    """
    ordered, n = sorted(values), len(values)
    tail, below = 0.0, 0
    while below < n // 2 + 1:
        tail += math.comb(n, below) * 0.5**n
        if tail > (1 - level) / 2:
            break
        below += 1
    if below == 0:
        return -math.inf, math.inf
    return ordered[below - 1], ordered[n - below]
