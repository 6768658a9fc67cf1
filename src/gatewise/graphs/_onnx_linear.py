"""ONNX operations with weights: matrix products and convolutions, fused and quantised ones too."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from . import _layout as layout
from ._draft import Values
from ._graph import Kind
from ._onnx_fold import FOLDS
from ._op import Op


@dataclass(frozen=True, kw_only=True)
class Places:
    """Where an operation keeps its weights.

    Attributes:
        data, weight: the inputs that are multiplied.
        bias: the input that is added; None where there is none.
        either: whether the weight may stand in the place of the data.
        scale, zero: of quantised weights.
        out_scale: of a quantised output; its zero point is the next input.
    """

    data: int = 0
    weight: int = 1
    bias: int | None = None
    either: bool = False
    scale: int | None = None
    zero: int | None = None
    out_scale: int | None = None


PLACES: Mapping[str, Places] = {
    "MatMul": Places(either=True),
    "Gemm": Places(bias=2, either=True),
    "Conv": Places(bias=2),
    "ConvTranspose": Places(bias=2),
    "Einsum": Places(either=True),
    "ConvInteger": Places(),
    "DeformConv": Places(bias=3),
    "MatMulInteger": Places(either=True),
    "QLinearMatMul": Places(weight=3, scale=4, zero=5, out_scale=6),
    "QLinearConv": Places(weight=3, scale=4, zero=5, bias=8, out_scale=6),
    "com.microsoft.QLinearConv": Places(weight=3, scale=4, zero=5, bias=8, out_scale=6),
    "com.microsoft.QGemm": Places(weight=3, scale=4, zero=5, bias=6, out_scale=7),
    "com.microsoft.FusedMatMul": Places(either=True),
    "com.microsoft.TransposeMatMul": Places(either=True),
    "com.microsoft.FusedMatMulActivation": Places(either=True),
    "com.microsoft.FusedGemm": Places(bias=2, either=True),
    "com.microsoft.GemmFloat8": Places(bias=2, either=True),
    "com.microsoft.FusedConv": Places(bias=2),
    "com.microsoft.NhwcFusedConv": Places(bias=2),
    "com.microsoft.NhwcConv": Places(bias=2),
    "com.microsoft.nchwc.Conv": Places(bias=2),
    "com.microsoft.GemmFastGelu": Places(bias=2),
    "com.microsoft.DynamicQuantizeMatMul": Places(scale=2, zero=3, bias=4),
    "com.microsoft.MatMulIntegerToFloat": Places(scale=3, zero=5, bias=6),
    "com.microsoft.MatMulInteger16": Places(),
    "com.microsoft.MatMulNBits": Places(bias=5),
    "com.microsoft.MatMulBnb4": Places(),
    "com.microsoft.MatMulFpQ4": Places(),
    "com.microsoft.QOrderedMatMul": Places(weight=2, bias=5),
}
_ACTIVATED = {
    "com.microsoft.FusedConv": 3,
    "com.microsoft.NhwcFusedConv": 3,
    "com.microsoft.nchwc.Conv": 3,
    "com.microsoft.FusedGemm": None,
    "com.microsoft.GemmFloat8": None,
    "com.microsoft.FusedMatMulActivation": None,
}
"""Operations with an activation of their own, and the input that they add before it."""
_PARAMETERS: Mapping[str, tuple[str, ...]] = {
    "LeakyRelu": ("alpha",),
    "Elu": ("alpha",),
    "ThresholdedRelu": ("alpha",),
    "Clip": ("min", "max"),
    "HardSigmoid": ("alpha", "beta"),
    "Selu": ("alpha", "gamma"),
}
"""What the numbers stand for that come with an activation, in their order."""


def linear(op: Op) -> None:
    """LINEAR where a factor is constant, else OTHER; then what is added and the activation, each a node of its own."""
    activation = str(op.attributes.get("activation", "")) if op.name in _ACTIVATED else ""
    activation = "" if activation.upper() == "NONE" else activation
    if op.name == "com.microsoft.GemmFastGelu":
        activation = "com.microsoft.FastGelu"
    added = _ACTIVATED.get(op.name)
    rest = op.input(added) if added is not None else ""
    output = op.outputs[0]
    steps = [bool(rest), bool(activation)]
    value = op.draft.inner(output, "linear") if any(steps) else output
    inputs, attributes = _weights(op, op.inputs[:added] if rest else op.inputs)
    kind = Kind.LINEAR if "weight" in attributes else Kind.OTHER
    out_scale = PLACES[op.name].out_scale
    if out_scale is not None:
        attributes |= quantised_range(op, out_scale, out_scale + 1)
    op.draft.emit(op.name, op.path, inputs, value, kind=kind, attributes=attributes)
    if rest:
        total = op.draft.inner(output, "sum") if activation else output
        value = op.pointwise([value, rest], total, like="Add", inside=True)
    if activation:
        op.pointwise([value], output, like=activation, inside=True, **_settings(op, activation))
    op.others()


def quantised_range(op: Op, scale: int, zero: int) -> dict[str, Any]:
    """The attribute `range`: the smallest and the largest number that a quantised output can hold, if one pair is."""
    factor = op.draft.small(op.input(scale)) if op.is_constant(scale) else None
    point = op.draft.small(op.input(zero)) if op.is_constant(zero) else None
    if factor is None or point is None or factor.size != 1 or point.size != 1 or point.dtype.kind not in "iu":
        return {}
    limits = np.iinfo(point.dtype)
    at = float(factor.reshape(-1)[0]), int(point.reshape(-1)[0])
    return {"range": ((limits.min - at[1]) * at[0], (limits.max - at[1]) * at[0])}


def _weights(op: Op, inputs: Any) -> tuple[list[str], dict[str, Any]]:
    """The inputs, quantised weights with their scale applied, and which is which."""
    names, places = list(inputs), PLACES[op.name]
    data, weight = places.data, places.weight
    if places.either and not op.is_constant(weight) and op.is_constant(data):
        data, weight = weight, data
    attributes = dict(op.attributes)
    if not op.is_constant(weight):
        if op.name == "Einsum" and (constant := [i for i in range(len(names)) if op.is_constant(i)]):
            attributes.update(weight=constant[0])
        return names, attributes
    if places.scale is not None and op.is_constant(places.scale):
        names[weight] = _dequantized(op, weight, places)
    if op.name == "com.microsoft.MatMulNBits":
        names[weight] = unpacked(op, op.inputs[1:4])
    attributes.update(data=data, weight=weight)
    if places.bias is not None and op.input(places.bias):
        attributes["bias"] = places.bias
    if (features := _features(op, weight)) is not None:
        attributes["features"] = features
    return names, attributes


def _dequantized(op: Op, weight: int, places: Places) -> str:
    """The weights as numbers: the scale is for the whole, or for each column (each filter of a convolution)."""
    name = op.draft.unique(f"{op.input(weight)}/scaled")
    scale, zero = op.input(places.scale or 0), op.input(places.zero or 0)
    axis = 0 if "Conv" in op.name or (op.name.endswith("QGemm") and op.attributes.get("transB")) else -1
    inner = Op(
        draft=op.draft,
        name="DequantizeLinear",
        path=op.path,
        inputs=[op.input(weight), scale, zero],
        outputs=[name],
        attributes={"axis": axis},
        opset=op.opset,
    )
    known = all(part in op.draft.constants for part in inner.inputs if part)
    compute = FOLDS["DequantizeLinear"](inner, 0) if known else None
    op.draft.shapes[name] = op.draft.constants[op.input(weight)].shape
    op.draft.dtypes[name] = "float32"
    done = compute is not None and op.draft.fold(name, inner.inputs, compute)
    return name if done else op.input(weight)


def unpacked(op: Op, parts: Sequence[str]) -> str:
    """The weights of a MatMulNBits (packed, scales, zero points) as the matrix (K rows, N columns) that they are."""
    packed, scales, zeros = (*parts, "", "")[:3]
    rows, columns, bits, block = (int(op.attributes.get(part, 0)) for part in ("K", "N", "bits", "block_size"))
    bits = bits or 4
    if rows <= 0 or columns <= 0 or block <= 0 or bits not in (2, 4, 8) or scales not in op.draft.constants:
        return packed
    if zeros and zeros not in op.draft.constants:
        return packed
    blocks = -(-rows // block)

    def compute(xs: Sequence[Values | None]) -> Values:
        stored, scale, zero = xs
        if stored is None or scale is None:
            raise ValueError("an input is left out")
        numbers = layout.unpack(stored.reshape(columns, blocks, -1), bits, block).astype(np.float32)
        middle = np.full((columns, blocks), 2.0 ** (bits - 1), dtype=np.float32)
        if zero is not None and zero.dtype == np.uint8:
            middle = layout.unpack(zero.reshape(columns, -1), bits, blocks).astype(np.float32)
        elif zero is not None:
            middle = zero.reshape(columns, blocks).astype(np.float32)
        factor = scale.reshape(columns, blocks, 1).astype(np.float32)
        return ((numbers - middle[..., None]) * factor).reshape(columns, -1)[:, :rows].T

    name = op.draft.unique(f"{packed}/unpacked")
    op.draft.shapes[name] = (rows, columns)
    op.draft.dtypes[name] = "float32"
    return name if op.draft.fold(name, [packed, scales, zeros], compute, dtype=f"uint{bits}") else packed


def _features(op: Op, weight: int) -> int | None:
    """The size of the output's last dimension, where it is the weight's and nothing else changes."""
    shape = op.draft.constants[op.input(weight)].shape
    if "N" in op.attributes:
        return int(op.attributes["N"])
    if weight == 0 or len(shape) != 2 or "Conv" in op.name or op.name == "Einsum" or op.attributes.get("transA"):
        return None
    return shape[0] if op.attributes.get("transB") else shape[1]


def _settings(op: Op, activation: str) -> dict[str, float]:
    """The activation's own numbers, under the names that the activation knows them by."""
    names = _PARAMETERS.get(activation, ())
    listed = list(op.attributes.get("activation_params", []))
    if listed:
        return dict(zip(names, listed, strict=False))
    given = [op.attributes.get(f"activation_{name}") for name in ("alpha", "beta", "gamma")]
    if activation == "Selu":
        given.pop(1)
    return {name: value for name, value in zip(names, given, strict=False) if value is not None}


LINEAR: Mapping[str, Callable[[Op], None]] = dict.fromkeys(PLACES, linear)
