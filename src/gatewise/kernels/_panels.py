"""Blocks by weights in panels, our own order: `torch.ops.gatewise.panel_block` and what makes its panels.

    panels(Tensor weight, Tensor bias) -> Tensor
    panels_of_gate(Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias) -> Tensor
    panel_block(Tensor x, Tensor first, Tensor down, int hidden, int outputs, int function,
        bool high=False) -> Tensor

float32, or bfloat16 where the processor has AMX. A bias may have no numbers. Panels are a matrix, a panel a row, for
the instruction set that made them; `function` is a function's place in the library's table. On the CPU, without a
gradient.
"""

from ctypes import byref, c_int64
from typing import Any

import torch
from torch import Tensor

from ._library import load

PRECISIONS = (torch.bfloat16, torch.float32)
"""As the library counts them."""


def define(library: torch.library.Library) -> None:
    """The operators, but for their kernels."""
    one, gate = "Tensor weight, Tensor bias", "Tensor gate, Tensor gate_bias, Tensor up, Tensor up_bias"
    block = "Tensor x, Tensor first, Tensor down, int hidden, int outputs, int function, bool high=False"
    for name, inputs in (("panels", one), ("panels_of_gate", gate), ("panel_block", block)):
        # How panels lie depends on the instruction set: those that make them are for real tensors only.
        tags = (torch.Tag.pt2_compliant_tag,) if name == "panel_block" else ()
        library.define(f"{name}({inputs}) -> Tensor", tags=tags)
        library.impl(name, torch.library.fallthrough_kernel, "Autograd")
    torch.library.register_fake("gatewise::panel_block", _fake_block, lib=library)


def _fake_block(x: Tensor, first: Tensor, down: Tensor, hidden: int, outputs: int, *_: Any, **__: Any) -> Tensor:
    if x.dim() != 2 or first.dim() != 2 or down.dim() != 2:
        raise RuntimeError(f"shapes {tuple(x.shape)}, {tuple(first.shape)} and {tuple(down.shape)} do not match")
    if not x.device == first.device == down.device:
        raise RuntimeError(f"tensors on {x.device}, {first.device} and {down.device}")
    return x.new_empty(x.shape[0], outputs)


def available(dtype: torch.dtype) -> bool:
    """Can the native kernels multiply by panels of this dtype here?"""
    core = load()[0]
    if core is None or dtype not in PRECISIONS:
        return False
    sizes = [c_int64() for _ in range(4)]
    return bool(core.gatewise_panels(PRECISIONS.index(dtype), c_int64(0), *map(byref, sizes)))


def panels(weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """The panels of a weight [outputs, inputs] with its bias [outputs]."""
    op: Any = torch.ops.gatewise.panels.default
    return op(weight.detach(), _bias(weight, bias))


def panels_of_gate(gate: Tensor, up: Tensor, gate_bias: Tensor | None = None, up_bias: Tensor | None = None) -> Tensor:
    """The panels of a gate's two weights, both [hidden, inputs]."""
    op: Any = torch.ops.gatewise.panels_of_gate.default
    return op(gate.detach(), _bias(gate, gate_bias), up.detach(), _bias(up, up_bias))


def _bias(weight: Tensor, bias: Tensor | None) -> Tensor:
    return weight.new_empty(0) if bias is None else bias.detach()
