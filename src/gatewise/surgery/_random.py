"""Random starts that touch no global random state."""

import hashlib
import math

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

_RANDOM_FILLS = {
    getattr(torch.Tensor, name)
    for name in ("uniform_", "normal_", "trunc_normal_", "bernoulli_", "exponential_", "log_normal_", "cauchy_")
    if hasattr(torch.Tensor, name)
}


class NoRandomFill(TorchFunctionMode):
    """Inside it, in-place random fills do nothing: modules are built without work and without drawing numbers.

    What they would have filled holds arbitrary values and must be overwritten.
    """

    def __torch_function__(self, func, types, args=(), kwargs=None):  # pyright: ignore
        if func in _RANDOM_FILLS:
            return args[0]
        return func(*args, **(kwargs or {}))


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
