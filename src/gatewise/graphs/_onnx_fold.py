"""ONNX operations on constants alone, worked out when the file is read: weights behind a cast, a transpose, a scale."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _layout as layout
from ._draft import Compute, Values
from ._dtypes import is_float, is_whole, numpy_dtype
from ._op import Op
from ._pointwise import POINTWISE, pointwise

Fold = Callable[[Op, int], Compute | None]
_EXACT = 2.0**53


def fold(op: Op) -> bool:
    """Make the outputs constants where the inputs are, and say whether that was done."""
    if not op.inputs or not all(name in op.draft.constants for name in op.inputs if name):
        return _known_shape(op)
    made = FOLDS.get(op.name) or (_computed if op.name in POINTWISE else None)
    if made is None or not any(op.inputs):
        return False
    for place, output in enumerate(op.outputs):
        compute = made(op, place)
        if output and (compute is None or not op.draft.fold(output, op.inputs, compute, dtype=_dtype(op))):
            for undone in op.outputs[:place]:
                op.draft.constants.pop(undone, None)
            return False
    return True


def _dtype(op: Op) -> str | None:
    """What says nothing about how the values are stored has the dtype of its output."""
    return op.draft.dtypes.get(op.outputs[0]) if op.name in ("Shape", "Size", "ConstantOfShape", "Equal") else None


def _known_shape(op: Op) -> bool:
    """The same for sizes: of a shape that is known in part, the part that an operation takes may be known."""
    draft, output = op.draft, op.outputs[0] if op.outputs else ""
    sizes: list[int | None] | None = None
    if op.name == "Shape" and op.inputs[0] in draft.shapes:
        whole = list(draft.shapes[op.inputs[0]])
        sizes = whole[op.attributes.get("start", 0) : op.attributes.get("end", len(whole))]
    elif op.inputs and op.inputs[0] in draft.partly:
        sizes = _taken(op, draft.partly[op.inputs[0]])
    if sizes is None or not output:
        return False
    if None in sizes:
        draft.partly[output] = sizes
        return False
    scalar = op.name == "Gather" and op.draft.shapes.get(op.input(1)) == ()
    found = np.array(sizes[0] if scalar else sizes, dtype=np.int64)
    draft.add_constant(output, found.shape, "int64", lambda: found)
    return True


def _taken(op: Op, sizes: list[int | None]) -> list[int | None] | None:
    if op.name in ("Identity", "Cast"):
        return sizes
    if op.name == "Gather" and (places := op.draft.numbers(op.input(1))) is not None:
        return [sizes[place] for place in places if -len(sizes) <= place < len(sizes)]
    if op.name == "Slice" and (edges := slice_edges(op, 1)) is not None and len(edges) == 1:
        start, end, _, step = edges[0]
        return sizes[layout.span(start, end, step, len(sizes))]
    return None


def slice_edges(op: Op, rank: int) -> list[tuple[int, int, int, int]] | None:
    """(start, end, axis, step) of each axis that a Slice names, axes from 0; None where one is not constant."""
    starts, ends = op.numbers(1, "starts"), op.numbers(2, "ends")
    if starts is None or ends is None or len(starts) != len(ends):
        return None
    axes, steps = op.numbers(3, "axes"), op.numbers(4, "steps")
    if (axes is None and op.input(3)) or (steps is None and op.input(4)):
        return None
    axes = list(range(len(starts))) if axes is None else axes
    steps = [1] * len(starts) if steps is None else steps
    if not len(axes) == len(steps) == len(starts) or 0 in steps:
        return None
    return [(s, e, a + rank if a < 0 else a, step) for s, e, a, step in zip(starts, ends, axes, steps, strict=True)]


def _computed(op: Op, _: int) -> Compute | None:
    settings = dict(op.attributes)
    settings["present"] = tuple(place for place, name in enumerate(op.inputs) if name)
    wanted = op.draft.dtypes.get(op.outputs[0])

    def compute(xs: Sequence[Values | None]) -> Values:
        real = [x for x in xs if x is not None]
        whole = all(np.issubdtype(x.dtype, np.integer) for x in real)
        if whole and op.name == "Div":
            settings["integer"] = "trunc"
        evaluate = pointwise(op.name, settings)
        found = np.asarray(evaluate([x.astype(np.float64) for x in real]) if evaluate else np.nan)
        dtype = numpy_dtype(wanted) if wanted else np.result_type(*real)
        if np.issubdtype(dtype, np.integer) and not np.all(np.abs(found) < _EXACT):
            raise ValueError("too large to be exact")
        return found.astype(dtype)

    return compute


def _cast(op: Op, _: int) -> Compute | None:
    wanted = op.attributes.get("dtype_to")
    if not wanted or not (is_float(wanted) or is_whole(wanted) or wanted == "bool"):
        return None

    def compute(xs: Sequence[Values | None]) -> Values:
        with np.errstate(invalid="ignore", over="ignore"):  # NaN to whole numbers: whatever the machine gives
            return _first(xs).astype(numpy_dtype(wanted))

    return compute


def _first(xs: Sequence[Values | None]) -> Values:
    return _at(xs, 0)


def _at(xs: Sequence[Values | None], place: int) -> Values:
    found = xs[place] if place < len(xs) else None
    if found is None:
        raise ValueError("an input is left out")
    return found


def _ints(op: Op, xs: Sequence[Values | None], place: int, attribute: str) -> list[int] | None:
    if attribute in op.attributes:
        return [int(number) for number in op.attributes[attribute]]
    found = xs[place] if place < len(xs) else None
    return None if found is None else [int(number) for number in found.reshape(-1)]


def _must(numbers: list[int] | None) -> list[int]:
    if numbers is None:
        raise ValueError("an input is left out")
    return numbers


def _transpose(op: Op, _: int) -> Compute:
    return lambda xs: np.transpose(_first(xs), op.attributes.get("perm"))


def _slice(op: Op, _: int) -> Compute:
    def compute(xs: Sequence[Values | None]) -> Values:
        edges = slice_edges(op, _first(xs).ndim)
        if edges is None:
            raise ValueError("an edge is not known")
        starts, ends, axes, steps = zip(*edges, strict=True)
        return layout.cut(_first(xs), starts, ends, axes, steps)

    return compute


def _split(op: Op, place: int) -> Compute:
    def compute(xs: Sequence[Values | None]) -> Values:
        x, axis = _first(xs), int(op.attributes.get("axis", 0))
        sizes = _ints(op, xs, 1, "split") or split_sizes(x.shape[axis], len(op.outputs))
        start = sum(sizes[:place])
        return np.take(x, range(start, start + sizes[place]), axis=axis)

    return compute


def split_sizes(size: int, count: int) -> list[int]:
    """Equal parts; where that cannot be, the last is smaller."""
    part = -(-size // count)
    return [part] * (count - 1) + [size - part * (count - 1)]


def _dequantize(op: Op, _: int) -> Compute:
    axis, block = int(op.attributes.get("axis", 1)), int(op.attributes.get("block_size", 0))
    return lambda xs: layout.dequantize(_first(xs), _at(xs, 1), xs[2] if len(xs) > 2 else None, axis, block)


def _quantize(op: Op, _: int) -> Compute | None:
    """Weights kept as float numbers that are rounded when the model runs: to whole numbers of NumPy's own dtypes."""
    axis, block = int(op.attributes.get("axis", 1)), int(op.attributes.get("block_size", 0))
    wanted = op.draft.dtypes.get(op.outputs[0], "uint8")
    if wanted not in ("int8", "uint8", "int16", "uint16"):
        return None
    dtype = np.dtype(wanted)

    def compute(xs: Sequence[Values | None]) -> Values:
        zero = xs[2] if len(xs) > 2 else None
        return layout.quantize(_first(xs), _at(xs, 1), np.zeros((), dtype) if zero is None else zero, axis, block)

    return compute


def _full(op: Op, _: int) -> Compute:
    value = np.asarray(op.attributes.get("value", np.zeros(1, dtype=np.float32)))
    return lambda xs: layout.full(_first(xs).reshape(-1).tolist(), value)


def _concat(op: Op, _: int) -> Compute:
    return lambda xs: np.concatenate([x for x in xs if x is not None], axis=int(op.attributes.get("axis", 1)))


FOLDS: Mapping[str, Fold] = {
    "Cast": _cast,
    "Concat": _concat,
    "ConstantOfShape": _full,
    "DequantizeLinear": _dequantize,
    "Expand": lambda op, _: lambda xs: layout.expand(_first(xs), _must(_ints(op, xs, 1, "shape"))),
    "Flatten": lambda op, _: lambda xs: layout.flatten(_first(xs), int(op.attributes.get("axis", 1))),
    "Gather": lambda op, _: lambda xs: np.take(_first(xs), _at(xs, 1), axis=int(op.attributes.get("axis", 0))),
    "Identity": lambda op, _: _first,
    "QuantizeLinear": _quantize,
    "Reshape": lambda op, _: (
        lambda xs: layout.reshape(
            _first(xs), _must(_ints(op, xs, 1, "shape")), zero_copies=not op.attributes.get("allowzero", 0)
        )
    ),
    "Shape": lambda op, _: lambda xs: np.array(_first(xs).shape, dtype=np.int64),
    "Size": lambda op, _: lambda xs: np.array(_first(xs).size, dtype=np.int64),
    "Slice": _slice,
    "Split": _split,
    "Squeeze": lambda op, _: lambda xs: layout.squeeze(_first(xs), _ints(op, xs, 1, "axes")),
    "Tile": lambda op, _: lambda xs: layout.tile(_first(xs), _must(_ints(op, xs, 1, "repeats"))),
    "Transpose": _transpose,
    "Unsqueeze": lambda op, _: lambda xs: layout.unsqueeze(_first(xs), _must(_ints(op, xs, 1, "axes"))),
    "com.microsoft.DequantizeLinear": _dequantize,
}


def constant_value(op: Op) -> Any:
    """The value of a Constant given as a plain attribute; None where it is a tensor or text."""
    for name in ("value_float", "value_int", "value_floats", "value_ints"):
        if name in op.attributes:
            return np.array(op.attributes[name], dtype=np.float32 if "float" in name else np.int64)
    return None
