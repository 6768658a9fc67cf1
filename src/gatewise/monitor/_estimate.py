"""How often a model is right: calibration where there are labels, an estimate where there are none yet.

The estimate rests on the confidences alone, so it sees inputs that became harder and it cannot see that the same input
has another answer now (concept drift), nor a model that errs with full confidence. That is why it checks itself:
`AccuracyWatch` scores its own past estimates as soon as labels come, and is not shown as trustworthy once refuted.

Sources: Guo et al. 2017 (arXiv 1706.04599, calibration error); Gupta et al. 2021 (arXiv 2006.12800, the form without
bins); Broecker and Smith 2007 (what chance makes of it); Garg et al. 2022 (arXiv 2201.04234, thresholds); Guillory et
al. 2021 (arXiv 2107.03315, differences of confidences).
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

Array = NDArray[np.float64]

FEWEST = 50
"""Labelled predictions below which nothing is said."""
BINS = 15
DRAWS = 400
HELD = ("calibrated", "difference")
CANNOT_SEE = "inputs whose right answer has changed, and errors made with full confidence"


@dataclass(frozen=True, kw_only=True)
class Bin:
    """One bin of the reliability diagram: mean confidence, share that was right with its Wilson interval, and n."""

    confidence: float
    right: float
    low: float
    high: float
    n: int


@dataclass(frozen=True, kw_only=True)
class Calibration:
    """How well confidences are shares.

    Attributes:
        n: predictions with a label. `accuracy`, `confidence`: the share that was right, the mean confidence.
        ece: the expected calibration error over `BINS` bins of equal size, which depends on them and is never 0.
        ks: the largest difference between the accumulated confidence and the accumulated right answers, in order of
            confidence: no bins. `ks_interval`: 95 %, by the bootstrap.
        ks_by_chance: what a perfectly calibrated model would reach in 95 of 100 samples of this size.
        calibrated: False where `ks` is beyond that; True says only that nothing else was seen.
        bins: the reliability diagram.
    """

    n: int
    accuracy: float
    confidence: float
    ece: float
    ks: float
    ks_interval: tuple[float, float]
    ks_by_chance: float
    calibrated: bool
    bins: tuple[Bin, ...]


def calibration(confidences: Sequence[float], right: Sequence[bool], *, seed: int = 0) -> Calibration:
    """The calibration of predictions whose labels are known.

    Raises `GatewiseError` for fewer than `FEWEST`, lists of two lengths, and confidences that are no shares.
    """
    p, y = _pairs(confidences, right)
    order = np.argsort(p, kind="stable")
    p, y = p[order], y[order]
    random = np.random.default_rng(seed)
    by_chance = [_ks(p, (random.random(len(p)) < p).astype(np.float64)) for _ in range(DRAWS)]
    drawn = [np.sort(random.integers(0, len(p), len(p))) for _ in range(DRAWS)]
    resampled = [_ks(p[each], y[each]) for each in drawn]
    ks, limit = _ks(p, y), float(np.quantile(by_chance, 0.95))
    low, high = np.quantile(resampled, [0.025, 0.975])
    bins = tuple(_bin(p[part], y[part]) for part in np.array_split(np.arange(len(p)), min(BINS, len(p))))
    return Calibration(
        n=len(p),
        accuracy=float(y.mean()),
        confidence=float(p.mean()),
        ece=sum(each.n * abs(each.confidence - each.right) for each in bins) / len(p),
        ks=ks,
        ks_interval=(float(low), float(high)),
        ks_by_chance=limit,
        calibrated=ks <= limit,
        bins=bins,
    )


def _pairs(confidences: Sequence[float], right: Sequence[bool]) -> tuple[Array, Array]:
    p, y = np.asarray(confidences, dtype=np.float64), np.asarray(right, dtype=np.float64)
    if p.shape != y.shape or p.ndim != 1:
        raise GatewiseError("each confidence needs one right or wrong")
    if len(p) < FEWEST:
        raise GatewiseError(f"{len(p)} labelled predictions are too few; at least {FEWEST}")
    if not (np.isfinite(p).all() and p.min() >= 0.0 and p.max() <= 1.0 and np.isin(y, (0.0, 1.0)).all()):
        raise GatewiseError("confidences are shares from 0 to 1, and right is true or false")
    return p, y


def _ks(p: Array, y: Array) -> float:
    """Of pairs in the order of p. Equal confidences are taken together: their order means nothing."""
    sums = np.cumsum(p - y)
    last = np.append(p[1:] != p[:-1], True)
    return float(np.abs(sums[last]).max() / len(p))


def _bin(p: Array, y: Array) -> Bin:
    low, high = wilson(int(y.sum()), len(y))
    return Bin(confidence=float(p.mean()), right=float(y.mean()), low=low, high=high, n=len(y))


def wilson(hits: int, n: int, z: float = 1.959964) -> tuple[float, float]:
    """Wilson's interval of a share."""
    share, square = hits / n, z * z / n
    middle = (share + square / 2.0) / (1.0 + square)
    half = z * ((share * (1.0 - share) / n + square / (4.0 * n)) ** 0.5) / (1.0 + square)
    return max(middle - half, 0.0), min(middle + half, 1.0)


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """An accuracy that nobody has measured yet.

    Attributes:
        value: the estimate, from calibrated confidences. `low`, `high`: its interval; it holds the 95 % intervals of
            both methods of `HELD`, so that it is wide where they disagree.
        by: the value by each method; `threshold` stands beside for those who know it and has no part in the interval,
            which it would only make too wide to be refuted where confidences say little of each single answer.
        n: predictions that it is of. `beyond`: the share of their confidences below the lowest tenth of a per cent of
            the labelled ones, where the methods only guess.
        cannot_see: what it is blind for.
    """

    value: float
    low: float
    high: float
    by: dict[str, float]
    n: int
    beyond: float
    cannot_see: str = CANNOT_SEE


class Estimator:
    """Learns from labelled predictions what confidences are worth, then estimates accuracy from confidences alone.

    Args:
        confidences, right: of labelled predictions, at least `FEWEST`, such as those of the validation data.
        seed: of the bootstrap.
    """

    def __init__(self, confidences: Sequence[float], right: Sequence[bool], *, seed: int = 0) -> None:
        self._p, self._y = _pairs(confidences, right)
        self._seed = seed

    def estimate(self, confidences: Sequence[float]) -> Estimate:
        """The accuracy on predictions without labels. Raises `GatewiseError` where they are fewer than `FEWEST`."""
        new = np.asarray(confidences, dtype=np.float64)
        if new.ndim != 1 or len(new) < FEWEST:
            raise GatewiseError(f"{new.size} predictions are too few for an estimate; at least {FEWEST}")
        if not (np.isfinite(new).all() and new.min() >= 0.0 and new.max() <= 1.0):
            raise GatewiseError("confidences are shares from 0 to 1")
        random = np.random.default_rng(self._seed)
        by = _by_method(self._p, self._y, new)
        drawn = {name: list[float]() for name in by}
        for _ in range(DRAWS // 2):
            old, now = random.integers(0, len(self._p), len(self._p)), random.integers(0, len(new), len(new))
            values = _by_method(self._p[old], self._y[old], new[now])
            for name, value in values.items():
                # What was labelled next is itself a sample: of the accuracy, not only of its expectation.
                drawn[name].append(random.binomial(len(new), min(max(value, 0.0), 1.0)) / len(new))
        ends = [np.quantile(each, [0.025, 0.975]) for each in (drawn[name] for name in HELD)]
        return Estimate(
            value=by["calibrated"],
            low=float(max(min(end[0] for end in ends), 0.0)),
            high=float(min(max(end[1] for end in ends), 1.0)),
            by={name: round(value, 6) for name, value in by.items()},
            n=len(new),
            beyond=float((new < np.quantile(self._p, 0.001)).mean()),
        )


def _by_method(p: Array, y: Array, new: Array) -> dict[str, float]:
    from scipy.optimize import isotonic_regression

    order = np.argsort(p, kind="stable")
    # Equal confidences must get one value, whatever the order they came in.
    levels, first = np.unique(p[order], return_index=True)
    weights = np.diff(np.append(first, len(p))).astype(np.float64)
    means = np.add.reduceat(y[order], first) / weights
    curve = np.asarray(isotonic_regression(means, weights=weights).x, dtype=np.float64)
    calibrated = np.interp(new, levels, curve)
    threshold = np.quantile(p, 1.0 - y.mean())
    return {
        "calibrated": float(calibrated.mean()),
        # Against the labelled ones' own share, which ties at the threshold keep from being their accuracy.
        "threshold": float(np.clip(y.mean() + (new >= threshold).mean() - (p >= threshold).mean(), 0.0, 1.0)),
        "difference": float(np.clip(y.mean() + new.mean() - p.mean(), 0.0, 1.0)),
    }
