"""Two versions that share the traffic, unpaired: is one of them slower, failing more, more often wrong?

Requests are dealt to the versions by chance, so within a short **block** of the traffic it does not matter, if the
versions do not differ, which of the m outcomes belong to the k requests of the canary: every choice of k out of m is
equally likely. With a score s_i for each outcome (its rank among the block's latencies, or 1 for a failure) and W the
sum of the canary's scores, bettor t multiplies his capital at the end of the block by

    exp(t W) / mean over all choices of k of m of exp(t W)

whose mean is exactly 1. Nothing is assumed of the load: it may rise, fall and follow itself, because blocks are only
compared within, and the product over blocks is a martingale whichever block ends first. What is assumed is that the
router deals by chance (not by customer, not by size of the request), and that the number of requests in a block was
fixed before it began. A luck that the canary has to itself and that outlasts a block makes blocks follow each other;
where they are seen to, the evidence is held down to what runs of blocks say (`PairedEvidence` on their standardised
sums), which can only lower it. One process that is slow for its whole life is, again, no different from a slow version.

The mean over choices is an elementary symmetric polynomial, found by dynamic programming in m x k steps; for scores 0
and 1 it is a sum over the hypergeometric distribution. For shares, exp(t) is the odds ratio of Fisher's noncentral
hypergeometric distribution: the most powerful bet against "no difference" given the totals of the block.

Sources: Fisher 1935 (permutation); Pace and Salvan 2020; Grunwald, de Heide and Koolen 2024 (arXiv 1906.07801);
Turner, Ly and Grunwald 2024 (arXiv 2106.02693, two proportions in blocks); Koning 2024 (arXiv 2310.01153).
"""

import math
from collections.abc import Sequence

from ._bets import STATED, Bets
from ._errors import GatewiseError
from ._judge import Comparison, Rule, check_alpha, conclude_sequence
from ._sequence import MedianSequence, middle
from ._symmetry import PairedEvidence

TILTS = (0.1, 0.2, 0.35, 0.6, 1.0, 1.7, 3.0, 6.0)
"""The t of the bettors on ranks in [0, 1]."""

ODDS = (1.1, 1.25, 1.5, 2.0, 3.0, 5.0, 10.0)
"""The odds ratios of the bettors on shares."""

SMALLER_SIDE = 8
"""About how many requests of the rarer version a block holds."""

GUARD_ALPHA = 0.001  # of an interval that nobody reads: the guard looks at correlation and at runs of blocks

MOST = 10_000
"""Blocks that the interval of the median takes; by then it is as narrow as anybody needs."""

SHORTEST, LONGEST = 16, 400
"""Requests in a block."""


def block_size(share: float) -> int:
    """How many requests of the traffic make a block when this share of them goes to the canary."""
    rarer = max(min(share, 1.0 - share), 1e-9)
    return int(min(max(round(SMALLER_SIDE / rarer), SHORTEST), LONGEST))


def block_evidence(scores: Sequence[float], chosen: Sequence[bool], tilts: Sequence[float]) -> list[float]:
    """The e-value of one block for each tilt: exp(t W) over its mean under random choice. Scores lie in [0, 1]."""
    if len(scores) != len(chosen):
        raise GatewiseError(f"a block has one score for each request, not {len(scores)} for {len(chosen)}")
    size, k = len(scores), sum(chosen)
    if k in (0, size):
        return [1.0] * len(tilts)
    total = math.fsum(score for score, one in zip(scores, chosen, strict=True) if one)
    if all(score in (0.0, 1.0) for score in scores):
        return _counted(size, k, int(sum(scores)), int(total), tilts)
    return _permuted(scores, k, total, tilts)


def _counted(size: int, k: int, hits: int, mine: int, tilts: Sequence[float]) -> list[float]:
    ways = math.comb(size, k)
    chances = [math.comb(hits, j) * math.comb(size - hits, k - j) / ways for j in range(min(hits, k) + 1)]
    return [1.0 / math.fsum(p * math.exp(t * (j - mine)) for j, p in enumerate(chances)) for t in tilts]


def _permuted(scores: Sequence[float], k: int, total: float, tilts: Sequence[float]) -> list[float]:
    import numpy as np

    size = len(scores)
    flip = k > size // 2  # the sum of the others says the same: exp(t W) = exp(t S) exp(-t W')
    rarer, rest = (size - k, math.fsum(scores) - total) if flip else (k, total)
    slopes = -np.asarray(tilts) if flip else np.asarray(tilts)
    center = math.fsum(scores) / size  # keeps the products near 1
    weights = np.exp(np.outer(np.asarray(scores) - center, slopes))
    # After i of the requests: the mean over choices of j of them, so that no number grows with how many they are.
    taken = np.minimum(np.arange(1, rarer + 1) / np.arange(1, size + 1)[:, None], 1.0)[:, :, None]
    left, gained = 1.0 - taken, taken * weights[:, None, :]
    sums = np.zeros((rarer + 1, len(slopes)))
    sums[0] = 1.0
    for i in range(size):
        sums[1:] = sums[1:] * left[i] + sums[:-1] * gained[i]
    return [float(value) for value in np.exp(slopes * (rest - rarer * center)) / sums[rarer]]


def ranks(values: Sequence[float]) -> list[float]:
    """The rank of each value among all, from 0 to 1; equal values share their mean rank."""
    order = sorted(range(len(values)), key=values.__getitem__)
    found = [0.0] * len(values)
    start = 0
    while start < len(order):
        end = start
        while end + 1 < len(order) and values[order[end + 1]] == values[order[start]]:
            end += 1
        for place in range(start, end + 1):
            found[order[place]] = (start + end) / 2 / max(len(values) - 1, 1)
        start = end + 1
    return found


class BlockEvidence:
    """Anytime-valid evidence that the canary's values are higher than the baseline's, from blocks of mixed traffic.

    Args:
        binary: the values are 0 or 1 (failures), not times.
        design: the odds ratio that gets most of the capital beforehand; for binary values.
    """

    def __init__(self, *, binary: bool = False, design: float | None = None) -> None:
        if design is not None and not (binary and design > 1):
            raise GatewiseError(f"design is an odds ratio above 1, for binary values, not {design!r}")
        odds = ODDS if design is None else (design, *(one for one in ODDS if one != design))
        shares = None if design is None else [STATED, *((1 - STATED) / (len(odds) - 1) for _ in odds[1:])]
        self.binary = binary
        self.tilts = tuple(math.log(one) for one in odds) if binary else TILTS
        self.bets = Bets([0.5] * len(self.tilts), shares)
        self.blocks = 0
        self._guard = PairedEvidence(Rule(kind="difference"), GUARD_ALPHA)

    def add(self, values: Sequence[float], canary: Sequence[bool]) -> None:
        """Take one block: its values in any order, and which of them are the canary's."""
        self.blocks += 1
        if any(canary) and not all(canary) and min(values) != max(values):
            scores = values if self.binary else ranks(values)
            self.bets.multiply(block_evidence(scores, canary, self.tilts))
            self._guard.effect(_standardised(scores, canary))

    def evidence(self, *, change: bool = False) -> float:
        """Natural log of the evidence; where blocks follow each other, no more than runs of them say."""
        found = self.bets.log_detector if change else self.bets.log_capital
        return found if self._guard.level == 0 else min(found, self._guard.evidence(change=change))

    @property
    def correlation(self) -> float:
        """Lag-1 rank correlation of the blocks."""
        return self._guard.correlation


def _standardised(scores: Sequence[float], chosen: Sequence[bool]) -> float:
    """The canary's sum of scores, less its mean over every choice, in standard deviations over every choice."""
    size, k = len(scores), sum(chosen)
    mean = math.fsum(scores) / size
    spread = math.fsum((score - mean) ** 2 for score in scores) * k * (size - k) / size / (size - 1)
    return math.fsum(score - mean for score, one in zip(scores, chosen, strict=True) if one) / math.sqrt(spread)


class BlockMedians:
    """The interval of the canary's median against the baseline's: one log-ratio of medians from each block."""

    def __init__(self, rule: Rule, alpha: float) -> None:
        check_alpha(alpha)
        self.rule = rule
        self._sequence = MedianSequence(alpha)

    def add(self, values: Sequence[float], canary: Sequence[bool]) -> None:
        """Take one block of positive times."""
        mine = sorted(value for value, one in zip(values, canary, strict=True) if one)
        others = sorted(value for value, one in zip(values, canary, strict=True) if not one)
        if mine and others and len(self._sequence) < MOST:
            self._sequence.add(self.rule.effect(middle(others), middle(mine)))

    def comparison(self) -> Comparison:
        """The comparison as it stands; its n counts blocks."""
        return conclude_sequence(self._sequence, self.rule)
