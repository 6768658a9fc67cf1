"""How many runs an arm a difference asks for, given the noise between runs."""

import math
from collections.abc import Iterator

from ._read import Tables
from ._result import Result, short
from ._table import Noise, SampleSize, Source

FEWEST = 2  # one run has no spread
MOST = 1_000_000


def sample_size_results(source: Source, tables: Tables) -> Iterator[Result]:
    """For every difference the runs an arm by the usual normal approximation, and by the t-test that will be used."""
    for entry in source.sample_sizes:
        noise = tables.noise(entry.noise, source)
        paired = entry.correlation is not None
        how = f"paired at a correlation of {entry.correlation:g}" if entry.correlation is not None else "unpaired"
        value = _normal(entry, noise.sd)
        low, high = (_normal(entry, limit) for limit in _limits(noise))
        yield Result(
            table="runs an arm",
            analysis="sample-size",
            quantity=f"runs an arm that resolve {entry.difference:g}, {how}",
            value=value,
            unit="runs",
            evidence="established",
            reason=f"follows from an SD of {short(noise.sd)} (n = {noise.n}; {noise.source}) by the normal "
            f"approximation; the t-test asks for {_t_test(entry, noise.sd)}; the SD's own uncertainty leaves "
            f"{low} to {high}",
            interval=(low, high),
            detail={
                "sd": noise.sd,
                "sd_n": noise.n,
                "power": entry.power,
                "alpha": entry.alpha,
                "paired": paired,
                "t_test": _t_test(entry, noise.sd),
            },
        )


def _spread(entry: SampleSize, sd: float) -> float:
    """The SD of a difference: of one pair, or of two independent runs."""
    return sd * math.sqrt(2 * (1 - (entry.correlation or 0.0)))


def _normal(entry: SampleSize, sd: float) -> int:
    from scipy.stats import norm

    wanted = float(norm.ppf(1 - entry.alpha / 2) + norm.ppf(entry.power))
    return max(FEWEST, math.ceil((wanted * _spread(entry, sd) / entry.difference) ** 2))


def _limits(noise: Noise) -> tuple[float, float]:
    """The 95 % interval of an SD from `n` runs."""
    from scipy.stats import chi2

    df = noise.n - 1
    low, high = (noise.sd * math.sqrt(df / float(chi2.ppf(level, df))) for level in (0.975, 0.025))
    return low, high


def _t_test(entry: SampleSize, sd: float) -> int | None:
    """The fewest runs at which the t-test itself has the power; None beyond a million."""
    low, high = FEWEST - 1, FEWEST  # `low` has too little power, or is no number of runs
    while _power(entry, sd, high) < entry.power:
        low, high = high, 2 * high
        if high > MOST:
            return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if _power(entry, sd, middle) < entry.power else (low, middle)
    return high


def _power(entry: SampleSize, sd: float, number: int) -> float:
    from scipy.stats import nct, t

    df = number - 1 if entry.correlation is not None else 2 * (number - 1)
    shift = entry.difference / _spread(entry, sd) * math.sqrt(number)
    critical = float(t.ppf(1 - entry.alpha / 2, df))
    return float(nct.sf(critical, df, shift) + nct.cdf(-critical, df, shift))
