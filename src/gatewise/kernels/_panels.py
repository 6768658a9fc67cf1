"""Blocks by weights in panels, our own order: `torch.ops.gatewise.panel_block` and what makes its panels.

    panels(Tensor weight, Tensor bias) -> Tensor
    panels_of_gate(Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias) -> Tensor
    panel_block(Tensor x, Tensor first, Tensor down, int hidden, int outputs, int function,
        bool high=False) -> Tensor
    split_panels, split_panels_of_gate                    of float32 in three parts of bfloat16 each

float32, or bfloat16 where the processor has AMX; what is split only there. A bias may have no numbers. Panels are a
matrix, a panel a row, for the instruction set that made them; `function` is a function's place in the library's table.
On the CPU, without a gradient. What is split raises where its numbers are not in the range of parts.
"""

from ctypes import byref, c_int64
from typing import Any

import torch
from torch import Tensor

from ._library import load

PRECISIONS = (torch.bfloat16, torch.float32)
"""As the library counts them."""
SPLIT = 3
"""What it calls float32 in parts, of panels alone."""


def define(library: torch.library.Library) -> None:
    """The operators, but for their kernels."""
    one, gate = "Tensor weight, Tensor bias", "Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias"
    block = "Tensor x, Tensor first, Tensor down, int hidden, int outputs, int function, bool high=False"
    operators = {"panels": one, "panels_of_gate": gate, "split_panels": one, "split_panels_of_gate": gate}
    for name, inputs in {**operators, "panel_block": block}.items():
        # How panels lie depends on the instruction set: those that make them are for real tensors only.
        tags = () if name in operators else (torch.Tag.pt2_compliant_tag,)
        library.define(f"{name}({inputs}) -> Tensor", tags=tags)
        library.impl(name, torch.library.fallthrough_kernel, "Autograd")
    torch.library.register_fake("gatewise::panel_block", _fake_block, lib=library)


def _fake_block(x: Tensor, first: Tensor, down: Tensor, hidden: int, outputs: int, *_: Any, **__: Any) -> Tensor:
    if x.dim() != 2 or first.dim() != 2 or down.dim() != 2:
        raise RuntimeError(f"shapes {tuple(x.shape)}, {tuple(first.shape)} and {tuple(down.shape)} do not match")
    if not x.device == first.device == down.device:
        raise RuntimeError(f"tensors on {x.device}, {first.device} and {down.device}")
    return x.new_empty(x.shape[0], outputs)


def available(dtype: torch.dtype, *, split: bool = False) -> bool:
    """Can the native kernels multiply by panels of this dtype here? By those of float32 in parts, where `split`?"""
    core = load()[0]
    if core is None or dtype not in PRECISIONS or (split and dtype != torch.float32):
        return False
    sizes = [c_int64() for _ in range(4)]
    precision = SPLIT if split else PRECISIONS.index(dtype)
    return bool(core.gatewise_panels(precision, c_int64(0), *map(byref, sizes)))


def panels(weight: Tensor, bias: Tensor | None = None, *, split: bool = False) -> Tensor:
    """The panels of a weight [outputs, inputs] with its bias [outputs]."""
    op: Any = torch.ops.gatewise.split_panels.default if split else torch.ops.gatewise.panels.default
    return op(weight.detach(), _bias(weight, bias))


def panels_of_gate(
    gate: Tensor, up: Tensor, gate_bias: Tensor | None = None, up_bias: Tensor | None = None, *, split: bool = False
) -> Tensor:
    """The panels of a gate's two weights, both [hidden, inputs]."""
    ops: Any = torch.ops.gatewise
    op: Any = ops.split_panels_of_gate.default if split else ops.panels_of_gate.default
    return op(gate.detach(), _bias(gate, gate_bias), up.detach(), _bias(up, up_bias))


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_empty(0) if bias is None else bias.detach()
