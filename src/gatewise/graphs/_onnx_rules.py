"""What each ONNX operation does to the values that pass through it."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ._dtypes import is_whole
from ._graph import Kind
from ._onnx_fold import slice_edges, split_sizes
from ._onnx_fused import FUSED
from ._onnx_linear import LINEAR, quantised_range
from ._op import Op
from ._pointwise import POINTWISE
from ._select import places_part, slice_part, split_part

Rule = Callable[[Op], None]


def apply(op: Op) -> None:
    """Add the nodes of one operation."""
    rule = RULES.get(op.name)
    if rule is not None:
        rule(op)
    elif op.name in POINTWISE and len(op.outputs) == 1:
        _pointwise(op)
    elif op.name in KINDS:
        op.emit(KINDS[op.name])
        op.others()
    else:
        op.others(0)


def _pointwise(op: Op) -> None:
    inputs, settings = list(op.inputs), {}
    if op.name == "Div" and all(is_whole(op.draft.dtypes.get(name, "")) for name in inputs):
        settings["integer"] = "trunc"
    if op.opset < 7 and len(inputs) == 2 and op.is_constant(1):
        inputs[1] = _aligned(op)
    op.pointwise(inputs, op.outputs[0], **{**op.attributes, **settings})


def _aligned(op: Op) -> str:
    """The second input where an old operator set aligns it to an axis of the first, not to the last one."""
    name, rank = op.inputs[1], len(op.draft.shapes.get(op.inputs[0], ()))
    shape = op.draft.constants[name].shape
    axis = op.attributes.get("axis", 1 if op.name == "PRelu" else None)
    if axis is None or not rank or op.draft.constants[name].size == 1 or len(shape) > rank:
        return name
    wide = shape + (1,) * (rank - axis % rank - len(shape))
    aligned = op.draft.unique(f"{name}/aligned")
    done = op.draft.fold(aligned, [name], lambda xs: xs[0].reshape(wide) if xs[0] is not None else _left_out())
    return aligned if done else name


def _left_out() -> Any:
    raise ValueError("an input is left out")


def _cast(op: Op) -> None:
    """A cast to whole numbers or to a truth value changes values: it is computed as a pointwise operation."""
    source = op.draft.dtypes.get(op.inputs[0], "")
    target = op.attributes.get("dtype_to") or op.draft.dtypes.get(op.outputs[0], "")
    if target == "string" or source == "string" or not target:
        op.emit(Kind.OTHER)
    elif (is_whole(target) and not is_whole(source) and source != "bool") or (target == "bool" and source != "bool"):
        op.pointwise(op.inputs[:1], op.outputs[0], like="Cast", to="bool" if target == "bool" else target)
    else:
        op.emit(Kind.CAST, op.inputs[:1])


def _dropout(op: Op) -> None:
    """Nothing at inference; in training mode, or where that is not known, it is not looked through."""
    if op.opset < 7:
        training = not op.attributes.get("is_test", 0)
    else:
        mode = op.draft.numbers(op.input(2)) if op.input(2) else [0]
        training = mode is None or any(mode)
    op.emit(Kind.OTHER if training else Kind.COPY, op.inputs if training else op.inputs[:1])
    op.others()


def _split(op: Op) -> None:
    shape = op.draft.shapes.get(op.inputs[0])
    axis = int(op.attributes.get("axis", 0))
    sizes = op.numbers(1, "split")
    total = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
    if sizes is None and not op.input(1) and total is not None:
        sizes = split_sizes(total, len(op.outputs))
    for place in range(len(op.outputs)):
        if sizes is not None and len(sizes) == len(op.outputs):
            more = split_part(place, sizes, axis)
        else:
            even = sizes is None and not op.input(1)
            more = {"axis": axis, **({"part": (place, len(op.outputs))} if even else {})}
        op.emit(Kind.SELECT, op.inputs[:1], place, **more)


def _slice(op: Op) -> None:
    shape = op.draft.shapes.get(op.inputs[0])
    edges = slice_edges(op, len(shape) if shape else 0)
    if edges is None:
        op.emit(Kind.SELECT)
        return
    found: list[Mapping[str, Any]] = []
    for start, end, axis, step in edges:
        size = shape[axis] if shape and 0 <= axis < len(shape) else None
        whole = step == 1 and start == 0 and (end >= 2**31 - 1 or (size is not None and end >= size))
        if not whole:
            last = axis == (len(shape) - 1 if shape else -1)
            found.append(slice_part(start, end, step, size, axis, last=last))
    if not found:
        op.emit(Kind.COPY, op.inputs[:1])
    else:
        op.emit(Kind.SELECT, op.inputs[:1], **(found[0] if len(found) == 1 else {}))


def _gather(op: Op) -> None:
    """Constant places of a computed value: a choice. Places that are computed: a look-up."""
    shape, places = op.draft.shapes.get(op.inputs[0]), op.draft.numbers(op.input(1))
    if places is None or op.is_constant(0):
        op.emit(Kind.OTHER)
        return
    axis = int(op.attributes.get("axis", 0))
    size = shape[axis] if shape and -len(shape) <= axis < len(shape) else None
    more: dict[str, Any] = {"axis": axis}
    if size is not None and shape is not None:
        last = axis in (-1, len(shape) - 1)
        more |= places_part([place % size for place in places], size, last=last) if size else {}
    if op.draft.shapes.get(op.input(1)) == ():
        more.pop("size", None)  # the axis itself is gone
    op.emit(Kind.SELECT, op.inputs[:1], **more)


def _quantize(op: Op) -> None:
    op.emit(Kind.CAST, **quantised_range(op, 1, 2))


def _dynamic_quantize(op: Op) -> None:
    op.emit(Kind.CAST)
    op.others(kind=Kind.REDUCE)


def _filled(op: Op) -> None:
    """One number in the shape of another value, as in `where(x > 0, x, zeros_like(x))`: pointwise in that value."""
    expands = op.name == "Expand"
    source, number = op.draft.shape_of(op.input(1 if expands else 0)), None
    if source and expands and op.is_constant(0):
        number = op.draft.small(op.input(0))
    elif source and not expands:
        number = op.attributes.get("value", 0.0)
    if source and number is not None and np.size(number) == 1:
        op.pointwise([source], op.outputs[0], like="Full", value=float(np.reshape(number, -1)[0]))
    else:
        op.emit(Kind.RESHAPE if expands else Kind.OTHER)


def _norm(op: Op) -> None:
    op.emit(Kind.NORM)
    op.others(kind=Kind.REDUCE)


_RESHAPES = (
    "Reshape Transpose Squeeze Unsqueeze Flatten Tile DepthToSpace SpaceToDepth com.microsoft.NhwcReshape "
    "com.microsoft.nchwc.ReorderInput com.microsoft.nchwc.ReorderOutput"
)
_REDUCES = (
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare GlobalAveragePool GlobalMaxPool GlobalLpPool AveragePool MaxPool LpPool "
    "com.microsoft.QLinearAveragePool "
    "com.microsoft.QLinearGlobalAveragePool com.microsoft.QLinearReduceMean com.microsoft.nchwc.MaxPool "
    "com.microsoft.nchwc.AveragePool com.microsoft.nchwc.GlobalMaxPool com.microsoft.nchwc.GlobalAveragePool"
)
_NORMS = (
    "BatchNormalization InstanceNormalization LRN LpNormalization MeanVarianceNormalization GroupNormalization "
    "RMSNormalization LayerNormalization com.microsoft.SimplifiedLayerNormalization com.microsoft.LayerNormalization"
)
_CASTS = "DequantizeLinear com.microsoft.DequantizeLinear"

KINDS: Mapping[str, Kind] = {
    "Identity": Kind.COPY,
    "com.microsoft.MemcpyFromHost": Kind.COPY,
    "com.microsoft.MemcpyToHost": Kind.COPY,
    **dict.fromkeys(_RESHAPES.split(), Kind.RESHAPE),
    **dict.fromkeys(_REDUCES.split(), Kind.REDUCE),
    **dict.fromkeys(_CASTS.split(), Kind.CAST),
}
"""Operations of which nothing more need be known. What stands nowhere is OTHER."""

RULES: Mapping[str, Rule] = {
    "Cast": _cast,
    "CastLike": _cast,
    "ConstantOfShape": _filled,
    "Dropout": _dropout,
    "DynamicQuantizeLinear": _dynamic_quantize,
    "Expand": _filled,
    "Gather": _gather,
    "QuantizeLinear": _quantize,
    "Slice": _slice,
    "Split": _split,
    "com.microsoft.QuantizeLinear": _quantize,
    **dict.fromkeys(_NORMS.split(), _norm),
    **LINEAR,
    **FUSED,
}
