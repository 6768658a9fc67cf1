"""The stochastic 0-1 map of the GELU paper as a regulariser: a module of its own, and not what GELU computes.

Source: Hendrycks and Gimpel 2016, Gaussian Error Linear Units (arXiv 1606.08415), section 2.
"""

import hashlib
import math

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError


class StochasticMap(nn.Module):
    """x m with m ~ Bernoulli(Phi(x)) while training; x Phi(x), its expectation and the erf form of GELU, in eval mode.

    Element by element; any shape, any floating dtype, and the output has the input's. While training

        E[y] = x Phi(x)        Var[y] = x^2 Phi(x) (1 - Phi(x))

    and the gradient is m: the drawn mask is held fixed, as dropout does it. Its mean is Phi(x), and not the derivative
    Phi(x) + x phi(x) of the expectation: training with this map is not noisy training with GELU.

    Draws follow from `seed` and from how many calls there were, which stands in the buffer `calls` and is saved with
    the weights: a run that goes on from a checkpoint draws what it would have drawn. The global generator is not moved.
    Give each site a seed of its own, or two sites draw alike.

    Raises `GatewiseError` for a seed that is no whole number of 0 or more.
    """

    calls: Tensor

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        if type(seed) is not int or not 0 <= seed < 2**31:
            raise GatewiseError(f"the seed of a stochastic map is a whole number from 0 to 2^31 - 1, not {seed!r}")
        self.seed = seed
        self.register_buffer("calls", torch.zeros((), dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return nn.functional.gelu(x)
        # A hash of both: torch's generator on the CPU looks at 32 bits of a seed alone.
        digest = hashlib.sha256(f"{self.seed}/{int(self.calls)}".encode()).digest()
        generator = torch.Generator(device=x.device).manual_seed(int.from_bytes(digest[:4], "big"))
        self.calls += 1
        with torch.no_grad():
            share = 0.5 * torch.erfc(-x.detach().float() / math.sqrt(2))
            mask = torch.bernoulli(share, generator=generator).to(x.dtype)
        return x * mask

    def extra_repr(self) -> str:
        return f"seed={self.seed}"
