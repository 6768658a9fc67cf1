"""Blocks by weights in panels, our own order, kept between calls at inference: products that finish what is hidden."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _panels
from ._autograd import raw
from ._block_kept import Cache, Copies, Sources
from ._blocked import Weights
from ._functions import names

FEW = 1
"""Tokens up to which this is no candidate: reading the weights takes all the time then, in any order."""


@dataclass(frozen=True, kw_only=True)
class Panels(Copies):
    """The panels of the first projections, of a gate's together, and those of the last, with their biases."""

    first: Tensor
    down: Tensor

    @property
    def num_bytes(self) -> int:
        return self.first.nbytes + self.down.nbytes


def available(activation: str, weights: Weights, dtype: torch.dtype) -> bool:
    """Is there a kernel for this block, and can its weights be kept? Not those of inference mode: their changes are not
    counted."""
    return _panels.available(dtype) and activation in names() and not any(w.is_inference() for w in weights.present())


def runs(
    activation: str, weights: Weights, dtype: torch.dtype, kept: Cache, *, high: bool
) -> Callable[[Tensor], Tensor]:
    """What computes the block on rows [n, d] of `dtype`; it records no gradient. A block of rows at a time."""
    block: Any = raw(torch.ops.gatewise.panel_block.default)
    (outputs, hidden), place = weights.down.shape, names().index(activation)

    def run(x: Tensor) -> Tensor:
        found = kept.get(Panels, weights, dtype, _made)
        return block(x, found.first, found.down, hidden, outputs, place, high)

    return run


def _made(weights: Weights, dtype: torch.dtype, sources: Sources) -> Panels:
    first = [each.to(dtype) for each in weights.first]
    bias = [None if each is None else each.to(dtype) for each in weights.first_bias]
    down_bias = None if weights.down_bias is None else weights.down_bias.to(dtype)
    return Panels(
        first=_panels.panels(first[0], bias[0]) if len(first) == 1 else _panels.panels_of_gate(*first, *bias),
        down=_panels.panels(weights.down.to(dtype), down_bias),
        sources=sources,
    )
