"""A confidence sequence for a median: an interval that stays valid however often it is looked at.

For a candidate median m, bet at every observation that it lies above m. Under P(X > m) <= 1/2 the capital of
that bettor, mixed over the bets p in [1/2, 1] with the (truncated) Jeffreys prior Beta(1/2, 1/2),

    E(n, k) = 2^n * Int_{1/2}^{1} p^k (1 - p)^(n - k) dPi(p),      k = #{x_i > m},

is a non-negative supermartingale that starts at 1, so by Ville's inequality it ever reaches 2/alpha with
probability at most alpha/2. The same holds for the bettor on the other side. What neither bettor has ruled out
is the interval. It needs no variance, no normality and no symmetry: only that every observation, given the past,
has the same median. That is why outliers, tails and load shared by a pair leave it valid.

Sources: Ville 1939; Howard and Ramdas 2022 (arXiv 1906.09712); Waudby-Smith and Ramdas 2024 (arXiv 2010.09686).
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Sequence

ROUNDING = 1e-12
"""Effects this close are equal: what floating point makes of one number."""

LOG_PRIOR_MASS = math.log(0.5)
"""Half of Jeffreys' prior lies above 1/2."""


def log_capital(n: int, k: int) -> float:
    """Natural log of the one-sided bettor's capital after `k` of `n` observations fell on his side."""
    from scipy.special import betainc, betaln

    a, b = k + 0.5, n - k + 0.5
    upper = 1.0 - float(betainc(a, b, 0.5))
    if upper <= 0.0:
        return -math.inf
    return n * math.log(2.0) + float(betaln(a, b)) + math.log(upper) - math.log(math.pi) - LOG_PRIOR_MASS


_RANKS: dict[float, list[int]] = {}


def rank(n: int, alpha: float) -> int | None:
    """The smallest k for which k of n observations on one side refute that side's median at level alpha/2, or None.

    The interval after n observations is [k-th largest, k-th smallest].
    """
    ranks = _RANKS.setdefault(alpha, [1])  # n = 0 needs one more than there are
    threshold = math.log(2.0 / alpha)
    while len(ranks) <= n:
        size, k = len(ranks), ranks[-1]
        while k <= size and log_capital(size, k) < threshold:
            k += 1
        ranks.append(k)
    return ranks[n] if ranks[n] <= n else None


def fewest(alpha: float) -> int:
    """The fewest observations with which a sequence at this level has any interval at all."""
    n = 1
    while rank(n, alpha) is None:
        n += 1
    return n


def middle(ordered: Sequence[float]) -> float:
    """The median of values in order: the middle one, or the mean of the middle two."""
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2.0


class MedianSequence:
    """The confidence sequence, one observation at a time. `interval` is the running intersection, None while unbounded.

    Args:
        alpha: the chance, over the whole life of the stream, that the interval ever misses the median.
    """

    def __init__(self, alpha: float) -> None:
        self.alpha = alpha
        self._sorted: list[float] = []
        self._lower = -math.inf
        self._upper = math.inf

    def __len__(self) -> int:
        return len(self._sorted)

    def add(self, value: float) -> None:
        """Take one observation (finite). O(log n) comparisons and one insertion."""
        insort(self._sorted, value)
        n = len(self._sorted)
        k = rank(n, self.alpha)
        if k is not None:
            self._lower = max(self._lower, self._sorted[n - k])
            self._upper = min(self._upper, self._sorted[k - 1])

    @property
    def interval(self) -> tuple[float, float] | None:
        """The interval that has survived every look, or None before there are enough observations."""
        return None if math.isinf(self._lower) or math.isinf(self._upper) else (self._lower, self._upper)

    @property
    def median(self) -> float:
        """The middle observation, or the mean of the middle two."""
        return middle(self._sorted)

    @property
    def spread(self) -> float:
        """Interquartile range / 1.349: the standard deviation that a normal sample of this spread would have."""
        n = len(self._sorted)
        return (self._sorted[(3 * n) // 4 if n > 1 else 0] - self._sorted[n // 4]) / 1.349

    @property
    def constant(self) -> bool:
        """Whether all observations are equal but for rounding, which no measured time is."""
        return self._sorted[-1] - self._sorted[0] <= ROUNDING

    def steps(self, low: float, high: float) -> tuple[float, float]:
        """How far the nearest observations below `low` and above `high` are; of one side's where there is one only."""
        below, above = bisect_left(self._sorted, low - ROUNDING), bisect_right(self._sorted, high + ROUNDING)
        down = low - self._sorted[below - 1] if below > 0 else math.inf
        up = self._sorted[above] - high if above < len(self._sorted) else math.inf
        return (down if math.isfinite(down) else up), (up if math.isfinite(up) else down)
