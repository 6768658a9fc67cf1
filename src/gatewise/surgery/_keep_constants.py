"""The constants of a converted unit, and the matrices that they are folded into.

A hidden unit that computed f(z), z = w x + b, computes afterwards, with another function h,

    (scale + slope z) h(beta z + shift) + offset,

where beta and shift go into the row that feeds h, scale and slope into the row of `up` (in a scalar block, scale goes
into the column of `down`), and the offsets of all units, through `down`, into its bias.
"""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from ._blocks import is_conv1d
from ._tree import has_bias


@dataclass(frozen=True, kw_only=True)
class Constants:
    """One number for each hidden unit, float64, shape [hidden]."""

    beta: Tensor
    shift: Tensor
    scale: Tensor
    slope: Tensor
    offset: Tensor

    @classmethod
    def uniform(cls, hidden: int, *, beta: float = 1.0, scale: float = 1.0, slope: float = 0.0) -> "Constants":
        """The same beta, scale and slope for every unit, and nothing else."""
        zero = torch.zeros(hidden, dtype=torch.float64)
        return cls(beta=zero + beta, shift=zero, scale=zero + scale, slope=zero + slope, offset=zero)

    @classmethod
    def joined(cls, parts: "list[Constants]") -> "Constants":
        """The constants of several groups of units, one after the other."""
        return cls(**{each.name: torch.cat([getattr(part, each.name) for part in parts]) for each in fields(cls)})

    def part(self, chosen: slice | Tensor) -> "Constants":
        """The constants of some of the units."""
        return Constants(**{each.name: getattr(self, each.name)[chosen] for each in fields(self)})


def rows_of(linear: nn.Linear) -> Tensor:
    """The weight as [out, in], whatever way the layer stores it; a view."""
    weight = linear.weight.detach()
    return weight.t() if is_conv1d(linear) else weight


def bias_of(linear: nn.Linear) -> Tensor:
    """The bias in float64; zeros where there is none."""
    if has_bias(linear):
        return linear.bias.detach().double()
    return torch.zeros(rows_of(linear).shape[0], dtype=torch.float64, device=linear.weight.device)


def fill_rows(linear: nn.Linear, like: nn.Linear, factor: Tensor, constant: Tensor) -> None:
    """Make `linear` compute factor (w x + b) + constant, row by row, on the device and in the dtype of `like`.

    A factor of 1 and a constant of 0 give the numbers of `like` bit by bit, in its memory layout.
    """
    rows = rows_of(like)
    factor, constant = factor.to(rows.device), constant.to(rows.device)
    weight = torch.empty_like(rows)  # keeps the strides, so that the same matrix product runs
    weight.copy_(rows.double() * factor[:, None] + 0.0)  # no -0
    _set(linear, "weight", weight.t() if is_conv1d(linear) else weight, like.weight.requires_grad)
    if has_bias(linear):
        bias = (bias_of(like) * factor + constant).to(rows.dtype)
        _set(linear, "bias", bias, like.bias.requires_grad if has_bias(like) else like.weight.requires_grad)


def fill_columns(linear: nn.Linear, like: nn.Linear, factor: Tensor, offset: Tensor) -> None:
    """Make `linear` compute w (factor h + offset) + b for what `like` computes as w h + b.

    The offset is left out where `linear` has no bias to hold it.
    """
    rows = rows_of(like)
    factor, offset = factor.to(rows.device), offset.to(rows.device)
    weight = torch.empty_like(rows)
    weight.copy_(rows.double() * factor[None, :])
    _set(linear, "weight", weight.t() if is_conv1d(linear) else weight, like.weight.requires_grad)
    if has_bias(linear):
        bias = (bias_of(like) + rows.double() @ offset).to(rows.dtype)
        _set(linear, "bias", bias, like.bias.requires_grad if has_bias(like) else like.weight.requires_grad)


def _set(linear: nn.Linear, name: str, value: Tensor, requires_grad: bool) -> None:
    """In place where the layer holds such a tensor already: half of a fused Linear is a view of the whole one."""
    old = linear.get_parameter(name)
    if (old.shape, old.dtype, old.device, old.stride()) == (value.shape, value.dtype, value.device, value.stride()):
        old.data.copy_(value)
        old.requires_grad_(requires_grad)
    else:
        setattr(linear, name, nn.Parameter(value, requires_grad=requires_grad))
