"""Whether training pays back: two measured capacities, what a request costs less, and when that has paid for it."""

from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._clock import Clock
from ._cost import HOURS_A_MONTH, Amount, BreakEven, Capacity, Cost, Pricing, break_even, cost, saving
from ._serve import Call
from ._streams import Effort, Throughput, mean_interval, offline

REPETITIONS = 8
"""Of each version; four of the order before, after, after, before."""

DAYS_A_MONTH = HOURS_A_MONTH / 24


@dataclass(frozen=True, kw_only=True)
class Payback:
    """What comes out of `payback`.

    Attributes:
        before, after: Offline throughput of both, with intervals at `confidence`.
        even: the break-even. Its saving has its interval at `confidence` too: each version's was taken at half the
            error (Bonferroni).
        basis: what a request was taken to cost.
    """

    before: Throughput
    after: Throughput
    even: BreakEven
    requests_per_day: float
    basis: str


def offline_both(
    before: Call, after: Call, *, batch: int, effort: Effort, confidence: float, clock: Clock | None = None
) -> tuple[Throughput, Throughput]:
    """Offline throughput of two versions, in turns (before, after, after, before), so that a drift hits both."""
    share = Effort(seconds=effort.seconds / (2 * REPETITIONS), most=effort.most, warmup=effort.warmup)
    values: tuple[list[float], list[float]] = ([], [])
    for _ in range(REPETITIONS // 2):
        for which in (0, 1, 1, 0):
            found = offline((before, after)[which], batch=batch, repetitions=1, effort=share, clock=clock)
            values[which].append(found.samples_per_s)
    first, second = (throughput(each, batch, confidence) for each in values)
    return first, second


def throughput(values: list[float] | tuple[float, ...], batch: int, confidence: float) -> Throughput:
    """Repetitions as one throughput with its interval."""
    mean, interval, reason = mean_interval(list(values), confidence)
    return Throughput(
        samples_per_s=mean, interval=interval, values=tuple(values), batch=batch, confidence=confidence, reason=reason
    )


def payback(
    before: Throughput, after: Throughput, pricing: Pricing, *, hours: float, price_per_hour: float, fleet: bool
) -> Payback:
    """When the hours of training at their price are paid for by what a request costs less.

    Args:
        fleet: whether a request costs its share of a month's whole machines, or its machine time alone.

    Raises:
        GatewiseError: a throughput without an interval; hours below 0; a price that is not above 0.
    """
    if not price_per_hour > 0:
        raise GatewiseError("training_price_per_hour must be above 0: what an hour of training costs")
    confidence = 1 - (1 - after.confidence) / 2
    costs: list[Cost] = []
    for each in (before, after):
        wide = throughput(each.values, each.batch, confidence)
        if wide.interval is None or wide.interval[0] <= 0:
            raise GatewiseError(f"a break-even needs two capacities with intervals; {wide.reason or 'one reaches 0'}")
        costs.append(cost(Capacity(samples_per_s=wide.samples_per_s, interval=wide.interval), pricing))
    if fleet:
        saved, basis = saving(costs[0].per_request, costs[1].per_request), "its share of a month's whole machines"
    else:
        was, now = costs[0].busy_per_million, costs[1].busy_per_million
        peak = max(pricing.shape.rates)  # machines stand for the peak all day
        saved = saving(_scaled(was, peak / 1e6), _scaled(now, peak / 1e6))
        basis = "its machine time, as if machines came in fractions"
    per_day = pricing.requests_per_month / DAYS_A_MONTH
    even = break_even(
        extra_hours=hours, price_per_hour=price_per_hour, saving_per_request=saved, requests_per_day=per_day
    )
    return Payback(before=before, after=after, even=even, requests_per_day=per_day, basis=basis)


def _scaled(amount: Amount, scale: float) -> Amount:
    ends = amount.interval
    return Amount(value=amount.value * scale, interval=None if ends is None else (ends[0] * scale, ends[1] * scale))
