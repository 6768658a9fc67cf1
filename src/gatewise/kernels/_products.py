"""The three matrix products of a linear layer, each by torch's own library (MKL on x86), oneDNN, or AMX in parts.

    forward    y[n, out] = x[n, in] weight[out, in]^T + bias[out]
    by_input   dx[n, in] = grad[n, out] weight[out, in]
    by_weight  dw[out, in] = grad[n, out]^T x[n, in]

float32 or bfloat16, two dimensions, on the CPU; no gradient is recorded. bfloat16 is summed in float32 and rounded
once. oneDNN comes through the operator that torch's compiler uses for inference, which takes plain weights too: dx is
the linear of grad by the transposed weight, dw that of grad^T by x^T. `split` is of float32 alone (`_split`). Which way
is quicker depends on the machine, the shape and the direction: `_choice` measures.
"""

from collections.abc import Callable
from functools import cache
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError, unknown_name

from . import _split
from ._memory import overlap

WAYS = ("torch", "onednn", "split")
"""What can compute a product; the first is what `F.linear` does."""
TURNED = "turned"
"""One more for `by_weight` of bfloat16: oneDNN's x^T grad, transposed. On processors with tiles (AMX) one order
takes up to twice the other's time; which, depends on the shape."""
DTYPES = (torch.float32, torch.bfloat16)


@cache
def missing(way: str) -> str | None:
    """Why `way` cannot be taken here, in one line; None when it can. Raises `GatewiseError` for an unknown way."""
    if way not in WAYS:
        raise unknown_name("way of a matrix product", way, WAYS)
    if way == "torch":
        return None
    if way == "split":
        return _split.missing()
    if not torch.backends.mkldnn.is_available():
        return f"torch {torch.__version__} was built without oneDNN"
    if not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return f"torch {torch.__version__} has no operator mkldnn::_linear_pointwise"
    return None


@cache
def available(dtype: torch.dtype = torch.float32) -> tuple[str, ...]:
    """The ways that can compute products of this dtype here, `torch` first."""
    if dtype not in DTYPES or (dtype == torch.bfloat16 and not _bfloat16()):
        return ("torch",)
    ways = WAYS if dtype == torch.float32 else WAYS[:2]
    return tuple(way for way in ways if missing(way) is None)


@cache
def _bfloat16() -> bool:
    """Does oneDNN multiply bfloat16 on this processor?"""
    return bool(missing("onednn") is None and torch.ops.mkldnn._is_mkldnn_bf16_supported())


def onednn(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None = None) -> Tensor:
    """oneDNN's linear on checked tensors, `weight` plain or packed. It writes a new tensor; `out` gets a copy."""
    if bias is not None and not bias.is_contiguous():
        bias = bias.contiguous()  # the operator reads a bias as if it were contiguous, wherever that leads
    y = _linear_pointwise()(x, weight, bias, "none", [], "")
    return y if out is None else out.copy_(y)


@cache
def _linear_pointwise() -> Callable[..., Tensor]:
    op: Any = torch.ops.mkldnn._linear_pointwise.default
    return getattr(op, "_op", op)  # without the Python in front of it, where torch shows what is behind


def _plain(weight: Tensor) -> Tensor:
    """As it is where its rows or columns lie densely, which oneDNN reads without a copy; else a contiguous copy."""
    (rows, columns), (down, right) = weight.shape, weight.stride()
    dense = (right == 1 and down >= columns) or (down == 1 and right >= rows)
    return weight if dense else weight.contiguous()


def _forward_torch(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    if bias is None:
        return torch.mm(x, weight.t(), out=out)
    return torch.addmm(bias, x, weight.t(), out=out)


def _forward_onednn(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    if not x.numel() or not weight.numel():
        return _forward_torch(x, weight, bias, out)
    return onednn(x, _plain(weight), bias, out)


def _by_input_torch(grad: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    return torch.mm(grad, weight, out=out)


def _by_input_onednn(grad: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    if not grad.numel() or not weight.numel():
        return torch.mm(grad, weight, out=out)
    return onednn(grad, _plain(weight.t()), None, out)


def _by_weight_torch(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    return torch.mm(grad.t(), x, out=out)


def _by_weight_onednn(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    if not grad.numel() or not x.numel():
        return torch.mm(grad.t(), x, out=out)
    return onednn(grad.t(), _plain(x.t()), None, out)


def by_weight_turned(grad: Tensor, turned_x: Tensor) -> Tensor:
    """x^T grad by oneDNN, of x^T: the transposed gradient by the weight, [in, out]. Unchecked."""
    return onednn(turned_x, _plain(grad.t()), None)


def _by_weight_turned(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    if not grad.numel() or not x.numel():
        return torch.mm(grad.t(), x, out=out)
    found = by_weight_turned(grad, x.t()).t()
    return found.contiguous() if out is None else out.copy_(found)


def _forward_split(x: Tensor, weight: Tensor, bias: Tensor | None, out: Tensor | None) -> Tensor:
    return _split.product(x, weight.t(), bias, out)


def _by_input_split(grad: Tensor, weight: Tensor, out: Tensor | None) -> Tensor:
    return _split.product(grad, weight, None, out)


def _by_weight_split(grad: Tensor, x: Tensor, out: Tensor | None) -> Tensor:
    return _split.product(grad.t(), x, None, out)


FORWARD: dict[str, Callable[[Tensor, Tensor, Tensor | None, Tensor | None], Tensor]] = {
    "torch": _forward_torch,
    "onednn": _forward_onednn,
    "split": _forward_split,
}
BY_INPUT: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "torch": _by_input_torch,
    "onednn": _by_input_onednn,
    "split": _by_input_split,
}
BY_WEIGHT: dict[str, Callable[[Tensor, Tensor, Tensor | None], Tensor]] = {
    "torch": _by_weight_torch,
    "onednn": _by_weight_onednn,
    "split": _by_weight_split,
    TURNED: _by_weight_turned,
}
"""By way, without checks, for callers in a hot loop."""


def add_by_input(total: Tensor, grad: Tensor, weight: Tensor, way: str) -> None:
    """total += grad weight, rounded once; unchecked as well, all of one dtype."""
    if way == "split":
        total.add_(_split.product(grad, weight))
    elif way == "torch" or not grad.numel() or not hasattr(torch.ops.mkldnn._linear_pointwise, "binary"):
        total.addmm_(grad, weight)
    else:
        total.copy_(torch.ops.mkldnn._linear_pointwise.binary(grad, total, _plain(weight.t()), None, "add"))


def forward(x: Tensor, weight: Tensor, bias: Tensor | None, way: str, out: Tensor | None = None) -> Tensor:
    """x weight^T + bias; x[n, in], weight[out, in], bias[out] or None.

    `out`, of shape [n, out], takes the result: torch writes to it, oneDNN's is copied to it. Any strides, any sizes, 0
    included. Raises `GatewiseError` for shapes that do not match, dtypes that differ or are not float32 or bfloat16,
    tensors elsewhere than on the CPU, an `out` that overlaps an input, and a way that is unknown or not there.
    """
    _check("forward", x, weight, way, 1, 1)
    if bias is not None and (bias.shape != weight.shape[:1] or bias.dtype != x.dtype):
        raise GatewiseError(
            f"forward: a bias of {list(bias.shape)} ({bias.dtype}) does not match a weight of {list(weight.shape)} "
            f"({weight.dtype})"
        )
    _check_out("forward", out, (x.shape[0], weight.shape[0]), x, weight, bias)
    with torch.no_grad():
        return FORWARD[way](x, weight, bias, out)


def by_input(grad: Tensor, weight: Tensor, way: str, out: Tensor | None = None) -> Tensor:
    """grad weight: the gradient by the input, [n, in], of grad[n, out] and weight[out, in]. Else as `forward`."""
    _check("by_input", grad, weight, way, 1, 0)
    _check_out("by_input", out, (grad.shape[0], weight.shape[1]), grad, weight)
    with torch.no_grad():
        return BY_INPUT[way](grad, weight, out)


def by_weight(grad: Tensor, x: Tensor, way: str, out: Tensor | None = None) -> Tensor:
    """grad^T x: the gradient by the weight, [out, in], of grad[n, out] and x[n, in]. Else as `forward`."""
    _check("by_weight", grad, x, way, 0, 0)
    _check_out("by_weight", out, (grad.shape[1], x.shape[1]), grad, x)
    with torch.no_grad():
        return BY_WEIGHT[way](grad, x, out)


def by_bias(grad: Tensor) -> Tensor:
    """The gradient by the bias: grad[n, out] summed over its rows."""
    return grad.sum(0)


def pack(weight: Tensor, rows: int) -> Tensor:
    """`weight` in oneDNN's own order, for `onednn` on about `rows` rows: as large again, and opaque.

    oneDNN packs in one order for a single row and in another for more; any number of rows may be computed with either.
    """
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach(), rows)


def packable(dtype: torch.dtype = torch.float32) -> bool:
    """Can weights of this dtype be packed here?"""
    return "onednn" in available(dtype) and _has_reorder()


@cache
def _has_reorder() -> bool:
    # Not listed by dir(torch.ops.mkldnn) until it is asked for.
    mkldnn: Any = torch.ops.mkldnn
    return hasattr(mkldnn, "_reorder_linear_weight")


def _check(what: str, one: Tensor, other: Tensor, way: str, one_side: int, other_side: int) -> None:
    reason = missing(way)
    if reason is not None:
        name = "oneDNN" if way == "onednn" else way
        raise GatewiseError(f"{what}: no {name} here: {reason}\nvalid: {', '.join(available())}")
    if one.ndim != 2 or other.ndim != 2 or one.shape[one_side] != other.shape[other_side]:
        raise GatewiseError(f"{what}: shapes {list(one.shape)} and {list(other.shape)} do not match")
    if one.dtype != other.dtype or one.dtype not in DTYPES:
        raise GatewiseError(f"{what}: two tensors of float32 or bfloat16, got {one.dtype} and {other.dtype}")
    if not one.is_cpu or not other.is_cpu:
        raise GatewiseError(f"{what}: two tensors on the CPU, got {one.device} and {other.device}")
    if way not in available(one.dtype):
        name = "oneDNN" if way == "onednn" else way
        raise GatewiseError(f"{what}: {name} does not multiply {one.dtype} on this processor")


def _check_out(what: str, out: Tensor | None, shape: tuple[int, int], *inputs: Tensor | None) -> None:
    if out is None:
        return
    (dtype,) = {each.dtype for each in inputs if each is not None}
    if tuple(out.shape) != shape or out.dtype != dtype:
        raise GatewiseError(f"{what}: out must be {list(shape)} of {dtype}, got {list(out.shape)} of {out.dtype}")
    for each in inputs:  # torch.mm itself would compute with what it has overwritten
        if each is not None and overlap(out, each):
            raise GatewiseError(f"{what}: out {list(out.shape)} overlaps an input {list(each.shape)}")
