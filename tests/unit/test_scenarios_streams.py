"""SingleStream, MultiStream and Offline on a virtual clock; the batch of the cloud profile; the edge profile."""

import random

import pytest

from gatewise.core import GatewiseError
from gatewise.scenarios import (
    Effort,
    SubjectPlan,
    VirtualClock,
    best_batch,
    edge_profile,
    load_subject,
    multi_stream,
    offline,
    single_stream,
)


def test_single_stream_times_one_query_after_the_other() -> None:
    clock, rng, sizes = VirtualClock(), random.Random(1), list[int]()

    def call(numbers: list[int]) -> None:
        sizes.append(len(numbers))
        clock.advance(rng.expovariate(100.0))

    found = single_stream(call, effort=Effort(seconds=50, warmup=3), clock=clock)
    assert set(sizes) == {1}
    assert len(sizes) == found.queries + 3
    assert found.seconds == pytest.approx(50, abs=1)
    assert [each.percentile for each in found.percentiles] == [0.5, 0.9, 0.99]
    assert found.percentiles[0].value_s == pytest.approx(0.00693, rel=0.1)
    assert found.too_few == {}


def test_too_few_queries_are_named_by_percentile() -> None:
    clock = VirtualClock()
    found = single_stream(lambda numbers: clock.advance(1.0), effort=Effort(seconds=30), clock=clock)
    assert found.queries == 30
    assert set(found.too_few) == {0.9, 0.99}


def test_the_number_of_queries_is_bounded_too() -> None:
    clock = VirtualClock()
    found = multi_stream(
        lambda numbers: clock.advance(len(numbers) * 1e-6), samples=8, effort=Effort(most=40), clock=clock
    )
    assert found.queries == 40
    assert found.percentiles[-1].value_s == pytest.approx(8e-6)


def test_offline_counts_samples_and_spreads_over_repetitions() -> None:
    clock, rng = VirtualClock(), random.Random(2)
    found = offline(
        lambda numbers: clock.advance(len(numbers) * 0.01 * rng.uniform(0.8, 1.2)),
        batch=4,
        effort=Effort(seconds=70),
        clock=clock,
    )
    assert found.samples_per_s == pytest.approx(100, rel=0.02)
    assert found.interval is not None
    assert found.interval[0] < 100 < found.interval[1]
    assert len(found.values) == 7


def test_identical_or_few_repetitions_have_no_interval() -> None:
    clock = VirtualClock()
    few = offline(lambda numbers: clock.advance(0.5), batch=1, repetitions=2, effort=Effort(seconds=4), clock=clock)
    assert few.interval is None
    assert "three" in (few.reason or "")
    clock = VirtualClock()
    same = offline(lambda numbers: clock.advance(0.5), batch=1, effort=Effort(seconds=7), clock=clock)
    assert same.interval is None
    assert "identical" in (same.reason or "")


def test_the_best_batch_is_the_fastest_that_keeps_the_limit() -> None:
    clock = VirtualClock()
    effort = Effort(seconds=10_000, most=2000)
    found = best_batch(
        lambda numbers: clock.advance(1 + 0.1 * len(numbers)), (1, 4, 16, 64), limit_s=3.0, effort=effort, clock=clock
    )
    assert found.best is not None
    assert found.best.batch == 16
    assert found.best.shown
    none = best_batch(lambda numbers: clock.advance(5.0), (1, 2), limit_s=3.0, effort=effort, clock=clock)
    assert none.best is None


def test_a_subject_serves_every_batch_up_to_its_largest() -> None:
    found = load_subject(SubjectPlan(model="ffn", tokens=4, max_batch=3))
    assert [len(found.call([0] * size)) for size in (1, 2, 3)] == [1, 2, 3]  # type: ignore[arg-type]
    assert "eager" in found.implementation
    assert found.load_s > 0


def test_the_edge_profile_starts_fresh_processes() -> None:
    found = edge_profile(SubjectPlan(model="ffn", tokens=4), cap_bytes=1_000, repeats=1)
    assert found.within_cap is False
    assert found.cold_start.value_s > found.load.value_s > 0
    assert found.cold_start.needs is not None  # one process has no interval
    assert found.peak_bytes > 10_000_000


def test_what_is_no_edge_is_refused_and_a_bad_model_says_why() -> None:
    with pytest.raises(GatewiseError, match="one thread"):
        edge_profile(SubjectPlan(model="ffn", max_batch=2))
    with pytest.raises(GatewiseError, match="no model"):
        edge_profile(SubjectPlan(model="no-such-model"), repeats=1)
    with pytest.raises(GatewiseError, match="threads"):
        SubjectPlan(model="ffn", threads=0)
