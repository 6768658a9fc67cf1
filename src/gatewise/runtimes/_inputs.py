"""A call's inputs as a flat list of tensors, as every engine takes them, and back in the form that a workload made."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from torch import Tensor

Inputs = Any
"""A tensor, or a tuple or dict of tensors, one row per item; only the workload that made it knows what they mean."""


def flat(inputs: Inputs) -> "list[Tensor]":
    """The tensors of a call, in order. Raises `GatewiseError` where something else stands among them."""
    import torch

    values = (
        list(inputs.values()) if isinstance(inputs, dict) else list(inputs) if isinstance(inputs, tuple) else [inputs]
    )
    strange = [type(value).__name__ for value in values if not isinstance(value, torch.Tensor)]
    if strange or not values:
        raise GatewiseError(
            f"inputs are a tensor, or a tuple or dict of tensors, not {', '.join(strange) or 'nothing'}"
        )
    return values


def rebuilt(like: Inputs, tensors: "Sequence[Tensor]") -> Inputs:
    """The flat tensors in the form of `like`."""
    if isinstance(like, dict):
        return dict(zip(like, tensors, strict=True))
    return tuple(tensors) if isinstance(like, tuple) else tensors[0]


def names(like: Inputs) -> list[str]:
    """A name for each input: its key, or its number."""
    if isinstance(like, dict):
        return [str(key) for key in like]
    return [f"input_{index}" for index in range(len(flat(like)))]


def shapes(inputs: Inputs) -> tuple[tuple[int, ...], ...]:
    """The shape of each tensor."""
    return tuple(tuple(tensor.shape) for tensor in flat(inputs))


def shape_text(inputs: Inputs) -> str:
    """The shapes for a file's name and for people: `2x16-2x16`."""
    return "-".join("x".join(map(str, shape)) for shape in shapes(inputs))


def with_rows(inputs: Inputs, rows: Sequence[int]) -> Inputs:
    """Other items of the same kind: these rows of every tensor, a row as often as it is named."""
    return rebuilt(inputs, [tensor[list(rows)] for tensor in flat(inputs)])
