"""torch.compile with its default back end (Inductor). The first call of each shape compiles, outside the timing."""

import shutil

import torch
from torch import nn

from gatewise.core import GatewiseError

from ._runtime import Prepared


def prepare(model: nn.Module) -> Prepared:
    """Compile the whole model as one graph; a graph break is an error, not a silent fallback.

    Raises:
        GatewiseError: no C++ compiler on this machine.
    """
    if not any(shutil.which(name) for name in ("c++", "g++", "clang++")):
        raise GatewiseError("the runtime 'compile' needs a C++ compiler (g++ or clang++), and there is none")
    compiled = torch.compile(model, fullgraph=True, dynamic=False)
    if not isinstance(compiled, nn.Module):
        raise GatewiseError("torch.compile did not return a module")
    name = f"torch {torch.__version__} compile (inductor, fullgraph, static shapes)"
    return Prepared(model=compiled, implementation=name, differentiable=True)
