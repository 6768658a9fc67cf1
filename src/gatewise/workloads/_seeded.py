"""Random numbers that depend on a seed and a name alone, so that arms share what they have in common, bit by bit."""

import hashlib

import torch
from torch import Tensor, nn


def normal(seed: int, name: str, shape: tuple[int, ...]) -> Tensor:
    """Standard normal numbers, float32. The global generator is neither read nor moved."""
    digest = hashlib.sha256(f"{seed}/{name}".encode()).digest()
    generator = torch.Generator().manual_seed(int.from_bytes(digest[:7], "big"))
    return torch.randn(shape, generator=generator)


def start_matrices(model: nn.Module, seed: int) -> None:
    """Fill every matrix with normal numbers of standard deviation 1/sqrt(fan in), parameter by parameter."""
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.copy_(normal(seed, name, tuple(parameter.shape)) * parameter.shape[1] ** -0.5)
