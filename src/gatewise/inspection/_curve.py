"""Two functions compared by their numbers: the same grid for every site, so that old and new models can be compared."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import inf

import numpy as np

from gatewise.graphs import Array, Site

Evaluate = Callable[[Sequence[Array]], Array]

_FINE = np.linspace(-8.0, 8.0, 161)
_FAR = np.array([9.0, 10.0, 12.0, 16.0, 20.0, 24.0, 32.0, 48.0, 64.0, 100.0])
SCALAR_GRID: Array = np.concatenate([-_FAR[::-1], _FINE, _FAR])
"""What f(x) is compared on: every 0.1 from -8 to 8, then out to 100."""
_GATE_AXIS = np.concatenate([-_FAR[::-2], np.linspace(-6.0, 6.0, 25), _FAR[1::2]])
_UP_AXIS = np.array([-100.0, -16.0, -8.0, -3.0, -1.0, -0.5, 0.5, 1.0, 3.0, 8.0, 16.0, 100.0])

SAME = 2e-6
"""Distances up to this come from constants that were stored in float32."""
SAME_ROUNDED = {"float16": 3e-4, "bfloat16": 2e-3}
"""The same where a format rounds them to 16 bits, for functions of one family."""


@dataclass(frozen=True, kw_only=True)
class Gap:
    """How far two functions are apart.

    Attributes:
        distance: largest |a - b| / max(1, |x|, |a|); inf where one is NaN or infinite and the other is not.
        at: the inputs where it is largest.
    """

    distance: float
    at: tuple[float, ...]


def grid(num_inputs: int) -> tuple[Array, ...]:
    """The inputs: one axis for a scalar function, all pairs of two for a gate."""
    if num_inputs == 1:
        return (SCALAR_GRID,)
    gate, up = np.meshgrid(_GATE_AXIS, _UP_AXIS, indexing="ij")
    return gate.ravel(), up.ravel()


def curve(site: Site) -> Array | None:
    """The function of a site on the grid; None where it cannot be computed."""
    inputs = grid(len(site.inputs))
    with np.errstate(all="ignore"):
        values = np.asarray(site.evaluate(inputs), dtype=np.float64)
    return values if values.shape == inputs[0].shape else None


def gap(one: Array, other: Array, inputs: Sequence[Array]) -> Gap:
    """How far two curves on the same grid are apart."""
    scale = np.maximum.reduce([np.ones_like(one), np.abs(one), *(np.abs(values) for values in inputs)])
    with np.errstate(all="ignore"):
        distances = np.abs(one - other) / scale
    equal = (one == other) | (np.isnan(one) & np.isnan(other))
    distances = np.where(equal, 0.0, np.where(np.isfinite(distances), distances, inf))
    worst = int(distances.argmax())
    return Gap(distance=float(distances[worst]), at=tuple(float(values[worst]) for values in inputs))


def tolerance(one: Site, other: Site) -> float:
    """Up to which distance two sites count as the same function."""
    dtypes = [dtype for site in (one, other) for dtype in (*site.dtype.split(), site.constants_dtype)]
    narrow = [SAME_ROUNDED[dtype] for dtype in dtypes if dtype in SAME_ROUNDED]
    return max(narrow, default=SAME) if _family(one) == _family(other) else SAME


def _family(site: Site) -> tuple[str | None, str | None, frozenset[str]]:
    return site.found.name, site.found.nearest, frozenset(site.found.settings)
