"""PyTorch as it is: one kernel per operation."""

import torch
from torch import nn

from ._runtime import Prepared


def prepare(model: nn.Module) -> Prepared:
    """Take the model as it stands."""
    return Prepared(model=model, implementation=f"torch {torch.__version__} eager", differentiable=True)
