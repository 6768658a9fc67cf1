"""The disturbance statistics on series whose disturbance is known."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.doctor._missing import Missing
from gatewise.doctor._probe import FEWEST, repeat, statistics, timer

N = 6400
CALL_S = 1e-4


def quiet(seed: int = 0, n: int = N) -> list[float]:
    rng = random.Random(seed)
    return [CALL_S * rng.lognormvariate(0, 0.004) for _ in range(n)]


def test_quiet() -> None:
    found = statistics(quiet())
    assert found["calls"] == N
    assert found["median_s"] == pytest.approx(CALL_S, rel=1e-3)
    assert found["p99_over_median"] == pytest.approx(math.exp(0.004 * 2.326), rel=2e-3)
    assert found["outliers"] == 0
    assert abs(found["autocorrelation"]) < 3 / math.sqrt(N)
    assert abs(found["drift"]) < 0.001
    assert found["slow_share"] == 0
    assert found["slow_by"] == 0
    assert found["pairs"]["verdict"] == "equivalent"
    assert found["pairs"]["smallest_detectable"] < 0.025


def test_co_tenant_on_and_off() -> None:
    # Half of the time 20 % slower, in turns of two windows.
    series = [value * (1.2 if (i // (N // 8)) % 2 else 1.0) for i, value in enumerate(quiet())]
    found = statistics(series)
    assert found["slow_share"] == 0.5
    assert found["slow_by"] == pytest.approx(0.2, abs=0.02)
    assert found["autocorrelation"] > 0.7
    assert abs(found["drift"]) < 0.03


def test_drift() -> None:
    found = statistics([value * (1 + 0.08 * i / N) for i, value in enumerate(quiet())])
    assert found["drift"] == pytest.approx(0.08 / 1.04 * 15 / 16, abs=0.002)
    assert found["slow_share"] == 0
    assert found["pairs"]["verdict"] == "equivalent"
    back = statistics([value * (1 - 0.08 * i / N) for i, value in enumerate(quiet())])
    assert back["drift"] == pytest.approx(-found["drift"], rel=0.1)


def test_outliers() -> None:
    series = quiet()
    for i in range(0, N, 50):
        series[i] *= 10
    found = statistics(series)
    assert found["outliers"] == pytest.approx(1 / 50)
    assert found["p99_over_median"] == pytest.approx(10, rel=0.05)
    assert found["median_s"] == pytest.approx(CALL_S, rel=1e-3)
    assert abs(found["drift"]) < 0.001
    assert found["slow_share"] == 0


def test_runs() -> None:
    rng, state, series = random.Random(1), 0.0, []
    for _ in range(N):
        state = 0.8 * state + rng.gauss(0, 0.01)
        series.append(CALL_S * math.exp(state))
    # The rank correlation of normal values with correlation r is (6 / pi) asin(r / 2).
    assert statistics(series)["autocorrelation"] == pytest.approx(6 / math.pi * math.asin(0.4), abs=0.03)


def test_one_huge_value_does_not_hide_runs() -> None:
    series = [value * (1.2 if (i // 100) % 2 else 1.0) for i, value in enumerate(quiet())]
    before = statistics(series)["autocorrelation"]
    series[N // 2] *= 1e6
    assert statistics(series)["autocorrelation"] == pytest.approx(before, abs=0.01)


def test_noise_that_no_pairing_removes() -> None:
    rng = random.Random(2)
    found = statistics([CALL_S * rng.lognormvariate(0, 1.0) for _ in range(N // 8)])
    assert found["pairs"]["verdict"] == "inconclusive"
    assert found["pairs"]["interval"][0] < 1 / 1.02 or found["pairs"]["interval"][1] > 1.02


def test_equal_values_are_no_evidence() -> None:
    found = statistics([CALL_S] * N)
    assert isinstance(found["autocorrelation"], Missing)
    assert found["pairs"]["verdict"] == "inconclusive"
    assert isinstance(found["pairs"]["interval"], Missing)


@pytest.mark.parametrize("series", [[], [CALL_S], [CALL_S] * (FEWEST - 1), [0.0] * FEWEST])
def test_too_little_is_said(series: list[float]) -> None:
    found = statistics(series)
    assert found["calls"] == len(series)
    assert all(isinstance(value, Missing) for name, value in found.items() if name != "calls")


@given(st.lists(st.floats(1e-9, 1e3), min_size=FEWEST, max_size=FEWEST + 40), st.floats(1e-3, 1e3))
def test_the_unit_does_not_matter(series: list[float], scale: float) -> None:
    one, other = statistics(series), statistics([value * scale for value in series])
    for name in ("p99_over_median", "drift", "slow_share", "slow_by"):
        assert other[name] == pytest.approx(one[name], rel=1e-6, abs=1e-9)
    assert 0 <= one["outliers"] <= 0.5
    assert 0 <= one["slow_share"] <= 1
    assert one["p99_over_median"] >= 1


def test_repeat_calls_in_order_and_stops() -> None:
    calls = [0]

    def call() -> None:
        calls[0] += 1

    times = repeat(call, 60.0, most=500)
    assert len(times) == 500
    assert calls[0] > 500  # the first ones warm up
    assert len(repeat(call, 0.0)) == 1


def test_timer() -> None:
    found = timer(1000)
    assert 0 < found["promised_s"] <= 1e-3
    assert found["smallest_step_s"] > 0
    assert found["read_s"] > 0


def test_neighbours_are_compared_so_that_a_steep_drift_cancels() -> None:
    found = statistics([value * (1 + i / FEWEST) for i, value in enumerate(quiet(n=FEWEST))])
    assert found["drift"] > 0.5
    assert found["pairs"]["interval"] is not None
    # Even calls against odd ones would differ by one step of the drift, at least 0.4 %.
    steady = statistics([CALL_S * (1 + i / FEWEST) * (1 + 1e-6 * (i * 7919 % 101)) for i in range(FEWEST)])
    low, high = steady["pairs"]["interval"]
    assert 0.999 < low <= high < 1.001
