"""What the tests of whole models with native kernels share."""

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from gatewise import kernels
from gatewise.kernels._choice import forced

NATIVE = pytest.mark.skipif(kernels.status().path is None, reason="the native kernels are absent")


@pytest.fixture
def unmeasured() -> Iterator[None]:
    """Ways that need no measuring, so that nothing hangs on how busy the machine is."""
    with forced(linear="onednn", ffn="native"):
        yield


class Quick(nn.Module):
    """A module of somebody's own that is nothing but a function."""

    def forward(self, x: Tensor) -> Tensor:
        return x * torch.sigmoid(1.702 * x)
