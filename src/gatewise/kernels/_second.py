"""Second derivatives of the functions in torch operations, so that every further derivative is right as well."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

TANH_ROOT = 2 * (2 / torch.pi) ** 0.5
CUBIC = 0.044715
QUICK = 1.702


def _logistic(x: Tensor, z: Tensor, slope: Tensor | float, bend: Tensor | float) -> Tensor:
    """(x sigmoid(z(x)))'' from z, z' and z''."""
    s = torch.sigmoid(z)
    first = s * torch.sigmoid(-z)
    return first * (2 * slope + x * (bend + slope * slope * (1 - 2 * s)))


def _gelu_tanh(x: Tensor) -> Tensor:
    x = x.clamp(-20, 20)  # beyond it all is 0, and the cube may overflow
    z = TANH_ROOT * (x + CUBIC * x**3)
    return _logistic(x, z, TANH_ROOT * (1 + 3 * CUBIC * x * x), TANH_ROOT * 6 * CUBIC * x)


def _gelu(x: Tensor) -> Tensor:
    x = x.clamp(-40, 40)
    return (2 - x * x) * torch.exp(-x * x / 2) * (0.5 / torch.pi) ** 0.5


def _silu(x: Tensor) -> Tensor:
    x = x.clamp(-200, 200)
    return _logistic(x, x, 1.0, 0.0)


def _quick_gelu(x: Tensor) -> Tensor:
    x = x.clamp(-200, 200)
    return _logistic(x, QUICK * x, QUICK, 0.0)


SECOND: dict[str, Callable[[Tensor], Tensor]] = {
    "gelu": _gelu,
    "gelu_tanh": _gelu_tanh,
    "silu": _silu,
    "quick_gelu": _quick_gelu,
}

ACTIVATION = {"geglu": "gelu", "geglu_tanh": "gelu_tanh", "swiglu": "silu", "swiglu_clamped": "quick_gelu"}
"""What each gate applies to its first input."""
LIMIT = 7.0  # of swiglu_clamped


def of_gate(name: str, grads: Sequence[Tensor], inputs: Sequence[Tensor], high: bool) -> tuple[Tensor, Tensor, Tensor]:
    """The gradient of a gate's backward by its inputs (grad, gate, up), from `grads` of its two outputs."""
    by_gate, by_up = grads
    grad, gate, up = inputs
    inside: Tensor | float = 1.0
    if name == "swiglu_clamped":
        by_gate, by_up = by_gate * (gate <= LIMIT), by_up * (up.abs() <= LIMIT)
        inside, gate, up = up.abs() <= LIMIT, gate.clamp(max=LIMIT), up.clamp(-LIMIT, LIMIT) + 1
    act = ACTIVATION[name]
    value = getattr(torch.ops.gatewise, act)(gate, high)
    slope = getattr(torch.ops.gatewise, f"{act}_backward")(torch.ones_like(gate), gate, high)
    bend = SECOND[act](gate)
    return (
        by_gate * up * slope + by_up * value,
        grad * (by_gate * up * bend + by_up * slope),
        grad * by_gate * slope * inside,
    )
