"""Several comparisons, one error rate: Holm's step-down over everything that a study judges about one question."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from ._compare import JUDGES
from ._judge import Comparison, Method, Rule

SMALLEST_ALPHA = 1e-6  # below this a level makes no difference that anybody can check


class Judgeable(Protocol):
    """Evidence under a rule, to be judged at a level that the family decides."""

    def at(self, alpha: float) -> Comparison:
        """The comparison at one level."""
        ...


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """Independent effects on one metric under a rule.

    `method`: `median` is anytime-valid; `mean` and `paired` (binary items) are for a number fixed beforehand.
    """

    effects: tuple[float, ...]
    rule: Rule
    method: Method

    def at(self, alpha: float) -> Comparison:
        """The comparison at one level."""
        return JUDGES[self.method](self.effects, self.rule, alpha)


@dataclass(frozen=True, kw_only=True)
class Product:
    """The product of two ratios that were measured apart (steps x time per step), with both uncertainties.

    Each factor's interval holds at alpha / 2, so both hold at alpha (Bonferroni) and so does their product's.
    """

    first: Evidence
    second: Evidence
    rule: Rule

    def at(self, alpha: float) -> Comparison:
        """The comparison at one level; refused with the reason of a factor that is refused."""
        factors = self.first.at(alpha / 2), self.second.at(alpha / 2)
        n, method = min(factor.n for factor in factors), "product of two intervals at alpha / 2"
        center = low = high = variance = 0.0
        for factor in factors:
            if factor.interval is None or factor.estimate is None or factor.smallest_detectable is None:
                return self.rule.refuse(str(factor.reason), alpha=alpha, n=n, method=method)
            center += math.log(factor.estimate)
            low += math.log(factor.interval[0])
            high += math.log(factor.interval[1])
        for evidence in (self.first, self.second):
            mean = math.fsum(evidence.effects) / len(evidence.effects)
            squares = math.fsum((effect - mean) ** 2 for effect in evidence.effects)
            variance += squares / (len(evidence.effects) - 1) / len(evidence.effects)
        return self.rule.conclude(center, low, high, math.sqrt(variance), alpha=alpha, n=n, method=method)


LEVELS = (0.5, 0.2, 0.1, 0.05, 0.02, 0.01, 0.003, 0.001, 1e-4, 1e-5)
"""Where the search for a p-value starts: at lenient levels a running interval often contradicts itself."""


def p_value(evidence: Judgeable) -> float:
    """The smallest level at which there is a verdict (to 1 %), 1.0 when there is none at any level."""

    def decided(alpha: float) -> bool:
        return evidence.at(alpha).verdict != "inconclusive"

    low, high = SMALLEST_ALPHA, next((level for level in LEVELS if decided(level)), None)
    if decided(low):
        return low
    if high is None:
        return 1.0
    while high / low > 1.01:
        middle = math.sqrt(low * high)
        low, high = (low, middle) if decided(middle) else (middle, high)
    return high


def holm(family: Sequence[Judgeable], alpha: float) -> list[Comparison]:
    """Judge a family so that the chance of any wrong verdict in it is at most alpha (Holm 1979).

    The clearest member is judged at alpha / m, the next at alpha / (m - 1), and so on until one is undecided; the rest
    stay at that level. Each comparison carries the level it was judged at, and its interval is of that level.
    Evidence from confidence sequences may be looked at after every unit; evidence of fixed size only once.
    """
    order = sorted(range(len(family)), key=lambda index: p_value(family[index]))
    judged: dict[int, Comparison] = {}
    remaining = len(family)
    for index in order:
        judged[index] = comparison = family[index].at(alpha / remaining)
        if comparison.verdict != "inconclusive":
            remaining -= 1
    return [judged[index] for index in range(len(family))]
