"""Cost moves as it should with price, utilisation, traffic and capacity; it is refused without a utilisation."""

import math
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.scenarios import Amount, Capacity, Pricing, Shape, break_even, cost, energy_of, saving

prices = st.floats(0.01, 100)
shares = st.floats(0.01, 1)
traffics = st.floats(1e3, 1e10)
rates = st.floats(0.1, 1e4)


def priced(price: float, share: float, traffic: float, shape: Shape | None = None) -> Pricing:
    return Pricing(
        price_per_hour=price, utilisation=share, requests_per_month=traffic, shape=shape or Shape(), currency="EUR"
    )


def test_a_worked_example() -> None:
    """10 a second, 3 times that at the peak, on machines of 20 a second loaded to a half: three of them."""
    traffic = 10 * 730 * 3600
    found = cost(Capacity(samples_per_s=20), priced(0.5, 0.5, traffic, Shape(peak_to_mean=3)))
    assert found.machines == 3
    assert found.per_month.value == pytest.approx(3 * 730 * 0.5)
    assert found.per_million.value == pytest.approx(3 * 730 * 0.5 / traffic * 1e6)
    assert found.busy_per_million.value == pytest.approx(1e6 / 20 / 3600 / 0.5 * 0.5)
    assert found.per_month.interval is None


@given(price=prices, share=shares, traffic=traffics, rate=rates, factor=st.floats(1.01, 50))
def test_cost_is_proportional_to_the_price(
    price: float, share: float, traffic: float, rate: float, factor: float
) -> None:
    low = cost(Capacity(samples_per_s=rate), priced(price, share, traffic))
    high = cost(Capacity(samples_per_s=rate), priced(price * factor, share, traffic))
    for name in ("per_request", "per_million", "per_month", "busy_per_million"):
        assert getattr(high, name).value == pytest.approx(getattr(low, name).value * factor)


@given(price=prices, share=st.floats(0.01, 0.5), traffic=traffics, rate=rates)
def test_machine_time_is_inverse_to_utilisation_and_capacity(
    price: float, share: float, traffic: float, rate: float
) -> None:
    once = cost(Capacity(samples_per_s=rate), priced(price, share, traffic))
    fuller = cost(Capacity(samples_per_s=rate), priced(price, 2 * share, traffic))
    faster = cost(Capacity(samples_per_s=2 * rate), priced(price, share, traffic))
    assert fuller.busy_per_million.value == pytest.approx(once.busy_per_million.value / 2)
    assert faster.busy_per_million.value == pytest.approx(once.busy_per_million.value / 2)
    assert fuller.per_month.value <= once.per_month.value
    assert fuller.machines == faster.machines


@given(price=prices, share=shares, traffic=traffics, rate=rates, growth=st.floats(1, 100), peak=st.floats(1, 20))
def test_more_traffic_or_a_higher_peak_never_costs_less_a_month(
    price: float, share: float, traffic: float, rate: float, growth: float, peak: float
) -> None:
    base = cost(Capacity(samples_per_s=rate), priced(price, share, traffic))
    more = cost(Capacity(samples_per_s=rate), priced(price, share, traffic * growth))
    peaked = cost(Capacity(samples_per_s=rate), priced(price, share, traffic, Shape(peak_to_mean=peak)))
    assert more.per_month.value >= base.per_month.value
    assert peaked.per_month.value >= base.per_month.value
    assert base.per_million.value >= base.busy_per_million.value * (1 - 1e-9)  # whole machines cost no less


@given(weights=st.lists(st.floats(0, 100), min_size=24, max_size=24), traffic=traffics, rate=rates)
def test_hours_by_weight_lie_between_an_elastic_fleet_and_the_peak(
    weights: list[float], traffic: float, rate: float
) -> None:
    assume(sum(weights) > 1e-3)
    pricing = {
        elastic: priced(1.0, 0.5, traffic, Shape(hourly=tuple(weights), elastic=elastic)) for elastic in (False, True)
    }
    fixed, elastic = (cost(Capacity(samples_per_s=rate), pricing[key]) for key in (False, True))
    assert elastic.machines == fixed.machines
    assert elastic.per_month.value <= fixed.per_month.value * (1 + 1e-9)
    peak = cost(
        Capacity(samples_per_s=rate), priced(1.0, 0.5, traffic, Shape(peak_to_mean=max(weights) * 24 / sum(weights)))
    )
    assert abs(peak.machines - fixed.machines) <= 1  # rounding of a share of a machine


@given(rate=rates, spread=st.floats(0.01, 0.9), traffic=traffics)
def test_the_interval_is_the_capacitys_turned_round(rate: float, spread: float, traffic: float) -> None:
    low, high = rate * (1 - spread), rate * (1 + spread)
    found = cost(Capacity(samples_per_s=rate, interval=(low, high)), priced(1.0, 0.4, traffic))
    for name, at in (("per_month", 0), ("per_million", 0), ("busy_per_million", 1)):
        amount: Amount = getattr(found, name)
        assert amount.interval is not None
        assert amount.interval[0] <= amount.value <= amount.interval[1]
        if at:
            assert amount.interval[0] == pytest.approx(amount.value * rate / high)
            assert amount.interval[1] == pytest.approx(amount.value * rate / low)


def test_no_cost_without_a_utilisation() -> None:
    with pytest.raises(GatewiseError, match="utilisation") as refused:
        Pricing(price_per_hour=1.0, requests_per_month=1e6)
    assert len(str(refused.value).splitlines()) <= 2


@pytest.mark.parametrize("share", [0, -0.1, 1.01, math.nan, True])
def test_a_utilisation_is_a_share(share: float) -> None:
    with pytest.raises(GatewiseError, match="utilisation"):
        priced(1.0, share, 1e6)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: Shape(peak_to_mean=0.5),
        lambda: Shape(hourly=(1.0,) * 23),
        lambda: Shape(hourly=(0.0,) * 24),
        lambda: Shape(hourly=(1.0,) * 24, peak_to_mean=2),
        lambda: Shape(elastic=True),
        lambda: Capacity(samples_per_s=0),
        lambda: Capacity(samples_per_s=5, interval=(6, 7)),
        lambda: priced(math.inf, 0.5, 1e6),
        lambda: priced(1.0, 0.5, 0),
    ],
)
def test_impossible_input_is_refused(broken: object) -> None:
    with pytest.raises(GatewiseError):
        broken()  # type: ignore[operator]


@given(hours=st.floats(0.1, 1e5), price=prices, low=st.floats(1e-9, 1e-3), wide=st.floats(1, 10), day=st.floats(1, 1e9))
def test_break_even_is_where_the_savings_have_paid(
    hours: float, price: float, low: float, wide: float, day: float
) -> None:
    found = break_even(
        extra_hours=hours,
        price_per_hour=price,
        saving_per_request=Amount(value=low * wide, interval=(low, low * wide * wide)),
        requests_per_day=day,
    )
    assert not found.never
    assert found.requests is not None
    assert found.days is not None
    assert found.requests.value * low * wide == pytest.approx(hours * price)
    assert found.requests.interval is not None
    assert found.requests.interval[0] * (1 - 1e-9) <= found.requests.value <= found.requests.interval[1] * (1 + 1e-9)
    assert found.days.value == pytest.approx(found.requests.value / day)


@pytest.mark.parametrize("interval", [(-1e-6, 2e-6), (0.0, 2e-6), (-3e-6, -1e-6)])
def test_a_saving_that_may_be_none_never_breaks_even(interval: tuple[float, float]) -> None:
    value = sum(interval) / 2
    found = break_even(
        extra_hours=10,
        price_per_hour=1,
        saving_per_request=Amount(value=value, interval=interval),
        requests_per_day=1e6,
    )
    assert found.never
    assert found.requests is None
    assert found.reason.startswith("never")


def test_a_saving_without_an_interval_is_refused() -> None:
    with pytest.raises(GatewiseError, match="interval"):
        break_even(
            extra_hours=1, price_per_hour=1, saving_per_request=Amount(value=1.0, interval=None), requests_per_day=1
        )


def test_a_saving_spans_what_both_intervals_allow() -> None:
    found = saving(Amount(value=3.0, interval=(2.5, 3.5)), Amount(value=2.0, interval=(1.5, 2.7)))
    assert found.value == pytest.approx(1.0)
    assert found.interval == pytest.approx((-0.2, 2.0))
    assert saving(Amount(value=3.0, interval=None), Amount(value=2.0, interval=(1, 3))).interval is None


def test_energy_is_read_where_there_is_a_counter_and_never_made_up(tmp_path: Path) -> None:
    assert energy_of(lambda: None, root=tmp_path).joules is None
    assert "not measured" in (energy_of(lambda: None, root=tmp_path).reason or "")
    for name, before, wrap in (("intel-rapl:0", 1_000_000, 10_000_000), ("intel-rapl:0:0", 5, 10)):
        zone = tmp_path / name
        zone.mkdir()
        (zone / "energy_uj").write_text(str(before))
        (zone / "max_energy_range_uj").write_text(str(wrap))
    counter = tmp_path / "intel-rapl:0" / "energy_uj"
    assert energy_of(lambda: counter.write_text("3500000"), root=tmp_path).joules == pytest.approx(2.5)
    assert energy_of(lambda: counter.write_text("499999"), root=tmp_path).joules == pytest.approx(7.0)  # it wrapped
