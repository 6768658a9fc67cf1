"""The packed copy of one weight, as long as the weight is what it was."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor

from . import _products
from ._linear_questions import ROWS_OF_A_PACK

SAMPLE = 61
"""Numbers of a weight that are compared at each call; prime, so that no layout is in step."""


@dataclass(frozen=True, kw_only=True)
class _Seen:
    """A weight as it was at a call, and its packed copy from the second call on.

    `sample` is a view of a few of its numbers, `numbers` what these were.
    """

    weight: Tensor
    version: int
    address: int
    shape: torch.Size
    sample: Tensor
    numbers: Tensor
    packed: Tensor | None = None

    def holds(self, weight: Tensor) -> bool:
        return (
            self.weight is weight
            and self.version == weight._version
            and self.address == weight.data_ptr()
            and self.shape == weight.shape
            and torch.equal(self.sample, self.numbers)
        )


class Pack:
    """Makes and keeps the packed copy of a weight, and finds out when the weight is another one.

    torch counts the writes to a tensor, but neither those through `.data` nor those that FSDP2 hides: a sample of the
    numbers, evenly spread, is compared as well.
    """

    def __init__(self) -> None:
        self._seen: _Seen | None = None

    @property
    def made(self) -> bool:
        """Is there a packed copy?"""
        return self._seen is not None and self._seen.packed is not None

    def of(self, weight: Tensor) -> Tensor | None:
        """The packed weight; None at the first call that sees it as it is now, and for one that cannot be packed."""
        seen = self._seen
        if seen is not None and not weight.is_inference() and seen.holds(weight):
            if seen.packed is None:
                seen = self._seen = replace(seen, packed=_products.pack(weight, ROWS_OF_A_PACK))
            return seen.packed
        self._seen = _look(weight)  # one assignment: another thread sees either all of it or nothing
        return None


def _look(weight: Tensor) -> _Seen | None:
    if not weight.is_contiguous() or weight.is_inference() or not weight.numel():
        return None
    sample = weight.detach().view(-1)[:: max(1, weight.numel() // SAMPLE)]
    return _Seen(
        weight=weight,
        version=weight._version,
        address=weight.data_ptr(),
        shape=weight.shape,
        sample=sample,
        numbers=sample.clone(),
    )
