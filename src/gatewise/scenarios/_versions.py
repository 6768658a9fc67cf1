"""The hybrid profile on real versions: both answer the same labelled items, both are timed on them, then one threshold.

What an item costs is machine time: its seconds x price per hour / 3600 / utilisation. A passed item pays for both.
"""

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._answers import Answers, Version, answers
from ._hybrid import FEWEST_ITEMS, Hybrid, HybridItems, hybrid

DIFFERENT = "the two versions read different data; their items were taken to be the same, in the same order"


@dataclass(frozen=True, kw_only=True)
class HybridPlan:
    """What answers first, what it passes on to, and at what price.

    Attributes:
        price_per_hour, edge_price_per_hour: of the cloud's machine; of the edge's, 0 where it costs nothing.
        utilisation: the share of an hour in which a paid machine answers; there is no cost without it.
        network_s: added to the time of what is passed on; 0 leaves the network out.
        margin: how much of quality the hybrid may lie below the cloud.
        budget_s: of the timing. Answering every item once comes before it.
    """

    edge: Version
    cloud: Version
    price_per_hour: float
    utilisation: float | None
    edge_price_per_hour: float = 0.0
    network_s: float = 0.0
    margin: float = 0.02
    alpha: float = 0.05
    budget_s: float = 60.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.utilisation is None:
            raise GatewiseError(
                "the hybrid profile weighs quality against cost, and a cost needs a utilisation: --utilisation 0.3"
            )
        if isinstance(self.utilisation, bool) or not 0 < self.utilisation <= 1:
            raise GatewiseError(f"utilisation is a share above 0 and at most 1, not {self.utilisation!r}")
        for name in ("price_per_hour", "edge_price_per_hour", "network_s"):
            value: float = getattr(self, name)
            if not 0 <= value < math.inf or (name == "price_per_hour" and not value):
                raise GatewiseError(f"{name} must be a number {'above' if name[0] == 'p' else 'of at least'} 0")
        if not 0 <= self.margin < 1:
            raise GatewiseError(f"margin is a share of quality from 0 to below 1, not {self.margin!r}")


@dataclass(frozen=True, kw_only=True)
class HybridRun:
    """What came out.

    Attributes:
        hybrid: the curve and the choice; costs are in the price's currency, per item.
        items, timed: held-out items, and how many of them were timed within the budget; the others stand at the mean.
        edge_s, cloud_s: mean seconds of an item; the network is in neither.
        measure: what quality is. `confidence_is`: what the threshold is compared with.
        notes: what a reader should know.
    """

    hybrid: Hybrid
    items: int
    timed: int
    edge_s: float
    cloud_s: float
    measure: str
    confidence_is: str
    chance: float
    edge_implementation: str
    cloud_implementation: str
    notes: tuple[str, ...]


def measure_hybrid(plan: HybridPlan, *, say: Callable[[str], None] = lambda _: None) -> HybridRun:
    """Answer, time, choose.

    Raises:
        GatewiseError: what `answers` raises; versions that do not answer the same number of items, or too few.
    """
    from gatewise.runtimes import check_runtime

    for version in (plan.edge, plan.cloud):  # before minutes are spent on the first
        check_runtime(version.runtime)
    say("the edge version answers")
    edge = answers(plan.edge)
    say("the cloud version answers")
    cloud = answers(plan.cloud)
    items = len(edge.correct)
    if items != len(cloud.correct):
        raise GatewiseError(f"the edge answers {items} items and the cloud {len(cloud.correct)}: give both the same")
    if items < FEWEST_ITEMS:
        raise GatewiseError(f"{items} held-out items are too few to choose on one half and measure on the other")
    say(f"timing both on {items} items")
    edge_s, cloud_s, timed = time_items(edge, cloud, seconds=plan.budget_s, seed=plan.seed)
    assert plan.utilisation is not None
    second, edge_second = (price / 3600 / plan.utilisation for price in (plan.price_per_hour, plan.edge_price_per_hour))
    found = hybrid(
        HybridItems(
            edge_correct=edge.correct,
            cloud_correct=cloud.correct,
            confidence=edge.confidence,
            edge_latency_s=edge_s,
            cloud_latency_s=[value + plan.network_s for value in cloud_s],
            edge_cost=[value * edge_second for value in edge_s],
            cloud_cost=[value * second for value in cloud_s],
        ),
        margin=plan.margin,
        alpha=plan.alpha,
        seed=plan.seed,
    )
    return HybridRun(
        hybrid=found,
        items=items,
        timed=timed,
        edge_s=math.fsum(edge_s) / items,
        cloud_s=math.fsum(cloud_s) / items,
        measure=edge.measure,
        confidence_is=edge.confidence_is,
        chance=edge.chance,
        edge_implementation=edge.implementation,
        cloud_implementation=cloud.implementation,
        notes=_notes(plan, edge, cloud, timed),
    )


def time_items(edge: Answers, cloud: Answers, *, seconds: float, seed: int) -> tuple[list[float], list[float], int]:
    """Seconds of every item on both versions, interleaved, items in random order; mean of two calls each.

    Items that the budget did not reach stand at the mean of those it did; how many it reached comes third.
    """
    import torch

    from gatewise.measure import Effort, interleave

    items = len(edge.calls)
    order = random.Random(f"items {seed}").sample(range(items), items)

    def in_turn(calls: tuple[Callable[[], object], ...]) -> Callable[[], object]:
        # A round calls each version twice; both calls are the round's item.
        numbers = iter([item for item in order for _ in range(2)])

        def call() -> object:
            return calls[next(numbers)]()

        return call

    effort = Effort(seconds=seconds, fewest=min(FEWEST_ITEMS, items), most=items, warmup=0)
    with torch.inference_mode():
        for version in (edge, cloud):
            version.calls[order[0]]()
        values = interleave(
            {"edge": in_turn(edge.calls), "cloud": in_turn(cloud.calls)}, effort=effort, seed=seed
        ).values_s
    timed = len(values["edge"]) // 2
    found: list[list[float]] = []
    for name in ("edge", "cloud"):
        taken = [(values[name][2 * i] + values[name][2 * i + 1]) / 2 for i in range(timed)]
        each = [math.fsum(taken) / timed] * items
        for item, value in zip(order[:timed], taken, strict=True):
            each[item] = value
        found.append(each)
    return found[0], found[1], timed


def _notes(plan: HybridPlan, edge: Answers, cloud: Answers, timed: int) -> tuple[str, ...]:
    notes = [*dict.fromkeys((*edge.notes, *cloud.notes))]
    if not plan.network_s:
        notes.append("no network between edge and cloud is in the times; --set network=20ms puts one in")
    if timed < len(edge.calls):
        notes.append(f"{timed} of {len(edge.calls)} items were timed within the budget; the others stand at their mean")
    if edge.data != cloud.data:
        notes.append(DIFFERENT)
    if plan.edge.model == plan.cloud.model and plan.edge.runtime == plan.cloud.runtime:
        notes.append("edge and cloud are the same version; what differs is the machine's price and threads")
    return tuple(notes)
