"""Which function of the table some code computes, found by numbers and not by its name."""

import math
from collections.abc import Mapping
from functools import lru_cache

import numpy as np

from gatewise.core import unknown_name

from ._graph import Array, Evaluate
from ._identity_families import match_clip, match_limited, match_member, match_scaled
from ._identity_probes import APART, GRID, NEAR, ROUNDED, TOLERANCE, distance, is_affine, references
from ._site import Found

_SELU_SCALE, _SELU_ALPHA = 1.0507009873554805, 1.6732632423543772
DTYPES = ("float64", "float32", *ROUNDED)


def identify_scalar(f: Evaluate, *, constants_dtype: str = "float32") -> Found:
    """Which scalar function of the table `f` computes; `f` takes a list with one float64 array.

    It is probed densely in [-12, 12] and then sparsely to +-1000. A value that is not finite counts up to +-100;
    further out, where e^x overflows, it is left out. `constants_dtype` is the dtype its constants were stored in:
    float16 and bfloat16 move a function, so the tolerance is wider then, and a function is named only where the next
    one is three times further away. The identity has no name here. Raises `GatewiseError` for another dtype.
    """
    if constants_dtype not in DTYPES:
        raise unknown_name("dtype of constants", constants_dtype, DTYPES)
    with np.errstate(all="ignore"):
        values = np.broadcast_to(np.asarray(f([GRID]), dtype=np.float64), GRID.shape)
    return identify_values(values, constants_dtype)


def identify_values(values: Array, constants_dtype: str = "float32") -> Found:
    """Like `identify_scalar`, of the values on `GRID`."""
    return _identify(np.ascontiguousarray(values, dtype=np.float64).tobytes(), constants_dtype)


@lru_cache(maxsize=1024)
def _identify(data: bytes, constants_dtype: str) -> Found:
    """Models repeat their layers, so equal values are looked at once."""
    values = np.frombuffer(data, dtype=np.float64)
    distances = {name: distance(values, reference, GRID) for name, reference in references().items()}
    nearest, second = sorted(distances, key=lambda name: distances[name])[:2]
    if not np.isfinite(values[NEAR]).all():
        at = float(GRID[NEAR][np.flatnonzero(~np.isfinite(values[NEAR]))[0]])
        return Found(
            name=None,
            nearest=nearest if math.isfinite(distances[nearest]) else None,
            distance=math.inf,
            reason=f"it gives a value that is not finite on finite input, at {at:g}",
        )
    if distances[nearest] <= TOLERANCE:
        return Found(name=nearest, nearest=nearest, distance=distances[nearest])
    limit = ROUNDED.get(constants_dtype, TOLERANCE)
    apart = distances[second] >= APART * distances[nearest]
    if distances[nearest] <= limit and apart:
        return Found(name=nearest, nearest=nearest, distance=distances[nearest])
    family = _of_a_family(values)
    if family is not None:
        return family
    rounded = _with_rounded_constants(values, constants_dtype)
    if rounded is not None:
        return Found(name=rounded, nearest=rounded, distance=distances[rounded])
    if distances[nearest] <= limit:
        reason = f"with constants in {constants_dtype} it may be {nearest} or {second}"
    else:
        reason = f"nothing in the table is within {limit:g}; {nearest} is {distances[nearest]:.3g} away"
    return Found(name=None, nearest=nearest, distance=distances[nearest], reason=reason)


def _of_a_family(values: Array) -> Found | None:
    """The function with recovered constants, where it is one of the table's with other constants or with limits."""
    if not np.isfinite(values).all() or is_affine(values):
        return None
    member = match_member(values)
    if member is not None and member.named:
        away = distance(values, member.function(GRID), GRID)
        return Found(name=member.nearest, nearest=member.nearest, distance=away, settings=member.settings)
    member = member or match_limited(values)
    limits = {} if member is not None else match_clip(values)
    if limits:
        distances = {name: distance(values, reference, GRID) for name, reference in references().items()}
        nearest = min(distances, key=lambda name: distances[name])
        reason = f"it only clips its input ({describe(limits)})"
        return Found(name=None, nearest=nearest, distance=distances[nearest], settings=limits, reason=reason)
    member = member or match_scaled(values)
    if member is None:
        return None
    away = distance(values, references()[member.nearest], GRID)
    reason = f"it is {member.nearest} with {describe(member.settings)}"
    return Found(name=None, nearest=member.nearest, distance=away, settings=member.settings, reason=reason)


def describe(settings: Mapping[str, float]) -> str:
    """Settings for a reader: `beta = 1.6, high = 7`."""
    return ", ".join(f"{key} = {value:g}" for key, value in settings.items())


def _round_to(value: float, dtype: str) -> float:
    if dtype == "float16":
        return float(np.float16(value))
    bits = int(np.float32(value).view(np.uint32))
    return float(np.uint32((bits + 0x7FFF + ((bits >> 16) & 1)) & 0xFFFF0000).view(np.float32))


def _with_rounded_constants(values: Array, dtype: str) -> str | None:
    """gelu_tanh or selu, if it is that with its constants in this dtype.

    Rounded constants bring gelu_tanh as near to gelu as to itself, and selu further away than others' constants do.
    """
    if dtype not in ROUNDED:
        return None
    slope, cubic = math.sqrt(2.0 / math.pi), 0.044715
    outer = _round_to(slope, dtype)
    for inner in (outer * _round_to(cubic, dtype), _round_to(slope * cubic, dtype)):
        reference = 0.5 * GRID * (1.0 + np.tanh(outer * GRID + inner * GRID**3))
        if distance(values, reference, GRID) <= TOLERANCE:
            return "gelu_tanh"
    scale = _round_to(_SELU_SCALE, dtype)
    for left in (scale * _round_to(_SELU_ALPHA, dtype), _round_to(_SELU_SCALE * _SELU_ALPHA, dtype)):
        reference = np.where(GRID > 0, scale * GRID, left * np.expm1(np.minimum(GRID, 0.0)))
        if distance(values, reference, GRID) <= TOLERANCE:
            return "selu"
    return None
