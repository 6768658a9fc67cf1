"""The statistics of drift: conformal p-values of a stream, and bets against them that may be looked at all the time.

Where the reference and the stream are exchangeable (nothing drifts), the rank of each new value among all before it,
ties broken at random, is uniform and independent of the ranks before: a conformal p-value. A bettor who multiplies his
capital by a density f(p) has then no edge. The Shiryaev-Roberts sum of bettors, one of whom begins at every step,

    M_t = f(p_t) (M_{t-1} + 1),      alarm at M_t >= A,

has E[M_t] = t, so that in any m values at most m / A false alarms are expected, however often one looks, and the
chance of any is at most m / A. A real shift makes M grow exponentially from wherever it begins. Each feature averages
the sums of several densities (lower, higher, wider, narrower, beyond the ends); with d features the threshold is A d.

Sources: Vovk, Nouretdinov and Gammerman 2003 (testing exchangeability on-line); Volkhonskiy et al. 2017
(arXiv 1706.03415); Vovk et al. 2021 (arXiv 2102.10439); Shin, Ramdas and Rinaldo 2022, e-detectors (arXiv 2203.03532).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ._reference import Histogram, bucket

Array = NDArray[np.float64]

CELLS = 64
"""A cell has about so small a part of the reference; ranks are of cells, ties broken at random."""
NUM_BETS = 14
CEILING = 1e200


def densities(p: Array) -> Array:
    """The bets: densities on [0, 1] at p[d], shape [NUM_BETS, d]. Each integrates to 1."""
    u = 2.0 * p - 1.0
    wide = (3.0 * u * u - 1.0) / 2.0
    sloped = [1.0 + slope * u for slope in (1.0, -1.0, 0.5, -0.5, 0.2, -0.2)]
    bent = [1.0 + bend * wide for bend in (1.0, -1.0, 0.5, -0.5)]
    ends = [0.5 + 5.0 * (p > 0.9), 0.5 + 5.0 * (p < 0.1), 0.7 + 30.0 * (p > 0.99), 0.7 + 30.0 * (p < 0.01)]
    return np.asarray(np.stack([*sloped, *bent, *ends]), dtype=np.float64)


class Ranks:
    """The conformal p-values of several features at once: each value's rank among those before it, the reference's too.

    Args:
        histograms: the reference's, one for each feature.
        seed: of the random ties. The same seed and values give the same p-values.
    """

    def __init__(self, histograms: Sequence[Histogram], seed: int) -> None:
        self._cuts = [np.array(each.cells(CELLS), dtype=np.int64) for each in histograms]
        self._counts = np.zeros((len(histograms), max(len(cuts) for cuts in self._cuts) + 1))
        for row, (each, cuts) in enumerate(zip(histograms, self._cuts, strict=True)):
            for number, count in each.counts.items():
                self._counts[row, int(np.searchsorted(cuts, number))] += count
        self._rows = np.arange(len(histograms))
        self._random = np.random.default_rng(seed)

    def add(self, values: Sequence[float]) -> Array:
        """The p-values of one record's values; they then belong to what later ones are ranked among."""
        found = [int(cuts.searchsorted(bucket(value))) for cuts, value in zip(self._cuts, values, strict=True)]
        cells = np.array(found)
        self._counts[self._rows, cells] += 1.0
        sums = np.cumsum(self._counts, axis=1)
        equal = self._counts[self._rows, cells]
        less = sums[self._rows, cells] - equal
        return (less + self._random.random(len(found)) * equal) / sums[:, -1]


@dataclass(kw_only=True)
class Bets:
    """The capital of all bettors on `d` features, and when each one's lucky run began."""

    d: int

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Forget all capital."""
        self.n = 0
        self.sums: Array = np.zeros((NUM_BETS, self.d))
        self._runs: Array = np.ones((NUM_BETS, self.d))
        self._since: NDArray[Any] = np.zeros((NUM_BETS, self.d), dtype=np.int64)

    def add(self, p: Array) -> Array:
        """Bet on one p-value of each feature. Returns M of each."""
        factors = densities(p)
        self.sums = np.minimum(factors * (self.sums + 1.0), CEILING)
        fresh = self._runs <= 1.0
        self._since[fresh] = self.n
        self._runs = np.minimum(np.maximum(self._runs, 1.0) * factors, CEILING)
        self.n += 1
        return self.sums.mean(axis=0)

    def began(self, feature: int) -> int:
        """For how many values the best bettor's run on a feature has lasted: where the change seems to be."""
        best = int(self._runs[:, feature].argmax())
        return self.n - int(self._since[best, feature])
