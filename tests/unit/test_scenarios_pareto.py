"""Dominance with certainty, rings, limits, preferences, and an answer that does not depend on the order."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.scenarios import Objective, Point, Value, dominates, select

TWO = (
    Objective(name="quality", direction="higher", margin=0.01, relative=False),
    Objective(name="latency", direction="lower", margin=0.02),
)


def point(name: str, quality: float, latency: float, half: float = 0.0) -> Point:
    def value(x: float, scale: float) -> Value:
        return Value(estimate=x, interval=(x - half * scale, x + half * scale)) if half else Value(estimate=x)

    return Point(name=name, values={"quality": value(quality, 0.1), "latency": value(latency, 1.0)})


numbers = st.floats(0.1, 1)
halves = st.sampled_from([0.0, 0.01, 0.05])
clouds = st.lists(st.tuples(numbers, numbers, halves), min_size=1, max_size=8).map(
    lambda rows: [point(f"p{i}", quality, latency, half) for i, (quality, latency, half) in enumerate(rows)]
)


def test_a_point_better_in_one_and_equal_in_the_other_dominates() -> None:
    found = select([point("a", 0.9, 1.0), point("b", 0.9, 2.0)], objectives=TWO)
    assert found.front == ("a",)
    assert found.dominated == {"b": ("a",)}
    assert found.recommended == "a"


def test_what_the_intervals_do_not_separate_is_no_dominance() -> None:
    found = select([point("a", 0.9, 1.0, 0.3), point("b", 0.9, 1.2, 0.3)], objectives=TWO)
    assert found.front == ("a", "b")
    assert found.recommended is None
    assert any("no clear winner" in reason for reason in found.reasons)
    assert found.contenders == ("a", "b")


def test_differences_within_the_margin_do_not_count() -> None:
    found = select([point("a", 0.900, 1.0), point("b", 0.905, 1.01)], objectives=TWO)
    assert found.dominated == {}
    assert found.recommended is None


def test_a_trade_is_decided_by_a_limit_or_a_preference_only() -> None:
    points = [point("small", 0.80, 1.0), point("large", 0.95, 3.0)]
    assert select(points, objectives=TWO).recommended is None
    floor = select(points, objectives=TWO, limits={"quality": 0.9})
    assert floor.recommended == "large"
    assert "small" in floor.refused
    assert select(points, objectives=TWO, prefer=("latency",)).recommended == "small"
    assert select(points, objectives=TWO, prefer=("quality", "latency")).recommended == "large"


def test_a_limit_inside_an_interval_is_not_met() -> None:
    found = select([point("a", 0.9, 1.0, 0.1)], objectives=TWO, limits={"latency": 1.05})
    assert found.recommended is None
    assert "does not settle" in found.refused["a"]
    assert select([point("a", 0.9, 1.0, 0.1)], objectives=TWO, limits={"latency": 1.2}).recommended == "a"


def test_a_ring_of_small_advantages_leaves_all_on_the_front() -> None:
    three = tuple(Objective(name=name, direction="lower", margin=1.0, relative=False) for name in "xyz")

    def at(name: str, *values: float) -> Point:
        return Point(name=name, values={key: Value(estimate=v) for key, v in zip("xyz", values, strict=True)})

    ring = [at("a", 0.0, 0.5, 1.1), at("b", 1.1, 0.0, 0.5), at("c", 0.5, 1.1, 0.0)]
    assert dominates(ring[0], ring[1], three)
    assert dominates(ring[1], ring[2], three)
    assert dominates(ring[2], ring[0], three)
    found = select(ring, objectives=three)
    assert found.front == ("a", "b", "c")
    assert found.recommended is None


@given(points=clouds, seed=st.integers(0, 1000))
def test_the_answer_does_not_depend_on_the_order(points: list[Point], seed: int) -> None:
    shuffled = random.Random(seed).sample(points, len(points))
    for limits, prefer in (({}, ()), ({"quality": 0.5}, ("latency",)), ({}, ("quality", "latency"))):
        first = select(points, objectives=TWO, limits=limits, prefer=prefer)
        assert select(shuffled, objectives=TWO, limits=limits, prefer=prefer) == first


@given(points=clouds)
def test_front_and_dominated_share_out_the_points_and_a_recommendation_is_on_the_front(points: list[Point]) -> None:
    found = select(points, objectives=TWO, prefer=("latency", "quality"))
    assert sorted([*found.front, *found.dominated]) == sorted(each.name for each in points)
    assert found.front
    assert found.recommended is None or found.recommended in found.front
    assert (found.recommended is None) == bool(found.contenders)


@given(points=clouds)
def test_nothing_dominates_itself_and_no_two_dominate_each_other(points: list[Point]) -> None:
    for a in points:
        assert not dominates(a, a, TWO)
        assert not any(dominates(a, b, TWO) and dominates(b, a, TWO) for b in points)


@given(quality=numbers, latency=numbers, half=halves, wider=st.floats(1, 5))
def test_wider_intervals_never_win_more(quality: float, latency: float, half: float, wider: float) -> None:
    fixed = point("b", 0.5, 0.5)
    if dominates(point("a", quality, latency, half * wider), fixed, TWO):
        assert dominates(point("a", quality, latency, half), fixed, TWO)


@pytest.mark.parametrize(
    "broken",
    [
        lambda: select([], objectives=TWO),
        lambda: select([point("a", 1, 1), point("a", 1, 1)], objectives=TWO),
        lambda: select([point("a", 1, 1)]),
        lambda: select([point("a", 1, 1)], objectives=TWO, prefer=("speed",)),
        lambda: select([point("a", 1, 0)], objectives=TWO),
        lambda: Value(estimate=1.0, interval=(2.0, 3.0)),
    ],
)
def test_impossible_input_is_refused(broken: object) -> None:
    with pytest.raises(GatewiseError):
        broken()  # type: ignore[operator]
