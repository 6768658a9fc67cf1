"""Weights in oneDNN's own order, kept between calls at inference: read without rearranging them each time.

They are a copy: as many bytes again as the weights, for each dtype that is asked for (under autocast: bfloat16).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from . import _products
from ._blocked import Recipe, Weights, activate, by_blocks
from ._linear_questions import ROWS_OF_A_PACK

PROBES = 17
"""Numbers of each weight that are compared before its packed copy is used; prime, so that no layout is in step."""
Identity = tuple[int, int, torch.Size, tuple[int, ...]]


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The packed copies: the first projections together, one above the other, and the last.

    Attributes:
        first, first_bias: of one product that gives [n, h] or, for a gate, [n, 2 h].
        down, down_bias: of the last product.
        num_first: 1, or 2 for a gate.
        sources: what of each weight and bias was packed; another means that the copy is stale.
        probes: a view of a few numbers of each, and what they were then.
    """

    first: Tensor
    first_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    num_first: int
    sources: tuple[Identity | None, ...]
    probes: tuple[tuple[Tensor, Tensor], ...]

    def holds(self, flat: Sequence[Tensor | None]) -> bool:
        """Are these still the weights that were packed?

        An update in place, another tensor in `.data` and other sizes are seen from what torch keeps. A change that
        hides from torch (`weight.data.mul_(2)`, a numpy view) is seen if it changes one of `PROBES` numbers spread over
        the weight: any update of a whole weight is, that of a single number may not be.
        """
        return self.sources == tuple(map(_identity, flat)) and all(torch.equal(now, then) for now, then in self.probes)


class Cache:
    """The packed weights of one block, by dtype. Copies and pickles of it are empty."""

    def __init__(self) -> None:
        self._kept: dict[torch.dtype, Packed] = {}

    def get(self, weights: Weights, dtype: torch.dtype) -> Packed:
        """The packed copies of these weights in `dtype`, made where there are none or the weights have changed."""
        flat = weights.flat()
        found = self._kept.get(dtype)
        if found is None or not found.holds(flat):
            self._kept.pop(dtype, None)  # before the new copy is made
            found = self._kept[dtype] = _pack(weights, dtype)
        return found

    def drop(self) -> None:
        self._kept.clear()

    @property
    def num_bytes(self) -> int:
        """What the packed copies take."""
        tensors = [each for packed in self._kept.values() for each in (packed.first, packed.down)]
        return sum(torch.ops.mkldnn._nbytes(each) for each in tensors)

    def __reduce__(self) -> tuple[type["Cache"], tuple[()]]:
        return Cache, ()


def packable(weights: Weights, dtype: torch.dtype) -> bool:
    """Can these weights be packed? Not those made in inference mode, whose changes torch does not count."""
    return _packs(dtype) and not any(each.is_inference() for each in weights.present())


_packs = cache(_products.packable)


def evaluate(recipe: Recipe, x: Tensor, packed: Packed) -> Tensor:
    """The block's output [n, d] from packed weights."""

    def one(rows: Tensor) -> Tensor:
        both = _products.onednn(rows, packed.first, packed.first_bias)
        if packed.num_first == 1:
            hidden = activate(recipe, (both,), both)
        else:  # not into one half of `both`: oneDNN is slow on bfloat16 rows that are apart
            gate, up = both.chunk(2, -1)
            hidden = activate(recipe, (gate, up), both.new_empty(gate.shape))
            del gate, up
        del both
        return _products.onednn(hidden, packed.down, packed.down_bias)

    return by_blocks(one, x, recipe.rows)


def _pack(weights: Weights, dtype: torch.dtype) -> Packed:
    with torch.inference_mode(False), torch.no_grad():
        flat = weights.flat()
        present = [each for each in weights.first_bias if each is not None]
        return Packed(
            first=_products.pack(torch.cat([each.to(dtype) for each in weights.first]), ROWS_OF_A_PACK),
            first_bias=torch.cat([each.to(dtype) for each in present]) if present else None,
            down=_products.pack(weights.down.to(dtype).contiguous(), ROWS_OF_A_PACK),
            down_bias=None if weights.down_bias is None else weights.down_bias.detach().to(dtype, copy=True),
            num_first=len(weights.first),
            sources=tuple(map(_identity, flat)),
            probes=tuple((view, view.clone()) for view in (_probe(each) for each in flat if each is not None)),
        )


def _identity(x: Tensor | None) -> Identity | None:
    return None if x is None else (x.data_ptr(), x._version, x.shape, x.stride())


def _probe(x: Tensor) -> Tensor:
    """A view of a few numbers, spread over all of x."""
    line = x.detach().as_strided((x.numel(),), (1,)) if x.is_contiguous() else x.detach().reshape(-1)
    return line[:: max(1, x.numel() // PROBES)]
