"""float32 products of three bfloat16 parts of each number, by AMX: `_products`' way `split`, and blocks made of them.

    a = a1 + a2 + a3    each part bfloat16, the nearest to what is left; 24 bits, so that nothing is
    a b = a1 b1 + (a1 b2 + a2 b1) + (a1 b3 + a2 b2 + a3 b1), summed in float32

On processors with AMX, whose tiles multiply bfloat16 about sixteen times as fast as float32 is multiplied, so that six
products take less time than one. A sum of many products is nearer to the exact one than that of multiply-adds in
float32; one that few products make up (of sparse matrices) has up to 1.5 times its error (docs/log.md). Numbers that
parts do not hold (infinite ones, not-a-numbers, beyond 2^50, or matrices of nothing but tiny ones) are multiplied by
torch. Henry, Tang and Heinecke, "Leveraging the bfloat16 Artificial Intelligence Datatype For Higher-Precision
Computations", 2019.

The operators, on the CPU and without a gradient (csrc/torch_split.h, csrc/torch_split_block.h):
"""

from functools import cache
from typing import Any

import torch
from torch import Tensor

from . import _panels
from ._autograd import raw
from ._library import status

REFUSED = "no product in parts"
"""What an operator's error says where parts will not do; every other is a mistake, and raised."""
OPERATORS = (
    "split_product(Tensor a, Tensor b, Tensor bias) -> Tensor",
    "split_product_out(Tensor a, Tensor b, Tensor c, Tensor d, Tensor(a!) out) -> ()",
    "split_by_weights(Tensor a, Tensor b, Tensor x) -> (Tensor, Tensor)",
    "split_forward(Tensor x, Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias, Tensor down, Tensor down_bias, "
    "int function, bool high) -> (Tensor, Tensor, Tensor)",
    "split_slopes(Tensor grad, Tensor down, Tensor(a!) gate, Tensor(b!) up, int function, bool high) -> Tensor",
)
MOST_NUMBERS = 2**23
"""Numbers of a block's weights up to which its two fused operators keep them in parts for the time of a call, in memory
that a thread keeps: 48 MiB."""


def define(library: torch.library.Library) -> None:
    """The operators, but for their kernels."""
    for each in OPERATORS:
        library.define(each)
        library.impl(each.partition("(")[0], torch.library.fallthrough_kernel, "Autograd")


@cache
def missing() -> str | None:
    """Why there is no such product here, in one line; None where there is."""
    if _panels.available(torch.float32, split=True):
        return None
    return "the processor has no AMX, or may not use it" if status().path else status().reason


@cache
def _operator(name: str) -> Any:
    return raw(getattr(torch.ops.gatewise, name).default)


def only_refused(error: RuntimeError) -> None:
    """Raises `error` unless it says that parts will not do, for which there is another way."""
    if REFUSED not in str(error):
        raise error


def product(a: Tensor, b: Tensor, bias: Tensor | None = None, out: Tensor | None = None) -> Tensor:
    """a b + bias, of matrices of float32 on the CPU that match; unchecked, and no gradient is recorded."""
    try:
        if out is None:
            return _operator("split_product")(a, b, _or_none(bias, a))
        if bias is None and (out.shape[1] < 2 or out.stride(1) == 1):
            none = a.new_empty(0, 0)
            _operator("split_product_out")(a, b, none, none, out)
            return out
        return out.copy_(_operator("split_product")(a, b, _or_none(bias, a)))
    except RuntimeError as error:
        only_refused(error)
        return torch.mm(a, b, out=out) if bias is None else torch.addmm(bias, a, b, out=out)


def total(a: Tensor, b: Tensor, c: Tensor, d: Tensor, out: Tensor) -> Tensor:
    """a b + c d, written to `out`, whose rows are dense; else as `product`."""
    try:
        _operator("split_product_out")(a, b, c, d, out)
    except RuntimeError as error:
        only_refused(error)
        torch.mm(a, b, out=out).addmm_(c, d)
    return out


def by_weights(a: Tensor, b: Tensor, x: Tensor) -> tuple[Tensor, Tensor]:
    """a^T x and b^T x, of a and b of one shape; else as `product`."""
    try:
        return _operator("split_by_weights")(a, b, x)
    except RuntimeError as error:
        only_refused(error)
        return torch.mm(a.t(), x), torch.mm(b.t(), x)


def forward(
    x: Tensor,
    first: tuple[Tensor, ...],
    bias: tuple[Tensor | None, ...],
    down: Tensor,
    down_bias: Tensor | None,
    *,
    function: int,
    high: bool,
) -> tuple[Tensor, list[Tensor]] | None:
    """A block's output and its projections, by `function`'s place in the library's table; None where its numbers are
    not in the range of parts."""
    none = x.new_empty(0, 0)
    second, second_bias = (first[1], bias[1]) if len(first) == 2 else (none, None)
    given = (x, first[0], _or_none(bias[0], x), second, _or_none(second_bias, x), down, _or_none(down_bias, x))
    try:
        y, *projections = _operator("split_forward")(*given, function, high)
    except RuntimeError as error:
        only_refused(error)
        return None
    return y, projections[: len(first)]


def slopes(grad: Tensor, down: Tensor, projections: list[Tensor], *, function: int, high: bool) -> Tensor | None:
    """The hidden numbers; `projections`, contiguous, become the gradients by them. None, and nothing was written, where
    numbers are not in the range of parts."""
    second = projections[1] if len(projections) == 2 else grad.new_empty(0, 0)
    try:
        return _operator("split_slopes")(grad, down, projections[0], second, function, high)
    except RuntimeError as error:
        only_refused(error)
        return None


def _or_none(bias: Tensor | None, like: Tensor) -> Tensor:
    return like.new_empty(0) if bias is None else bias
