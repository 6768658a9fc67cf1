"""The activation of a feed-forward block on CUDA: Liger's kernel where installed, else torch.compile's, else stock.

**Nothing here was run on a GPU by our tests, nor its numbers compared.** They check the routing, with stand-ins.
Liger's kernels know swiglu and the tanh form of geglu. Their backward pass writes the gradients over the saved
projections: a second backward pass through one forward (`retain_graph=True`) is wrong, and there is no double backward.
"""

from collections.abc import Callable
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import torch
from torch import Tensor

from gatewise import activations

LIGER = {"swiglu": "LigerSiLUMulFunction", "geglu_tanh": "LigerGELUMulFunction"}
"""The autograd functions of `liger_kernel.ops` by our names; each is applied to (gate, up)."""

Function = Callable[..., Tensor]


@cache
def function(name: str) -> tuple[Function, str]:
    """What computes the activation on CUDA, and which way that is and why: `liger`, `compile: ...` or `torch: ...`."""
    if name not in LIGER:
        why = f"Liger has no {name}"
    elif not installed("liger_kernel"):
        why = "liger_kernel is not installed"
    else:
        liger: Any = getattr(import_module("liger_kernel.ops"), LIGER[name], None)
        if liger is not None:
            return liger.apply, "liger"
        why = f"liger_kernel.ops has no {LIGER[name]}"
    stock = activations.get(name).torch
    if not installed("triton"):
        return stock, f"torch: {why}, and torch.compile needs triton"
    return torch.compile(stock, dynamic=True), f"compile: {why}"


def installed(package: str) -> bool:
    return find_spec(package) is not None
