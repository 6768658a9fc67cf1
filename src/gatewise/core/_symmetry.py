"""Is one arm slower than the other, pair by pair? Bets on the sign of the effect, scaled by the rank of its size.

Two arms that do not differ are exchangeable within a pair (they see the same input at the same time, in random order),
so the log-ratio d is symmetric around 0: given its size |d| and everything before, its sign is a fair coin. A bet on
the sign may therefore depend on |d| and the past in any way. Ours stakes in proportion to the rank of |d| among the
last sizes (Wilcoxon's scores): 96 % of what is to be known under normal noise, where signs alone give 64 %, and an
outlier counts no more than the largest rank. An effect of 0 (a coarse clock) bets nothing.

    x = sign(d) rank(|d|) / (m + 1)        -> the capital of `Bets`

Against "slower" this holds for every pair of arms that are equal, and where d has a symmetric unimodal law about a
centre of at most 0. Where the arms differ in shape only (the same median, another tail) the capital may grow too, and
rightly: they do differ. How large the effect is, is said by the confidence sequence on the median.

**Pairs that are not independent.** A load that the pair shares cancels. A load that is private to one arm (its own
garbage collection, its own neighbour) does not: then signs follow each other, and a coin that repeats itself looks
biased. So the same evidence is also gathered from **blocks** of 5, 25, 125 ... pairs: the median of 5, then means of 5.
Every odd function of symmetric effects is symmetric, so each level is valid wherever the first one is. The lag-1
rank correlation is measured at each level, and the level in force is the first from which on none
is correlated. The evidence is the *smaller* of what pairs and what blocks say: choosing the level by the data therefore
costs nothing where pairs are independent (it never exceeds the first level's capital), and where they are not, the
blocks must agree.

**A change** from fine to slower is itself a correlation: all values after it are alike. Where a change is asked for,
the correlation is therefore measured on both sides of the most likely change (`Bets.onset`), each side ranked on its
own, less what chance alone makes of it there (`neighbours`). One step is thus forgiven; a wave has more than one.

An effect of one process that lasts for its whole life is no noise that a stream can tell from an
effect of the version: that takes more processes.

Sources: Wilcoxon 1945; Efron 1969 (symmetry); Ramdas, Ruf, Larsson and Koolen 2020 (arXiv 2009.03167, bets on
symmetry); Vovk and Wang 2024 (signed-rank e-tests).
"""

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Sequence
from operator import mul

from ._bets import FRACTIONS, Bets, toward
from ._errors import GatewiseError
from ._judge import Comparison, Rule, check_alpha, conclude_sequence
from ._sequence import ROUNDING, MedianSequence, middle

BASE = 5
"""How many values of one level make one of the next."""

LEVELS = 8
"""5^7 = 78,125 pairs in the largest block."""

MEMORY = 255
"""Sizes among which the next one is ranked; values of a window in which neighbours are compared."""

RECENT = 63
"""Effects whose median says how large a change is."""

MOST = 10_000
"""Values that the interval of one level takes; then the next level's, which is about as narrow by then, stands."""

CORRELATED = 1.28
"""Standard errors of the lag-1 correlation from which on a level is not taken for independent: lenient on purpose."""

AGAIN = 20
"""A change that is refused is looked at again when it is this part older."""

FEWEST = 10
"""Values of a level before its correlation is looked at."""


def neighbours(values: Sequence[float]) -> tuple[float, float]:
    """How alike neighbours are: the sum of the products of their ranks less its mean over all orders, and its variance.

    With d the ranks less their mean (in halves), S2 = sum d^2, S4 = sum d^4 and n values, the mean of sum d_i d_(i+1)
    over all n! orders is -S2 / n, and its second moment is

        (S2^2 - S4) / n + (S2^2 - 2 S4) / (n (n - 1))

    Exact for any n and any ties, so parts of different lengths may be added up. Source: Wald and Wolfowitz 1943.
    """
    n = len(values)
    if n < 3:
        return 0.0, 0.0
    ordered = sorted(values)
    last = {value: i for i, value in enumerate(ordered)}
    first = {value: n - 1 - i for i, value in enumerate(reversed(ordered))}
    scores = [first[value] + last[value] + 1 - n for value in values]
    powers = list(map(mul, scores, scores))
    squares, fourths = sum(powers), sum(map(mul, powers, powers))
    mean = -squares / n
    second = (squares**2 - fourths) / n + (squares**2 - 2 * fourths) / (n * (n - 1))
    return sum(map(mul, scores, scores[1:])) - mean, max(second - mean**2, 0.0)


def added(one: tuple[float, float], other: tuple[float, float]) -> tuple[float, float]:
    """The sum of two measures of likeness of different values, and of their variances."""
    return one[0] + other[0], one[1] + other[1]


class _Level:
    """Evidence, interval and correlation of the values of one block size."""

    def __init__(self, alpha: float, stated: float | None) -> None:
        mixture = (FRACTIONS, None) if stated is None else toward(stated)
        self.bets = Bets(*mixture)
        self.sequence = MedianSequence(alpha)
        self.n = 0
        self._among: deque[float] = deque()
        self._ordered: list[float] = []
        self._sizes: deque[float] = deque()
        self._ranked: list[float] = []
        self._last = 0.0
        self._products = self._squares = 0.0
        self._newest: list[float] = []
        self._older = (0.0, 0.0)
        self.open: list[float] = []

    def add(self, value: float) -> None:
        size = abs(value)
        if size <= ROUNDING:
            x = 0.0
        else:
            rank = bisect_right(self._ranked, size) + 1  # equal sizes count alike, and fully
            x = math.copysign(rank / (len(self._ranked) + 1), value)
            insort(self._ranked, size)
            self._sizes.append(size)
            if len(self._sizes) > MEMORY:
                del self._ranked[bisect_left(self._ranked, self._sizes.popleft())]
        self.bets.add(x)
        self._correlate(value)
        self._newest.append(value)
        if len(self._newest) == 2 * MEMORY:
            self._older = added(self._older, neighbours(self._newest[:MEMORY]))
            del self._newest[:MEMORY]
        self.n += 1
        if len(self.sequence) < MOST:
            self.sequence.add(value)

    def _correlate(self, value: float) -> None:
        score = 2.0 * self._place(value) - 1.0
        self._products += score * self._last
        self._squares += score * score
        self._last = score
        insort(self._ordered, value)
        self._among.append(value)
        if len(self._among) > MEMORY:
            del self._ordered[bisect_left(self._ordered, self._among.popleft())]

    def _place(self, value: float) -> float:
        """The share of the values before this one that are smaller (ties: half of them)."""
        ordered = self._ordered
        below, above = bisect_left(ordered, value), bisect_right(ordered, value)
        return (below + above + 1) / (2 * len(ordered) + 2)

    @property
    def correlation(self) -> float:
        """Lag-1 rank correlation of the values, each ranked among those before it."""
        return self._products / self._squares if self._squares else 0.0

    @property
    def independent(self) -> bool:
        return self.n < FEWEST or self.correlation * math.sqrt(self.n) < CORRELATED

    def follows(self, onset: int) -> bool:
        """Whether neighbours are alike, among those before the `onset`-th value and among those after it.

        Values that are long gone are ranked in windows of 255: where a change is that old, it lies within one of many.
        """
        if self.n < FEWEST:
            return False
        first = min(max(onset - (self.n - len(self._newest)), 0), len(self._newest))
        both = added(neighbours(self._newest[:first]), neighbours(self._newest[first:]))
        likeness, variance = added(self._older, both)
        return likeness >= CORRELATED * math.sqrt(variance) > 0.0


class PairedEvidence:
    """Anytime-valid evidence that an arm is slower, and the interval of the median ratio. Bounded memory.

    Args:
        rule: kind, direction and margin of the effect.
        alpha: the level of the interval.
        block: pairs that are known to share one arm's luck (a garbage collection every 200 pairs: some thousand). The
            stream shows a correlation only after it has lasted a few times as long; until then only you know.
        stated: the stake of an alternative named beforehand (`toward`), which gets most of the capital.
    """

    def __init__(self, rule: Rule, alpha: float, *, block: int = 1, stated: float | None = None) -> None:
        check_alpha(alpha)
        if type(block) is not int or not 1 <= block <= BASE ** (LEVELS - 1):
            raise GatewiseError(f"block must be a number of pairs from 1 to {BASE ** (LEVELS - 1)}, not {block!r}")
        self.rule, self.alpha = rule, alpha
        self._fewest_level = next(level for level in range(LEVELS) if BASE**level >= block)
        self.n = 0
        self._stated = stated
        self._levels = [_Level(alpha, stated)]
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._again = 0

    def add(self, baseline: float, arm: float) -> None:
        """Take one pair. Raises `GatewiseError` on one that is not finite, or not positive for a ratio."""
        self.effect(self.rule.effect(baseline, arm))

    def effect(self, effect: float) -> None:
        """Take one effect: a log-ratio, or a difference; of shares, only those that are not 0."""
        self.n += 1
        self._recent.append(effect)
        value: float | None = effect
        for index in range(LEVELS):
            if index == len(self._levels):
                self._levels.append(_Level(self.alpha, self._stated))
            level = self._levels[index]
            level.add(value)
            level.open.append(value)
            if len(level.open) < BASE:
                return
            value = middle(sorted(level.open)) if index == 0 else math.fsum(level.open) / BASE
            level.open = []

    @property
    def level(self) -> int:
        """The level in force: blocks of 5^level pairs. 0 where pairs are independent as far as one can see."""
        for index in range(len(self._levels) - 1, self._fewest_level - 1, -1):
            if not self._levels[index].independent:
                return index + 1
        return self._fewest_level

    def _level_but_for_a_change(self) -> int:
        """The level in force if there was one change, where the bets say: each part has a centre of its own.

        Nothing is forgiven in the first 510 pairs: a step cannot be told from the first of many waves.
        """
        onset = self._levels[0].bets.onset
        least = self.level if self.n < 2 * MEMORY else self._fewest_level
        for index in range(len(self._levels) - 1, least - 1, -1):
            if self._levels[index].follows(round(onset / BASE**index)):
                return index + 1
        return least

    @property
    def correlation(self) -> float:
        """Lag-1 rank correlation of the effects of pairs."""
        return self._levels[0].correlation

    def evidence(self, *, change: bool = False) -> float:
        """Natural log of the evidence that the arm's values are higher: the smaller of what pairs and blocks say.

        `change`: of the detector, which asks whether they became so at any time, instead of from the first pair on.
        """
        level = self._level_but_for_a_change() if change else self.level
        if level >= len(self._levels):  # no block has ended, or the correlation reaches over everything seen
            return 0.0
        chosen = [self._levels[0].bets] if level == 0 else [self._levels[0].bets, self._levels[level].bets]
        return min(bets.log_detector if change else bets.log_capital for bets in chosen)

    def reached(self, evidence: float, *, change: bool = False) -> bool:
        """Whether the evidence is as large: quick where pairs say no, or follow each other and no blocks say yes.

        A change that was refused is looked at again when it is a twentieth older: the correlation is not asked so often
        that it says no once by chance, and lasting private luck costs little time.
        """
        pairs, least = self._levels[0], math.exp(evidence)
        if (pairs.bets.detector if change else pairs.bets.capital) < least or (change and self.n < self._again):
            return False
        if not change:
            return self.evidence() >= evidence
        onset = pairs.bets.onset
        blocks = any(level.bets.detector >= least for level in self._levels[1:])
        if (blocks or not pairs.follows(onset)) and self.evidence(change=True) >= evidence:
            return True
        self._again = self.n + max(BASE, (self.n - onset) // AGAIN)
        return False

    @property
    def recent(self) -> float:
        """The median of the last effects, on the scale that people read."""
        return self.rule.shown(middle(sorted(self._recent)))

    @property
    def unit(self) -> int:
        """How many pairs one value of the comparison stands for."""
        if self.level >= len(self._levels):
            return 1
        return BASE ** self._levels.index(self._standing(self.level))

    @property
    def estimate(self) -> float:
        """The median of all effects that the interval takes, on the scale that people read."""
        return self.rule.shown(self._standing(min(self.level, len(self._levels) - 1)).sequence.median)

    def _standing(self, level: int) -> _Level:
        while self._levels[level].n > MOST and level + 1 < len(self._levels):
            level += 1
        return self._levels[level]

    def comparison(self) -> Comparison:
        """The comparison as it stands: the confidence sequence on the median of pairs, or of the blocks in force."""
        level = self.level
        if level >= len(self._levels):
            reason = "pairs follow each other, or share blocks, and too few blocks have ended to judge by"
            return self.rule.refuse(reason, alpha=self.alpha, n=self.n, method="blocks of pairs")
        return conclude_sequence(self._standing(level).sequence, self.rule)
