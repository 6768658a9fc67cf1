"""Exact counts: parameters, bytes of weights, FLOPs of a call. They are stated, not judged."""

from collections.abc import Callable
from itertools import chain

from torch import nn
from torch.utils.flop_counter import FlopCounterMode


def parameters(model: nn.Module) -> int:
    """The number of parameters; shared ones count once."""
    return sum(parameter.numel() for parameter in model.parameters())


def weight_bytes(model: nn.Module) -> int:
    """Bytes of parameters and buffers; shared ones count once."""
    tensors = {id(tensor): tensor for tensor in chain(model.parameters(), model.buffers())}
    return sum(tensor.numel() * tensor.element_size() for tensor in tensors.values())


def flops(call: Callable[[], object]) -> int:
    """Floating-point operations of one call in matrix products, convolutions and attention (a multiply-add is two).

    Elementwise work, the activation itself included, is not in this count: see the time for that.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return int(counter.get_total_flops())
