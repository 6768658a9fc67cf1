"""What each operation of OpenVINO does to the values that pass through it, and its constants worked out."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from . import _layout as layout
from ._draft import Compute, Values
from ._dtypes import is_whole, numpy_dtype
from ._graph import Kind
from ._op import Op
from ._pointwise import pointwise
from ._select import places_part, slice_part, split_part

Rule = Callable[[Op], None]
Edges = list[tuple[int, int, int, int]]
_FAR = 2**31 - 1

_SAME = (
    "Abs Acos Acosh Add Asin Asinh Atan Atanh BitwiseAnd BitwiseOr BitwiseXor Cos Cosh Elu Equal Erf Exp Floor Gelu "
    "Greater HardSigmoid IsFinite IsInf IsNaN Less Log Mish Mod NotEqual Round Selu Sigmoid Sign Sin Sinh Sqrt "
    "SquaredDifference Swish Tan Tanh"
)
NAMES: Mapping[str, str] = {
    **{name: name for name in _SAME.split()},
    "Ceiling": "Ceil",
    "Clamp": "Clip",
    "Divide": "Div",
    "FloorMod": "Mod",
    "GreaterEqual": "GreaterOrEqual",
    "HSigmoid": "HardSigmoid",
    "HSwish": "HardSwish",
    "LessEqual": "LessOrEqual",
    "LogicalAnd": "And",
    "LogicalNot": "Not",
    "LogicalOr": "Or",
    "LogicalXor": "Xor",
    "Maximum": "Max",
    "Minimum": "Min",
    "Multiply": "Mul",
    "Negative": "Neg",
    "PRelu": "PRelu",
    "PReLU": "PRelu",
    "Power": "Pow",
    "ReLU": "Relu",
    "Select": "Where",
    "SoftPlus": "Softplus",
    "SoftSign": "Softsign",
    "Subtract": "Sub",
    "Xor": "Xor",
}
"""The pointwise operations and their names in the table."""


def settings(op: Op) -> dict[str, Any]:
    """The attributes under the names that the table of pointwise operations knows."""
    given = dict(op.attributes)
    if op.name == "Gelu":
        return {"approximate": "tanh" if str(given.get("approximation_mode", "")).upper() == "TANH" else "none"}
    if op.name == "HSigmoid":
        return {"alpha": 1 / 6, "beta": 0.5}
    if op.name == "Mod":
        return {"fmod": 1}
    if op.name == "Divide" and all(is_whole(op.draft.dtypes.get(name, "")) for name in op.inputs):
        return {"integer": "floor" if given.get("m_pythondiv", True) else "trunc"}
    return {name: value for name, value in given.items() if name in ("alpha", "min", "max", "mode", *_INFINITE)}


_INFINITE = ("detect_negative", "detect_positive")


def apply(op: Op) -> None:
    """Add the nodes of one operation."""
    rule = RULES.get(op.name)
    if rule is not None:
        rule(op)
    elif op.name in NAMES:
        op.pointwise(_aligned(op), op.outputs[0], like=NAMES[op.name], **settings(op))
    elif op.name in KINDS or op.name.startswith("Reduce"):
        op.emit(KINDS.get(op.name, Kind.REDUCE))
        op.others()
    else:
        op.others(0)


def _aligned(op: Op) -> Sequence[str]:
    """The slope of a PReLU is one for each channel, whatever stands behind the channels."""
    if NAMES[op.name] != "PRelu" or not op.is_constant(1):
        return op.inputs
    shape, slope = op.draft.shapes.get(op.inputs[0], ()), op.draft.constants[op.inputs[1]].shape
    if len(slope) != 1 or slope[0] == 1 or len(shape) < 3 or shape[1] not in (None, slope[0]):
        return op.inputs
    aligned = op.draft.unique(f"{op.inputs[1]}/aligned")
    wide = (-1,) + (1,) * (len(shape) - 2)
    done = op.draft.fold(aligned, [op.inputs[1]], lambda xs: _at(xs, 0).reshape(wide))
    return [op.inputs[0], aligned] if done else op.inputs


def _convert(op: Op) -> None:
    source = op.draft.dtypes.get(op.inputs[0], "")
    target = op.draft.dtypes.get(op.outputs[0], "")
    if (is_whole(target) and not is_whole(source) and source != "bool") or (target == "bool" and source != "bool"):
        op.pointwise(op.inputs[:1], op.outputs[0], like="Cast", to=target)
    else:
        op.emit(Kind.CAST, op.inputs[:1])


def _linear(op: Op) -> None:
    """LINEAR where a factor is constant, else OTHER."""
    data, weight = 0, 1
    if not op.is_constant(1) and op.is_constant(0) and op.name in ("MatMul", "Einsum"):
        data, weight = 1, 0
    if not op.is_constant(weight):
        op.emit(Kind.OTHER)
        return
    more: dict[str, Any] = {"data": data, "weight": weight}
    shape = op.draft.constants[op.inputs[weight]].shape
    if op.name == "MatMul" and weight == 1 and len(shape) == 2 and not op.attributes.get("transpose_a"):
        more["features"] = shape[0] if op.attributes.get("transpose_b") else shape[1]
    op.emit(Kind.LINEAR, **more)


def _split(op: Op) -> None:
    shape, axis = op.draft.shapes.get(op.inputs[0]), op.draft.numbers(op.input(1))
    lengths = op.draft.numbers(op.input(2)) if op.name == "VariadicSplit" else None
    where = axis[0] if axis else None
    known = shape is not None and where is not None and -len(shape) <= where < len(shape)
    total = shape[where] if shape is not None and where is not None and known else None
    count = len(op.outputs)
    if op.name == "Split" and total is not None and total % count == 0:
        lengths = [total // count] * count
    if lengths is not None and -1 in lengths and total is not None:
        lengths = [total - sum(lengths) - 1 if length == -1 else length for length in lengths]
    for place in range(count):
        more: Mapping[str, Any] = {}
        if where is not None and lengths is not None and len(lengths) == count and -1 not in lengths:
            more = split_part(place, lengths, where)
        elif where is not None and op.name == "Split":
            more = {"axis": where, "part": (place, count)}
        op.emit(Kind.SELECT, op.inputs[:1], place, **more)


def _edges(op: Op, rank: int) -> Edges | None:
    """(start, end, axis, step) of each axis that a Slice or StridedSlice cuts; None where that is not plain."""
    starts, ends, steps = (op.draft.numbers(op.input(place)) for place in (1, 2, 3))
    if starts is None or ends is None:
        return None
    steps = [1] * len(starts) if steps is None and not op.input(3) else steps
    axes = list(range(len(starts)))
    if op.name == "Slice" and op.input(4):
        axes = op.draft.numbers(op.input(4))
    if steps is None or axes is None or not len(starts) == len(ends) == len(steps) == len(axes) or 0 in steps:
        return None
    if op.name == "StridedSlice":
        if any(any(_mask(op, f"{name}_mask")) for name in ("new_axis", "shrink_axis", "ellipsis")):
            return None
        begin, end = _mask(op, "begin_mask"), _mask(op, "end_mask")
        starts = [0 if i < len(begin) and begin[i] and steps[i] > 0 else start for i, start in enumerate(starts)]
        ends = [_FAR if i < len(end) and end[i] and steps[i] > 0 else last for i, last in enumerate(ends)]
    return [(s, e, a + rank if a < 0 else a, step) for s, e, a, step in zip(starts, ends, axes, steps, strict=True)]


def _mask(op: Op, name: str) -> list[int]:
    found = op.attributes.get(name, [])
    return [int(number) for number in found] if isinstance(found, list) else [int(found)] if found != "" else []


def _slice(op: Op) -> None:
    shape = op.draft.shapes.get(op.inputs[0])
    edges = _edges(op, len(shape) if shape else 0)
    if edges is None:
        op.emit(Kind.SELECT, op.inputs[:1])
        return
    found: list[Mapping[str, Any]] = []
    for start, end, axis, step in edges:
        size = shape[axis] if shape and 0 <= axis < len(shape) else None
        if not (step == 1 and start == 0 and (end >= _FAR or (size is not None and end >= size))):
            found.append(slice_part(start, end, step, size, axis, last=axis == (len(shape) - 1 if shape else -1)))
    if found:
        op.emit(Kind.SELECT, op.inputs[:1], **(found[0] if len(found) == 1 else {}))
    else:
        op.emit(Kind.COPY, op.inputs[:1])


def _gather(op: Op) -> None:
    shape = op.draft.shapes.get(op.inputs[0])
    places, axes = op.draft.numbers(op.input(1)), op.draft.numbers(op.input(2))
    if places is None or not axes or op.is_constant(0):
        op.emit(Kind.OTHER)
        return
    more: dict[str, Any] = {"axis": axes[0]}
    size = shape[axes[0]] if shape and -len(shape) <= axes[0] < len(shape) else None
    if size and shape:
        last = axes[0] in (-1, len(shape) - 1)
        more |= places_part([place % size for place in places], size, last=last)
    if op.draft.constants[op.input(1)].shape == ():
        more.pop("size", None)  # the axis itself is gone
    op.emit(Kind.SELECT, op.inputs[:1], **more)


def _quantize(op: Op) -> None:
    op.emit(Kind.CAST)


_LINEAR = (
    "MatMul Convolution GroupConvolution ConvolutionBackpropData GroupConvolutionBackpropData BinaryConvolution Einsum "
    "DeformableConvolution"
)
_RESHAPES = (
    "Reshape Transpose Squeeze Unsqueeze Broadcast Tile DepthToSpace SpaceToDepth ShuffleChannels BatchToSpace "
    "SpaceToBatch Reverse"
)
_NORMS = "MVN BatchNormInference GroupNormalization LRN NormalizeL2 GRN RMS RMSNorm"
_REDUCES = "AvgPool MaxPool AdaptiveAvgPool AdaptiveMaxPool"

KINDS: Mapping[str, Kind] = {
    "Identity": Kind.COPY,
    **dict.fromkeys(_RESHAPES.split(), Kind.RESHAPE),
    **dict.fromkeys(_NORMS.split(), Kind.NORM),
    **dict.fromkeys(_REDUCES.split(), Kind.REDUCE),
}
RULES: Mapping[str, Rule] = {
    "Convert": _convert,
    "ConvertLike": _convert,
    "FakeConvert": _quantize,
    "FakeQuantize": _quantize,
    "Gather": _gather,
    "Slice": _slice,
    "Split": _split,
    "StridedSlice": _slice,
    "VariadicSplit": _split,
    **dict.fromkeys(_LINEAR.split(), _linear),
}


def _at(xs: Sequence[Values | None], place: int) -> Values:
    found = xs[place] if place < len(xs) else None
    if found is None:
        raise ValueError("an input is left out")
    return found


def _list(xs: Sequence[Values | None], place: int) -> list[int]:
    return [int(number) for number in _at(xs, place).reshape(-1)]


def _cut(op: Op) -> Compute:
    def compute(xs: Sequence[Values | None]) -> Values:
        edges = _edges(op, _at(xs, 0).ndim)
        if edges is None:
            raise ValueError("an edge is not known")
        starts, ends, axes, steps = zip(*edges, strict=True)
        return layout.cut(_at(xs, 0), starts, ends, axes, steps)

    return compute


def _computed(op: Op) -> Compute:
    wanted = op.draft.dtypes.get(op.outputs[0])
    evaluate = pointwise(NAMES[op.name], settings(op))

    def compute(xs: Sequence[Values | None]) -> Values:
        found = np.asarray(evaluate([_at(xs, i).astype(np.float64) for i in range(len(xs))]) if evaluate else np.nan)
        dtype = numpy_dtype(wanted) if wanted else np.dtype(np.float32)
        if np.issubdtype(dtype, np.integer) and not np.all(np.abs(found) < 2.0**53):
            raise ValueError("too large to be exact")
        return found.astype(dtype)

    return compute


def _broadcast(xs: Sequence[Values | None]) -> Values:
    return layout.expand(_at(xs, 0), _list(xs, 1))


FOLDS: Mapping[str, Callable[[Op], Compute]] = {
    "Broadcast": lambda _: _broadcast,
    "Concat": lambda op: lambda xs: np.concatenate([_at(xs, i) for i in range(len(xs))], int(op.attributes["axis"])),
    "Convert": lambda op: lambda xs: _at(xs, 0).astype(numpy_dtype(op.draft.dtypes[op.outputs[0]])),
    "ConvertLike": lambda op: lambda xs: _at(xs, 0).astype(numpy_dtype(op.draft.dtypes[op.outputs[0]])),
    "FakeQuantize": lambda op: (
        lambda xs: layout.fake_quantize(_at(xs, 0), [_at(xs, i) for i in (1, 2, 3, 4)], int(op.attributes["levels"]))
    ),
    "Gather": lambda _: lambda xs: np.take(_at(xs, 0), _at(xs, 1), axis=_list(xs, 2)[0]),
    "Reshape": lambda op: (
        lambda xs: layout.reshape(_at(xs, 0), _list(xs, 1), zero_copies=bool(op.attributes.get("special_zero", False)))
    ),
    "ShapeOf": lambda _: lambda xs: np.array(_at(xs, 0).shape, dtype=np.int64),
    "Slice": _cut,
    "Squeeze": lambda _: lambda xs: layout.squeeze(_at(xs, 0), _list(xs, 1) if len(xs) > 1 else None),
    "StridedSlice": _cut,
    "Transpose": lambda _: lambda xs: np.transpose(_at(xs, 0), _list(xs, 1) or None),
    "Unsqueeze": lambda _: lambda xs: layout.unsqueeze(_at(xs, 0), _list(xs, 1)),
}


def fold(op: Op) -> bool:
    """Make the output a constant where the inputs are, and say whether that was done."""
    if len(op.outputs) != 1:
        return False
    if op.inputs and all(name in op.draft.constants for name in op.inputs):
        made = FOLDS.get(op.name) or (_computed if op.name in NAMES else None)
        kept = op.draft.dtypes.get(op.outputs[0]) if op.name == "ShapeOf" else None
        return made is not None and op.draft.fold(op.outputs[0], op.inputs, made(op), dtype=kept)
    return _known_shape(op)


def _known_shape(op: Op) -> bool:
    """The same for sizes: of a shape that is known in part, the part that is taken may be known."""
    draft, output = op.draft, op.outputs[0]
    if op.name == "ShapeOf" and op.inputs[0] in draft.shapes:
        draft.partly[output] = list(draft.shapes[op.inputs[0]])
    elif op.name in ("Convert", "Gather") and op.inputs and op.inputs[0] in draft.partly:
        sizes, places = draft.partly[op.inputs[0]], draft.numbers(op.input(1)) if op.name == "Gather" else None
        taken = [sizes[p] for p in places if -len(sizes) <= p < len(sizes)] if places is not None else sizes
        draft.partly[output] = taken if op.name == "Convert" or places is not None else [None]
    sizes = draft.partly.get(output, [None])
    if None in sizes:
        return False
    scalar = op.name == "Gather" and draft.shapes.get(op.input(1)) == ()
    found = np.array(sizes[0] if scalar else sizes, dtype=np.int64)
    draft.add_constant(output, found.shape, draft.dtypes.get(output, "int64"), lambda: found)
    return True
