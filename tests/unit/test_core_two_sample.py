"""The unpaired test in blocks: e-values against every choice of canaries, and rates under load that follows itself."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest

from gatewise.core import GatewiseError, Rule
from gatewise.core._two_sample import LONGEST, SHORTEST, BlockEvidence, BlockMedians, block_evidence, block_size, ranks


@given(
    scores=st.one_of(
        st.lists(st.floats(0, 1), min_size=2, max_size=9), st.lists(st.sampled_from([0.0, 1.0]), min_size=2, max_size=9)
    ),
    k=st.integers(0, 9),
    tilt=st.floats(0.05, 6.0),
)
@settings(max_examples=60, deadline=None)
def test_mean_over_every_choice_is_one(scores, k, tilt):
    size = len(scores)
    k = min(k, size)
    found = []
    for mine in itertools.combinations(range(size), k):
        (value,) = block_evidence(scores, [i in mine for i in range(size)], [tilt])
        found.append(value)
    assert math.fsum(found) / len(found) == pytest.approx(1.0, rel=1e-9)
    direct = [math.exp(tilt * sum(scores[i] for i in mine)) for mine in itertools.combinations(range(size), k)]
    expected = [value * len(direct) / math.fsum(direct) for value in direct]
    assert found == pytest.approx(expected, rel=1e-9)


def test_large_blocks_stay_numbers():
    rng = np.random.default_rng(0)
    for canary in (rng.random(LONGEST) < 0.5, rng.random(LONGEST) < 0.02):
        found = block_evidence(rng.random(LONGEST).tolist(), canary.tolist(), [0.1, 6.0])
        assert all(math.isfinite(value) and value >= 0 for value in found)


def test_ranks_share_ties():
    assert ranks([5.0, 1.0, 5.0, 9.0]) == [0.5, 0.0, 0.5, 1.0]
    assert ranks([3.0]) == [0.0]


def test_block_size_holds_some_of_the_rarer_version():
    assert block_size(0.1) == 80
    assert block_size(0.9) == 80
    assert block_size(0.5) == SHORTEST
    assert block_size(1e-6) == LONGEST


def replay(rng, n, slower, alpha, share=0.2):
    """Requests until the alarm under a random-walk load; 0: none."""
    load = np.cumsum(rng.normal(0, 0.1, n)) + rng.normal(0, 0.1, n)
    canary = rng.random(n) < share
    times, size, judge = np.exp(load + slower * canary), block_size(share), BlockEvidence()
    for start in range(0, n - size + 1, size):
        judge.add(times[start : start + size].tolist(), canary[start : start + size].tolist())
        if judge.bets.capital >= 1 / alpha:
            return start + size
    return 0


def test_false_alarms_under_load_waves_are_as_rare_as_stated():
    rng = np.random.default_rng(21)
    wrong = sum(replay(rng, 2_000, 0.0, 0.05) > 0 for _ in range(150))
    assert binomtest(wrong, 150, 0.05, alternative="greater").pvalue > 1e-4


def test_a_slow_canary_is_found_under_load_waves():
    rng = np.random.default_rng(22)
    found = sum(replay(rng, 6_000, 0.2, 1e-3) > 0 for _ in range(25))
    assert binomtest(found, 25, 0.8, alternative="less").pvalue > 1e-4


def test_luck_of_the_canary_alone_holds_the_evidence_down():
    rng, held, unheld = np.random.default_rng(25), 0, 0
    for _ in range(8):
        own, judge, alarmed, raw = 0.0, BlockEvidence(), False, False
        for _ in range(40):
            times, canary = [], []
            for _ in range(80):
                own = 0.995 * own + 0.01 * rng.normal()
                canary.append(bool(rng.random() < 0.1))
                times.append(math.exp(rng.normal(0, 0.1) + own * canary[-1]))
            judge.add(times, canary)
            alarmed, raw = alarmed or judge.evidence() >= math.log(1e3), raw or judge.bets.capital >= 1e3
        held, unheld = held + alarmed, unheld + raw
    assert held < unheld
    assert held <= 5


def test_failures_that_triple_are_found_and_equal_ones_are_not():
    rng, ends = np.random.default_rng(23), {1.0: 0, 3.0: 0}
    for factor in ends:
        for _ in range(30):
            judge = BlockEvidence(binary=True, design=3.0)
            for _ in range(250):
                canary = rng.random(80) < 0.1
                failed = rng.random(80) < 0.02 * np.where(canary, factor, 1.0)
                judge.add(failed.astype(float).tolist(), canary.tolist())
                if judge.bets.capital >= 1e3:
                    ends[factor] += 1
                    break
    assert ends[1.0] <= 1
    assert ends[3.0] >= 24


def test_medians_of_blocks_make_an_interval():
    rng, judge = np.random.default_rng(24), BlockMedians(Rule(), 0.01)
    for _ in range(150):
        canary = rng.random(64) < 0.25
        judge.add(np.exp(rng.normal(0, 0.1, 64) + rng.normal() + 0.1 * canary).tolist(), canary.tolist())
    found = judge.comparison()
    assert found.verdict == "worse"
    assert found.interval[0] < math.exp(0.1) < found.interval[1]


@pytest.mark.parametrize(
    "make",
    [
        lambda: BlockEvidence(design=3.0),
        lambda: BlockEvidence(binary=True, design=0.5),
        lambda: block_evidence([1.0], [], [1.0]),
    ],
)
def test_impossible_blocks_are_refused(make):
    with pytest.raises(GatewiseError):
        make()
