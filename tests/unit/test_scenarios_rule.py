"""The binomial rule: published values, no claim from too few, coverage by simulation, and percentile intervals."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom

from gatewise.core import GatewiseError
from gatewise.scenarios import fewest_queries, judge_tail, percentile_of
from gatewise.scenarios._rule import allowed_over, clumping


@pytest.mark.parametrize(
    ("percentile", "confidence", "over", "queries"),
    [(0.99, 0.99, 0, 459), (0.99, 0.99, 1, 662), (0.9, 0.99, 1, 64), (0.99, 0.95, 0, 299)],
)
def test_the_fewest_queries_are_those_of_the_published_rule(
    percentile: float, confidence: float, over: int, queries: int
) -> None:
    assert fewest_queries(percentile, confidence, over) == queries


@pytest.mark.parametrize("n", [1, 50, 298])
def test_too_few_queries_claim_nothing_and_say_how_many_it_takes(n: int) -> None:
    found = judge_tail(n, 0, percentile=0.99, confidence=0.95)
    assert found.verdict == "undecided"
    assert found.allowed is None
    assert found.needs == 299
    assert found.reason is not None
    assert "too few" in found.reason


def test_enough_queries_hold_fail_or_stay_open() -> None:
    assert judge_tail(299, 0, percentile=0.99, confidence=0.95).verdict == "holds"
    assert judge_tail(10_000, 60, percentile=0.99, confidence=0.95).verdict == "holds"
    assert judge_tail(10_000, 140, percentile=0.99, confidence=0.95).verdict == "fails"
    middle = judge_tail(10_000, 98, percentile=0.99, confidence=0.95)
    assert middle.verdict == "undecided"
    assert middle.needs is not None
    assert middle.needs > 100_000
    assert judge_tail(10_000, 100, percentile=0.99, confidence=0.95).needs is None


@given(
    n=st.integers(1, 5000), percentile=st.sampled_from([0.5, 0.9, 0.99]), confidence=st.sampled_from([0.9, 0.95, 0.99])
)
def test_allowed_is_the_largest_count_the_definition_accepts(n: int, percentile: float, confidence: float) -> None:
    found = allowed_over(n, percentile, confidence)
    levels = binom.cdf(range(n + 1), n, 1 - percentile)
    accepted = [h for h in range(n + 1) if levels[h] <= 1 - confidence]
    assert found == (accepted[-1] if accepted else None)


@given(n=st.integers(1, 3000), over=st.integers(0, 60), factor=st.floats(1, 30))
def test_counting_clumps_never_turns_no_into_yes(n: int, over: int, factor: float) -> None:
    over = min(n, over)
    plain = judge_tail(n, over, percentile=0.99, confidence=0.95)
    clumped = judge_tail(n, over, percentile=0.99, confidence=0.95, clumping=factor)
    if plain.verdict != "holds":
        assert clumped.verdict != "holds"


def test_wrong_claims_at_the_limit_are_as_rare_as_promised() -> None:
    """Exactly 1 % of independent queries over the limit: `holds` and `fails` are both wrong, each at most 5 %."""
    rng, n, trials = random.Random(1), 1500, 2000
    counts = [sum(rng.random() < 0.01 for _ in range(n)) for _ in range(trials)]
    verdicts = [judge_tail(n, count, percentile=0.99, confidence=0.95).verdict for count in counts]
    bound = 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)
    assert verdicts.count("holds") / trials <= bound
    assert verdicts.count("fails") / trials <= bound
    assert verdicts.count("holds") > 0


def test_queries_in_clumps_fool_the_plain_rule_and_not_the_counted_one() -> None:
    """Busy periods of 20 queries that are slow together, 1 % over in the mean."""
    rng, trials, plain, counted = random.Random(2), 400, 0, 0
    for _ in range(trials):
        over: list[bool] = []
        first: list[bool] = []
        for _ in range(400):
            slow = rng.random() < 0.01
            over += [slow] * 20
            first += [True] + [False] * 19
        n, count, factor = len(over), sum(over), max(20.0, clumping(over, first))
        plain += judge_tail(n, count, percentile=0.99, confidence=0.95).verdict == "holds"
        counted += judge_tail(n, count, percentile=0.99, confidence=0.95, clumping=factor).verdict == "holds"
    assert plain / trials > 0.15
    assert counted / trials <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_clumping_is_one_for_independent_queries_and_the_size_of_whole_clumps() -> None:
    rng = random.Random(3)
    independent = [rng.random() < 0.05 for _ in range(20_000)]
    assert clumping(independent, [True] * 20_000) == pytest.approx(1.0, abs=0.1)
    clumps = [slow for slow in independent[:2000] for _ in range(10)]
    assert clumping(clumps, [i % 10 == 0 for i in range(20_000)]) == pytest.approx(10, rel=0.2)
    assert clumping([], []) == 1.0


@pytest.mark.parametrize("percentile", [0.5, 0.9, 0.99])
def test_percentile_intervals_cover_without_a_distribution(percentile: float) -> None:
    rng, trials, covered = random.Random(4), 600, 0
    truth = -math.log(1 - percentile)
    for _ in range(trials):
        found = percentile_of([rng.expovariate(1) for _ in range(800)], percentile)
        assert found.low_s is not None
        assert found.high_s is not None
        assert found.low_s <= found.value_s <= found.high_s
        covered += found.low_s <= truth <= found.high_s
    assert covered / trials >= 0.95 - 3 * math.sqrt(0.05 * 0.95 / trials)
    assert covered < trials


def test_a_p99_of_ten_values_has_no_upper_end() -> None:
    found = percentile_of([float(i) for i in range(10)], 0.99)
    assert found.high_s is None
    assert found.needs == 368  # ln(.025) / ln(.99), rounded up
    assert percentile_of([float(i) for i in range(368)], 0.99).high_s is not None
    assert percentile_of([float(i) for i in range(367)], 0.99).high_s is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda: judge_tail(10, 11, percentile=0.99, confidence=0.95),
        lambda: judge_tail(10, 1, percentile=99, confidence=0.95),
        lambda: judge_tail(10, 1, percentile=0.99, confidence=0.95, clumping=0.5),
        lambda: percentile_of([], 0.5),
    ],
)
def test_impossible_counts_are_refused(broken: object) -> None:
    with pytest.raises(GatewiseError):
        broken()  # type: ignore[operator]
