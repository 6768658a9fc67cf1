"""Weights in oneDNN's own order, kept between calls at inference: read without rearranging them each time.

They are a copy: as many bytes again as the weights, for each dtype that is asked for (under autocast: bfloat16).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, NamedTuple

import torch
from torch import Tensor

from . import _products
from ._autograd import PRIVATE
from ._blocked import Recipe, Weights, activate, activated, by_blocks
from ._linear_questions import ROWS_OF_A_PACK

PROBES = 17
"""Numbers of each weight that are compared before its packed copy is used; prime, so that no layout is in step."""


class Source(NamedTuple):
    """A weight or bias as it was when it was packed, and a few of its numbers: a view of them, and what they were."""

    tensor: Tensor
    address: int
    version: int
    stride: tuple[int, ...]
    now: Tensor
    then: Tensor

    @staticmethod
    def of(x: Tensor) -> "Source":
        probe = _probe(x)
        return Source(x, x.data_ptr(), x._version, x.stride(), probe, probe.clone())


@dataclass(frozen=True, kw_only=True)
class Packed:
    """The packed copies: the first projections together, one above the other, and the last.

    Attributes:
        first, first_bias: of one product that gives [n, h] or, for a gate, [n, 2 h].
        down, down_bias: of the last product.
        num_first: 1, or 2 for a gate.
        sources: what was packed, in the order of `Weights.flat()`; another means that the copy is stale.
    """

    first: Tensor
    first_bias: Tensor | None
    down: Tensor
    down_bias: Tensor | None
    num_first: int
    sources: tuple[Source | None, ...]

    def holds(self, flat: Sequence[Tensor | None]) -> bool:
        """Are these still the weights that were packed?

        An update in place, another tensor in `.data` and other sizes are seen from what torch keeps. A change that
        hides from torch (`weight.data.mul_(2)`, a numpy view) is seen if it changes one of `PROBES` numbers spread over
        the weight: any update of a whole weight is, that of a single number may not be.
        """
        for each, source in zip(flat, self.sources, strict=True):
            if each is None or source is None:
                if each is not source:
                    return False
                continue
            tensor, address, version, stride, now, then = source
            if each is not tensor or each.data_ptr() != address or each._version != version:
                return False
            if each.stride() != stride or not torch.equal(now, then):
                return False
        return True


class Cache:
    """The packed weights of one block, by dtype, and its plans (`_block_quick`). Copies and pickles of it are empty."""

    def __init__(self) -> None:
        self._kept: dict[torch.dtype, Packed] = {}
        self.plans: dict[tuple[torch.Size, torch.dtype], Any] = {}

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
        self.plans.clear()

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
            hidden = activated(recipe, (gate, up))
            del gate, up
        del both
        return _products.onednn(hidden, packed.down, packed.down_bias)

    if PRIVATE is None or torch.is_inference_mode_enabled():
        return by_blocks(one, x, recipe.rows)
    with PRIVATE.below_autograd():  # which has nothing to do here, and takes its time at it
        return by_blocks(one, x, recipe.rows)


def _pack(weights: Weights, dtype: torch.dtype) -> Packed:
    with torch.inference_mode(False), torch.no_grad():
        flat = weights.flat()
        # Before the weights are read: one that another thread changes meanwhile makes the copy stale, not current.
        sources = tuple([None if each is None else Source.of(each) for each in flat])
        present = [each for each in weights.first_bias if each is not None]
        return Packed(
            first=_products.pack(torch.cat([each.to(dtype) for each in weights.first]), ROWS_OF_A_PACK),
            first_bias=torch.cat([each.to(dtype) for each in present]) if present else None,
            down=_products.pack(weights.down.to(dtype).contiguous(), ROWS_OF_A_PACK),
            down_bias=None if weights.down_bias is None else weights.down_bias.detach().to(dtype, copy=True),
            num_first=len(weights.first),
            sources=sources,
        )


def _probe(x: Tensor) -> Tensor:
    """A view of a few numbers, spread over all of x."""
    line = x.detach().as_strided((x.numel(),), (1,)) if x.is_contiguous() else x.detach().reshape(-1)
    return line[:: max(1, x.numel() // PROBES)]
