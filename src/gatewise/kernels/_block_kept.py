"""Copies of a block's weights in another order, kept between calls at inference while the weights are what they were.

They take as many bytes again as the weights, for each order and each dtype asked for (under autocast: bfloat16).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

import torch
from torch import Tensor

from ._blocked import Weights

PROBES = 17
"""Numbers of each weight that are compared before its packed copy is used; prime, so that no layout is in step."""


class Source(NamedTuple):
    """A weight or bias as it was when it was packed, and a few of its numbers: a view of them, and what they were."""

    tensor: Tensor
    address: int
    version: int
    shape: torch.Size
    stride: tuple[int, ...]
    now: Tensor
    then: Tensor

    @staticmethod
    def of(x: Tensor) -> "Source":
        probe = _probe(x)
        return Source(x, x.data_ptr(), x._version, x.shape, x.stride(), probe, probe.clone())


Sources = tuple[Source | None, ...]


@dataclass(frozen=True, kw_only=True)
class Copies:
    """What was made of a block's weights.

    Attributes:
        sources: the weights that it was made of, in the order of `Weights.flat()`; others mean that it is stale.
    """

    sources: Sources

    def holds(self, flat: Sequence[Tensor | None]) -> bool:
        """Are these still the weights that were packed?

        An update in place, another tensor in `.data` and other sizes are seen from what torch keeps. A change that
        hides from torch (`weight.data.mul_(2)`, a numpy view, a step of a fused optimizer) is seen if it changes one of
        `PROBES` numbers spread over the weight: any update of a whole weight is, that of a few numbers may not be.
        """
        for each, source in zip(flat, self.sources, strict=True):
            if each is None or source is None:
                if each is not source:
                    return False
                continue
            tensor, address, version, shape, stride, now, then = source
            if each is not tensor or each.data_ptr() != address or each._version != version:
                return False
            if each.shape != shape or each.stride() != stride or not torch.equal(now, then):
                return False
        return True

    @property
    def num_bytes(self) -> int:
        """What the copies take."""
        raise NotImplementedError


_Copies = TypeVar("_Copies", bound=Copies)


class Cache:
    """The copies of one block's weights, by kind and dtype, and its plans (`_block_quick`). Pickles of it are empty."""

    def __init__(self) -> None:
        self._kept: dict[tuple[type[Copies], torch.dtype], Copies] = {}
        self.plans: dict[tuple[torch.Size, torch.dtype], Any] = {}

    def get(
        self,
        kind: type[_Copies],
        weights: Weights,
        dtype: torch.dtype,
        make: Callable[[Weights, torch.dtype, Sources], _Copies],
    ) -> _Copies:
        """The copies of these weights in `dtype`, made where there are none or the weights have changed."""
        flat = weights.flat()
        found = self._kept.get((kind, dtype))
        if isinstance(found, kind) and found.holds(flat):
            return found
        self._kept.pop((kind, dtype), None)  # before the new copy is made
        with torch.inference_mode(False), torch.no_grad():
            # Before the weights are read: one that another thread changes meanwhile makes the copy stale, not current.
            sources = tuple([None if each is None else Source.of(each) for each in flat])
            made = self._kept[kind, dtype] = make(weights, dtype, sources)
        return made

    def drop(self) -> None:
        self._kept.clear()
        self.plans.clear()

    @property
    def num_bytes(self) -> int:
        """What all copies take."""
        return sum(each.num_bytes for each in self._kept.values())

    def __reduce__(self) -> tuple[type["Cache"], tuple[()]]:
        return Cache, ()


def _probe(x: Tensor) -> Tensor:
    """A view of a few numbers of x, spread over all of it; of one that is not contiguous along its diagonal."""
    if x.is_contiguous():
        return x.detach().as_strided((x.numel(),), (1,))[:: max(1, x.numel() // PROBES)]
    count = min(PROBES, max(x.shape)) if x.numel() else 0
    step = sum(stride * (size // count) for size, stride in zip(x.shape, x.stride(), strict=True)) if count else 0
    return x.detach().as_strided((count,), (step,))
