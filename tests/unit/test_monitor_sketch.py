"""Sketches: merging is exact, errors are within the stated bound, JSON comes back bit for bit."""

import json
import math
from fractions import Fraction

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.monitor._sketch import CategorySketch, NumberSketch

floats = st.lists(st.floats(), max_size=40)
finite = st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=1, max_size=60)
words = st.lists(st.text(max_size=3), max_size=40)


def numbers(values: list[float], bits: int = 6) -> NumberSketch:
    return NumberSketch(bits).extend(values)


def categories(names: list[str], most: int = 4) -> CategorySketch:
    sketch = CategorySketch(most)
    for name in names:
        sketch.add(name)
    return sketch


@given(floats, floats, floats)
def test_numbers_merge_exactly_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    whole = numbers(a + b + c)
    assert numbers(a).merge(numbers(b)).merge(numbers(c)) == whole
    assert numbers(c).merge(numbers(a).merge(numbers(b))) == whole
    assert numbers((c + b + a)[::-1]).merge(NumberSketch()) == whole


@given(words, words, words)
def test_categories_merge_exactly_in_any_order(a: list[str], b: list[str], c: list[str]) -> None:
    whole = categories(a + b + c)
    assert categories(a).merge(categories(b)).merge(categories(c)) == whole
    assert categories(c).merge(categories(b).merge(categories(a))) == whole
    everything = a + b + c
    assert all(everything.count(name) == times for name, times in whole.counts.items())
    assert sum(whole.counts.values()) + whole.others == len(everything)
    assert len(whole.counts) == min(4, len(set(everything)))


@given(finite, st.floats(0, 1), st.integers(1, 12))
@example([5e-324, 1e-323, 1.5e-323, -5e-324], 0.6, 3)
@example([1.7976931348623157e308, -1.7976931348623157e308], 1.0, 6)
@example([-0.0, 0.0], 0.5, 6)
def test_a_quantile_is_within_its_bound_of_the_true_one(values: list[float], q: float, bits: int) -> None:
    sketch = numbers(values, bits)
    true = sorted(values)[max(1, math.ceil(Fraction(q) * len(values))) - 1]
    found = sketch.quantile(q)
    assert found is not None
    assert found.low <= true <= found.high
    assert found.low <= found.value <= found.high
    # Half a unit of the smallest float: subnormal middles are rounded.
    assert abs(Fraction(found.value) - Fraction(true)) <= abs(Fraction(true)) * Fraction(
        sketch.relative_error
    ) + Fraction(5e-324)


@given(finite)
def test_the_sum_is_exact(values: list[float]) -> None:
    assert numbers(values).sum == sum(map(Fraction, values))


def test_the_mean_of_what_cancels_is_right() -> None:
    assert numbers([1e300, 1.0, -1e300]).mean == 1.0 / 3.0  # a float sum says 0


@given(floats)
def test_json_comes_back_bit_for_bit(values: list[float]) -> None:
    sketch = numbers(values)
    told = json.dumps(sketch.to_json(), allow_nan=False)
    again = NumberSketch.from_json(json.loads(told))
    assert json.dumps(again.to_json()) == told
    assert again.merge(sketch) == sketch.merge(sketch)


@given(words)
def test_categories_come_back_from_json(names: list[str]) -> None:
    sketch = categories(names)
    again = CategorySketch.from_json(json.loads(json.dumps(sketch.to_json())))
    again.add("new")
    sketch.add("new")
    assert again == sketch


def test_what_is_not_finite_stands_apart() -> None:
    sketch = numbers([math.nan, math.inf, -math.inf, 2.0])
    assert (sketch.nans, sketch.above, sketch.below, sketch.count) == (1, 1, 1, 1)
    found = sketch.quantile(0.5)
    assert found is not None
    assert found.value == 2.0
    assert NumberSketch().quantile(0.5) is None
    assert NumberSketch().mean is None


def test_sketches_of_another_fineness_are_refused() -> None:
    with pytest.raises(GatewiseError, match="do not merge exactly"):
        NumberSketch(5).merge(NumberSketch(6))
    with pytest.raises(GatewiseError, match="do not merge exactly"):
        CategorySketch(5).merge(CategorySketch(6))
    for bad in ({}, {"format": "gatewise.sketch/1", "bits": 6}, {"format": "x"}):
        with pytest.raises(GatewiseError, match="not a sketch"):
            NumberSketch.from_json(bad)
        with pytest.raises(GatewiseError, match="not a sketch"):
            CategorySketch.from_json(bad)


def test_latencies_of_a_week_cost_few_buckets() -> None:
    sketch = numbers([1e-4 * 1.0007**i for i in range(17_000)])  # 0.1 ms to 15 s
    assert sketch.num_buckets <= 18 * 64
