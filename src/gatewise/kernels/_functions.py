"""The functions that have kernels, for users: native where that is the best way, else the stock torch code.

What may be computed natively: float32 and bfloat16 tensors on the CPU. `path` says which way a call takes.
"""

from collections.abc import Callable
from typing import Any, Literal

import torch
from torch import Tensor

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from . import _library
from ._operators import missing, register

Accuracy = Literal["default", "high"]
ACCURACIES = ("default", "high")
_DTYPES = (torch.float32, torch.bfloat16)
SMALL = 256
"""Numbers up to which a call that records a gradient is left to torch: a Python autograd function costs more there."""

_FORWARD: dict[str, Any] = {}
_OUT: dict[str, Any] = {}
for _name in register():
    _FORWARD[_name] = getattr(torch.ops.gatewise, _name).default
    _OUT[_name] = getattr(torch.ops.gatewise, _name + "_out").default


def names() -> tuple[str, ...]:
    """The functions that have a native kernel here; empty where the kernels are absent."""
    return tuple(_FORWARD)


def path(name: str, *inputs: Tensor) -> str:
    """Which way `functional.<name>(*inputs)` takes: `native (<instruction set>)`, or `torch: <why>`."""
    if name not in _FORWARD:
        return f"torch: {missing() or f'{name} has no kernel'}"
    first = inputs[0]
    if not first.is_cpu:
        return f"torch: the kernels are for the CPU, not {first.device.type}"
    if first.dtype not in _DTYPES:
        return f"torch: the kernels are for float32 and bfloat16, not {first.dtype}"
    if _small_gradient(*inputs):
        return f"torch: a gradient of at most {SMALL} numbers"
    return f"native ({_library.status().instruction_set})"


def _small_gradient(*inputs: Tensor) -> bool:
    return inputs[0].numel() <= SMALL and torch.is_grad_enabled() and any(each.requires_grad for each in inputs)


def _native(x: Tensor) -> bool:
    return x.is_cpu and x.dtype in _DTYPES


def _high(accuracy: str) -> bool:
    if accuracy not in ACCURACIES:
        raise unknown_name("accuracy", accuracy, ACCURACIES)
    return accuracy == "high"


def _scalar(name: str, x: Tensor, accuracy: str, out: Tensor | None) -> Tensor:
    high = accuracy != "default" and _high(accuracy)
    if not isinstance(x, Tensor):
        raise GatewiseError(f"{name}: x must be a tensor, got {type(x).__name__}")
    if out is not None:
        return _into(name, (x,), high, out)
    if name in _FORWARD and _native(x) and not (x.requires_grad and _small_gradient(x)):
        return _FORWARD[name](x, high)
    return getattr(activations, name)(x)


def _gate(name: str, gate: Tensor, up: Tensor, accuracy: str, out: Tensor | None) -> Tensor:
    high = accuracy != "default" and _high(accuracy)
    if not isinstance(gate, Tensor) or not isinstance(up, Tensor) or gate.shape != up.shape or gate.dtype != up.dtype:
        return getattr(activations, name)(gate, up)  # says what is wrong
    if out is not None:
        return _into(name, (gate, up), high, out)
    if name in _FORWARD and _native(gate) and not ((gate.requires_grad or up.requires_grad) and _small_gradient(gate)):
        return _FORWARD[name](gate, up, high)
    return getattr(activations, name)(gate, up)


def _into(name: str, inputs: tuple[Tensor, ...], high: bool, out: Tensor) -> Tensor:
    """Write to `out`, which may be one of the inputs; any other overlap is refused."""
    first = inputs[0]
    if not isinstance(out, Tensor) or out.shape != first.shape or out.dtype != first.dtype:
        got = f"{list(out.shape)} of {out.dtype}" if isinstance(out, Tensor) else type(out).__name__
        raise GatewiseError(f"{name}: out must be {list(first.shape)} of {first.dtype}, got {got}")
    if torch.is_grad_enabled() and any(each.requires_grad for each in (*inputs, out)):
        raise GatewiseError(f"{name}: out= records no gradient; leave it out, or call under torch.no_grad()")
    if name not in _FORWARD or not all(_native(each) for each in (*inputs, out)):
        return out.copy_(getattr(activations, name)(*inputs))
    try:
        _OUT[name](*inputs, high, out=out)
    except RuntimeError as error:
        raise GatewiseError(str(error).splitlines()[0].replace("gatewise::", "")) from None
    return out


def gelu(x: Tensor, approximate: str = "none", *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * Phi(x); with `approximate="tanh"` its tanh form. Elementwise, any shape.

    `accuracy` is of float32: `default` or `high` (see docs/kernels.md for the error budgets of both). `out`, of the
    shape and dtype of x, takes the result; it may be x itself.

    Raises `GatewiseError` for a dtype that is not floating, another `approximate` or `accuracy`, and an `out` that has
    another shape or dtype or overlaps x without being it.
    """
    if approximate == "none":
        return _scalar("gelu", x, accuracy, out)
    if approximate != "tanh":
        raise unknown_name("approximate", approximate, ("none", "tanh"))
    return _scalar("gelu_tanh", x, accuracy, out)


def gelu_tanh(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """The tanh form of gelu. `accuracy`, `out` and what is raised: as for `gelu`."""
    return _scalar("gelu_tanh", x, accuracy, out)


def silu(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * sigmoid(x). `accuracy`, `out` and what is raised: as for `gelu`."""
    return _scalar("silu", x, accuracy, out)


def quick_gelu(x: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """x * sigmoid(1.702 x). `accuracy`, `out` and what is raised: as for `gelu`."""
    return _scalar("quick_gelu", x, accuracy, out)


def geglu(
    gate: Tensor, up: Tensor, approximate: str = "none", *, accuracy: str = "default", out: Tensor | None = None
) -> Tensor:
    """gelu(gate) * up; with `approximate="tanh"` by the tanh form. Elementwise on two tensors of one shape and dtype.

    The halves of one packed projection (`both.chunk(2, -1)`) are taken as they lie, without a copy. `accuracy` and
    `out` as for `gelu`; `out` may be either input. Raises `GatewiseError` for what `gelu` does, and for shapes or dtypes
    that differ.
    """
    if approximate == "none":
        return _gate("geglu", gate, up, accuracy, out)
    if approximate != "tanh":
        raise unknown_name("approximate", approximate, ("none", "tanh"))
    return _gate("geglu_tanh", gate, up, accuracy, out)


def geglu_tanh(gate: Tensor, up: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """gelu_tanh(gate) * up. `accuracy`, `out` and what is raised: as for `geglu`."""
    return _gate("geglu_tanh", gate, up, accuracy, out)


def swiglu(gate: Tensor, up: Tensor, *, accuracy: str = "default", out: Tensor | None = None) -> Tensor:
    """silu(gate) * up. `accuracy`, `out` and what is raised: as for `geglu`."""
    return _gate("swiglu", gate, up, accuracy, out)


def swiglu_clamped(
    gate: Tensor,
    up: Tensor,
    limit: float = 7.0,
    alpha: float = 1.702,
    *,
    accuracy: str = "default",
    out: Tensor | None = None,
) -> Tensor:
    """gpt-oss' swiglu: (clip(up, -limit, limit) + 1) * g * sigmoid(alpha g), g = min(gate, limit).

    The kernel is of the default `limit` and `alpha`; others run in torch. `accuracy`, `out` and what is raised: as for
    `geglu`; also a limit that is not positive.
    """
    if limit == 7.0 and alpha == 1.702:
        return _gate("swiglu_clamped", gate, up, accuracy, out)
    result = activations.swiglu_clamped(gate, up, limit, alpha)
    return result if out is None else out.copy_(result)


FUNCTIONS: dict[str, Callable[..., Tensor]] = {
    "gelu": gelu,
    "gelu_tanh": gelu_tanh,
    "silu": silu,
    "quick_gelu": quick_gelu,
    "geglu": geglu,
    "geglu_tanh": geglu_tanh,
    "swiglu": swiglu,
    "swiglu_clamped": swiglu_clamped,
}
"""By name, each with the arguments of a stock function first."""
