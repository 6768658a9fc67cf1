"""Second derivatives of the scalar functions in torch operations, so that every further derivative is right as well."""

from collections.abc import Callable

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
