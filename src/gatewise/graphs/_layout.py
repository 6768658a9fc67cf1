"""Operations that move or choose constant values, for values known from the file alone. They keep the dtype."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[Any]
LARGEST = 2**28
"""The most values that are ever made of fewer: beyond it a constant is left as the operations that make it."""


def reshape(x: Values, shape: Sequence[int], *, zero_copies: bool = True) -> Values:
    """0 stands for the size at the same place, -1 for what is left."""
    sizes = [x.shape[i] if size == 0 and zero_copies else int(size) for i, size in enumerate(shape)]
    return x.reshape(sizes)


def squeeze(x: Values, axes: Sequence[int] | None) -> Values:
    """Without the axes of size 1 (those named, or all)."""
    return np.squeeze(x) if axes is None else np.squeeze(x, axis=tuple(int(axis) for axis in axes))


def unsqueeze(x: Values, axes: Sequence[int]) -> Values:
    """With new axes of size 1, counted in the result."""
    return np.expand_dims(x, axis=tuple(int(axis) for axis in axes))


def flatten(x: Values, axis: int) -> Values:
    """Two dimensions: what stands before the axis, and the rest."""
    axis = axis + x.ndim if axis < 0 else axis
    rows = int(np.prod(x.shape[:axis], dtype=np.int64))
    return x.reshape(rows, int(np.prod(x.shape[axis:], dtype=np.int64)))


def expand(x: Values, shape: Sequence[int]) -> Values:
    """Repeated as broadcasting does, both ways."""
    wanted = np.broadcast_shapes(x.shape, tuple(int(size) for size in shape))
    return np.broadcast_to(x, wanted)


def tile(x: Values, repeats: Sequence[int]) -> Values:
    """Whole copies side by side. Raises ValueError where they would be too many."""
    if x.size * int(np.prod([int(r) for r in repeats], dtype=np.float64)) > LARGEST:
        raise ValueError("too large to tile")
    return np.tile(x, [int(r) for r in repeats])


def unpack(packed: Values, bits: int, size: int) -> Values:
    """Numbers that stand several in a byte along the last axis, the first in the lowest bits; `size` of them."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    wide = (packed[..., None] >> shifts) & (2**bits - 1)
    return wide.reshape(*packed.shape[:-1], -1)[..., :size]


def full(shape: Sequence[int], value: Values) -> Values:
    """One value everywhere, without the memory for it."""
    return np.broadcast_to(value.reshape(()), tuple(int(size) for size in shape))


def cut(x: Values, starts: Sequence[int], ends: Sequence[int], axes: Sequence[int], steps: Sequence[int]) -> Values:
    """From start to end, as Python slices do but for a negative step that reaches the first value."""
    where = [slice(None)] * x.ndim
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        where[int(axis)] = span(int(start), int(end), int(step), x.shape[int(axis)])
    return x[tuple(where)]


def span(start: int, end: int, step: int, size: int) -> slice:
    """A slice with its ends brought into the dimension, negative ones counted from its end."""
    start, end = (place + size if place < 0 else place for place in (start, end))
    if step > 0:
        return slice(min(max(start, 0), size), min(max(end, 0), size), step)
    last = min(max(end, -1), size - 1)
    return slice(min(max(start, 0), size - 1), None if last < 0 else last, step)


def dequantize(x: Values, scale: Values, zero: Values | None, axis: int, block: int = 0) -> Values:
    """(x - zero) * scale, with one scale for all, for each place of an axis, or for each block along it."""
    aligned = [_along(part, x.ndim, axis, x.shape, block) for part in (scale, zero) if part is not None]
    wide = x.astype(np.float32) if x.dtype != np.int32 else x.astype(np.float64)
    result = (wide - aligned[1].astype(wide.dtype) if zero is not None else wide) * aligned[0].astype(wide.dtype)
    return result.astype(scale.dtype if np.issubdtype(scale.dtype, np.floating) else np.float32)


def quantize(x: Values, scale: Values, zero: Values, axis: int, block: int = 0) -> Values:
    """x / scale + zero, rounded to even and held within the integer dtype of `zero`; the reverse of `dequantize`."""
    limits = np.iinfo(zero.dtype)
    factor, shift = (_along(part, x.ndim, axis, x.shape, block) for part in (scale, zero))
    return np.clip(np.rint(x / factor) + shift.astype(np.float32), limits.min, limits.max).astype(zero.dtype)


def fake_quantize(x: Values, edges: Sequence[Values], levels: int) -> Values:
    """OpenVINO's: from the range edges[0] to edges[1] to that of edges[2] and edges[3], in so many levels."""
    low, high, out_low, out_high = edges
    steps = np.rint((np.clip(x, low, high) - low) / (high - low) * (levels - 1))
    return (steps / (levels - 1) * (out_high - out_low) + out_low).astype(x.dtype)


def _along(part: Values, ndim: int, axis: int, shape: tuple[int, ...], block: int) -> Values:
    if part.size == 1:
        return part.reshape(())
    if part.ndim == 1:
        return part.reshape([-1 if i == axis % ndim else 1 for i in range(ndim)])
    return np.repeat(part, block, axis=axis)[tuple(slice(size) for size in shape)] if block else part
