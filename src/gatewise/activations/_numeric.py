"""Float64 building blocks that stay accurate in the tails, down to the last subnormal, and never warn."""

from collections.abc import Callable
from functools import wraps

import numpy as np
from scipy.special import erfcx, expit

from ._spec import Array

_SQRT_HALF = 0.5**0.5
_INV_SQRT_2PI = 0.3989422804014326779
# Beyond this |x| every tail used here is 0 in float64, so x can be clipped before squares and cubes overflow.
FAR = 1.0e4

QUICK_SLOPE = 1.702  # the slope in the GELU paper's sigmoid approximation
CLAMP_LIMIT = 7.0  # gpt-oss' swiglu limit
CLAMP_ALPHA = 1.702  # gpt-oss' swiglu alpha


def quiet(function: Callable[[Array], Array]) -> Callable[[Array], Array]:
    """Let a reference take anything array-like and pass through underflow, inf and NaN without a warning."""

    @wraps(function)
    def wrapped(x: Array) -> Array:
        with np.errstate(all="ignore"):
            return np.asarray(function(np.asarray(x, dtype=np.float64)), dtype=np.float64)

    return wrapped


def near(x: Array) -> Array:
    """x clipped to +-`FAR`; NaN stays NaN."""
    return np.clip(x, -FAR, FAR)


def sigmoid_times(factor: Array, z: Array) -> Array:
    """factor * sigmoid(z) for a finite factor. In the far left tail e^z is applied in two halves, because
    e^z alone is already subnormal, with few bits left, where the product is still a normal number."""
    half = np.exp(np.minimum(z, 0.0) / 2)
    return np.where(z < -40, factor * half * half, factor * expit(z))


def density_times(factor: Array, x: Array) -> Array:
    """factor * phi(x), phi the density of N(0, 1); the exponential in two halves for the same reason."""
    quarter = np.exp(-x * x / 4)
    return factor * _INV_SQRT_2PI * quarter * quarter


def cdf_times(factor: Array, x: Array) -> Array:
    """factor * Phi(x), Phi the distribution function of N(0, 1), with full relative accuracy in both tails."""
    quarter = np.exp(-x * x / 4)
    tail = 0.5 * erfcx(np.abs(x) * _SQRT_HALF)
    return np.where(x < 0, factor * tail * quarter * quarter, factor * (1.0 - tail * quarter * quarter))


def with_limits(x: Array, y: Array, left: float, right: float) -> Array:
    """y, with the limits at -inf and +inf put in."""
    return np.where(x == -np.inf, left, np.where(x == np.inf, right, y))
