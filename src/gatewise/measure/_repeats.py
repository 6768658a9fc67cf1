"""Whether a model answers the same input with the same bits."""

from collections.abc import Callable

import torch
from torch import Tensor

from gatewise.core import GatewiseError


def repeats(call: Callable[[], Tensor], n: int) -> list[float]:
    """Call once, then `n` times more: 1.0 for each repeat that differs from the first in any bit, else 0.0.

    Bits are compared, not numbers: -0.0 differs from 0.0, and a NaN equals the same NaN. The sum is the count.

    Raises `GatewiseError` for less than one repeat.
    """
    if n < 1:
        raise GatewiseError(f"at least one repeat is needed, got {n!r}")
    first = call().clone()  # a call may hand out the same memory again
    return [float(not same_bits(first, call())) for _ in range(n)]


def same_bits(one: Tensor, other: Tensor) -> bool:
    """Whether two tensors have one dtype, one shape and the same bits."""
    return one.dtype == other.dtype and one.shape == other.shape and torch.equal(_bits(one), _bits(other))


def _bits(tensor: Tensor) -> Tensor:
    return tensor.detach().contiguous().flatten().view(torch.uint8)
