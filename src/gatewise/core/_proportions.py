"""Shares on a stream: errors, tails, right answers. Evidence for a direction, and intervals for any time.

**Paired** outcomes (the same request to both arms). Where both fail or neither does, nothing tells them apart. Among
the discordant pairs, arms that do not differ are each other's mirror image, so "the arm alone failed" is a fair coin
whatever the load was, and `Bets` on its sign is McNemar's test with betting: x = +1, -1, or 0. An alternative stated
beforehand (a tail that triples: three to one, a stake of 1/2) gets four fifths of the capital; the rest spreads.

**Intervals.** For values y in [0, 1] with mean mu given the past, and a candidate m < mu, bettor c holds after n values

    K_c(m) = Prod (1 - c + c y_i / m)        0 < c < 1

which is a martingale at m = mu and falls as m grows, so those m whose mixture over c is 2 / alpha or more are refuted
and lie below the rest. The mirror image y -> 1 - y bounds from above. With y = (x + 1) / 2 it bounds a difference of
paired shares, x in {-1, 0, 1}. The capital depends on counts only: the order of the values cannot change it, and
nothing but the counts is kept. It is valid at all times, however often one looks.

Sources: McNemar 1947; Robbins 1970; Waudby-Smith and Ramdas 2024 (arXiv 2010.09686); Orabona and Jun 2024 (arXiv
2110.14099).
"""

import math
from collections.abc import Mapping

from ._errors import GatewiseError
from ._judge import Comparison, Rule, check_alpha

METHOD = "betting confidence sequence on a difference of paired shares"
METHOD_SHARE = "betting confidence sequence on a share"
METHOD_APART = "difference of two betting confidence sequences, each at alpha / 2"

STAKES = tuple(math.exp(math.log(0.0005) + i * math.log(0.95 / 0.0005) / 23) for i in range(24))
"""The c of the bettors."""


def _log_capital(counts: Mapping[float, float], m: float) -> float:
    """Natural log of the mixture's capital against a mean of m or less; `counts` by value in [0, 1]."""
    import numpy as np

    stakes, logs = np.asarray(STAKES), np.zeros(len(STAKES))
    for y, count in counts.items():
        logs += count * np.log1p(stakes * (y / m - 1.0))
    top = float(logs.max())
    return top + math.log(float(np.exp(logs - top).sum()) / len(STAKES))


def _lower(counts: Mapping[float, float], threshold: float) -> float:
    n = sum(counts.values())
    low, high = 0.0, math.fsum(y * count for y, count in counts.items()) / n if n else 0.0
    if high <= 0.0:
        return 0.0
    tiny = high * 1e-9
    if _log_capital(counts, tiny) < threshold:
        return 0.0
    while high - low > 1e-5 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if _log_capital(counts, middle) >= threshold else (low, middle)
    return low


def mean_interval(counts: Mapping[float, float], alpha: float) -> tuple[float, float]:
    """The interval of the mean of values in [0, 1], of which each was seen `counts[value]` times. Valid at any time."""
    check_alpha(alpha)
    if any(not 0 <= y <= 1 for y in counts) or any(count < 0 for count in counts.values()):
        raise GatewiseError("values must lie in [0, 1] and be seen 0 times or more")
    threshold = math.log(2.0 / alpha)
    mirrored = {1.0 - y: count for y, count in counts.items()}
    return _lower(counts, threshold), 1.0 - _lower(mirrored, threshold)


def judge_counts(
    counts: Mapping[float, float], rule: Rule, alpha: float, *, span: tuple[float, float] = (-1.0, 1.0)
) -> Comparison:
    """The mean of values within `span`, each seen so often, as it stands at any time.

    Differences of paired shares span -1 to 1. A share alone spans 0 to 1, and the rule's margin is what is allowed.
    """
    check_alpha(alpha)
    if rule.kind != "difference":
        raise GatewiseError("shares are compared by their difference; use kind='difference'")
    method = METHOD if span[0] < 0 else METHOD_SHARE
    n = math.fsum(counts.values())
    if n <= 0:
        return rule.refuse("no outcome yet", alpha=alpha, n=0, method=method)
    start, width = span[0], span[1] - span[0]
    center = math.fsum(value * count for value, count in counts.items()) / n
    squares = math.fsum(value * value * count for value, count in counts.items())
    low, high = mean_interval({(value - start) / width: count for value, count in counts.items()}, alpha)
    spread = math.sqrt(max(squares - n * center**2, 1.0)) / n
    return rule.conclude(
        center, start + width * low, start + width * high, spread, alpha=alpha, n=round(n), method=method
    )


def judge_unpaired_stream(arm: tuple[int, int], baseline: tuple[int, int], rule: Rule, alpha: float) -> Comparison:
    """Two shares, (hits, n) each, of requests that were not the same ones; each has one mean all along."""
    check_alpha(alpha)
    n = min(arm[1], baseline[1])
    if n == 0:
        return rule.refuse("nothing yet of one of the two", alpha=alpha, n=0, method=METHOD_APART)
    (arm_low, arm_high), (low, high) = (
        mean_interval({1.0: hits, 0.0: total - hits}, alpha / 2) for hits, total in (arm, baseline)
    )
    shares = [hits / total for hits, total in (arm, baseline)]
    spread = math.sqrt(sum(max(p * (1 - p), 1 / t) / t for p, t in zip(shares, (arm[1], baseline[1]), strict=True)))
    center = shares[0] - shares[1]
    return rule.conclude(center, arm_low - high, arm_high - low, spread, alpha=alpha, n=n, method=METHOD_APART)


def information_bound(alpha: float, chance: float, null: float = 0.5) -> float:
    """About how many observations any test at this level needs that knows the alternative: ln(1 / alpha) / KL.

    For one whose outcome has probability `chance` under the alternative and `null` under the hypothesis.
    """
    check_alpha(alpha)
    if not (0 < chance < 1 and 0 < null < 1) or chance == null:
        raise GatewiseError("chance and null must be two different probabilities between 0 and 1")
    divergence = chance * math.log(chance / null) + (1 - chance) * math.log((1 - chance) / (1 - null))
    return math.log(1 / alpha) / divergence
