"""Edge first, cloud when in doubt: a small version answers, and passes on what it is not confident of.

An item is passed on where the edge's confidence lies below the threshold. A passed item pays for both. The threshold is
chosen on one half of the items: the cheapest whose quality is, at the one-sided level alpha, not worse than the cloud's
by more than the margin. What is claimed of it is measured on the other half, which took no part in the choice.
"""

import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from gatewise.core import GatewiseError, compare

from ._rule import Percentile, percentile_of
from ._streams import mean_interval

FEWEST_ITEMS = 20
MOST_POINTS = 100


@dataclass(frozen=True, kw_only=True)
class HybridItems:
    """The same items answered by both versions.

    Attributes:
        edge_correct, cloud_correct: 0 or 1 per item, or scores where higher is better.
        confidence: the edge's, per item: the largest softmax probability, a margin, or a function of your own.
        edge_latency_s, cloud_latency_s: per item, or one number for all.
        edge_cost, cloud_cost: per item, or one number for all, in one currency.
    """

    edge_correct: Sequence[float]
    cloud_correct: Sequence[float]
    confidence: Sequence[float]
    edge_latency_s: Sequence[float] | float
    cloud_latency_s: Sequence[float] | float
    edge_cost: Sequence[float] | float
    cloud_cost: Sequence[float] | float

    def __post_init__(self) -> None:
        n = len(self.edge_correct)
        for name in ("edge_correct", "cloud_correct", "confidence"):
            values: Sequence[float] = getattr(self, name)
            if len(values) != n or not all(math.isfinite(value) for value in values):
                raise GatewiseError(f"{name} must be {n} finite numbers, one per item")
        for name in ("edge_latency_s", "cloud_latency_s", "edge_cost", "cloud_cost"):
            given: Sequence[float] | float = getattr(self, name)
            each = [float(given)] * n if isinstance(given, int | float) else [float(value) for value in given]
            if len(each) != n or not all(math.isfinite(value) and value >= 0 for value in each):
                raise GatewiseError(f"{name} must be one number, or {n}, of 0 or more")
            object.__setattr__(self, name, tuple(each))
        if n < FEWEST_ITEMS:
            raise GatewiseError(f"{n} items are too few to choose on one half and measure on the other")

    def pick(self, indices: Sequence[int]) -> "HybridItems":
        """These items, in this order."""
        chosen = {name: tuple(getattr(self, name)[i] for i in indices) for name in self.__dataclass_fields__}
        return HybridItems(**chosen)


@dataclass(frozen=True, kw_only=True)
class HybridPoint:
    """One threshold on some items: means, the share passed on, and quality minus the cloud's, with its lower limit.

    `threshold` is `inf` where all is passed on. `quality_low` is the one-sided limit; None where it was refused.
    """

    threshold: float
    passed_on: float
    quality: float
    quality_change: float
    quality_low: float | None
    latency_s: float
    cost: float


@dataclass(frozen=True, kw_only=True)
class Hybrid:
    """The curve and the choice.

    Attributes:
        curve: points over thresholds on the half that chooses, from all on the edge to all passed on.
        chosen: the threshold's point on the other half; None where none qualifies, and `reason` says why.
        cost_interval, latency_interval: of the mean an item there. `latency_p99`: with its interval.
        cloud_cost, cloud_quality: the cloud alone, on the other half. `edge_quality`: the edge alone.
        separation: the chance that a right answer of the edge has more confidence than a wrong one (AUROC); None where
            scores are not right or wrong. `warning`: where confidence does not tell them apart.
    """

    curve: tuple[HybridPoint, ...]
    chosen: HybridPoint | None
    cost_interval: tuple[float, float] | None
    latency_interval: tuple[float, float] | None
    latency_p99: Percentile | None
    cloud_quality: float
    edge_quality: float
    cloud_cost: float
    separation: float | None
    warning: str | None
    margin: float
    alpha: float
    items: tuple[int, int]
    reason: str


def hybrid(items: HybridItems, *, margin: float, alpha: float = 0.05, seed: int = 0) -> Hybrid:
    """The curve of thresholds, the chosen one, and its quality on items that did not choose it.

    Args:
        margin: how much of quality (accuracy: a share) the hybrid may lie below the cloud.
        alpha: the chance that the claimed bound on the chosen point's quality is wrong.
        seed: of the split into halves.
    """
    if not 0 <= margin < 1 or not 0 < alpha <= 0.25:
        raise GatewiseError(f"margin lies in [0, 1) and alpha in (0, 0.25], not {margin!r} and {alpha!r}")
    order = list(range(len(items.confidence)))
    random.Random(f"halves {seed}").shuffle(order)
    choose, prove = items.pick(order[::2]), items.pick(order[1::2])
    curve = tuple(point(choose, threshold, alpha) for threshold in _thresholds(choose.confidence))
    n, cloud_cost = len(prove.confidence), _mean(prove.cloud_cost)
    separation, warning = _separation(choose)
    chosen, reason = _choose(curve, _mean(choose.cloud_cost), margin)
    proof = None
    if chosen is not None:
        proof = point(prove, chosen.threshold, alpha)
        if proof.quality_low is None or proof.quality_low < -margin:
            seen = "refused" if proof.quality_low is None else f"{proof.quality_low:+.4g}"
            reason = (
                f"no threshold qualifies: {chosen.threshold:.4g} was chosen, but on the other half its limit is {seen}"
            )
            proof = None
        elif proof.cost >= cloud_cost:
            reason, proof = "no threshold qualifies: on the other half the chosen one costs as much as the cloud", None
    passed = [value < proof.threshold for value in prove.confidence] if proof else []
    latency = [
        e + c * p for e, c, p in zip(_of(prove.edge_latency_s), _of(prove.cloud_latency_s), passed, strict=False)
    ]
    spent = [e + c * p for e, c, p in zip(_of(prove.edge_cost), _of(prove.cloud_cost), passed, strict=False)]
    return Hybrid(
        curve=curve,
        chosen=proof,
        cost_interval=_above_0(spent, alpha),
        latency_interval=_above_0(latency, alpha),
        latency_p99=percentile_of(latency, 0.99, 1 - alpha) if latency else None,
        cloud_quality=_mean(prove.cloud_correct),
        edge_quality=_mean(prove.edge_correct),
        cloud_cost=cloud_cost,
        separation=separation,
        warning=warning,
        margin=margin,
        alpha=alpha,
        items=(len(choose.confidence), n),
        reason=reason,
    )


def point(items: HybridItems, threshold: float, alpha: float = 0.05) -> HybridPoint:
    """What one threshold gives on these items."""
    passed = [value < threshold for value in items.confidence]
    mixed = [c if p else e for e, c, p in zip(items.edge_correct, items.cloud_correct, passed, strict=True)]
    # A one-sided limit at alpha is the lower end of a two-sided interval at twice alpha.
    found = compare(items.cloud_correct, mixed, kind="difference", direction="higher", margin=0.0, alpha=2 * alpha)
    low = found.interval[0] if found.interval else (0.0 if mixed == list(items.cloud_correct) else None)
    if math.isinf(threshold):
        low = 0.0  # all is passed on, now and later: it is the cloud's own quality
    latency = [e + c * p for e, c, p in zip(_of(items.edge_latency_s), _of(items.cloud_latency_s), passed, strict=True)]
    spent = [e + c * p for e, c, p in zip(_of(items.edge_cost), _of(items.cloud_cost), passed, strict=True)]
    return HybridPoint(
        threshold=threshold,
        passed_on=sum(passed) / len(passed),
        quality=_mean(mixed),
        quality_change=_mean(mixed) - _mean(items.cloud_correct),
        quality_low=low,
        latency_s=_mean(latency),
        cost=_mean(spent),
    )


def _choose(curve: Sequence[HybridPoint], cloud_cost: float, margin: float) -> tuple[HybridPoint | None, str]:
    """The cheapest point that qualifies; among equally cheap ones the one that passes on less."""
    good = [each for each in curve if each.quality_low is not None and each.quality_low >= -margin]
    if not good:
        return None, f"no threshold qualifies: none keeps the quality within {margin:g} of the cloud's"
    best = min(good, key=lambda each: (each.cost, each.passed_on))
    if best.cost >= cloud_cost:
        return None, "no threshold qualifies: wherever the quality holds, the cloud alone costs no more"
    return best, f"the cheapest threshold whose quality stays within {margin:g} of the cloud's"


def _thresholds(confidence: Sequence[float]) -> list[float]:
    """Distinct values, evenly thinned, from the lowest (nothing is passed on) to inf. Ties go the same way."""
    distinct = sorted(set(confidence))
    if len(distinct) > MOST_POINTS:
        distinct = [distinct[i * len(distinct) // MOST_POINTS] for i in range(MOST_POINTS)]
    return [*distinct, math.inf]


def _separation(items: HybridItems) -> tuple[float | None, str | None]:
    """AUROC of confidence for right against wrong answers (ties half), with a warning where it may be .5 or less."""
    if any(value not in (0, 1) for value in items.edge_correct):
        return None, None
    pairs = sorted(zip(items.confidence, items.edge_correct, strict=True))
    right = sum(value == 1 for _, value in pairs)
    wrong = len(pairs) - right
    if right == 0 or wrong == 0:
        return None, None
    ranks, start = 0.0, 0
    while start < len(pairs):
        end = start
        while end < len(pairs) and pairs[end][0] == pairs[start][0]:
            end += 1
        ranks += sum(value == 1 for _, value in pairs[start:end]) * (start + end + 1) / 2
        start = end
    area = (ranks - right * (right + 1) / 2) / (right * wrong)
    error = math.sqrt((right + wrong + 1) / (12 * right * wrong))  # under no separation (Mann and Whitney 1947)
    if area - 0.5 > 1.645 * error:
        return area, None
    return area, f"the edge's confidence does not tell its right answers from wrong ones (AUROC {area:.2f})"


def _of(values: Sequence[float] | float) -> Sequence[float]:
    assert not isinstance(values, int | float)  # made a tuple when the items were built
    return values


def _mean(values: Sequence[float] | float) -> float:
    each = _of(values)
    return math.fsum(each) / len(each)


def _above_0(values: list[float], alpha: float) -> tuple[float, float] | None:
    """The interval of a mean that cannot be negative: few slow items must not make it say so."""
    found = mean_interval(values, 1 - alpha)[1] if values else None
    return None if found is None else (max(found[0], 0.0), found[1])
