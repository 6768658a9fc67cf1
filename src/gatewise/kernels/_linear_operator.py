"""The products as torch operators, for `torch.compile`: opaque to the compiler, they choose their way when they run.

    gatewise::linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor              x weight^T + bias
    gatewise::linear_by_input(Tensor grad, Tensor weight) -> Tensor                grad weight
    gatewise::linear_by_weight(Tensor grad, Tensor x) -> Tensor                    grad^T x

The gradient of each is made of the other two, so that derivatives of any order are there.
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F  # noqa: N812  (the field's own name for it)

from . import _products
from ._linear_function import check, check_alike
from ._linear_questions import ask

_kept: list[torch.library.Library] = []  # torch forgets the operators of a library that is collected


def traced(x: Tensor, weight: Tensor, bias: Tensor | None, what: str = "Linear") -> Tensor:
    """The layer as the compiler sees it: one operator where ways are chosen, else `F.linear`.

    So it is for a compiler that freezes weights, too: it packs them itself, but only for an operation that it knows.
    Raises `GatewiseError` for an x that does not fit, in the name of `what`.
    """
    check(what, x, weight.shape[1])
    if type(x) is Tensor:
        check_alike(what, x, weight)
    plain = x.device.type == "cpu" and weight.device.type == "cpu" and x.dtype == weight.dtype
    if (
        torch.compiler.is_exporting()
        or not plain
        or x.dtype not in _products.DTYPES
        or torch.is_autocast_enabled("cpu")
        or torch.are_deterministic_algorithms_enabled()
        or (not torch.is_grad_enabled() and _freezing())
    ):
        return F.linear(x, weight, bias)
    y = torch.ops.gatewise.linear(x.reshape(-1, x.shape[-1]), weight, bias)
    return y.reshape(*x.shape[:-1], weight.shape[0])


@torch.compiler.assume_constant_result
def _freezing() -> bool:
    from torch._inductor import config

    return bool(config.freezing)


@cache
def register() -> None:
    """Define the operators, once."""
    library = torch.library.Library("gatewise", "FRAGMENT")
    tags = (torch.Tag.pt2_compliant_tag,)
    library.define("linear(Tensor x, Tensor weight, Tensor? bias) -> Tensor", tags=tags)
    library.define("linear_by_input(Tensor grad, Tensor weight) -> Tensor", tags=tags)
    library.define("linear_by_weight(Tensor grad, Tensor x) -> Tensor", tags=tags)
    library.impl("linear", _linear, "CPU")
    library.impl("linear_by_input", _by_input, "CPU")
    library.impl("linear_by_weight", _by_weight, "CPU")
    fake = torch.library.register_fake
    fake("gatewise::linear", lambda x, weight, bias: x.new_empty(x.shape[0], weight.shape[0]), lib=library)
    fake("gatewise::linear_by_input", lambda grad, weight: grad.new_empty(grad.shape[0], weight.shape[1]), lib=library)
    fake("gatewise::linear_by_weight", lambda grad, x: grad.new_empty(grad.shape[1], x.shape[1]), lib=library)
    ops = torch.ops.gatewise

    def of_linear(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        x, weight = ctx.saved_tensors
        by_x, by_weight, by_bias = ctx.needs_input_grad
        return (
            ops.linear_by_input(v, weight) if by_x else None,
            ops.linear_by_weight(v, x) if by_weight else None,
            v.sum(0) if by_bias else None,
        )

    def of_by_input(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        grad, weight = ctx.saved_tensors
        by_grad, by_weight = ctx.needs_input_grad
        return (
            ops.linear(v, weight, None) if by_grad else None,
            ops.linear_by_weight(grad, v) if by_weight else None,
        )

    def of_by_weight(ctx: Any, v: Tensor) -> tuple[Tensor | None, ...]:
        grad, x = ctx.saved_tensors
        by_grad, by_x = ctx.needs_input_grad
        return ops.linear(x, v, None) if by_grad else None, ops.linear_by_input(grad, v) if by_x else None

    def setup(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        by_first, by_second = ctx.needs_input_grad[:2]
        ctx.save_for_backward(inputs[0] if by_second else None, inputs[1] if by_first else None)

    autograd = torch.library.register_autograd
    autograd("gatewise::linear", of_linear, setup_context=setup, lib=library)
    autograd("gatewise::linear_by_input", of_by_input, setup_context=setup, lib=library)
    autograd("gatewise::linear_by_weight", of_by_weight, setup_context=setup, lib=library)
    _kept.append(library)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    way = ask("forward", x.shape[0], tuple(weight.shape), x.dtype) if x.numel() and weight.numel() else "torch"
    return _products.FORWARD[way](x, weight, bias, None)


def _by_input(grad: Tensor, weight: Tensor) -> Tensor:
    way = (
        ask("by_input", grad.shape[0], tuple(weight.shape), grad.dtype) if grad.numel() and weight.numel() else "torch"
    )
    return _products.BY_INPUT[way](grad, weight, None)


def _by_weight(grad: Tensor, x: Tensor) -> Tensor:
    shape = (grad.shape[1], x.shape[1])
    way = ask("by_weight", grad.shape[0], shape, grad.dtype) if grad.numel() and x.numel() else "torch"
    return _products.BY_WEIGHT[way](grad, x, None)


register()
