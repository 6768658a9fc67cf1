"""Paired binary items: the difference of two shares of right answers that were given to the same questions.

Only the discordant items tell the arms apart: b that the arm alone got right, c that the baseline alone got right, of
n. The interval inverts Tango's score test, with a continuity correction of one item, on the estimate (b - c) / n:

    b - c - n d - 1 = z sqrt(n (2 q + d (1 - d))),      q = the share of c-items that is likeliest given d

Exact binomials take over where a normal approximation promises too much or too little: the limit passes 0 only with
the exact McNemar test, it never exceeds what the share of gained items alone allows (the difference is at most that
share), and it need not lie below what the share of lost items alone allows. Enumerated over every outcome (n = 3 to
200, alpha = .1 to .005, any discordance, differences up to .4), each side then misses at most alpha / 2 of the time.
No discordant item at all is an answer too: an interval of about 3.7 / n on both sides of 0 at alpha = .05.

Sources: McNemar 1947; Clopper and Pearson 1934; Tango 1998 (Statistics in Medicine 17:891); Fagerland, Lydersen and
Laake 2014 (Statistics in Medicine 33:2850).
"""

import math
from collections.abc import Sequence
from statistics import NormalDist

from ._errors import GatewiseError
from ._judge import Comparison, Method, Rule

METHOD = "paired score interval (Tango), exact McNemar at 0"


def item_method(baseline: Sequence[float], arm: Sequence[float]) -> Method:
    """How paired items are judged: `paired` when every value is 0 or 1 (wrong or right), else `mean`."""
    binary = all(value in (0, 1) for values in (baseline, arm) for value in values)
    return "paired" if binary and len(baseline) > 0 else "mean"


def judge_paired(effects: Sequence[float], rule: Rule, alpha: float) -> Comparison:
    """Effects of paired binary items, each -1, 0 or 1, of a number fixed beforehand."""
    n = len(effects)
    if rule.kind != "difference":
        raise GatewiseError("the paired method judges a difference of shares; use kind='difference'")
    if any(effect not in (-1, 0, 1) for effect in effects):
        raise GatewiseError("the paired method needs items that are right or wrong: every effect -1, 0 or 1")
    if n == 0:
        return rule.refuse("no item", alpha=alpha, n=0, method=METHOD)
    gained, lost = sum(effect == 1 for effect in effects), sum(effect == -1 for effect in effects)
    center = (gained - lost) / n
    if n == 1:
        reason = "n = 1: a single item has no spread to judge by"
        return rule.refuse(reason, alpha=alpha, n=1, method=METHOD, estimate=center)
    low, high = paired_interval(gained, lost, n, alpha)
    # Standard error of the difference; one item's worth where nothing, or everything, differs.
    spread = math.sqrt(max(gained + lost - n * center**2, 1.0)) / n
    return rule.conclude(center, low, high, spread, alpha=alpha, n=n, method=METHOD)


def paired_interval(gained: int, lost: int, n: int, alpha: float) -> tuple[float, float]:
    """The interval of the difference of shares when `gained` of `n` items are won and `lost` are lost."""
    return _lower(gained, lost, n, alpha), -_lower(lost, gained, n, alpha)


def _lower(b: int, c: int, n: int, alpha: float) -> float:
    from scipy.special import bdtrc, betaincinv

    most_lost = float(betaincinv(c + 1, n - c, 1 - alpha / 2)) if c < n else 1.0
    limit = max(score_limit(b, c, n, alpha, correction=1.0), -most_lost)
    if b > 0:
        limit = min(limit, float(betaincinv(b, n - b + 1, alpha / 2)))
    if limit > 0 and float(bdtrc(b - 1, b + c, 0.5)) > alpha / 2:
        return 0.0
    return limit


def score_limit(b: int, c: int, n: int, alpha: float, *, correction: float) -> float:
    """The lower limit of Tango's score interval; with a `correction` of 0 it is the published one."""
    z = NormalDist().inv_cdf(1 - alpha / 2)

    def refuted(d: float) -> bool:
        """Whether the items refute a difference of d or less."""
        half = (2 * n - b + c) * d - b - c
        q = (math.sqrt(max(half**2 + 8 * n * c * d * (1 - d), 0.0)) - half) / (4 * n)
        return b - c - n * d - correction > z * math.sqrt(max(n * (2 * q + d * (1 - d)), 0.0))

    low, high = -1.0, (b - c) / n
    if not refuted(low):
        return low
    while high - low > 1e-12:
        middle = (low + high) / 2
        low, high = (middle, high) if refuted(middle) else (low, middle)
    return low
