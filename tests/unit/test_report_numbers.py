"""Numbers as people read them: signs, units, rounding, and no word for what is missing but an en dash."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.report import _numbers as num
from gatewise.report import _scale

FINITE = st.floats(-1e149, 1e149)


@pytest.mark.parametrize(
    ("ratio", "places", "shown"),
    [
        (1.031, 1, "+3.1 %"),
        (0.9804, 1, "−2.0 %"),
        (1.0, 1, "0.0 %"),
        (0.99999, 1, "0.0 %"),
        (0.5, 1, "−50.0 %"),
        (2.134, 1, "+113 %"),
        (12.34, 1, "×12.3"),
        (0.98512, 2, "−1.49 %"),
        (None, 1, "–"),
    ],
)
def test_a_ratio_is_a_signed_change(ratio: float | None, places: int, shown: str) -> None:
    assert num.percent(ratio, places) == shown


@pytest.mark.parametrize(
    ("value", "unit", "shown"),
    [
        (0.00842, "s", "8.42 ms"),
        (0.0009996, "s", "1.00 ms"),
        (3.1e-6, "s", "3.10 µs"),
        (2.0, "s", "2.00 s"),
        (332.0, "s", "5 min 32 s"),
        (7500.0, "s", "2 h 05 min"),
        (0.0, "s", "0 s"),
        (90_852_864, "B", "90.9 MB"),
        (22_713_216, "1", "22.7 M"),
        (7, "1", "7"),
        (721e6, "FLOP", "721 MFLOP"),
        (2.4971, "bits/byte", "2.50 bits/byte"),
        (412.0, "steps", "412 steps"),
        (3.06e-7, "1 - cosine", "3.06×10⁻⁷"),
        (118.7, "1/s", "119/s"),
        (0.8712, "accuracy", "0.871 accuracy"),
        (None, "s", "–"),
    ],
)
def test_a_value_has_three_digits_and_its_unit(value: float | None, unit: str, shown: str) -> None:
    assert num.quantity(value, unit) == shown


@pytest.mark.parametrize(
    ("margin", "kind", "places"), [(0.02, "ratio", 1), (0.005, "ratio", 2), (0.001, "difference", 4)]
)
def test_a_column_has_the_decimals_that_its_margin_needs(margin: float, kind: str, places: int) -> None:
    assert num.decimals(margin, kind) == places


def test_a_difference_far_below_its_margin_is_not_shown_as_zero() -> None:
    assert num.difference(3.244e-7, 4) == "+3.2×10⁻⁷"
    assert num.difference(-0.3091, 4) == "−0.3091"
    assert num.difference(0.0, 4) == "0"


@pytest.mark.parametrize(
    ("fraction", "shown"), [(0.02, "2 %"), (0.9875, "98.75 %"), (8.3e-6, "8.3×10⁻⁴ %"), (0.0, "0 %")]
)
def test_a_share(fraction: float, shown: str) -> None:
    assert num.share(fraction) == shown


@given(FINITE, st.sampled_from(["s", "B", "1", "1/s", "steps", "FLOP", "accuracy", "1 - cosine", ""]))
def test_every_finite_number_has_a_short_text_with_a_real_minus(value: float, unit: str) -> None:
    for shown in (num.quantity(value, unit), num.percent(value), num.difference(value), num.share(value)):
        assert "-" not in shown.replace(" - ", " ")
        assert "nan" not in shown
        assert "inf" not in shown
        assert len(shown) <= 32


@given(st.floats(min_value=1e-3, max_value=1e8, allow_subnormal=False))
def test_three_digits_are_within_half_a_percent(value: float) -> None:
    assert float(num.significant(value).replace(",", "")) == pytest.approx(value, rel=5.1e-3)


@given(st.lists(FINITE, min_size=1))
def test_the_median_has_half_the_values_on_each_side(values: list[float]) -> None:
    middle = num.median(values)
    assert middle is not None
    assert 2 * sum(value < middle for value in values) <= len(values)
    assert 2 * sum(value > middle for value in values) <= len(values)
    assert num.median([]) is None


@given(st.floats(1e-6, 1.0), st.floats(1.0, 1e6))
def test_a_ratio_axis_is_logarithmic_and_its_ticks_lie_on_it(low: float, high: float) -> None:
    axis = _scale.ratio(low, high, (0.0, 100.0))
    assert all(axis.holds(tick) for tick in axis.ticks)
    assert len(axis.ticks) <= 16
    middle = math.sqrt(axis.low * axis.high)
    assert axis(middle) == pytest.approx(50.0)
    assert axis(0.0) == 0.0  # beyond the axis: at its end


@given(FINITE, FINITE)
def test_a_linear_axis_keeps_every_value_on_the_page(low: float, high: float) -> None:
    low, high = sorted((low / 4, high / 4))
    axis = _scale.linear(low, high, (0.0, 100.0))
    assert -1e-6 <= axis(low) <= axis(high) <= 100.0 + 1e-6
    assert len(axis.ticks) <= 14


def test_a_symmetric_axis_shows_a_margin_beside_an_effect_four_hundred_times_as_large() -> None:
    axis = _scale.symmetric(-0.002, 0.5, 0.001, (0.0, 100.0))
    assert axis(0.001) - axis(-0.001) > 10.0
    assert 0.0 in axis.ticks
    assert list(axis.ticks) == sorted(axis.ticks)
