"""The judge against statistics that others published: scipy, statsmodels, and a package of confidence sequences."""

import math
import random

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mpmath import mp, quad
from scipy import stats
from sequential_analysis.procedures.quantile import QuantileConfidenceSequence
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests
from statsmodels.stats.weightstats import ttost_ind, ttost_paired

from gatewise.core import Evidence, MedianSequence, Rule, compare, holm, rank
from gatewise.core._family import p_value
from gatewise.core._paired import paired_interval, score_limit
from gatewise.core._sequence import log_capital

ALPHA = 0.05
SEEDS = range(60)


def losses(seed: int, n: int = 9) -> tuple[list[float], list[float]]:
    rng = random.Random(seed)
    base = [rng.gauss(3.28, 0.01) for _ in range(n)]
    gap = rng.choice([0.0, 0.002, -0.004, 0.006])
    return base, [value + gap + rng.gauss(0, 0.002) for value in base]


# Means: scipy's t-tests and two one-sided tests.


@pytest.mark.parametrize("paired", [True, False])
def test_t_intervals_are_scipys(paired: bool) -> None:
    for seed in SEEDS:
        base, arm = losses(seed)
        arm = arm if paired else arm[:6]
        found = compare(base, arm, paired, kind="difference", margin=0.003)
        theirs = stats.ttest_rel(arm, base) if paired else stats.ttest_ind(arm, base, equal_var=False)
        interval = theirs.confidence_interval(1 - ALPHA)
        assert found.interval == pytest.approx((interval.low, interval.high), rel=1e-9)


@pytest.mark.parametrize("paired", [True, False])
def test_verdicts_are_those_of_one_sided_tests(paired: bool) -> None:
    """Worse: above the margin at alpha / 2. Equivalent: the two one-sided tests (TOST) at alpha / 2 each."""
    margin, seen = 0.003, set[str]()
    for seed in SEEDS:
        base, arm = losses(seed)
        shifted = [value + margin for value in base], [value - margin for value in base]

        def p(other: list[float], side: str, arm: list[float] = arm) -> float:
            if paired:
                return stats.ttest_rel(arm, other, alternative=side).pvalue
            return stats.ttest_ind(arm, other, equal_var=False, alternative=side).pvalue

        expected = "inconclusive"
        if p(shifted[0], "greater") < ALPHA / 2:
            expected = "worse"
        elif p(shifted[1], "less") < ALPHA / 2:
            expected = "better"
        elif max(p(shifted[0], "less"), p(shifted[1], "greater")) < ALPHA / 2:
            expected = "equivalent"
        found = compare(base, arm, paired, kind="difference", margin=margin)
        tost = ttost_paired if paired else ttost_ind
        options = {} if paired else {"usevar": "unequal"}
        theirs = tost(np.array(arm), np.array(base), -margin, margin, **options)[0]
        assert found.verdict == expected
        assert (found.verdict == "equivalent") == (theirs < ALPHA / 2)
        seen.add(found.verdict)
    assert len(seen) >= (4 if paired else 1)


def test_holm_is_statsmodels() -> None:
    rule = Rule(kind="difference", margin=0.0)
    decisions = 0
    for seed in range(40):
        rng = random.Random(seed)
        family = [
            Evidence(effects=tuple(rng.gauss(mean, 1.0) for _ in range(8)), rule=rule, method="mean")
            for mean in (0.0, 0.5, 1.0, 1.5, 2.0)
        ]
        ps = [stats.ttest_1samp(member.effects, 0).pvalue for member in family]
        if any(abs(p * m / ALPHA - 1) < 0.03 for p in ps for m in range(1, 6)):
            continue  # ours are found to 1 %
        expected = multipletests(ps, ALPHA, method="holm")[0]
        assert [one.verdict != "inconclusive" for one in holm(family, ALPHA)] == expected.tolist()
        for member, p in zip(family, ps, strict=True):
            if 1e-6 < p < 0.5:  # ours are looked for between these
                assert p_value(member) == pytest.approx(p, rel=0.02)
        decisions += int(expected.sum())
    assert decisions > 40


# Medians: the capital, the sequence, and the chance that it is ever wrong.


@pytest.mark.parametrize(("n", "k"), [(3, 3), (20, 15), (75, 40), (200, 90), (400, 260)])
def test_the_capital_is_its_integral_in_thirty_digits(n: int, k: int) -> None:
    with mp.workdps(30):
        pieces = [mp.mpf(i) / 40 for i in range(20, 41)]
        bets = quad(lambda p: p ** (k - 0.5) * (1 - p) ** (n - k - 0.5), pieces)
        mass = quad(lambda p: (p * (1 - p)) ** -0.5, [0.5, 0.8, 1])
        expected = float(mp.log(2**n * bets / mass))
    assert log_capital(n, k) == pytest.approx(expected, rel=1e-8, abs=1e-8)


@pytest.mark.parametrize("alpha", [0.2, 0.05, 0.01, 0.001])
@pytest.mark.parametrize("decimals", [1, 9])
def test_the_sequence_is_that_of_a_published_package(alpha: float, decimals: int) -> None:
    """`sequential-analysis` mixes over a beta prior; tuned for one observation it is Jeffreys', which is ours."""
    rng = random.Random(f"{alpha}{decimals}")
    theirs, ours = QuantileConfidenceSequence(0.5, alpha, tuned_for=1.0), MedianSequence(alpha)
    state = theirs.initial_state()
    for _ in range(250):
        value = round(rng.gauss(0, 1) * (10 if rng.random() < 0.05 else 1), decimals)
        state, found = theirs.step(state, {"x": value})
        ours.add(value)
        both = None if found.lower is None or found.upper is None else (found.lower, found.upper)
        assert ours.interval == both
    assert ours.interval is not None


@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.005])
def test_the_chance_of_ever_being_wrong_is_at_most_alpha(alpha: float) -> None:
    """Exact, by carrying the distribution of the count through 1,500 looks; and not far below alpha."""
    size = 1_500
    alive, crossed = np.zeros(size + 2), 0.0
    alive[0] = 1.0
    for n in range(1, size + 1):
        alive[1:] = (alive[1:] + alive[:-1]) / 2
        alive[0] /= 2
        k = rank(n, alpha)
        if k is not None:
            crossed += float(alive[k:].sum())
            alive[k:] = 0.0
            assert stats.binom.sf(k - 1, n, 0.5) <= alpha / 2  # one look is at least as strict as an exact sign test
    assert 0.3 * alpha <= 2 * crossed <= alpha


# Binary items: exact McNemar, the published score interval, exact coverage.


@given(st.integers(0, 40), st.integers(0, 40), st.sampled_from([0.1, 0.05, 0.01, 0.001]), st.integers(0, 200))
def test_no_direction_without_the_exact_mcnemar_test(gained: int, lost: int, alpha: float, equal: int) -> None:
    n = gained + lost + equal
    if n < 2:
        return
    table = [[equal, lost], [gained, 0]]
    p = mcnemar(table, exact=True).pvalue if gained + lost else 1.0
    low, high = paired_interval(gained, lost, n, alpha)
    if low > 0 or high < 0:
        assert p <= alpha
    if p <= alpha / 4:
        assert low > 0 or high < 0


def test_the_direction_is_the_exact_mcnemar_tests_but_for_a_few_tables() -> None:
    differ = 0
    for gained in range(41):
        for lost in range(gained):
            exact = mcnemar([[60, lost], [gained, 0]], exact=True).pvalue <= ALPHA
            differ += exact != (paired_interval(gained, lost, 60 + gained + lost, ALPHA)[0] > 0)
    assert differ <= 5  # of 820; always on the careful side


def test_without_its_corrections_the_score_interval_is_the_published_one() -> None:
    """Airways before and after a transplant (Fagerland, Lydersen and Laake 2014): 1 and 7 of 21 discordant."""
    low, high = score_limit(1, 7, 21, ALPHA, correction=0.0), -score_limit(7, 1, 21, ALPHA, correction=0.0)
    assert (round(low, 3), round(high, 3)) == (-0.517, -0.026)
    wider = paired_interval(1, 7, 21, ALPHA)
    assert wider[0] < low
    assert wider[1] > high


@pytest.mark.parametrize(("b", "c", "n"), [(12, 3, 60), (5, 9, 40), (30, 1, 400), (2, 2, 25)])
def test_the_score_limit_is_where_the_likelihood_puts_it(b: int, c: int, n: int) -> None:
    """Tango's statistic with the share found by maximising the likelihood numerically, not by the formula."""
    from scipy.optimize import minimize_scalar

    d = score_limit(b, c, n, ALPHA, correction=0.0)

    def minus_likelihood(q: float) -> float:
        return -(b * math.log(q + d) + c * math.log(q) + (n - b - c) * math.log1p(-2 * q - d))

    edges = max(0.0, -d) + 1e-12, (1 - d) / 2 - 1e-12
    q = minimize_scalar(minus_likelihood, bounds=edges, method="bounded", options={"xatol": 1e-12}).x
    z = (b - c - n * d) / math.sqrt(n * (2 * q + d * (1 - d)))
    assert z == pytest.approx(stats.norm.ppf(1 - ALPHA / 2), rel=1e-4)


@pytest.mark.parametrize("n", [9, 16, 30])
@pytest.mark.parametrize("alpha", [0.1, 0.05, 0.0125])
def test_each_side_misses_at_most_half_of_alpha_exactly(n: int, alpha: float) -> None:
    outcomes = [(b, c) for b in range(n + 1) for c in range(n + 1 - b)]
    limits = np.array([paired_interval(b, c, n, alpha) for b, c in outcomes])
    counts = np.array([(b, c, n - b - c) for b, c in outcomes])
    worst = 0.0
    for difference in (0.0, 0.01, 0.05, 0.2):
        for lost in (1e-9, 0.002, 0.01, 0.03, 0.1, 0.2, 0.35):
            shares = (lost + difference, lost, 1 - 2 * lost - difference)
            chances = stats.multinomial.pmf(counts, n, shares)
            sides = limits[:, 0] > difference + 1e-9, limits[:, 1] < difference - 1e-9
            worst = max(worst, *(float(chances[side].sum()) for side in sides))
    assert 0.1 * alpha <= worst <= alpha / 2


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 1), st.integers(0, 1)), min_size=2, max_size=60))
def test_binary_items_mirror_and_hold_their_estimate(pairs: list[tuple[int, int]]) -> None:
    base, arm = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    there = compare(base, arm, kind="difference", direction="higher", margin=0.0)
    back = compare(arm, base, kind="difference", direction="higher", margin=0.0)
    assert there.interval is not None
    assert back.interval is not None
    assert there.estimate == pytest.approx(np.mean(arm) - np.mean(base))
    assert there.interval[0] <= there.estimate <= there.interval[1]
    assert there.interval == pytest.approx((-back.interval[1], -back.interval[0]), abs=1e-9)
