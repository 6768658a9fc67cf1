"""Capital that grows where a hypothesis is wrong: a mixture of bettors, after each look a valid measure of evidence.

Each bettor j stakes a fixed fraction l_j of what he has on every observation x >= -1, whose mean is at most 0 under the
hypothesis, whatever came before:

    K_j <- K_j (1 + l_j x)        0 < l_j < 1, so that nobody is ever ruined

Each K_j is a non-negative supermartingale that starts at 1, and so is their weighted mean K. By Ville's inequality K
ever reaches 1 / alpha with probability at most alpha: one may look after every observation, for ever. A fraction is a
guess of how large the effect is; the mixture pays at most ln(1 / w_j) for not knowing which one is right.

What ran well for a year has lost most of its capital and finds a change late. The **detector** beside it lets a new
bettor begin at every observation (Shiryaev and Roberts): R_j <- (R_j + 1)(1 + l_j x). R minus the time is a
supermartingale, so while the hypothesis holds the mean time until R reaches A is at least A, which is how a user states
"one false alarm in so many pairs".

Sources: Ville 1939; Page 1954; Waudby-Smith and Ramdas 2024 (arXiv 2010.09686); Shin, Ramdas and Rinaldo 2023 (arXiv
2203.03532).
"""

import math
from collections.abc import Sequence

from ._errors import GatewiseError

FRACTIONS = (0.01, 0.02, 0.04, 0.08, 0.15, 0.28, 0.5, 0.75, 0.95)
"""Stakes from the smallest effect that anybody waits for to nearly all."""

CEILING = 1e200
"""Capital is counted up to here and then stays; no level is as small."""

SMALLEST = 1e-300
"""Capital that is lost is shown as this, so that its logarithm stays a number."""


class Bets:
    """The mixture, one observation at a time.

    Args:
        fractions: what each bettor stakes; between 0 and 1.
        weights: their share of the first unit of capital, in proportion. None: equal shares.

    Attributes:
        capital: what the mixture holds now; the hypothesis is refuted at alpha once it has reached 1 / alpha.
        detector: the sum of those who began at each observation; a change is called when it reaches the run length.
        n: observations so far.
    """

    def __init__(self, fractions: Sequence[float] = FRACTIONS, weights: Sequence[float] | None = None) -> None:
        shares = list(weights) if weights is not None else [1.0] * len(fractions)
        if not fractions or len(shares) != len(fractions) or not all(0 < share < math.inf for share in shares):
            raise GatewiseError("a mixture of bets needs one finite weight above 0 for each of its fractions")
        if not all(0 < fraction < 1 for fraction in fractions):
            raise GatewiseError(f"a bettor stakes a fraction between 0 and 1, not {tuple(fractions)!r}")
        total = math.fsum(shares)
        self.fractions = tuple(fractions)
        self.n = 0
        self.capital, self.detector = 1.0, 0.0
        self._weights = [share / total for share in shares]
        self._capital = list(self._weights)
        self._detector = [0.0] * len(shares)
        self._rise = [1.0] * len(shares)
        self._since = [0] * len(shares)

    def add(self, x: float) -> None:
        """Take an observation of at least -1 whose mean is at most 0 under the hypothesis; 0 changes no capital."""
        if x < -1.0:
            raise GatewiseError(f"a bet is on values of at least -1, not {x!r}")
        self.multiply([1.0 + fraction * x for fraction in self.fractions])

    def multiply(self, factors: Sequence[float]) -> None:
        """Multiply the capital of each bettor by his e-value: at least 0, with mean at most 1 under the hypothesis."""
        for j, factor in enumerate(factors):
            if self._rise[j] <= 1.0:
                self._rise[j], self._since[j] = 1.0, self.n
            self._rise[j] = min(self._rise[j] * factor, CEILING)
        self.n += 1
        if self.capital < CEILING:
            self._capital = [k * f for k, f in zip(self._capital, factors, strict=True)]
            self.capital = sum(self._capital)
        if self.detector < CEILING:
            self._detector = [(r + w) * f for r, w, f in zip(self._detector, self._weights, factors, strict=True)]
            self.detector = sum(self._detector)

    @property
    def onset(self) -> int:
        """After how many observations a change most likely came: the low from which some bettor has since risen most.

        Page's estimate (1954), each bettor on his own; 0 where the rise began with the first observation.
        """
        return self._since[max(range(len(self._rise)), key=self._rise.__getitem__)]

    @property
    def log_capital(self) -> float:
        """Natural log of the capital now."""
        return _log(self.capital)

    @property
    def log_detector(self) -> float:
        """Natural log of the detector now."""
        return _log(self.detector)


def _log(value: float) -> float:
    return math.log(max(value, SMALLEST))


STATED = 0.8
"""The share of the capital that is staked on an alternative which was stated beforehand."""


def toward(fraction: float) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Fractions and weights of a mixture that puts most of its capital on one stated alternative.

    For signs of discordant pairs, an alternative with odds r : 1 is the fraction (r - 1) / (r + 1): a tripling is 0.5.
    """
    if not 0 < fraction < 1:
        raise GatewiseError(f"the stated alternative is a fraction between 0 and 1, not {fraction!r}")
    rest = tuple(other for other in FRACTIONS if abs(other - fraction) > 1e-9)
    return (fraction, *rest), (STATED, *((1.0 - STATED) / len(rest) for _ in rest))
