"""How others decide, on the same streams: each returns a word for every study (+1 slower, -1 faster, 0 none, 2 equal).

naive      the smaller median wins; within the margin: equal
torch      `torch.utils.benchmark.Compare` with trimmed significant figures: two times that print alike are alike
pyperf     Student's two-sample t-test at 95 % on all values (`is_significant`), and `--min-speed` as the margin;
           written anew from its source, with its critical value of 1.96 from 200 degrees of freedom on
peeking t  a paired t interval on the log-ratios, looked at after every pair from the tenth; the first verdict stands
fixed t    the same interval, looked at once, after all pairs
MW         Mann-Whitney on all values, looked at once; against both limits for a margin (two one-sided tests)
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from .streams import Array

Words = NDArray[np.int64]
ALPHA = 0.05


def _by_interval(low: Array, high: Array, bound: float) -> Words:
    inside = (low > -bound) & (high < bound)
    return np.select([low > bound, high < -bound, inside], [1, -1, 2], 0)


def naive(baseline: Array, arm: Array, margin: float) -> Words:
    """The smaller median wins."""
    effect = np.log(np.median(arm, axis=1)) - np.log(np.median(baseline, axis=1))
    return _by_interval(effect, effect, float(np.log1p(margin)))


def torch_way(baseline: Array, arm: Array, margin: float) -> Words:
    """What the column of a trimmed `Compare` prints; it knows no margin."""
    del margin
    scale = _unit(np.minimum(np.median(baseline, axis=1), np.median(arm, axis=1)))
    medians = [np.median(times, axis=1) / scale for times in (baseline, arm)]
    figures = [significant_figures(times) for times in (baseline, arm)]
    decimals = np.minimum(
        *(np.maximum(n - np.ceil(np.log10(m)), 0) for n, m in zip(figures, medians, strict=True))
    ).astype(np.int64)
    shown = [_trimmed(m, n) for m, n in zip(medians, figures, strict=True)]
    printed = [np.rint(value * 10.0**decimals) for value in shown]
    return np.sign(printed[1] - printed[0]).astype(np.int64)


def significant_figures(times: Array) -> NDArray[np.int64]:
    """`Measurement.significant_figures`: from the spread of the middle half."""
    n = times.shape[1]
    quartiles = np.sort(times, axis=1)[:, n // 4 : int(np.ceil(3 * n / 4))]
    half = np.maximum(1.645 * quartiles.std(axis=1) / np.sqrt(quartiles.shape[1]), 25e-9)
    return np.clip(np.floor(np.log10(np.median(times, axis=1) / half)), 1, 4).astype(np.int64)


def _unit(times: Array) -> Array:
    return 10.0 ** (3 * np.clip(np.trunc(np.log10(times)) // 3, -3, 0))


def _trimmed(values: Array, figures: NDArray[np.int64]) -> Array:
    scale = 10.0 ** (np.ceil(np.log10(values)) - figures)
    return np.rint(values / scale) * scale


def pyperf(baseline: Array, arm: Array, margin: float) -> Words:
    """Significant, and at least as large as the smallest speed-up that counts."""
    statistic = stats.ttest_ind(arm, baseline, axis=1).statistic
    freedom = 2 * arm.shape[1] - 2
    critical = 1.96 if freedom >= 200 else stats.t.ppf(1 - ALPHA / 2, freedom)
    ratio = arm.mean(axis=1) / baseline.mean(axis=1)
    large = np.maximum(ratio, 1 / ratio) - 1 >= margin
    return np.where((abs(statistic) >= critical) & large, np.sign(ratio - 1), 0).astype(np.int64)


def _t_intervals(effects: Array, first: int) -> tuple[Array, Array]:
    n = np.arange(1, effects.shape[1] + 1)
    mean = np.cumsum(effects, axis=1) / n
    centred = effects - effects.mean(axis=1, keepdims=True)  # keeps the difference of squares accurate
    shifted = np.cumsum(centred, axis=1) / n
    variance = np.maximum(np.cumsum(centred**2, axis=1) / n - shifted**2, 0) * n / np.maximum(n - 1, 1)
    half = stats.t.ppf(1 - ALPHA / 2, np.maximum(n - 1, 1)) * np.sqrt(variance / n)
    return (mean - half)[:, first - 1 :], (mean + half)[:, first - 1 :]


def peeking_t(baseline: Array, arm: Array, margin: float) -> Words:
    """The first verdict of an interval that was made for one look."""
    low, high = _t_intervals(np.log(arm) - np.log(baseline), 10)
    words = _by_interval(low, high, float(np.log1p(margin)))
    return words[np.arange(len(words)), (words != 0).argmax(axis=1)]


def fixed_t(baseline: Array, arm: Array, margin: float) -> Words:
    """One look at the end."""
    low, high = _t_intervals(np.log(arm) - np.log(baseline), arm.shape[1])
    return _by_interval(low[:, 0], high[:, 0], float(np.log1p(margin)))


def mann_whitney(baseline: Array, arm: Array, margin: float) -> Words:
    """One look at the end, at the ranks of all values."""

    def greater(first: Array, second: Array) -> NDArray[np.bool_]:
        test = stats.mannwhitneyu(first, second, alternative="greater", axis=1, method="asymptotic")
        return test.pvalue <= ALPHA / 2

    limit = 1 + margin
    slower, faster = greater(arm, baseline * limit), greater(baseline, arm * limit)
    if margin == 0:
        return np.select([slower, faster], [1, -1], 0)
    equal = greater(baseline * limit, arm) & greater(arm * limit, baseline)
    return np.select([slower, faster, equal], [1, -1, 2], 0)


RIVALS: dict[str, Callable[[Array, Array, float], Words]] = {
    "naive": naive,
    "torch": torch_way,
    "pyperf": pyperf,
    "peeking t": peeking_t,
    "fixed t": fixed_t,
    "MW": mann_whitney,
}
WITHOUT_MARGIN = {"torch"}
