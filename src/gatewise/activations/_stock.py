"""The stock torch code of every activation and gate: what a model runs today, without kernels of our own.

Named functions, so that modules that hold them can be copied and pickled. Nothing is checked here; the checked
forms for users are in `gatewise.functional`.
"""

import torch
from torch import Tensor, nn

from ._numeric import CLAMP_ALPHA, CLAMP_LIMIT, QUICK_SLOPE


def relu(x: Tensor) -> Tensor:
    return nn.functional.relu(x)


def leaky_relu(x: Tensor) -> Tensor:
    return nn.functional.leaky_relu(x)


def relu2(x: Tensor) -> Tensor:
    return nn.functional.relu(x).square()


def elu(x: Tensor) -> Tensor:
    return nn.functional.elu(x)


def selu(x: Tensor) -> Tensor:
    return nn.functional.selu(x)


def gelu(x: Tensor) -> Tensor:
    return nn.functional.gelu(x)


def gelu_tanh(x: Tensor) -> Tensor:
    return nn.functional.gelu(x, approximate="tanh")


def quick_gelu(x: Tensor) -> Tensor:
    return x * torch.sigmoid(QUICK_SLOPE * x)


def silu(x: Tensor) -> Tensor:
    return nn.functional.silu(x)


def mish(x: Tensor) -> Tensor:
    return nn.functional.mish(x)


def hardswish(x: Tensor) -> Tensor:
    return nn.functional.hardswish(x)


def softplus(x: Tensor) -> Tensor:
    return nn.functional.softplus(x)


def sigmoid(x: Tensor) -> Tensor:
    return torch.sigmoid(x)


def tanh(x: Tensor) -> Tensor:
    return torch.tanh(x)


def identity(x: Tensor) -> Tensor:
    return x


def glu(gate: Tensor, up: Tensor) -> Tensor:
    return torch.sigmoid(gate) * up


def bilinear(gate: Tensor, up: Tensor) -> Tensor:
    return gate * up


def reglu(gate: Tensor, up: Tensor) -> Tensor:
    return nn.functional.relu(gate) * up


def geglu(gate: Tensor, up: Tensor) -> Tensor:
    return nn.functional.gelu(gate) * up


def geglu_tanh(gate: Tensor, up: Tensor) -> Tensor:
    return nn.functional.gelu(gate, approximate="tanh") * up


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    return nn.functional.silu(gate) * up


def swiglu_clamped(gate: Tensor, up: Tensor, limit: float = CLAMP_LIMIT, alpha: float = CLAMP_ALPHA) -> Tensor:
    gate = gate.clamp(max=limit)
    up = up.clamp(min=-limit, max=limit)
    return (up + 1) * (gate * torch.sigmoid(gate * alpha))
