"""How many queries over a limit a percentile forgives, and what n queries say about a percentile at all.

`n` queries, `over` of them above the limit, percentile p. The limit holds at confidence c where so few over it would
be a rare event if exactly a share 1 - p of all queries were over it (the early-stopping rule of MLPerf Inference):

    holds   P(Binomial(n, 1 - p) <= over) <= 1 - c
    fails   P(Binomial(n, 1 - p) >= over) <= 1 - c
    else    undecided

The rule takes queries for independent. Those of a queue are not: slow ones come in clumps, because one that waits
makes the next one wait. `clumping` measures by how much clumps inflate the variance of the share that is over, and the
rule counts n / clumping queries and over / clumping slow ones: the effective size of a clustered sample (Kish 1965).
The percentile intervals are order statistics: no distribution is assumed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from gatewise.core import GatewiseError

Held = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True, kw_only=True)
class Tail:
    """What `n` queries say about a limit on a percentile.

    Attributes:
        verdict: holds, fails or undecided.
        n, over: queries, and those above the limit. `allowed`: how many may be; None where n is too small for any.
        clumping: by how much n and over were divided before the rule was asked; 1 for independent queries.
        needs: the fewest queries that could settle it if the share over the limit stays as it is; None where it is
            settled, and where no number would (the share is not below 1 - percentile).
        reason: in one line why it is undecided; None where it is not.
    """

    verdict: Held
    n: int
    over: int
    allowed: int | None
    percentile: float
    confidence: float
    clumping: float
    needs: int | None
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Percentile:
    """A percentile of a sample: `value_s`, and its interval; an end that the sample cannot give is None, with `needs`.

    `needs` is how many values both ends would take.
    """

    percentile: float
    value_s: float
    low_s: float | None
    high_s: float | None
    n: int
    confidence: float
    needs: int | None


def check_share(name: str, value: float) -> None:
    """Raises `GatewiseError` unless 0 < value < 1."""
    if isinstance(value, bool) or not 0 < value < 1:
        raise GatewiseError(f"{name} must lie between 0 and 1, not {value!r}")


def allowed_over(n: int, percentile: float, confidence: float) -> int | None:
    """The most queries of `n` that may be over the limit for it to hold; None where `n` is too small even for none."""
    from scipy.special import bdtr

    share, level = 1 - percentile, 1 - confidence
    if n < 1 or float(bdtr(0, n, share)) > level:
        return None
    low, high = 0, n  # the rule accepts low and, for n, never
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if float(bdtr(middle, n, share)) <= level else (low, middle)
    return low


def fewest_queries(percentile: float, confidence: float, over: int = 0) -> int:
    """The fewest queries with which `over` slow ones are still allowed: 299 for none at p99 and 95 %, 459 at 99 %."""
    from scipy.special import bdtr

    check_share("percentile", percentile)
    check_share("confidence", confidence)
    share, level = 1 - percentile, 1 - confidence
    high = over + 1
    while float(bdtr(over, high, share)) > level:
        high *= 2
    low = over
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if float(bdtr(over, middle, share)) <= level else (middle, high)
    return high


def judge_tail(n: int, over: int, *, percentile: float, confidence: float, clumping: float = 1.0) -> Tail:
    """The verdict of the rule. Raises `GatewiseError` for counts that cannot be and shares outside 0 to 1."""
    from scipy.special import bdtrc

    check_share("percentile", percentile)
    check_share("confidence", confidence)
    if not 0 <= over <= n:
        raise GatewiseError(f"{over} of {n} queries over the limit cannot be")
    if not (math.isfinite(clumping) and clumping >= 1):
        raise GatewiseError(f"clumping is a number of 1 or more, not {clumping!r}")
    size, slow = int(n / clumping), math.ceil(over / clumping - 1e-9)
    allowed = allowed_over(size, percentile, confidence)
    verdict: Held = "undecided"
    if allowed is not None and slow <= allowed:
        verdict = "holds"
    elif (
        size > 0
        and slow > 0
        and float(bdtrc(math.floor(over / clumping + 1e-9) - 1, size, 1 - percentile)) <= (1 - confidence)
    ):
        verdict = "fails"
    needs = _needs(n, over, percentile, confidence, clumping) if verdict == "undecided" else None
    reason = None
    if verdict == "undecided":
        floor = math.ceil(fewest_queries(percentile, confidence) * clumping)
        if n < floor:
            reason = f"too few: {n} queries, and p{100 * percentile:g} takes at least {floor} with none over the limit"
        else:
            reason = f"{over} of {n} over the limit is too close to {100 * (1 - percentile):g} % to tell"
    return Tail(
        verdict=verdict,
        n=n,
        over=over,
        allowed=None if allowed is None else int(allowed * clumping),
        percentile=percentile,
        confidence=confidence,
        clumping=clumping,
        needs=needs,
        reason=reason,
    )


def _needs(n: int, over: int, percentile: float, confidence: float, clumping: float) -> int | None:
    """How many queries would settle it at the share seen so far, by doubling; None from ten million on."""
    share = over / n if n else 0.0
    if share >= 1 - percentile:
        return None
    size = max(fewest_queries(percentile, confidence), int(n / clumping) + 1)
    while size < 10_000_000:
        allowed = allowed_over(size, percentile, confidence)
        if allowed is not None and math.ceil(share * size) <= allowed:
            return math.ceil(size * clumping)
        size = math.ceil(size * 1.1)
    return None


def clumping(over: Sequence[bool], first: Sequence[bool]) -> float:
    """By how much clumps inflate the variance of the share over the limit; at least 1.

    Args:
        over: per query, in order of arrival, whether it was over the limit.
        first: per query, whether it met an empty system, so that a new busy period begins. Those are independent.
    """
    n, total = len(over), sum(over)
    if n == 0 or total in (0, n):
        return 1.0
    share, squares, size, slow = total / n, 0.0, 0, 0
    for is_over, is_first in zip(over, first, strict=True):
        if is_first:
            squares += (slow - share * size) ** 2
            size = slow = 0
        size += 1
        slow += is_over
    squares += (slow - share * size) ** 2
    return max(1.0, squares / (n * share * (1 - share)))


def percentile_of(values_s: Sequence[float], percentile: float, confidence: float = 0.95) -> Percentile:
    """The smallest value that at least a share `percentile` of the values does not exceed, with its interval.

    The interval runs from the l-th to the u-th smallest value with P(B < l) and P(B >= u) at most (1 - confidence) / 2,
    B binomial(n, percentile). Raises `GatewiseError` for an empty sample.
    """
    from scipy.special import bdtr

    check_share("percentile", percentile)
    check_share("confidence", confidence)
    n = len(values_s)
    if n == 0:
        raise GatewiseError("there is no value to take a percentile of")
    ordered, level = sorted(values_s), (1 - confidence) / 2
    cumulative = bdtr(range(n), n, percentile)  # P(B <= k) for k = 0 .. n - 1
    below = int((cumulative <= level).sum())  # the largest l with P(B <= l - 1) <= level
    above = int((1 - cumulative > level).sum()) + 1  # the smallest u with P(B >= u) <= level
    low = ordered[below - 1] if below >= 1 else None
    high = ordered[above - 1] if above <= n else None
    needs = None
    if low is None or high is None:
        rarer = max(percentile, 1 - percentile)
        needs = math.ceil(math.log(level) / math.log(rarer))
    index = min(n, max(1, math.ceil(percentile * n - 1e-9)))
    return Percentile(
        percentile=percentile,
        value_s=ordered[index - 1],
        low_s=low,
        high_s=high,
        n=n,
        confidence=confidence,
        needs=needs,
    )
