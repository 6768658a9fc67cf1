"""The confidence sequence: its capital against direct integration, its errors under continuous looking, its laws."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate

from gatewise.core import GatewiseError, SequentialComparison, compare, fewest
from gatewise.core._sequence import MedianSequence, log_capital, rank


@pytest.mark.parametrize(("n", "k"), [(1, 1), (7, 7), (12, 9), (20, 10), (50, 40), (9, 2)])
def test_the_capital_is_the_integral_it_claims_to_be(n: int, k: int) -> None:
    def integrand(p: float) -> float:
        return 2**n * p**k * (1 - p) ** (n - k) / (math.pi * math.sqrt(p * (1 - p)))

    value, _ = integrate.quad(integrand, 0.5, 1.0, limit=200)
    assert math.exp(log_capital(n, k)) == pytest.approx(2 * value, rel=1e-6)


@pytest.mark.parametrize("n", [1, 2, 5, 9])
def test_the_capital_starts_at_one_and_keeps_its_mean(n: int) -> None:
    """Under a fair coin the mean capital stays 1: that is what makes the sequence valid (Ville)."""
    mean = sum(math.comb(n, k) * math.exp(log_capital(n, k)) for k in range(n + 1)) / 2**n
    assert mean == pytest.approx(1.0, rel=1e-9)


def test_ranks_grow_by_at_most_one_and_never_cross_the_middle() -> None:
    known = [rank(n, 0.05) for n in range(1, 400)]
    ranks = [value for value in known if value is not None]
    assert len(ranks) > 390
    assert all(0 <= b - a <= 1 for a, b in pairwise(ranks))
    assert all(value > n / 2 for n, value in enumerate(known, 1) if value is not None)


@pytest.mark.parametrize(("alpha", "n"), [(0.05, 7), (0.05 / 4, 9), (0.05 / 8, 10)])
def test_fewest(alpha: float, n: int) -> None:
    assert fewest(alpha) == n
    assert rank(n - 1, alpha) is None


STREAMS = {
    "normal": lambda rng, state: rng.gauss(0, 0.05),
    "heavy tails": lambda rng, state: rng.gauss(0, 0.05) * (10 if rng.random() < 0.05 else 1),
    "skewed": lambda rng, state: rng.expovariate(20) - math.log(2) / 20,
    "ties": lambda rng, state: round(rng.gauss(0, 0.05), 1),
    "widening": lambda rng, state: rng.gauss(0, 0.01 * (1 + state / 50)),
}


@pytest.mark.parametrize("name", STREAMS)
@pytest.mark.parametrize("margin", [0.0, 0.02])
def test_false_alarms_under_continuous_looking(name: str, margin: float) -> None:
    """At the edge of the margin (where no verdict but inconclusive is right), looked at after every pair.

    400 streams; more than alpha + 3 standard errors of wrong ones would be out of the binomial interval.
    """
    rng = random.Random(f"{name}{margin}")
    wrong, streams, alpha = 0, 400, 0.05
    for _ in range(streams):
        judge = SequentialComparison(margin=margin, alpha=alpha)
        for i in range(120):
            judge.update(1.0, math.exp(STREAMS[name](rng, i)) * (1 + margin))
            if judge.settled:
                wrong += 1
                break
    assert wrong / streams <= alpha + 3 * math.sqrt(alpha * (1 - alpha) / streams)


@pytest.mark.parametrize("name", ["normal", "heavy tails", "skewed", "ties"])
def test_ten_percent_is_found_soon(name: str) -> None:
    """Power: a 10 % slowdown beyond a 2 % margin is called worse within 60 pairs in at least 9 of 10 streams."""
    rng = random.Random(name)
    found = 0
    for _ in range(100):
        judge = SequentialComparison(margin=0.02)
        for i in range(60):
            judge.update(1.0, 1.1 * math.exp(STREAMS[name](rng, i)))
        found += judge.comparison().verdict == "worse"
    assert found >= 90


@pytest.mark.parametrize("effect", [0.03, -0.03])
def test_a_clock_coarser_than_the_margin_does_not_prove_equality(effect: float) -> None:
    """3 % slower, read from a clock that ticks every 5 %: most pairs tie, and that says nothing about 2 %."""
    rng, tick, called = random.Random(f"tick{effect}"), math.log(1.05), 0
    for _ in range(60):
        judge = SequentialComparison(margin=0.02)
        phase = rng.uniform(0, tick)
        for _ in range(60):
            times = [phase + rng.gauss(0, 0.01), phase + math.log1p(effect) + rng.gauss(0, 0.01)]
            judge.update(*(math.exp(round(time / tick) * tick) for time in times))
        called += judge.comparison().verdict == "equivalent"
    assert called == 0


def test_a_fine_clock_still_finds_equality() -> None:
    rng, tick = random.Random(9), math.log(1.002)
    judge = SequentialComparison(margin=0.02)
    for _ in range(60):
        judge.update(1.0, math.exp(round(rng.gauss(0, 0.0005) / tick) * tick))
    found = judge.comparison()
    assert found.verdict == "equivalent"
    assert found.interval is not None
    assert found.interval[0] < 1 < found.interval[1]  # half a tick either way, never of zero width


def test_ties_say_that_a_finer_clock_is_needed() -> None:
    found = compare([1.0] * 30, [1.0] * 29 + [1.05], margin=0.02)
    assert found.verdict == "inconclusive"
    assert "clock" in str(found.reason)
    assert found.interval == pytest.approx((1.05**-0.5, 1.05**0.5))


def test_equal_but_for_rounding_is_equal() -> None:
    """A ratio of exactly 1.1 has a spread of 1e-16 in floating point, which is no evidence of precision."""
    base = [0.1 * i for i in range(1, 40)]
    found = compare(base, [1.1 * value for value in base])
    assert "identical" in str(found.reason)


@pytest.mark.parametrize("limit", [0.0, math.log1p(0.02)])
def test_ties_on_a_limit_are_never_called(limit: float) -> None:
    rng = random.Random(f"ties{limit}")
    for _ in range(100):
        judge, load = SequentialComparison(margin=math.expm1(limit)), rng.uniform(0.1, 3)
        for _ in range(80):
            off = rng.choice([0.0] * 8 + [0.05, -0.05])
            judge.update(load, load * math.exp(limit + off))
            assert judge.comparison().verdict == "inconclusive"


def test_load_that_a_pair_shares_cancels() -> None:
    rng = random.Random(0)
    judge, load = SequentialComparison(margin=0.02), 0.0
    for _ in range(150):
        load = 0.95 * load + rng.gauss(0, 0.2)
        judge.update(math.exp(load + rng.gauss(0, 0.02)), 1.1 * math.exp(load + rng.gauss(0, 0.02)))
    assert judge.comparison().verdict == "worse"


@given(st.lists(st.floats(min_value=-1, max_value=1), min_size=1, max_size=80))
def test_the_running_interval_only_shrinks(values: list[float]) -> None:
    sequence, before = MedianSequence(0.1), None
    for value in values:
        sequence.add(value)
        if before is not None:
            assert sequence.interval is not None
            assert sequence.interval[0] >= before[0]
            assert sequence.interval[1] <= before[1]
        before = sequence.interval


def test_a_process_counts_once_however_many_pairs_it_has() -> None:
    """An offset that lasts for a process: pair by pair it looks like certainty, process by process it is noise."""
    rng = random.Random(7)
    naive_wrong = blocked_wrong = 0
    for _ in range(60):
        naive, blocked = SequentialComparison(margin=0.0), SequentialComparison(margin=0.0)
        alarmed = [False, False]
        for process in range(12):
            offset = rng.gauss(0, 0.02)
            for _ in range(20):
                pair = 1.0, math.exp(offset + rng.gauss(0, 0.005))
                naive.update(*pair)
                blocked.update(*pair, block=process)
                alarmed = [alarmed[0] or naive.settled, alarmed[1] or blocked.settled]
        naive_wrong += alarmed[0]
        blocked_wrong += alarmed[1]
    assert blocked_wrong <= 8  # 5 % of 60, and 3 standard errors
    assert naive_wrong > 30


def test_blocks_count_when_they_are_closed() -> None:
    judge = SequentialComparison()
    for process in range(8):
        for pair in range(5):
            judge.update(1.0, 1.1 + 0.001 * pair + 0.0001 * process, block=process)
    assert judge.comparison().n == 7
    judge.close()
    judge.close()
    assert judge.comparison().n == 8
    assert judge.comparison().verdict == "worse"


def test_misuse_of_blocks_is_one_clear_line() -> None:
    judge = SequentialComparison()
    judge.update(1.0, 1.0, block="a")
    judge.update(1.0, 1.0, block="b")
    with pytest.raises(GatewiseError, match="block 'a' is closed"):
        judge.update(1.0, 1.0, block="a")
    with pytest.raises(GatewiseError, match="names its blocks"):
        judge.update(1.0, 1.0)
    unnamed = SequentialComparison()
    unnamed.update(1.0, 1.0)
    with pytest.raises(GatewiseError, match="without blocks"):
        unnamed.update(1.0, 1.0, block="a")


@pytest.mark.parametrize("pair", [(1.0, math.nan), (math.inf, 1.0), (0.0, 1.0), (1.0, -1.0)])
def test_impossible_pairs_are_refused_and_change_nothing(pair: tuple[float, float]) -> None:
    judge = SequentialComparison()
    judge.update(1.0, 1.1)
    with pytest.raises(GatewiseError):
        judge.update(*pair)
    assert judge.comparison().n == 1


def test_a_contradictory_stream_is_not_forced_into_a_verdict() -> None:
    judge = SequentialComparison(margin=0.0)
    rng = random.Random(1)
    for ratio in (1.3,) * 60 + (0.7,) * 400:
        judge.update(1.0, ratio * rng.lognormvariate(0, 0.01))
    found = judge.comparison()
    assert found.verdict == "inconclusive"
    assert "changed while" in str(found.reason)


def test_looking_is_cheap_because_it_only_reads() -> None:
    """Work, not seconds: a look touches no more than a handful of the values."""
    judge = SequentialComparison()
    for i in range(5000):
        judge.update(1.0, 1.0 + (i % 97) * 1e-4)
    before = judge.comparison()
    assert before == judge.comparison()
    assert before.n == 5000


# What a stream cannot tell


def test_a_trend_that_leaves_its_interval_behind_is_refused() -> None:
    ratios = [1.3 + i / 1000 for i in range(30)]
    found = compare([1.0] * 30, ratios)
    assert found.verdict == "inconclusive"
    assert found.interval is None
    assert found.estimate == pytest.approx(1.3145, abs=1e-4)
    assert str(found.reason).startswith("the effect changed while it was measured: the median of all")
    shuffled = random.Random(0).sample(ratios, 30)
    assert compare([1.0] * 30, shuffled).verdict == "worse"


def test_a_stream_beyond_floating_point_is_refused() -> None:
    judge = SequentialComparison(kind="difference")
    with pytest.raises(GatewiseError, match=r"^the values are too far apart"):
        judge.update(-1e308, 1e308)
    assert judge.comparison().n == 0


@pytest.mark.parametrize("gained", [0, 100, 400])
@pytest.mark.parametrize("blocks", [False, True])
def test_a_stream_of_right_and_wrong_answers_points_to_compare(gained: int, blocks: bool) -> None:
    judge = SequentialComparison(kind="difference", direction="higher")
    for i in range(400):
        judge.update(0, 1 if i < gained else 0, block=i // 4 if blocks else None)
    judge.close()
    found = judge.comparison()
    assert found.verdict == "inconclusive"
    assert found.interval is None
    assert found.n == (100 if blocks else 400)
    assert "use compare" in str(found.reason)
    assert compare([0] * 400, [1] * gained + [0] * (400 - gained), kind="difference").interval is not None


def test_one_value_that_is_no_answer_makes_it_a_stream_of_measurements() -> None:
    judge = SequentialComparison(kind="difference", margin=0.1)
    for arm in (0.0, 1.0, 0.5) * 20:
        judge.update(0.0, arm)
    assert "compare" not in str(judge.comparison().reason)
    assert judge.comparison().interval is not None
