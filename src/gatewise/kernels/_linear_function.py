"""A linear layer's value and gradients, each product by its own way, with autograd of any order."""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name for it)
from torch.nn.parameter import Parameter

from gatewise.core import GatewiseError

from . import _choice, _products
from ._autograd import followed
from ._linear_questions import ask
from ._surroundings import watched

SMALL = 2**20
"""Multiplications up to which `F.linear` computes, without a question: what a quicker product could save is less than
what calling it from Python costs."""

_PLAIN = (Tensor, Parameter)
_CAST = ("cpu", "cuda")
"""Devices that torch is asked about autocast for; it raises for some others."""


def check(what: str, x: Tensor, columns: int | None) -> None:
    """Raises `GatewiseError` where x is no tensor, or not of so many columns where they are known."""
    if not isinstance(x, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        if type(x).__module__.startswith("torch.fx"):
            raise GatewiseError(f"{what}: torch.fx follows torch's own modules; kernels.stock(model) puts them back")
        raise GatewiseError(f"{what}: x must be a tensor, got {type(x).__name__}")
    if columns is None or (x.is_nested and x.layout is torch.strided):  # such a one has no shape; torch looks at it
        return
    if x.ndim == 0 or x.shape[-1] != columns:
        raise GatewiseError(f"{what} expects [..., {columns}], got {list(x.shape)}")


def check_alike(what: str, x: Tensor, weight: Tensor) -> None:
    """Raises `GatewiseError` where x and a weight differ in dtype or device: the reason why torch could not go on."""
    autocast = x.device.type in _CAST and torch.is_autocast_enabled(x.device.type)
    same_dtype = x.dtype == weight.dtype or (autocast and x.is_floating_point() and x.dtype != torch.float64)
    if same_dtype and x.device == weight.device:
        return
    kind = "dtype" if x.device == weight.device else "device"
    shape = "a nested tensor" if x.is_nested else list(x.shape)
    raise GatewiseError(
        f"{what}: x and the weights must have one {kind}, got {shape} of {getattr(x, kind)} and {list(weight.shape)} "
        f"of {getattr(weight, kind)}"
    )


def check_compiled(what: str, x: Tensor, weight: Tensor) -> None:
    """`check_alike` ahead of the call where a compiler would not let its error be caught."""
    if torch.compiler.is_compiling() and type(x) is Tensor and type(weight) in _PLAIN:
        check_alike(what, x, weight)


def stock(x: Tensor, weight: Tensor, bias: Tensor | None) -> str | None:
    """Why `F.linear` is to compute this, in one line; None where a way is chosen. Asked at every call, so quick."""
    if type(x) not in _PLAIN or type(weight) not in _PLAIN:
        return f"a tensor subclass ({type(x).__name__}, {type(weight).__name__})"
    dtype = x.dtype
    ways = _products.available(dtype)
    if len(ways) == 1 or weight.dtype != dtype or (bias is not None and bias.dtype != dtype):
        return _only_torch(dtype, weight.dtype)
    if not x.is_cpu or not weight.is_cpu:
        return f"products are chosen on the CPU, not on {x.device.type} by {weight.device.type}"
    if x.layout is not torch.strided or weight.layout is not torch.strided:
        return f"products are chosen for dense tensors, not {x.layout} by {weight.layout}"
    if x.is_nested:
        return "products are chosen for dense tensors, not nested ones"
    size, (n_out, n_in) = x.numel(), weight.shape
    if not size or not x.ndim or x.shape[-1] != n_in:
        return "nothing to multiply"
    if size * n_out < SMALL and (not n_out or not _choice.is_forced("linear")):
        return f"fewer than {SMALL:,} multiplications"
    return _around()


def _only_torch(dtype: torch.dtype, by: torch.dtype) -> str:
    if dtype not in _products.DTYPES or by != dtype:
        return f"products are chosen for float32 and bfloat16, not {dtype} by {by}"
    return _products.missing("onednn") or f"oneDNN does not multiply {dtype} on this processor"


def _around() -> str | None:
    """Why nothing but torch's own operations may run now."""
    if torch.are_deterministic_algorithms_enabled() and not _choice.is_forced("linear"):
        return "torch.use_deterministic_algorithms: a choice may differ from run to run"
    return watched()


def by_torch(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """`F.linear`, which is told what is wrong where it refuses. Raises `GatewiseError`."""
    check("Linear", x, weight.shape[-1])
    check_compiled("Linear", x, weight)
    try:
        return F.linear(x, weight, bias)
    except RuntimeError:
        check_alike("Linear", x, weight)
        raise


def product(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """x W^T + b of any number of dimensions, by the chosen way; records no gradient."""
    shape = tuple(weight.shape)
    way = ask("forward", x.numel() // shape[1], shape, weight.dtype)
    if way == "torch" and x.ndim == 2:  # of more dimensions, its result is a view
        return F.linear(x, weight, bias)
    return flat(_products.FORWARD[way], x, weight, bias)


def flat(forward: Callable[..., Tensor], x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """A product of matrices, on x of any number of dimensions. Callers may write to the result: it is no view."""
    if x.ndim == 2:
        return forward(x, weight, bias, None)
    y = forward(x.reshape(-1, x.shape[-1]), weight, bias, None)
    return torch.ops.aten._unsafe_view(y, (*x.shape[:-1], y.shape[-1]))


class Products(torch.autograd.Function):
    """`apply(x, weight, bias)`: saves what `F.linear` saves."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
        by_x, by_weight, _ = ctx.needs_input_grad
        ctx.save_for_backward(x if by_weight else None, weight if by_x else None)
        ctx.shape = x.shape
        return product(x, weight, bias)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None, Tensor | None]:
        (grad,) = grads
        x, weight = ctx.saved_tensors
        need_x, need_weight, need_bias = ctx.needs_input_grad
        g = grad.reshape(-1, grad.shape[-1])
        if followed(grad) or type(grad) not in _PLAIN or torch.compiler.is_compiling() or _around():
            dx = torch.mm(g, weight).view(ctx.shape) if need_x else None
            dw = torch.mm(g.t(), x.reshape(-1, x.shape[-1])) if need_weight else None
            return dx, dw, g.sum(0) if need_bias else None
        dx = dw = None
        with torch.autocast("cpu", enabled=False):
            if need_x:
                way = ask("by_input", g.shape[0], tuple(weight.shape), g.dtype)
                dx = _products.BY_INPUT[way](g, weight, None).view(ctx.shape)
            if need_weight:
                rows = x.reshape(-1, x.shape[-1])
                way = ask("by_weight", g.shape[0], (g.shape[1], rows.shape[1]), g.dtype)
                dw = _products.BY_WEIGHT[way](g, rows, None)
        return dx, dw, _products.by_bias(g) if need_bias else None
