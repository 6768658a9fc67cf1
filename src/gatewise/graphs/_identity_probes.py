"""Where functions are probed, and how far a function is from a reference there."""

import math
from collections.abc import Mapping
from functools import cache

import numpy as np

from gatewise.activations import get, names

from ._graph import Array

# Above the float32 error of a spelling with float32 constants, far below what parts two functions of the table
# (erf and tanh gelu: 1.8e-4 in this distance).
TOLERANCE = 4e-6
# Constants that were rounded to a dtype move the function: the largest move seen over the table's spellings is
# 1.2e-4 in float16 and 9.7e-4 in bfloat16 (1/6 of hardswish).
ROUNDED = {"float16": 2.0**-12, "bfloat16": 1.2e-3}
# With rounded constants a function is named only where the next one is this many times further away.
APART = 3.0

_DENSE = np.arange(-12 * 64, 12 * 64 + 1) / 64
_WIDE = np.array([1e-30, 1e-8, 1e-4, 0.7071, 15.0, 20.5, 30.0, 50.0, 100.0, 1000.0])
GRID: Array = np.concatenate([_DENSE, _WIDE, -_WIDE])
"""The probes: dense in [-12, 12], then sparse to +-1000."""
# Further out e^x overflows even in float64: what a spelling gives there counts only where it is finite.
NEAR = np.abs(GRID) <= 100.0
# The other input of a gate: both sides of the usual limits, near 0 and far out.
_SIDE = np.array([0.25, 0.5, 1.0, 2.0, 3.5, 6.5, 7.5, 11.0, 50.0, 100.0, 1000.0])
OTHER: Array = np.concatenate([-_SIDE[::-1], [0.0], _SIDE])


def index_of(x: float) -> int:
    """Where a probe stands in `GRID`."""
    return int(np.flatnonzero(x == GRID)[0])


def distance(values: Array, reference: Array, *inputs: Array) -> float:
    """Largest |value - reference| / max(1, |inputs|, |reference|), over what is finite; inf where nothing is."""
    scale = np.maximum(1.0, np.abs(reference))
    for x in inputs:
        scale = np.maximum(scale, np.abs(x))
    with np.errstate(all="ignore"):
        error = np.abs(values - reference) / scale
    finite = error[np.isfinite(error)]
    return float(finite.max()) if finite.size else math.inf


@cache
def references() -> Mapping[str, Array]:
    """Every scalar function of the table on `GRID`, without the identity, which is no activation."""
    return {name: get(name).reference(GRID) for name in names("scalar") if name != "identity"}


def is_affine(values: Array) -> bool:
    """Whether values on `GRID` (in each column) are those of a x + b; an infinite b, as of a mask, too."""
    columns = values.reshape(len(GRID), -1)
    columns = columns[:, ~(columns == columns[:1]).all(axis=0)]
    if not np.isfinite(columns).all():
        return False
    zero, one = columns[index_of(0.0)], columns[index_of(1.0)]
    line = zero + GRID[:, None] * (one - zero)
    scale = np.maximum(1e-30, np.abs(zero) + np.abs(one - zero) * np.maximum(1.0, np.abs(GRID[:, None])))
    return bool((np.abs(columns - line) <= 1e-6 * scale).all())


def is_identity(values: Array) -> bool:
    """Whether values on `GRID` are the probes themselves."""
    columns = values.reshape(len(GRID), -1)
    return bool(np.isfinite(columns).all() and (np.abs(columns - GRID[:, None]) <= 1e-9 * np.abs(GRID[:, None])).all())
