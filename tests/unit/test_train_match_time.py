"""Matching by time, on clocks that are made up: the width at which the ratio is 1 is found, and noise is told."""

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.train._match_time import MULTIPLE, TOLERANCE, match_time, median_interval


def clock(equal_at: float, noise: float = 0.0, seed: int = 0) -> Callable[[int], list[float]]:
    """Log-ratios of a step that takes 0.4 + 0.6 width / equal_at of the baseline's time."""
    rng = random.Random(seed)
    return lambda hidden: [math.log(0.4 + 0.6 * hidden / equal_at) + rng.gauss(0, noise) for _ in range(41)]


@settings(max_examples=60)
@given(equal_at=st.integers(20, 900), guess=st.integers(1, 1200))
def test_the_nearest_multiple_is_found_wherever_the_search_begins(equal_at: int, guess: int) -> None:
    found = match_time(clock(equal_at), guess=guess)
    reach = 4 * max(1, round(guess / MULTIPLE)) * MULTIPLE
    if reach < equal_at:
        assert found.hidden == reach  # as far as it looks; the ratio tells that it is not matched
        return
    ratio = {width: abs(math.log(0.4 + 0.6 * width / equal_at)) for width in range(MULTIPLE, 2000, MULTIPLE)}
    assert found.hidden == min(ratio, key=lambda width: ratio[width])
    assert found.hidden % MULTIPLE == 0
    assert len(found.looked_at) <= 14


def test_what_is_reported_was_measured_apart_from_the_search() -> None:
    final: list[int] = []

    def measured(hidden: int) -> list[float]:
        final.append(hidden)
        return [math.log(1.2)] * 30

    found = match_time(clock(200), guess=160, final=measured)
    assert final == [found.hidden] == [200]
    assert found.ratio == pytest.approx(1.2)
    assert not found.matched
    assert found.to_json()["reproducible"] is False


def test_matched_means_the_whole_interval() -> None:
    quiet, noisy = (match_time(clock(256, noise, seed=1), guess=200) for noise in (0.01, 0.5))
    assert quiet.matched
    assert 1 - TOLERANCE <= quiet.interval[0] <= quiet.ratio <= quiet.interval[1] <= 1 + TOLERANCE
    assert not noisy.matched


def test_too_few_pairs_have_no_interval() -> None:
    assert median_interval([1.0, 2.0, 3.0], 0.95) == (-math.inf, math.inf)
    assert median_interval([float(k) for k in range(1, 7)], 0.95) == (1.0, 6.0)


def test_the_interval_covers_the_median_as_often_as_it_says() -> None:
    rng, covered = random.Random(3), 0
    for _ in range(1000):
        low, high = median_interval([rng.expovariate(1.0) for _ in range(25)], 0.95)
        covered += low <= math.log(2) <= high
    assert 930 <= covered <= 990  # 957 expected, four standard deviations of 6.4
