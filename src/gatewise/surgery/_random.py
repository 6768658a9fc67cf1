"""Random starts that touch no global random state."""

import hashlib
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_METHODS = "uniform_ normal_ bernoulli_ exponential_ log_normal_ cauchy_ geometric_ random_"
_INITS = """uniform_ normal_ trunc_normal_ xavier_uniform_ xavier_normal_ kaiming_uniform_ kaiming_normal_ orthogonal_
sparse_"""
# torch hands over either the initialiser as a whole or the tensor's own method, so both are listed.
_RANDOM_FILLS = {getattr(torch.Tensor, name) for name in _METHODS.split()} | {
    getattr(nn.init, name) for name in _INITS.split()
}


class NoRandomFill(TorchFunctionMode):
    """Inside it, in-place random fills do nothing: modules are built without work and without drawing numbers.

    What they would have filled holds arbitrary values and must be overwritten.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        named = kwargs or {}
        if func in _RANDOM_FILLS:
            return args[0] if args else named["tensor"]
        return func(*args, **named)


def generator_for(seed: int, path: str) -> torch.Generator:
    """A generator that depends on the seed and on the site's path, not on which other sites are swapped."""
    digest = hashlib.sha256(f"{seed}:{path}".encode()).digest()
    return torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))


def start_linear(linear: nn.Linear, like: nn.Linear, generator: torch.Generator) -> None:
    """Fill a Linear as torch does by default, U(-1/sqrt(in), 1/sqrt(in)), on the device and in the dtype of `like`.

    The numbers are drawn in float32 on the CPU, so that they are the same on every device.
    """
    bound = 1.0 / math.sqrt(linear.in_features)
    for name, parameter in linear.named_parameters():
        source = like.get_parameter(name)
        values = torch.empty(parameter.shape, dtype=torch.float32).uniform_(-bound, bound, generator=generator)
        fresh = torch.empty(parameter.shape, dtype=source.dtype, device=source.device)
        fresh.copy_(values)
        setattr(linear, name, nn.Parameter(fresh, requires_grad=source.requires_grad))
