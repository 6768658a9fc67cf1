"""Fused operations of ONNX Runtime that hold several at once: written as the steps that they are."""

from collections.abc import Callable, Mapping

from ._graph import Kind
from ._onnx_fold import FOLDS
from ._onnx_linear import unpacked
from ._op import Op
from ._select import split_part


def _sum(op: Op) -> None:
    op.pointwise(op.inputs, op.outputs[0], like="Sum")


def _bias_split_gelu(op: Op) -> None:
    """(x + bias) in two halves: the left one times the GELU of the right one."""
    output = op.outputs[0]
    total = op.pointwise(op.inputs[:2], _wide(op, output, "sum"), like="Add", inside=True)
    shape = op.draft.shapes.get(op.inputs[0])
    width = shape[-1] if shape else None
    halves = [op.draft.inner(output, side) for side in ("left", "right")]
    for place, half in enumerate(halves):
        more = split_part(place, [width // 2] * 2, -1) if width else {"axis": -1, "part": (place, 2)}
        op.draft.emit("Split", op.path, [total], half, kind=Kind.SELECT, attributes={**more, "inside": op.name})
    gelu = op.pointwise([halves[1]], op.draft.inner(output, "gelu"), like="Gelu", inside=True)
    op.pointwise([halves[0], gelu], output, like="Mul", inside=True)


def _wide(op: Op, output: str, hint: str) -> str:
    name = op.draft.inner(output, hint)
    if op.inputs[0] in op.draft.shapes:
        op.draft.shapes[name] = op.draft.shapes[op.inputs[0]]
    else:
        op.draft.shapes.pop(name, None)
    return name


def _skip_norm(op: Op) -> None:
    """The sum of both inputs (and a bias), then the norm of it. The sum may be an output of its own."""
    simplified = "Simplified" in op.name
    bias = op.input(3 if simplified else 4)
    parts = [*op.inputs[:2], *([bias] if bias else [])]
    named = op.outputs[3] if len(op.outputs) > 3 and op.outputs[3] else ""
    output = named or op.draft.inner(op.outputs[0] or op.inputs[0], "sum")
    total = op.pointwise(parts, output, like="Sum", inside=True)
    op.emit(Kind.NORM, [total, *op.inputs[2 : 3 if simplified else 4]])
    for place in range(1, min(len(op.outputs), 3)):
        op.emit(Kind.REDUCE, [total], place, output=place)


def _group_norm(op: Op) -> None:
    """With SiLU behind it where `activation` is 1."""
    active = int(op.attributes.get("activation", 0)) == 1
    value = op.draft.inner(op.outputs[0], "norm") if active else op.outputs[0]
    op.draft.emit(op.name, op.path, op.inputs, value, kind=Kind.NORM, attributes=dict(op.attributes))
    if active:
        op.pointwise([value], op.outputs[0], like="Swish", inside=True)
    op.others()


def _gated_mlp(op: Op) -> None:
    """Both projections of a gated unit on packed weights, the activation of the first and the product."""
    source, output = op.inputs[0], op.outputs[0]
    if op.input(1):
        total = op.outputs[1] if len(op.outputs) > 1 and op.outputs[1] else op.draft.inner(source, "sum")
        source = op.pointwise([source, op.input(1)], total, like="Add", inside=True)
    if op.input(2):
        normed = op.draft.inner(source, "norm")
        source = op.draft.emit(
            op.name, op.path, [source, op.input(2)], normed, kind=Kind.NORM, attributes={"inside": op.name}
        )
    sides: list[str] = []
    for first, hint in ((3, "gate"), (6, "up")):
        inputs = [source, *(op.input(place) for place in range(first, first + 3))]
        if op.is_constant(first):
            inputs[1] = unpacked(op, inputs[1:3])
        attributes = {**op.attributes, "data": 0, "weight": 1, "inside": op.name}
        if inputs[3]:
            attributes["bias"] = 3
        kind = Kind.LINEAR if op.is_constant(first) else Kind.OTHER
        sides.append(
            op.draft.emit(op.name, op.path, inputs, op.draft.inner(output, hint), kind=kind, attributes=attributes)
        )
    like = {"silu": "Swish", "gelu": "Gelu", "relu": "Relu"}.get(str(op.attributes.get("activation", "silu")))
    active = op.draft.inner(output, "activation")
    if like is None:
        op.draft.emit(op.name, op.path, [sides[0]], active, kind=Kind.POINTWISE, attributes={"inside": op.name})
    else:
        op.pointwise([sides[0]], active, like=like, inside=True)
    op.pointwise([active, sides[1]], output, like="Mul", inside=True)


def _quantized(like: str, places: tuple[int, ...]) -> Callable[[Op], None]:
    """A pointwise operation on quantised values, which stand for their dequantised ones here as everywhere."""

    def rule(op: Op) -> None:
        settings = {"alpha": op.attributes["alpha"]} if "alpha" in op.attributes else {}
        op.pointwise([op.input(place) for place in places], op.outputs[0], like=like, **settings)

    return rule


def _quantized_pair(like: str) -> Callable[[Op], None]:
    """The same for two inputs, each with its scale; a constant one is scaled here."""

    def rule(op: Op) -> None:
        names = [_scaled(op, first) for first in (0, 3)]
        op.pointwise(names, op.outputs[0], like=like)

    return rule


def _scaled(op: Op, first: int) -> str:
    parts = [op.input(place) for place in range(first, first + 3)]
    if not all(part in op.draft.constants for part in parts if part):
        return parts[0]
    name = op.draft.unique(f"{parts[0]}/scaled")
    compute = FOLDS["DequantizeLinear"](op, 0)
    done = compute is not None and op.draft.fold(name, parts, compute)
    return name if done else parts[0]


FUSED: Mapping[str, Callable[[Op], None]] = {
    "com.microsoft.BiasAdd": _sum,
    "com.microsoft.BiasSplitGelu": _bias_split_gelu,
    "com.microsoft.GroupNorm": _group_norm,
    "com.microsoft.MatMulNBitsMlp": _gated_mlp,
    "com.microsoft.QLinearAdd": _quantized_pair("Add"),
    "com.microsoft.QLinearMul": _quantized_pair("Mul"),
    "com.microsoft.QLinearLeakyRelu": _quantized("LeakyRelu", (0,)),
    "com.microsoft.QLinearSigmoid": _quantized("Sigmoid", (0,)),
    "com.microsoft.QOrderedGelu": _quantized("Gelu", (0,)),
    "com.microsoft.SkipLayerNormalization": _skip_norm,
    "com.microsoft.SkipSimplifiedLayerNormalization": _skip_norm,
}
