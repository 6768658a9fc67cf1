"""A module that holds two Linear layers and one activation as direct children: Mlp classes, DistilBERT, ALBERT, ...

Three proofs are taken. A block whose forward takes one tensor is run once on a copy with recorders in it, and is taken
when the activation really reads the first Linear and feeds the second. A whole layer, whose forward cannot be run so,
is traced, and is taken when its graph says that. One that cannot be traced either is taken when the widths leave no
other reading: d -> h and h -> d with h unlike d.
"""

import copy
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import nn

from gatewise.surgery._blocks import Block, Example, NoFlags, Slot, fits, is_linear, widths
from gatewise.surgery._recognise import Recogniser, is_passthrough
from gatewise.surgery._tree import children

from .bert import function_slots
from .traced import reads


class TwoLinears(NoFlags):
    looked_for = "classes with Linear, activation, Linear as children (Mlp and kin)"

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        if isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
            return []
        linears = [Slot(owner=module, name=name) for name, child in children(module).items() if is_linear(child)]
        if len(linears) != 2 or not fits(linears[0].value, linears[1].value):
            return []
        acts = [
            Slot(owner=module, name=name)
            for name, child in children(module).items()
            if not is_linear(child) and recognise(child) is not None
        ]
        if not acts:
            acts = function_slots(module, recognise)
        if len(acts) != 1:
            return []
        block = Block(up=linears[0], act=acts[0], down=linears[1])
        flows = _flows(module, block)
        if flows is None:
            flows = reads(module, block, recognise)
        return [block] if flows or (flows is None and _only_reading(block)) else []

    def example(self) -> Example:
        layer = nn.TransformerDecoderLayer(8, 2, dim_feedforward=16, activation=torch.nn.functional.gelu)
        return Example(
            model=nn.TransformerDecoder(layer, 2),
            inputs=(torch.randn(5, 2, 8), torch.randn(4, 2, 8)),
            paths=("layers.0.activation", "layers.1.activation"),
        )


class Recorder(nn.Module):
    """Passes a call on and keeps what went in and what came out."""

    def __init__(self, inner: object) -> None:
        super().__init__()
        self.inner = inner
        self.seen: list[tuple[torch.Tensor, torch.Tensor]] = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.inner(x)  # pyright: ignore[reportCallIssue]
        self.seen.append((x, y))
        return cast("torch.Tensor", y)

    def __getattr__(self, name: str) -> Any:
        # Blocks may read `fc1.weight.dtype` or `fc1.in_features` on their way.
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("inner"), name)


FOREIGN = (ArithmeticError, AssertionError, AttributeError, LookupError, NameError, RuntimeError, TypeError, ValueError)
"""What a module that is given one tensor where it needs more may raise."""


def _flows(module: nn.Module, block: Block) -> bool | None:
    """Whether a run shows up -> act -> down, or None where the module cannot be run on one tensor."""
    found = run_recorded(module, block)
    if found is None:
        return None
    up, act, down = found.parts
    return linked(up, act) and linked(act, down)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What was seen at a block's slots, in their order, and what the module gave."""

    parts: list[Recorder]
    output: object


def run_recorded(module: nn.Module, block: Block) -> Run | None:
    """A run on one tensor; None where the module cannot be run so."""
    recorders = [Recorder(slot.value) for slot in block.slots]
    shadow = copy.copy(module)
    parts: dict[str, nn.Module | None] = {
        name: nn.Identity() if is_passthrough(child) else child for name, child in children(module).items()
    }
    values = dict(vars(module))
    for slot, recorder in zip(block.slots, recorders, strict=True):
        values.pop(slot.name, None)
        parts[slot.name] = recorder
    shadow.__dict__ = {**values, "_modules": parts, "training": False}
    linear = cast("nn.Linear", block.up.value if block.up else None)
    weight, wide = linear.weight, widths(linear)[0]
    for shape in ((1, 4, wide), (4, wide)):
        x = torch.linspace(-2.0, 2.0, 4 * shape[-1]).reshape(shape).to(weight.device, weight.dtype)
        for recorder in recorders:
            recorder.seen.clear()
        try:
            with torch.no_grad(), torch.random.fork_rng(devices=[]):
                output = shadow(x)
        except FOREIGN:  # code that needs more than one tensor; asked in another shape
            continue
        return Run(parts=recorders, output=output)
    return None


def linked(first: Recorder, second: Recorder) -> bool:
    """Whether what came out of the first is what went into the second, call by call (a block may work in chunks)."""
    if not first.seen or len(first.seen) != len(second.seen):
        return False
    return all(same(one[1], other[0]) for one, other in zip(first.seen, second.seen, strict=True))


def same(out: object, into: object) -> bool:
    """Whether two values are one tensor, or two equal ones."""
    if not isinstance(out, torch.Tensor) or not isinstance(into, torch.Tensor):
        return False
    return out is into or (out.shape == into.shape and not out.is_meta and torch.equal(out, into))


def _only_reading(block: Block) -> bool:
    up, down = (cast("nn.Linear", slot.value if slot else None) for slot in (block.up, block.down))
    return widths(up)[0] == widths(down)[1] and widths(up)[0] != widths(up)[1]


ADAPTER = TwoLinears()
