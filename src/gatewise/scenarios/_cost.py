"""What requests cost: a price per hour, a capacity that was measured, and how the traffic comes.

    machines        = ceil(peak rate / (capacity x utilisation))
    cost a month    = machines x price per hour x 730 h
    cost a request  = cost a month / requests a month

`utilisation` is the highest share of the measured capacity that one is willing to load a machine with at the peak: the
headroom for failures and for what the benchmark did not see. Nobody else can know it, so without it there is no cost.
"""

import math
from dataclasses import dataclass, field

from gatewise.core import GatewiseError

HOURS_A_MONTH = 730.0
"""8,760 hours of a year / 12."""


def _positive(name: str, value: float, unit: str) -> None:
    if isinstance(value, bool) or not 0 < value < math.inf:
        raise GatewiseError(f"{name} must be above 0 {unit}, not {value!r}")


@dataclass(frozen=True, kw_only=True)
class Capacity:
    """Samples a second that one machine was measured to answer, and where that is from.

    Attributes:
        samples_per_s: Offline throughput, or a Server rate that holds.
        interval: of `samples_per_s`; None where there is none (the cost then has none either).
        source: the scenario in words, such as "Server, p99 <= 50 ms".
    """

    samples_per_s: float
    interval: tuple[float, float] | None = None
    source: str = ""

    def __post_init__(self) -> None:
        _positive("a capacity", self.samples_per_s, "samples a second")
        if self.interval is not None:
            low, high = self.interval
            if not low <= self.samples_per_s <= high < math.inf:
                raise GatewiseError(f"the capacity's interval must contain it: {self.interval!r}")


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How traffic spreads over a day: flat, with a peak so many times its mean, or 24 weights by the hour.

    `hourly` needs no unit: only the ratios count. The fleet stands for the peak all day, unless `elastic` says that
    every hour has its own number of machines.
    """

    peak_to_mean: float = 1.0
    hourly: tuple[float, ...] = ()
    elastic: bool = False

    def __post_init__(self) -> None:
        if isinstance(self.peak_to_mean, bool) or not 1 <= self.peak_to_mean < math.inf:
            raise GatewiseError(f"peak_to_mean must be 1 (flat) or more, not {self.peak_to_mean!r}")
        if self.hourly and (
            len(self.hourly) != 24 or not all(0 <= weight < math.inf for weight in self.hourly) or not sum(self.hourly)
        ):
            raise GatewiseError(f"hourly takes 24 weights of 0 or more, not all 0; got {len(self.hourly)}")
        if self.hourly and self.peak_to_mean != 1:
            raise GatewiseError("give peak_to_mean or hourly, not both: the weights contain the peak")
        if self.elastic and not self.hourly:
            raise GatewiseError("an elastic fleet needs hourly weights: when there are how many requests")

    @property
    def rates(self) -> tuple[float, ...]:
        """The hours' rates relative to the mean, where the number of machines may differ between them."""
        if not self.hourly:
            return (self.peak_to_mean,)
        mean = math.fsum(self.hourly) / 24
        relative = tuple(weight / mean for weight in self.hourly)
        return relative if self.elastic else (max(relative),)


@dataclass(frozen=True, kw_only=True)
class Pricing:
    """What a machine costs, how far it may be loaded, and what it has to answer.

    Attributes:
        price_per_hour: of one machine, in `currency`.
        utilisation: the highest share of the capacity to be used at the peak, above 0 and at most 1.
        requests_per_month: how many come.
        samples_per_request: what one request asks for.
    """

    price_per_hour: float
    requests_per_month: float
    utilisation: float | None = None
    shape: Shape = field(default_factory=Shape)
    samples_per_request: float = 1.0
    currency: str = "USD"

    def __post_init__(self) -> None:
        if self.utilisation is None:
            raise GatewiseError(
                "a cost needs a utilisation: which share of the measured capacity the machines will be loaded with"
                "\ngive utilisation from 0 to 1 (such as 0.3); a price per hour alone says nothing about a request"
            )
        if isinstance(self.utilisation, bool) or not 0 < self.utilisation <= 1:
            raise GatewiseError(f"utilisation is a share above 0 and at most 1, not {self.utilisation!r}")
        _positive("price_per_hour", self.price_per_hour, self.currency)
        _positive("requests_per_month", self.requests_per_month, "requests")
        _positive("samples_per_request", self.samples_per_request, "samples")


@dataclass(frozen=True, kw_only=True)
class Amount:
    """An amount of money with the interval that the capacity's gives it; None where that has none."""

    value: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What it costs.

    Attributes:
        machines: at the peak. `machine_hours`: a month's.
        per_request, per_million, per_month: what is paid for, idle machines included.
        busy_per_million: the machine time of a million requests at this utilisation alone, as if machines could be
            bought in fractions; it is proportional to price, and inverse to capacity and utilisation.
    """

    machines: int
    machine_hours: float
    per_request: Amount
    per_million: Amount
    per_month: Amount
    busy_per_million: Amount
    capacity: Capacity
    pricing: Pricing


def _hours(samples_per_s: float, pricing: Pricing) -> tuple[int, float]:
    """Machines at the peak, and machine hours a month."""
    assert pricing.utilisation is not None
    mean = pricing.requests_per_month * pricing.samples_per_request / (HOURS_A_MONTH * 3600)
    usable = samples_per_s * pricing.utilisation
    counts = [max(1, math.ceil(mean * rate / usable * (1 - 1e-12))) for rate in pricing.shape.rates]
    return max(counts), HOURS_A_MONTH * math.fsum(counts) / len(counts)


def cost(capacity: Capacity, pricing: Pricing) -> Cost:
    """The cost of a month of traffic, and of a request in it. At least one machine always stands."""
    assert pricing.utilisation is not None

    def month(samples_per_s: float) -> float:
        return _hours(samples_per_s, pricing)[1] * pricing.price_per_hour

    def busy(samples_per_s: float) -> float:
        seconds = pricing.samples_per_request / (samples_per_s * (pricing.utilisation or 1.0))
        return 1e6 * seconds / 3600 * pricing.price_per_hour

    def amount(scale: float) -> Amount:
        low_high = None
        if capacity.interval is not None and capacity.interval[0] > 0:
            low_high = month(capacity.interval[1]) * scale, month(capacity.interval[0]) * scale
        return Amount(value=month(capacity.samples_per_s) * scale, interval=low_high)

    interval = capacity.interval
    machines, hours = _hours(capacity.samples_per_s, pricing)
    return Cost(
        machines=machines,
        machine_hours=hours,
        per_request=amount(1 / pricing.requests_per_month),
        per_million=amount(1e6 / pricing.requests_per_month),
        per_month=amount(1.0),
        busy_per_million=Amount(
            value=busy(capacity.samples_per_s),
            interval=(busy(interval[1]), busy(interval[0])) if interval is not None and interval[0] > 0 else None,
        ),
        capacity=capacity,
        pricing=pricing,
    )


@dataclass(frozen=True, kw_only=True)
class BreakEven:
    """When what training cost more comes back.

    Attributes:
        extra: what training cost more, in money. `saving_per_request`: what a request then costs less, with interval.
        requests, days: until the savings have paid for it; None where `never`.
        never: the saving's interval contains 0 or lies below it, so nothing says that it comes back.
        reason: in one line.
    """

    extra: float
    saving_per_request: Amount
    requests: Amount | None
    days: Amount | None
    never: bool
    reason: str


def break_even(
    *, extra_hours: float, price_per_hour: float, saving_per_request: Amount, requests_per_day: float
) -> BreakEven:
    """Extra training hours at a price, against what a request costs less afterwards.

    Raises:
        GatewiseError: hours below 0; a saving without an interval; no traffic.
    """
    if isinstance(extra_hours, bool) or not 0 <= extra_hours < math.inf:
        raise GatewiseError(f"extra_hours must be 0 or more, not {extra_hours!r}")
    _positive("price_per_hour", price_per_hour, "per hour")
    _positive("requests_per_day", requests_per_day, "requests")
    if saving_per_request.interval is None:
        raise GatewiseError("a break-even needs the saving's interval: without it nobody knows whether there is one")
    low, high = saving_per_request.interval
    extra = extra_hours * price_per_hour
    if low <= 0:
        why = "costs more" if high < 0 else "may not be cheaper at all: the saving's interval contains 0"
        return BreakEven(
            extra=extra,
            saving_per_request=saving_per_request,
            requests=None,
            days=None,
            never=True,
            reason=f"never: a request {why}",
        )
    requests = Amount(value=extra / saving_per_request.value, interval=(extra / high, extra / low))
    days = Amount(
        value=requests.value / requests_per_day,
        interval=(extra / high / requests_per_day, extra / low / requests_per_day),
    )
    reason = f"after about {requests.value:,.0f} requests, {days.value:,.1f} days"
    return BreakEven(
        extra=extra, saving_per_request=saving_per_request, requests=requests, days=days, never=False, reason=reason
    )


def saving(before: Amount, after: Amount) -> Amount:
    """What a request costs less; intervals at level 1 - a each give one at 1 - 2a (Bonferroni)."""
    interval = None
    if before.interval is not None and after.interval is not None:
        interval = before.interval[0] - after.interval[1], before.interval[1] - after.interval[0]
    return Amount(value=before.value - after.value, interval=interval)
