"""Intervals of shares that may be looked at always: the exact chance that they ever miss, by enumeration."""

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.core import GatewiseError, Rule
from gatewise.core._proportions import information_bound, judge_counts, judge_unpaired_stream, mean_interval

LENGTH = 18


def ever_missed(gained, lost, alpha):
    """The exact chance that the interval of a difference of paired shares misses it at any of the first looks."""
    truth, missed, alive = gained - lost, 0.0, {(0, 0): 1.0}
    for n in range(1, LENGTH + 1):
        following: dict[tuple[int, int], float] = {}
        for (b, c), chance in alive.items():
            steps = (((b + 1, c), gained), ((b, c + 1), lost), ((b, c), 1 - gained - lost))
            for state, step in steps:
                following[state] = following.get(state, 0.0) + chance * step
        alive = {}
        for (b, c), chance in following.items():
            low, high = mean_interval({1.0: b, 0.5: n - b - c, 0.0: c}, alpha)
            if 2 * low - 1 > truth or truth > 2 * high - 1:
                missed += chance
            else:
                alive[b, c] = chance
    return missed


@pytest.mark.parametrize(("gained", "lost"), [(0.5, 0.5), (0.1, 0.1), (0.05, 0.3), (0.6, 0.1)])
def test_ever_missing_the_truth_is_as_rare_as_stated(gained, lost):
    assert ever_missed(gained, lost, 0.3) <= 0.3


def test_the_interval_can_miss():
    """Otherwise the test above could not fail."""
    assert ever_missed(0.5, 0.5, 0.5) > 0.02


@given(b=st.integers(0, 2_000), c=st.integers(0, 2_000), ties=st.integers(0, 100_000), alpha=st.floats(1e-6, 0.5))
@settings(max_examples=60, deadline=None)
def test_interval_holds_the_estimate_and_mirrors(b, c, ties, alpha):
    n = b + c + ties
    if n == 0:
        return
    low, high = mean_interval({1.0: b, 0.5: ties, 0.0: c}, alpha)
    mean = (b + ties / 2) / n
    assert 0 <= low <= mean + 1e-9
    assert mean - 1e-9 <= high <= 1
    mirrored = mean_interval({1.0: c, 0.5: ties, 0.0: b}, alpha)
    assert (1 - mirrored[1], 1 - mirrored[0]) == pytest.approx((low, high), abs=2e-5)


def test_more_evidence_narrows():
    widths = []
    for n in (100, 1_000, 10_000):
        found = judge_counts({1.0: n // 50, -1.0: n // 100, 0.0: n}, Rule(kind="difference", margin=0.0), 0.01)
        widths.append(found.interval[1] - found.interval[0])
    assert widths[0] > 2 * widths[1] > 4 * widths[2]


def test_verdicts_of_paired_and_unpaired_shares():
    worse = judge_counts({1.0: 120, -1.0: 20, 0.0: 4_000}, Rule(kind="difference", margin=0.005), 1e-3)
    assert worse.verdict == "worse"
    same = judge_counts({1.0: 10, -1.0: 10, 0.0: 20_000}, Rule(kind="difference", margin=0.005), 1e-3)
    assert same.verdict == "equivalent"
    few = judge_counts({1.0: 2, 0.0: 10}, Rule(kind="difference", margin=0.005), 1e-3)
    assert few.verdict == "inconclusive"
    apart = judge_unpaired_stream((300, 3_000), (100, 9_000), Rule(kind="difference", margin=0.005), 1e-3)
    assert apart.verdict == "worse"
    assert judge_unpaired_stream((0, 0), (5, 10), Rule(kind="difference"), 1e-3).reason is not None
    allowed = judge_counts({1.0: 5, 0.0: 5_000}, Rule(kind="difference", margin=0.05), 1e-3, span=(0.0, 1.0))
    assert allowed.verdict == "equivalent"


def test_information_bound():
    assert information_bound(1e-3, 0.75) == pytest.approx(math.log(1e3) / 0.13081, rel=1e-3)
    with pytest.raises(GatewiseError):
        information_bound(1e-3, 0.5)


@pytest.mark.parametrize("counts", [{2.0: 1}, {-0.1: 1}, {0.5: -1}])
def test_impossible_counts_are_refused(counts):
    with pytest.raises(GatewiseError):
        mean_interval(counts, 0.05)


def test_ratios_of_shares_are_refused():
    with pytest.raises(GatewiseError, match="difference"):
        judge_counts({0.0: 5}, Rule(), 0.05)
