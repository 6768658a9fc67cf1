"""The stochastic map from which GELU was derived. It is *not* what GELU computes, anywhere."""

import math

import torch
from torch import Tensor, nn


class StochasticGELU(nn.Module):
    """x * m with m ~ Bernoulli(Phi(x)), drawn anew for every element and call: the "SOI map".

    Hendrycks & Gimpel, "Gaussian error linear units", arXiv 1606.08415, section 2. GELU is its *expectation*,
    x * Phi(x), a fixed function: two calls of a GELU give the same bits, two calls of this map do not. It stands here
    to show what a model with a stochastic activation would look like when calls are repeated: a control, which only the
    workload `operator` takes, under the name `stochastic_gelu`.

    Args:
        generator: where the draws come from; None takes torch's global one.
    """

    def __init__(self, generator: torch.Generator | None = None) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, x: Tensor) -> Tensor:
        keep = torch.bernoulli(0.5 * torch.erfc(-x / math.sqrt(2)), generator=self.generator)
        return x * keep
