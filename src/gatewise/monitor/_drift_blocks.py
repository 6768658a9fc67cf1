"""Autocorrelation of a stream, and thinning until it is gone.

The bets on ranks hold for values that are independent when nothing drifts. Load is not: what comes within one burst is
alike. So ranks are watched for likeness to the next one, inside short blocks so that a change of level is not taken for
it; where there is any, only every g-th record is used from then on, and g doubles until it is gone.
"""

import math

import numpy as np
from numpy.typing import NDArray

BLOCKS = (32, 128)
WINDOW = 512
FEWEST = 64
"""So many values of the present spacing are wanted before any word of drift."""
MOST_GAP = 1024


def likeness(p: NDArray[np.float64], block: int) -> NDArray[np.float64]:
    """The lag-1 autocorrelation of p[n, d] inside blocks, each one's own straight line removed.

    It is the mean of all blocks but the one that is most alike.

    For independent values it is about 0. The line is removed because ranks creep after a change, while what is new
    becomes part of what is known; one block is left out because the one in which the change lies looks alike.
    """
    n = len(p) - len(p) % block
    x = p[len(p) - n :].reshape(n // block, block, -1)
    x = x - x.mean(axis=1, keepdims=True)
    t = (np.arange(block) - (block - 1) / 2.0)[None, :, None]
    x = x - t * (t * x).sum(axis=1, keepdims=True) / (t * t).sum()
    scale = (x * x).sum(axis=1)
    products = (x[:, 1:] * x[:, :-1]).sum(axis=1)
    alike = np.divide(products, scale, out=np.zeros_like(products), where=scale > 1e-12)
    kept = np.sort(alike, axis=0)[: -1 if len(alike) > 2 else None]
    return np.asarray(kept.mean(axis=0) + 2.0 / block, dtype=np.float64)


class Thinning:
    """Says which records to use: every `gap`-th. `gap` only grows."""

    def __init__(self, d: int) -> None:
        self.gap = 1
        self._phase = 0
        self._d = d
        self._p = np.zeros((WINDOW, d))
        self._n = 0

    def use(self) -> bool:
        """Whether the record that comes now is used."""
        self._phase = (self._phase + 1) % self.gap
        return self._phase == 0

    @property
    def enough(self) -> bool:
        """Whether there are values enough of the present spacing to know whether they are alike."""
        return self._n >= FEWEST

    def add(self, p: NDArray[np.float64]) -> None:
        """Take the p-values of a record that was used."""
        self._p[self._n % WINDOW] = p
        self._n += 1

    def widen(self) -> bool:
        """Widen the gap where the values are alike; whether that was so. Ask often, but not at every value."""
        if not self.enough or self.gap >= MOST_GAP:
            return False
        n = min(self._n, WINDOW)
        p = self._p[:n] if self._n <= WINDOW else np.roll(self._p, -(self._n % WINDOW), axis=0)
        # At n values the estimate of nothing has a deviation of 1 / sqrt(n); with d features the largest is wider.
        allowed = (2.5 + math.sqrt(2.0 * math.log(self._d))) / math.sqrt(n) if self._d else 1.0
        if not any((likeness(p, block) > allowed).any() for block in BLOCKS if n >= block):
            return False
        self.gap = min(self.gap * 4, MOST_GAP)
        self._phase, self._n = 0, 0
        return True
