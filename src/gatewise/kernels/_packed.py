"""A gate of one packed projection, whose last dimension holds gate | up: no copy forward, none backward."""

from typing import Any

import torch
from torch import Tensor

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from ._autograd import PRIVATE, followed
from ._functions import FUNCTIONS, names, path, watched


def gate_packed(name: str, both: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """act(gate) * up of the two column halves of `both`, [..., 2 n] to [..., n].

    `name` is a gate that has a kernel. The gradient is one packed tensor, written where it belongs. `accuracy` and
    `out` as for `geglu`; `out` may be the first or the second half of `both`.

    Raises `GatewiseError` for another name, an odd width, and what the function itself refuses.
    """
    if name not in GATES:
        raise unknown_name("gate", name, GATES)
    if not isinstance(both, Tensor):  # pyright: ignore[reportUnnecessaryIsInstance]
        raise GatewiseError(f"{name}: a packed projection must be a tensor, got {type(both).__name__}")
    if both.is_nested == (both.layout is torch.strided):  # a nested tensor that has a shape is jagged
        kind = "a nested one" if both.is_nested else both.layout
        raise GatewiseError(f"{name}: a packed projection must be a dense tensor, got {kind}")
    if both.dim() == 0 or both.shape[-1] % 2:
        raise GatewiseError(f"{name}: gate and up must be the two halves of an even width, got {list(both.shape)}")
    if accuracy in ("default", "high") and out is None and name in _RECORD and _records(name, both, accuracy):
        return _RECORD[name](both, accuracy == "high")
    gate, up = both.chunk(2, -1)
    return FUNCTIONS[name](gate, up, accuracy=accuracy, out=out)


def _records(name: str, both: Tensor, accuracy: str) -> bool:
    """Is a gradient recorded, by the kernel, with nothing else looking on?"""
    if watched() or not (both.requires_grad and torch.is_grad_enabled()):
        return False
    return path(name, *both.chunk(2, -1), accuracy=accuracy).startswith("native")


def _recorder(name: str, function: Any) -> Any:
    forward_op = getattr(torch.ops.gatewise, name).default
    backward_op = getattr(torch.ops.gatewise, name + "_backward").default
    backward_out = getattr(torch.ops.gatewise, name + "_backward_out").default

    class Packed(function):
        @staticmethod
        def forward(ctx: Any, both: Tensor, high: bool) -> Tensor:
            ctx.save_for_backward(both)
            ctx.high = high
            return forward_op(*both.chunk(2, -1), high)

        @staticmethod
        def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
            (both,) = ctx.saved_tensors
            gate, up = both.chunk(2, -1)
            if followed(grad) or watched():
                return torch.cat(backward_op(grad, gate, up, ctx.high), -1), None
            packed = torch.empty_like(both)
            by_gate, by_up = packed.chunk(2, -1)
            backward_out(grad, gate, up, ctx.high, by_gate=by_gate, by_up=by_up)
            return packed, None

    return Packed.apply


GATES = tuple(name for name in FUNCTIONS if activations.get(name).kind == "gate")
_RECORD = {name: _recorder(name, PRIVATE.function) for name in names() if PRIVATE is not None and name in GATES}
