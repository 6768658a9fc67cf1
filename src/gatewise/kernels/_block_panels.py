"""Blocks by weights in panels, our own order, kept between calls at inference: products that finish what is hidden.

`panels`, or `split`: of float32 in three parts of bfloat16 each, by AMX (`_split`).
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from . import _blocked, _panels, _split
from ._autograd import raw
from ._block_kept import Cache, Copies, Sources
from ._blocked import Weights
from ._functions import names

WAYS = ("panels", "split")
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


class SplitPanels(Panels):
    """The same in parts: half as large again as the weights."""


def available(activation: str, weights: Weights, dtype: torch.dtype, *, split: bool = False) -> bool:
    """Is there a kernel for this block, and can its weights be kept? Not those of inference mode: their changes are not
    counted."""
    there = _panels.available(dtype, split=split) and activation in names()
    return there and not any(w.is_inference() for w in weights.present())


def runs(
    activation: str, weights: Weights, dtype: torch.dtype, kept: Cache, *, high: bool, split: bool = False
) -> Callable[[Tensor], Tensor]:
    """What computes the block on rows [n, d] of `dtype`; it records no gradient. A block of rows at a time."""
    block: Any = raw(torch.ops.gatewise.panel_block.default)
    (outputs, hidden), place = weights.down.shape, names().index(activation)

    def run(x: Tensor) -> Tensor:
        found = kept.get(Panels, weights, dtype, _made)
        return block(x, found.first, found.down, hidden, outputs, place, high)

    def run_split(x: Tensor) -> Tensor:
        try:
            found = kept.get(SplitPanels, weights, dtype, _in_parts)
            return block(x, found.first, found.down, hidden, outputs, place, high)
        except RuntimeError as error:
            _split.only_refused(error)
            return _blocked.plain(activation, "high" if high else "default", x, weights.to(dtype))

    return run_split if split else run


def _in_parts(weights: Weights, dtype: torch.dtype, sources: Sources) -> SplitPanels:
    assert dtype == torch.float32
    return SplitPanels(**_both(weights.to(dtype), split=True), sources=sources)


def _made(weights: Weights, dtype: torch.dtype, sources: Sources) -> Panels:
    return Panels(**_both(weights.to(dtype), split=False), sources=sources)


def _both(weights: Weights, *, split: bool) -> dict[str, Tensor]:
    first, bias = weights.first, weights.first_bias
    one = len(first) == 1
    return {
        "first": (_panels.panels if one else _panels.panels_of_gate)(*first, *bias, split=split),
        "down": _panels.panels(weights.down, weights.down_bias, split=split),
    }
