"""Holm over a family, the product of two factors, and the laws both must keep."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import Evidence, Product, Rule
from gatewise.core._family import holm, p_value

DIRECTION = Rule(kind="difference", margin=0.0)


def evidence(rng: random.Random, mean: float, n: int = 8, rule: Rule = DIRECTION) -> Evidence:
    return Evidence(effects=tuple(rng.gauss(mean, 1.0) for _ in range(n)), rule=rule, method="mean")


def rejected(ps: list[float], alpha: float) -> list[bool]:
    """Holm's adjusted p-values, written from the paper: p(k) (m - k + 1), made monotone."""
    order, adjusted, worst = sorted(range(len(ps)), key=lambda i: ps[i]), [0.0] * len(ps), 0.0
    for k, index in enumerate(order):
        worst = max(worst, ps[index] * (len(ps) - k))
        adjusted[index] = worst
    return [p <= alpha for p in adjusted]


@given(st.lists(st.floats(min_value=-3, max_value=3), min_size=1, max_size=8), st.integers(0, 10**6))
def test_holm_decides_what_holm_1979_rejects(means: list[float], seed: int) -> None:
    rng = random.Random(seed)
    family = [evidence(rng, mean) for mean in means]
    ps = [p_value(member) for member in family]
    if any(abs(p * m / 0.05 - 1) < 0.03 for p in ps for m in range(1, len(ps) + 1)):
        return  # our p-values are found to 1 %
    expected = rejected(ps, 0.05)
    decided = [comparison.verdict != "inconclusive" for comparison in holm(family, 0.05)]
    assert decided == expected


def test_the_p_value_of_a_direction_is_the_t_tests() -> None:
    from scipy import stats

    member = evidence(random.Random(3), 1.0)
    assert p_value(member) == pytest.approx(stats.ttest_1samp(member.effects, 0).pvalue, rel=0.02)


def test_a_family_of_nothing_but_noise_is_rarely_wrong() -> None:
    rng = random.Random(11)
    wrong = sum(
        any(found.verdict != "inconclusive" for found in holm([evidence(rng, 0.0) for _ in range(8)], 0.05))
        for _ in range(400)
    )
    assert wrong / 400 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 400)


def test_each_comparison_carries_the_level_it_was_judged_at() -> None:
    rng = random.Random(5)
    family = [evidence(rng, 30.0), evidence(rng, 0.0), evidence(rng, -30.0)]
    found = holm(family, 0.06)
    assert sorted(comparison.alpha for comparison in found) == pytest.approx([0.02, 0.03, 0.06])
    assert [comparison.verdict for comparison in found] == ["worse", "inconclusive", "better"]


@pytest.mark.parametrize("seed", [19, 43, 55, 87])
def test_a_contradiction_at_a_lenient_level_does_not_hide_a_clear_verdict(seed: int) -> None:
    """At alpha = 0.5 a running interval contradicts itself now and then; the p-value must be found below that."""
    rng = random.Random(seed)
    clear = Evidence(effects=tuple(rng.gauss(0.06, 0.03) for _ in range(40)), rule=Rule(margin=0.02), method="median")
    assert "changed" in str(clear.at(0.5).reason)
    assert p_value(clear) < 1e-3


def test_a_product_carries_both_uncertainties() -> None:
    rng = random.Random(2)
    rule = Rule(margin=0.02)
    steps = Evidence(effects=tuple(rng.gauss(-0.2, 0.02) for _ in range(6)), rule=rule, method="mean")
    times = Evidence(effects=tuple(rng.gauss(0.1, 0.005) for _ in range(12)), rule=rule, method="median")
    both = Product(first=steps, second=times, rule=rule).at(0.05)
    assert both.verdict == "better"
    assert both.estimate == pytest.approx(math.exp(-0.1), rel=0.03)
    alone = steps.at(0.05)
    assert both.interval is not None
    assert alone.interval is not None
    assert both.interval[1] / both.interval[0] > alone.interval[1] / alone.interval[0]


def test_a_product_with_a_refused_factor_is_refused() -> None:
    rule = Rule(margin=0.02)
    steps = Evidence(effects=(0.1,), rule=rule, method="mean")
    times = Evidence(effects=(0.1, 0.11), rule=rule, method="median")
    both = Product(first=steps, second=times, rule=rule).at(0.05)
    assert both.interval is None
    assert "n = 1" in str(both.reason)


def test_an_absurdly_wide_interval_is_refused_not_shown() -> None:
    rule = Rule(margin=0.02)
    found = Evidence(effects=(0.1, 0.2, 0.4), rule=rule, method="mean").at(1e-6)
    assert found.interval is None
    assert "factor" in str(found.reason)
