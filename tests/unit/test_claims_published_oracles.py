"""The same numbers from scipy, from statsmodels and from brute force."""

import contextlib
import itertools
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from gatewise import claims
from gatewise.claims._published._read import read_source
from gatewise.claims._published._table import Table
from gatewise.claims._published._welch import holm

with contextlib.suppress(ImportError):
    # With the module, not in its first test: its correction collects garbage in every call, over all that came later.
    import statsmodels.stats.multitest  # noqa: F401


def table(arms: list[tuple[float, float, int]], extra: str = "") -> Table:
    rows = ", ".join(f'{{ name = "{i}", mean = {m!r}, sd = {s!r}, n = {n} }}' for i, (m, s, n) in enumerate(arms))
    return read_source("x", f'[[table]]\nname = "t"\nbetter = "lower"\narms = [{rows}]\n{extra}').tables[0]


def results(tmp_path: Path, text: str) -> dict[str, dict[str, Any]]:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return {each["quantity"]: each for each in claims.published(path)["results"]}


ARMS = [(1.997, 0.005, 4), (1.983, 0.005, 9), (1.994, 0.03, 3), (1.982, 0.006, 2), (2.1, 0.2, 40)]
ROWS = ", ".join(f'{{ name = "{i}", mean = {m}, sd = {s}, n = {n} }}' for i, (m, s, n) in enumerate(ARMS))
TEXT = f'[[table]]\nname = "t"\nbetter = "lower"\narms = [{ROWS}]\n'
POOLED = TEXT + 'analyses = ["pooled-t"]\nagainst = "0"\n'


def test_welch_is_scipys_and_holm_is_statsmodels(tmp_path: Path) -> None:
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    found = results(tmp_path, TEXT)
    pairs = list(itertools.combinations(range(len(ARMS)), 2))
    expected = [stats.ttest_ind_from_stats(*ARMS[a], *ARMS[b], equal_var=False).pvalue for a, b in pairs]
    rejected, adjusted, _, _ = multiple.multipletests(expected, 0.05, "holm")
    for (a, b), p, p_holm, survives in zip(pairs, expected, adjusted, rejected, strict=True):
        assert found[f"{a} vs {b}, t: p"]["value"] == pytest.approx(p, rel=1e-9)
        assert found[f"{a} vs {b}, t: p after Holm"]["value"] == pytest.approx(p_holm, rel=1e-9)
        assert (found[f"{a} vs {b}, t: p"]["evidence"] == "established") == survives
    assert found["pairs that survive Holm, t"]["value"] == sum(rejected)
    assert 0 < sum(rejected) < len(pairs)


def test_the_pooled_test_and_its_interval_are_scipys(tmp_path: Path) -> None:
    found = results(tmp_path, POOLED)
    for other in range(1, len(ARMS)):
        (m1, s1, n1), (m2, s2, n2) = ARMS[0], ARMS[other]
        pair = found[f"0 vs {other}, t: difference"]
        assert pair["detail"]["p"] == pytest.approx(stats.ttest_ind_from_stats(m1, s1, n1, m2, s2, n2).pvalue, rel=1e-9)
        pooled = math.sqrt(((n1 - 1) * s1**2 + (n2 - 1) * s2**2) / (n1 + n2 - 2))
        assert found[f"0 vs {other}, t: Cohen's d"]["value"] == pytest.approx((m1 - m2) / pooled, rel=1e-9)
        reach = (
            stats.t.ppf((1 + pair["detail"]["interval_level"]) / 2, n1 + n2 - 2) * pooled * math.sqrt(1 / n1 + 1 / n2)
        )
        assert pair["interval"] == pytest.approx([m1 - m2 - reach, m1 - m2 + reach], abs=1e-9)


def test_rounding_bounds_are_reached_by_figures_that_print_alike(tmp_path: Path) -> None:
    low, high = results(tmp_path, TEXT)["0 vs 1, t: difference"]["detail"]["p_rounding"]
    rng = np.random.default_rng(1)
    drawn = [
        stats.ttest_ind_from_stats(1.997 + u[0], 0.005 + u[1], 4, 1.983 + u[2], 0.005 + u[3], 9, equal_var=False).pvalue
        for u in rng.uniform(-0.0005, 0.0005, size=(2000, 4))
    ]
    assert low <= min(drawn) < 1.5 * low
    assert high / 1.5 < max(drawn) <= high


@given(st.lists(st.floats(0, 1), min_size=1, max_size=12), st.sampled_from([0.01, 0.05, 0.2]))
def test_holm_is_statsmodels(p_values: list[float], alpha: float) -> None:
    multiple = pytest.importorskip("statsmodels.stats.multitest")
    found = holm(p_values, alpha)
    _, adjusted, _, _ = multiple.multipletests(p_values, alpha, "holm")
    assert [each.p for each in found] == pytest.approx(list(adjusted))
    assert all(each.rejected == (each.p <= alpha) for each in found)
    assert all(each.rejected == (p <= each.level) for each, p in zip(found, p_values, strict=True))


def test_one_sample_is_scipys(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(3.279, 0.002, 30)
    mean, sd = values.mean(), values.std(ddof=1)
    arm = f'{{ name = "a", mean = {mean}, sd = {sd}, n = 30 }}'
    text = f'[[table]]\nname = "t"\nbetter = "BETTER"\ntarget = 3.28\narms = [{arm}]\n'
    for better, alternative in (("lower", "less"), ("higher", "greater")):
        found = results(tmp_path, text.replace("BETTER", better))
        side = "below" if better == "lower" else "above"
        expected = stats.ttest_1samp(values, 3.28, alternative=alternative)
        assert found[f"a, t: mean {side} 3.28: p"]["value"] == pytest.approx(expected.pvalue, rel=1e-6)
        limits = stats.ttest_1samp(values, 3.28).confidence_interval(0.90)
        found_limits = found[f"a, t: mean {side} 3.28: difference"]["interval"]
        assert found_limits == pytest.approx([limits.low - 3.28, limits.high - 3.28], abs=1e-9)


def agreement(one: list[float], other: list[float]) -> str:
    def rows(values: list[float]) -> str:
        return ", ".join(f'{{ name = "{i}", mean = {value} }}' for i, value in enumerate(values))

    return (
        f'[[table]]\nname = "x"\nbetter = "lower"\narms = [{rows(one)}]\n'
        f'[[table]]\nname = "y"\nbetter = "lower"\narms = [{rows(other)}]\n[[agreement]]\nof = "x"\nwith = "y"\n'
    )


@pytest.mark.parametrize("size", [5, 6])
@pytest.mark.parametrize("ties", [False, True])
def test_rank_agreement_is_scipys(tmp_path: Path, size: int, ties: bool) -> None:
    rng = np.random.default_rng(size)
    one, other = [rng.permutation(size).astype(float) for _ in range(2)]
    if ties:
        one[:2], other[-2:] = one[0], other[-1]
    found = results(tmp_path, agreement(list(one), list(other)))
    expected = {"Spearman": stats.spearmanr, "Kendall": stats.kendalltau}
    for name, statistic in expected.items():
        mine = found[f"{name}, x against y"]
        assert mine["value"] == pytest.approx(statistic(one, other).statistic, abs=1e-12)
        theirs = stats.permutation_test(
            (other,), lambda y, f=statistic: f(one, y).statistic, permutation_type="pairings", n_resamples=np.inf
        )
        assert mine["detail"]["p"] == pytest.approx(theirs.pvalue, abs=1e-12)


def test_many_arms_have_scipys_p(tmp_path: Path) -> None:
    one = list(range(12))
    other = [2, 0, 5, 1, 3, 8, 4, 11, 6, 7, 10, 9]
    for turn in (1, -1):
        found = results(tmp_path, agreement(one, other[::turn]))
        for name, statistic in (("Spearman", stats.spearmanr), ("Kendall", stats.kendalltau)):
            expected, mine = statistic(one, other[::turn]), found[f"{name}, x against y"]
            assert (mine["value"], mine["detail"]["p"]) == pytest.approx((expected.statistic, expected.pvalue))
            assert expected.pvalue < 0.01
            assert mine["evidence"] == ("established" if turn > 0 else "not established")


def test_too_few_arms_and_a_flat_column_tell_nothing(tmp_path: Path) -> None:
    few = results(tmp_path, agreement([1, 2, 3, 4], [1, 2, 3, 4]))["Spearman, x against y"]
    assert (few["value"], few["evidence"]) == (pytest.approx(1.0), "cannot tell")
    flat = results(tmp_path, agreement([1, 1, 1, 1, 1], [1, 2, 3, 4, 5]))["Spearman, x against y"]
    assert (flat["value"], flat["evidence"]) == (None, "cannot tell")


def speedup_text(sd: float, n: int = 80) -> str:
    return f"""
[[speedup]]
name = "s"
floor = 1.6
exponent = 0.0941
base = {{ name = "a", loss = 3.8104, tokens_per_second = 407378, n = 1 }}
variant = {{ name = "b", loss = 3.8028, tokens_per_second = 399414, n = 1 }}
noise = [{{ sd = {sd}, n = {n}, from = "seeds" }}]
"""


@pytest.mark.parametrize("n", [4, 80])
def test_three_ways_to_the_band_agree(tmp_path: Path, n: int) -> None:
    band = next(iter(results(tmp_path, speedup_text(0.00191, n)).values()))["detail"]["bands"][0]
    width = math.log(band["exact"][1] / band["exact"][0])
    for way in ("propagated", "simulated"):
        for mine, exact in zip(band[way], band["exact"], strict=True):
            assert abs(math.log(mine / exact)) < 0.03 * width


def test_the_exact_band_covers_the_truth_at_its_level(tmp_path: Path) -> None:
    # Seeded: two true losses, single runs, an SD estimated from 10 seeds of their own.
    rng = np.random.default_rng(7)
    floor, base, variant, sd, inside, tries = 1.6, 3.81, 3.80, 0.01, 0, 300
    truth = ((base - floor) / (variant - floor)) ** (1 / 0.0941)
    blocks = []
    for index in range(tries):
        seeds = rng.normal(0, sd, 10).std(ddof=1)
        losses = rng.normal(base, sd), rng.normal(variant, sd)
        blocks.append(
            f'[[speedup]]\nname = "{index}"\nfloor = {floor}\nexponent = 0.0941\n'
            f'base = {{ name = "a", loss = {losses[0]}, tokens_per_second = 1, n = 1 }}\n'
            f'variant = {{ name = "b", loss = {losses[1]}, tokens_per_second = 1, n = 1 }}\n'
            f'noise = [{{ sd = {seeds}, n = 10, from = "seeds" }}]\n'
        )
    for each in results(tmp_path, "\n".join(blocks)).values():
        inside += each["interval"][0] <= truth <= each["interval"][1]
    assert stats.binom.cdf(inside, tries, 0.95) > 0.001
    assert stats.binom.sf(inside - 1, tries, 0.95) > 0.001


@pytest.mark.parametrize("correlation", [None, 0.8])
def test_sample_sizes_are_statsmodels(tmp_path: Path, correlation: float | None) -> None:
    power = pytest.importorskip("statsmodels.stats.power")
    extra = f"correlation = {correlation}\n" if correlation else ""
    text = f'[[sample_size]]\ndifference = 0.001\n{extra}noise = {{ sd = 0.0019, n = 80, from = "x" }}\n'
    found = next(iter(results(tmp_path, text).values()))
    if correlation:
        effect = 0.001 / (0.0019 * math.sqrt(2 * (1 - correlation)))
        exact = power.TTestPower().solve_power(effect, alpha=0.05, power=0.8)
        normal = power.NormalIndPower(ddof=0).solve_power(effect, alpha=0.05, power=0.8, ratio=0)
    else:
        exact = power.TTestIndPower().solve_power(0.001 / 0.0019, alpha=0.05, power=0.8)
        normal = power.NormalIndPower().solve_power(0.001 / 0.0019, alpha=0.05, power=0.8)
    assert found["detail"]["t_test"] == math.ceil(exact)
    assert found["value"] == math.ceil(normal)


@given(st.integers(50, 400), st.integers(0, 50), st.integers(1, 40))
def test_the_true_test_size_is_among_the_implied_ones(size: int, errors: int, gap: int) -> None:
    from gatewise.claims._published._counts import count_results

    if errors + gap > size:
        return
    rows = ", ".join(
        f'{{ name = "{name}", mean = {100 * count / size:.2f} }}'
        for name, count in (("a", errors), ("b", errors + gap))
    )
    text = f'[[table]]\nname = "t"\nbetter = "lower"\nitems = {size}\narms = [{rows}]\n'
    found = list(count_results(read_source("x", text).tables[0]))
    assert found[0].value == gap
    assert found[1].value == size
    assert found[1].detail["fits"]
    assert found[1].interval is not None
    assert found[1].interval[0] <= size <= found[1].interval[1]
