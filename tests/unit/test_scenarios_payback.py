"""Two capacities taken in turns, and when a saving between them has paid for training."""

import pytest

from gatewise.core import GatewiseError
from gatewise.scenarios import Effort, Pricing, Shape, VirtualClock, offline_both, payback, throughput

PRICING = Pricing(price_per_hour=3.6, utilisation=0.5, requests_per_month=730e3)


def test_versions_take_turns_and_a_drift_hits_both() -> None:
    clock, order = VirtualClock(), list[str]()

    def version(name: str, seconds: float):
        def call(numbers: list[int]) -> None:
            if not order or order[-1] != name:
                order.append(name)
            clock.advance(seconds * len(numbers) * (1 + 0.001 * clock.now_s()))

        return call

    before, after = offline_both(
        version("b", 0.02), version("a", 0.01), batch=2, effort=Effort(seconds=16), confidence=0.95, clock=clock
    )
    assert order == ["b", "a", "b", "a", "b", "a", "b", "a", "b"]
    assert len(before.values) == len(after.values) == 8
    assert after.samples_per_s / before.samples_per_s == pytest.approx(2, rel=0.005)


def test_a_saving_pays_back_by_the_formula() -> None:
    before = throughput([99.0, 100.0, 101.0] * 3, 1, 0.95)
    after = throughput([199.0, 200.0, 201.0] * 3, 1, 0.95)
    found = payback(before, after, PRICING, hours=10, price_per_hour=2.0, fleet=False)
    saved = 3.6 / 3600 / 0.5 * (1 / 100 - 1 / 200)
    assert found.even.saving_per_request.value == pytest.approx(saved)
    assert found.even.requests is not None
    assert found.even.requests.value == pytest.approx(20 / saved)
    assert found.requests_per_day == pytest.approx(24_000)
    assert found.even.days is not None
    assert found.even.days.value == pytest.approx(20 / saved / 24_000)
    peaked = Pricing(price_per_hour=3.6, utilisation=0.5, requests_per_month=730e3, shape=Shape(peak_to_mean=2.0))
    twice = payback(before, after, peaked, hours=10, price_per_hour=2.0, fleet=False)
    assert twice.even.saving_per_request.value == pytest.approx(2 * saved)


def test_the_intervals_of_the_saving_are_bonferronis() -> None:
    before, after = throughput([90.0, 100.0, 110.0], 1, 0.95), throughput([190.0, 200.0, 210.0], 1, 0.95)
    found = payback(before, after, PRICING, hours=1, price_per_hour=1.0, fleet=False)
    wide = [throughput(each.values, 1, 0.975).interval for each in (before, after)]
    assert wide[0] is not None
    assert wide[1] is not None
    unit = 3.6 / 3600 / 0.5
    low, high = found.even.saving_per_request.interval or (0.0, 0.0)
    assert low == pytest.approx(unit * (1 / wide[0][1] - 1 / wide[1][0]))
    assert high == pytest.approx(unit * (1 / wide[0][0] - 1 / wide[1][1]))


def test_no_saving_and_a_fleet_that_stays_one_machine_never_pay_back() -> None:
    same = throughput([99.0, 100.0, 101.0] * 3, 1, 0.95)
    faster = throughput([199.0, 200.0, 201.0] * 3, 1, 0.95)
    assert payback(same, same, PRICING, hours=1, price_per_hour=1.0, fleet=False).even.never
    assert payback(faster, same, PRICING, hours=1, price_per_hour=1.0, fleet=False).even.never
    # 730,000 requests a month are one machine's work either way: nobody gets money back for its idle time.
    assert payback(same, faster, PRICING, hours=1, price_per_hour=1.0, fleet=True).even.never
    many = Pricing(price_per_hour=3.6, utilisation=0.5, requests_per_month=1000 * 730 * 3600.0)
    found = payback(same, faster, many, hours=1, price_per_hour=1.0, fleet=True)
    assert not found.even.never
    assert found.even.saving_per_request.value == pytest.approx(10 * 730 * 3.6 / many.requests_per_month)


def test_refusals() -> None:
    good, single = throughput([99.0, 100.0, 101.0], 1, 0.95), throughput([100.0], 1, 0.95)
    with pytest.raises(GatewiseError, match="intervals"):
        payback(single, good, PRICING, hours=1, price_per_hour=1.0, fleet=False)
    with pytest.raises(GatewiseError, match="training_price_per_hour"):
        payback(good, good, PRICING, hours=1, price_per_hour=0.0, fleet=False)
    with pytest.raises(GatewiseError, match="extra_hours"):
        payback(good, good, PRICING, hours=-1, price_per_hour=1.0, fleet=False)
