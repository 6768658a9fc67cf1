"""Weights in oneDNN's own order, kept between calls at inference: read without rearranging them each time."""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from . import _products
from ._autograd import PRIVATE
from ._block_kept import Cache, Copies, Sources
from ._blocked import Recipe, Weights, activate, activated, by_blocks
from ._linear_questions import ROWS_OF_A_PACK


@dataclass(frozen=True, kw_only=True)
class Packed(Copies):
    """The packed copies: the first projections together, one above the other, and the last.

    Attributes:
        first, first_bias: of one product that gives [n, h] or, for a gate, [n, 2 h].
        down, down_bias: of the last product.
        num_first: 1, or 2 for a gate.
    """

    first: Tensor
    first_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    num_first: int

    @property
    def num_bytes(self) -> int:
        return sum(torch.ops.mkldnn._nbytes(each) for each in (self.first, self.down))


def packable(weights: Weights, dtype: torch.dtype) -> bool:
    """Can these weights be packed? Not those made in inference mode, whose changes torch does not count."""
    return _packs(dtype) and not any(each.is_inference() for each in weights.present())


_packs = cache(_products.packable)


def packed(kept: Cache, weights: Weights, dtype: torch.dtype) -> Packed:
    """The packed copies of these weights in `dtype`."""
    return kept.get(Packed, weights, dtype, _pack)


def evaluate(recipe: Recipe, x: Tensor, kept: Packed) -> Tensor:
    """The block's output [n, d] from packed weights."""

    def one(rows: Tensor) -> Tensor:
        both = _products.onednn(rows, kept.first, kept.first_bias)
        if kept.num_first == 1:
            hidden = activate(recipe, (both,), both)
        else:  # not into one half of `both`: oneDNN is slow on bfloat16 rows that are apart
            gate, up = both.chunk(2, -1)
            hidden = activated(recipe, (gate, up))
            del gate, up
        del both
        return _products.onednn(hidden, kept.down, kept.down_bias)

    if PRIVATE is None or torch.is_inference_mode_enabled():
        return by_blocks(one, x, recipe.rows)
    with PRIVATE.below_autograd():  # which has nothing to do here, and takes its time at it
        return by_blocks(one, x, recipe.rows)


def _pack(weights: Weights, dtype: torch.dtype, sources: Sources) -> Packed:
    present = [each for each in weights.first_bias if each is not None]
    return Packed(
        first=_products.pack(torch.cat([each.to(dtype) for each in weights.first]), ROWS_OF_A_PACK),
        first_bias=torch.cat([each.to(dtype) for each in present]) if present else None,
        down=_products.pack(weights.down.to(dtype).contiguous(), ROWS_OF_A_PACK),
        down_bias=None if weights.down_bias is None else weights.down_bias.detach().to(dtype, copy=True),
        num_first=len(weights.first),
        sources=sources,
    )
