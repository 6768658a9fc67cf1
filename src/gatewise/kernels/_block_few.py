"""A feed-forward block on few tokens: bound by reading its weights, which are read once, where they lie."""

from collections.abc import Callable
from functools import partial
from typing import Any

import torch
from torch import Tensor

from gatewise import activations

from ._autograd import raw
from ._blocked import Weights
from ._functions import names

FEW = 128
"""Tokens up to which this is a candidate: beyond, products of packed weights were quicker wherever measured."""


def available() -> bool:
    """Is the operator there? It comes with the native kernels."""
    return bool(names())


def runs(activation: str, weights: Weights, *, high: bool) -> Callable[[Tensor], Tensor]:
    """What computes the block on rows [n, d], in the weights' dtype; it records no gradient."""
    product: Any = raw(torch.ops.gatewise.few_rows.default)
    last, last_bias = weights.down, weights.down_bias
    function: Callable[..., Tensor] = activations.get(activation).torch
    if activation in names():
        function = partial(raw(getattr(torch.ops.gatewise, activation).no_grad), high=high)
    if last_bias is not None:
        pairs: Any = tuple(zip(weights.first, weights.first_bias, strict=True))
        return lambda x: product(function(*[product(x, w).add_(b) for w, b in pairs]), last).add_(last_bias)
    if len(weights.first) == 1:
        (one,) = weights.first
        return lambda x: product(function(product(x, one)), last)
    gate, up = weights.first
    if activation not in names():
        return lambda x: product(function(product(x, gate), product(x, up)), last)
    block: Any = raw(torch.ops.gatewise.few_block.default)
    place = names().index(activation)
    return lambda x: block(x, gate, up, last, place, high)
