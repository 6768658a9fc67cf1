"""The server loop on a virtual clock: order, batching, scheduled latency; queues against theory; another process."""

import itertools
import math
import random
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.scenarios import (
    Batching,
    MachineClock,
    Queue,
    Run,
    ServerGoal,
    Traffic,
    VirtualClock,
    highest_rate,
    open_loop,
    outside_loop,
)
from gatewise.scenarios._serve import Scheduled, poisson, serve


@pytest.fixture
def roughly(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short simulations: where the test is not about how near the rate comes."""
    monkeypatch.setattr("gatewise.scenarios._search.MOST_SIMULATED", 4000)


def served(arrivals: list[float], service_s: float, batching: Batching) -> list[tuple[tuple[int, ...], float, float]]:
    clock = VirtualClock()
    done, gave_up = serve(
        Scheduled(arrivals, clock), lambda numbers: clock.advance(service_s), batching=batching, clock=clock
    )
    assert not gave_up
    for call in done:
        assert call.start_s == pytest.approx(call.due_s)  # nothing is late on a virtual clock
    return [(call.queries, call.start_s, call.end_s) for call in done]


def test_first_come_first_served_and_latency_counts_the_wait() -> None:
    assert served([0.0, 0.5, 5.0], 1.0, Batching()) == [((0,), 0.0, 1.0), ((1,), 1.0, 2.0), ((2,), 5.0, 6.0)]


def test_a_free_server_takes_all_that_waits_up_to_the_batch() -> None:
    found = served([0.0, 0.1, 0.2, 0.3], 1.0, Batching(max_batch=2))
    assert found == [((0,), 0.0, 1.0), ((1, 2), 1.0, 2.0), ((3,), 2.0, 3.0)]


def test_the_oldest_waits_for_company_no_longer_than_allowed() -> None:
    found = served([0.0, 0.1, 0.9, 1.0], 0.2, Batching(max_batch=3, max_wait_s=0.5))
    assert found == [((0, 1), 0.5, 0.7), ((2, 3), 1.4, pytest.approx(1.6))]
    full = served([0.0, 0.1, 0.2], 0.2, Batching(max_batch=3, max_wait_s=5.0))
    assert full == [((0, 1, 2), 0.2, 0.4)]


@given(
    gaps=st.lists(st.floats(0, 3), min_size=1, max_size=40),
    service=st.floats(0.01, 2),
    batch=st.integers(1, 5),
    wait=st.floats(0, 2),
)
def test_every_query_is_served_once_in_order_and_never_before_it_came(
    gaps: list[float], service: float, batch: int, wait: float
) -> None:
    arrivals = [sum(gaps[: i + 1]) for i in range(len(gaps))]
    found = served(arrivals, service, Batching(max_batch=batch, max_wait_s=wait))
    order = [number for numbers, _, _ in found for number in numbers]
    assert order == list(range(len(arrivals)))
    assert all(len(numbers) <= batch for numbers, _, _ in found)
    assert all(start >= arrivals[numbers[-1]] - 1e-9 for numbers, start, _ in found)
    assert all(later[1] >= earlier[2] for earlier, later in itertools.pairwise(found))


def test_a_server_that_cannot_keep_up_is_given_up_and_says_so() -> None:
    clock = VirtualClock()
    run = open_loop(
        lambda numbers: clock.advance(1.0),
        Traffic(rate=2.0, queries=100_000, seed=0),
        batching=Batching(),
        clock=clock,
        give_up_s=20.0,
    )
    assert run.overloaded
    assert len(run.latencies_s) < 1000


def test_arrivals_are_poisson_reproducible_and_scale_with_the_rate() -> None:
    moments = poisson(5.0, 20_000, 7)
    assert moments == poisson(5.0, 20_000, 7)
    assert moments != poisson(5.0, 20_000, 8)
    assert poisson(10.0, 20_000, 7) == pytest.approx([moment / 2 for moment in moments])
    gaps = [b - a for a, b in itertools.pairwise(moments)]
    mean = sum(gaps) / len(gaps)
    assert mean == pytest.approx(0.2, rel=0.03)
    assert sum((gap - mean) ** 2 for gap in gaps) / len(gaps) == pytest.approx(mean**2, rel=0.06)
    with pytest.raises(GatewiseError):
        poisson(0.0, 3, 1)


def stalled(stall_s: float) -> Run:
    """A server of 1 ms that stops once for `stall_s` in the middle of a steady load."""
    clock = VirtualClock()
    return open_loop(
        lambda numbers: clock.advance(stall_s if numbers[0] == 500 else 0.001),
        Traffic(rate=100, queries=1000, seed=1),
        batching=Batching(),
        clock=clock,
        give_up_s=60.0,
    )


def test_one_stall_is_counted_by_all_who_would_have_come() -> None:
    """A closed loop would record one slow query; the schedule goes on, so about a hundred wait."""
    assert sum(stalled(1.0).over(0.1)) > 70
    assert sum(stalled(0.001).over(0.1)) == 0


def test_a_late_generator_makes_a_run_invalid() -> None:
    run = Run(
        rate=1,
        scheduled_s=[0.0],
        latencies_s=[0.1],
        lateness_s=[0.02],
        services=[],
        overloaded=False,
        generator="process",
    )
    assert "late" in (run.late(0.1) or "")
    assert run.late(1.0) is None


def md1_share_over(rate: float, limit: float) -> float:
    """P(wait + 1 > limit) in an M/D/1 queue with service time 1 (Erlang 1909)."""
    wait = limit - 1
    terms = [(-rate * (wait - k)) ** k / math.factorial(k) * math.exp(rate * (wait - k)) for k in range(int(wait) + 1)]
    return 1 - (1 - rate) * math.fsum(terms)


def md1_rate(limit: float) -> float:
    low, high = 0.01, 0.999
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if md1_share_over(middle, limit) <= 0.01 else (low, middle)
    return low


THEORY = {
    "M/M/1": (40.0, 1 - math.log(100) / 40, lambda rng: rng.expovariate(1.0)),
    "M/D/1": (8.0, md1_rate(8.0), lambda rng: 1.0),
}


@pytest.mark.parametrize("name", THEORY)
def test_the_rate_that_holds_is_the_one_of_queueing_theory(name: str) -> None:
    limit, theory, draw = THEORY[name]
    clock, rng = VirtualClock(), random.Random(5)
    goal = ServerGoal(limit_s=limit, budget_s=200_000, seed=3)
    found = highest_rate(lambda numbers: clock.advance(draw(rng)), goal, clock=clock)
    assert found.verdict == "holds"
    assert found.rule == "clumps counted"
    assert found.rate == pytest.approx(theory, rel=0.05)
    assert found.edge == pytest.approx(theory, rel=0.05)
    assert found.evidence is not None
    assert found.latency is not None
    assert found.evidence.over <= (found.evidence.allowed or 0)
    assert found.latency.value_s <= limit
    assert found.seconds <= 1.2 * goal.budget_s


@pytest.mark.usefixtures("roughly")
def test_batching_raises_the_rate() -> None:
    def rate(max_batch: int) -> float:
        clock = VirtualClock()
        goal = ServerGoal(limit_s=20.0, budget_s=20_000, batching=Batching(max_batch=max_batch))
        found = highest_rate(lambda numbers: clock.advance(0.8 + 0.2 * len(numbers)), goal, clock=clock)
        assert found.rate is not None
        return found.rate

    assert rate(8) > 1.5 * rate(1)


@pytest.mark.usefixtures("roughly")
def test_a_short_budget_claims_nothing() -> None:
    clock = VirtualClock()
    goal = ServerGoal(limit_s=8.0, budget_s=200)
    found = highest_rate(lambda numbers: clock.advance(1.0), goal, clock=clock)
    assert found.verdict == "undecided"
    assert found.rate is None
    assert found.reason is not None
    assert "too few" in found.reason


@pytest.mark.usefixtures("roughly")
def test_a_budget_too_short_for_clumps_says_which_rule_it_was() -> None:
    clock = VirtualClock()
    found = highest_rate(lambda numbers: clock.advance(1.0), ServerGoal(limit_s=8.0, budget_s=3000), clock=clock)
    assert found.verdict == "holds"
    assert found.rule == "queries taken for independent"
    assert found.full_queries is not None
    assert found.evidence is not None
    assert found.full_queries > found.evidence.n


@pytest.mark.usefixtures("roughly")
def test_a_model_slower_than_the_limit_has_no_rate() -> None:
    clock = VirtualClock()
    found = highest_rate(lambda numbers: clock.advance(2.0), ServerGoal(limit_s=1.0, budget_s=3000), clock=clock)
    assert found.verdict == "fails"
    assert found.rate is None
    assert "without any queue" in (found.reason or "")


@pytest.mark.usefixtures("roughly")
def test_a_generator_that_is_late_leaves_it_undecided() -> None:
    clock = VirtualClock()

    def late(traffic: Traffic) -> Run:
        run = open_loop(call, traffic, batching=Batching(), clock=clock, give_up_s=100.0)
        return Run(**{**{name: getattr(run, name) for name in run.__dataclass_fields__}, "lateness_s": [5.0]})

    def call(numbers: list[int]) -> None:
        clock.advance(1.0)

    found = highest_rate(call, ServerGoal(limit_s=10.0, budget_s=20_000), clock=clock, outside=late)
    assert found.verdict == "undecided"
    assert "late" in (found.reason or "")


@pytest.mark.usefixtures("roughly")
def test_a_server_that_became_slower_is_learnt_anew() -> None:
    """Calls take 40 % longer from the confirmation on: the rate that is claimed is the slow server's."""
    clock, now = VirtualClock(), [1.0]

    def call(numbers: list[int]) -> None:
        clock.advance(now[0])

    def slower(traffic: Traffic) -> Run:
        now[0] = 1.4
        return open_loop(call, traffic, batching=Batching(), clock=clock, give_up_s=300.0)

    found = highest_rate(call, ServerGoal(limit_s=14.0, budget_s=100_000), clock=clock, outside=slower)
    assert found.verdict == "holds"
    assert found.rate is not None
    assert found.fails_at is not None
    assert found.rate < md1_rate(10.0) / 1.4 < found.fails_at


def test_the_simulated_queue_agrees_with_theory() -> None:
    queue = Queue(services_s={1: [1.0]}, batching=Batching(), limit_s=5.0, queries=100_000)
    assert queue.share_over(0.7) == pytest.approx(md1_share_over(0.7, 5.0), rel=0.15)
    with pytest.raises(GatewiseError):
        Queue(services_s={}, batching=Batching(), limit_s=5.0)


def test_slow_calls_that_come_together_make_a_longer_queue_than_the_same_calls_mixed() -> None:
    together = [1.0] * 2000 + [2.0] * 200
    mixed = ([1.0] * 10 + [2.0]) * 200

    def edge(times: list[float]) -> float:
        queue = Queue(services_s={1: times}, batching=Batching(), limit_s=12.0, queries=20_000)
        found = queue.highest(lambda share: share <= 0.01)
        assert found is not None
        return found

    assert sorted(together) == sorted(mixed)
    assert edge(together) < 0.9 * edge(mixed)


def test_another_process_sends_and_times_the_queries() -> None:
    seen: list[int] = []

    def call(numbers: list[int]) -> None:
        seen.extend(numbers)
        time.sleep(0.0005)

    traffic = Traffic(rate=200, queries=60, seed=1)
    run = outside_loop(call, traffic, batching=Batching(max_batch=4), give_up_s=30.0, spin=False)
    assert sorted(seen) == list(range(60))
    assert len(run.latencies_s) == len(run.lateness_s) == len(run.scheduled_s) == 60
    assert all(latency >= 0.0005 for latency in run.latencies_s)
    assert all(late >= 0 for late in run.lateness_s)
    assert sum(size for size, _ in run.services) == 60
    assert run.generator == "process"


def test_the_other_process_is_told_when_the_server_gives_up() -> None:
    traffic = Traffic(rate=2000, queries=200, seed=1)
    run = outside_loop(lambda numbers: time.sleep(0.02), traffic, batching=Batching(), give_up_s=0.1, spin=False)
    assert run.overloaded
    assert 0 < len(run.latencies_s) < 200


def test_the_machine_clock_waits_no_less_than_asked() -> None:
    clock = MachineClock()
    moment = clock.now_s() + 0.003
    clock.wait_until(moment)
    assert clock.now_s() >= moment
    clock.wait_until(moment - 1)
