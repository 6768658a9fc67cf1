"""Effective speed-up: a loss turned into compute by a loss curve, times the ratio of the token rates.

    speed-up = ((L_base - floor) / (L_variant - floor)) ** (1 / exponent) * rate_variant / rate_base

The power is large (marin: 1 / 0.0941, over 10), so a seed's noise in the loss is blown up tenfold.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._read import Tables
from ._result import Evidence, Result, short
from ._table import Noise, Source, Speedup
from ._welch import t_quantile

LEVEL = 0.95
POWER = 0.8
DRAWS = 20_000
LARGEST_LOG = 100.0  # a speed-up beyond e ** 100 is no speed-up


@dataclass(frozen=True, kw_only=True)
class Band:
    """What one standard deviation between runs puts around a speed-up, reckoned three ways."""

    noise: Noise
    exact: tuple[float, float]
    propagated: tuple[float, float]
    simulated: tuple[float, float]
    runs_needed: int | None

    @property
    def separable(self) -> bool:
        """Whether 1 lies outside the exact band."""
        return not self.exact[0] <= 1 <= self.exact[1]

    def document(self) -> dict[str, object]:
        """The band as plain data."""
        return {
            "sd": self.noise.sd,
            "sd_n": self.noise.n,
            "sd_source": self.noise.source,
            "exact": list(self.exact),
            "propagated": list(self.propagated),
            "simulated": list(self.simulated),
            "runs_needed": self.runs_needed,
        }


def speedup_results(source: Source, tables: Tables) -> Iterator[Result]:
    """One result for every speed-up of a source, with the band of the smallest SD that it names."""
    for entry in source.speedups:
        gains = _gains(entry, source)
        noises = sorted((tables.noise(noise, source) for noise in entry.noise), key=lambda noise: noise.sd)
        bands = [band for noise in noises if (band := _band(entry, noise)) is not None]
        evidence, reason = _word(entry, noises, bands)
        yield Result(
            table=entry.name,
            analysis="effective-speedup",
            quantity=f"effective speed-up of {entry.variant.name} over {entry.base.name}, {entry.name}",
            value=math.exp(sum(gains)),
            unit="times",
            evidence=evidence,
            reason=reason,
            interval=bands[0].exact if bands and bands[0].noise is noises[0] else None,
            detail={
                "loss_factor": math.exp(gains[0]),
                "rate_factor": math.exp(gains[1]),
                "level": LEVEL,
                "bands": [band.document() for band in bands],
            },
        )


def _gains(entry: Speedup, source: Source) -> tuple[float, float]:
    """The logarithms of what the loss and the token rate contribute."""
    base, variant = _above_floor(entry)
    gains = _log(entry, base / variant) - _log_rate(entry), _log_rate(entry)
    if max(abs(gains[0]), abs(gains[1])) > LARGEST_LOG:
        raise GatewiseError(f"{source.name}: speedup {entry.name!r} is beyond any number; check floor and exponent")
    return gains


def _above_floor(entry: Speedup) -> tuple[float, float]:
    return entry.base.loss.value - entry.floor, entry.variant.loss.value - entry.floor


def _log_rate(entry: Speedup) -> float:
    return math.log(entry.variant.tokens_per_second / entry.base.tokens_per_second)


def _log(entry: Speedup, ratio: float) -> float:
    """The logarithm of the speed-up at a ratio of the losses above the floor."""
    return math.log(ratio) / entry.exponent + _log_rate(entry)


def _word(entry: Speedup, noises: list[Noise], bands: list[Band]) -> tuple[Evidence, str]:
    counts = entry.base.n, entry.variant.n
    repeated = all(count is not None and count >= 2 for count in counts)
    if not noises:
        return "cannot tell", f"{_runs(counts)}, and no SD between runs is given"
    noise = noises[0]
    seed = f"the seed SD {short(noise.sd)} (n = {noise.n}; {noise.source})"
    if not bands or bands[0].noise is not noise:
        return "cannot tell", f"{_runs(counts)}; {seed} reaches down to the floor, so that nothing is ruled out"
    low, high = bands[0].exact
    said = (
        f"{seed} puts {low:.3f} to {high:.3f} around it, which {'leaves out' if bands[0].separable else 'includes'} 1"
    )
    said += "; the token rates' own noise is not in it"
    if not repeated:
        return "cannot tell", f"{_runs(counts)}; {said}"
    return ("established" if bands[0].separable else "not established"), said


def _runs(counts: tuple[int | None, int | None]) -> str:
    if counts[0] == counts[1] and counts[0] is not None:
        return f"n = {counts[0]} on both sides"
    return f"n {' and '.join(f'= {count}' if count else 'not stated' for count in counts)}"


def _band(entry: Speedup, noise: Noise) -> Band | None:
    """The band at 95 %; None where the noise reaches the floor, so that no ratio is ruled out."""
    from scipy.stats import norm

    gaps = _above_floor(entry)
    errors = noise.sd / math.sqrt(entry.base.n or 1), noise.sd / math.sqrt(entry.variant.n or 1)
    reach = t_quantile((1 + LEVEL) / 2, noise.n - 1)
    if any(gap <= reach * error for gap, error in zip(gaps, errors, strict=True)):
        return None
    center = _log(entry, gaps[0] / gaps[1])
    blur = math.hypot(errors[0] / gaps[0], errors[1] / gaps[1]) / entry.exponent
    # How many runs a side would separate it from 1, if the value were true.
    wanted = float(norm.ppf((1 + LEVEL) / 2) + norm.ppf(POWER))
    single = noise.sd * math.hypot(1 / gaps[0], 1 / gaps[1]) / entry.exponent
    needed = max(2, math.ceil((wanted * single / center) ** 2)) if abs(center) > single / 1e6 else None
    return Band(
        noise=noise,
        exact=_fieller(entry, gaps, errors, reach),
        propagated=(_exp(center - reach * blur), _exp(center + reach * blur)),
        simulated=_simulate(entry, gaps, errors, noise.n - 1),
        runs_needed=needed,
    )


def _exp(log: float) -> float:
    return math.exp(min(log, 7 * LARGEST_LOG))


def _fieller(
    entry: Speedup, gaps: tuple[float, float], errors: tuple[float, float], reach: float
) -> tuple[float, float]:
    """Fieller's interval of the ratio of the gaps, exact under normal noise, carried through the monotone formula."""
    (x, y), (x_blur, y_blur) = gaps, (reach * errors[0], reach * errors[1])
    a, c = y**2 - y_blur**2, x**2 - x_blur**2
    root = math.sqrt((x * y) ** 2 - a * c)
    return _exp(_log(entry, (x * y - root) / a)), _exp(_log(entry, (x * y + root) / a))


def _simulate(entry: Speedup, gaps: tuple[float, float], errors: tuple[float, float], df: int) -> tuple[float, float]:
    """The same band by drawing: normal noise, its SD itself uncertain by the runs that it comes from."""
    import numpy as np

    rng = np.random.default_rng(0)
    scale = np.sqrt(df / rng.chisquare(df, DRAWS))
    drawn = [gap + error * scale * rng.standard_normal(DRAWS) for gap, error in zip(gaps, errors, strict=True)]
    # A draw below the floor counts as just above it: the quantiles need its side only.
    base, variant = (np.maximum(values, gap * 1e-9) for values, gap in zip(drawn, gaps, strict=True))
    low, high = np.quantile(base / variant, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return _exp(_log(entry, float(low))), _exp(_log(entry, float(high)))
