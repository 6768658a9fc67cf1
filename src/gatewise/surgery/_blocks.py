"""The parts of a site: slots that hold a module or a function, and the block they form."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, TypeGuard

import torch
from torch import Tensor, nn

from ._recognise import Recogniser
from ._tree import has_bias


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One named place in a module: `owner.name` holds a module or a function."""

    owner: nn.Module
    name: str

    @property
    def value(self) -> object:
        return getattr(self.owner, self.name)

    @property
    def key(self) -> tuple[int, str]:
        return id(self.owner), self.name


@dataclass(frozen=True, kw_only=True, eq=False)
class CallSlot(Slot):
    """A call of a function in the owner's own forward; it becomes a slot when something is put there.

    Attributes:
        function: what it computes.
        fixed: why nothing can be put there, or an empty string.
    """

    function: Callable[..., Any]
    fixed: str = ""

    @property
    def value(self) -> object:
        return self.function


@dataclass(frozen=True, kw_only=True)
class Block:
    """One site as an adapter sees it.

    Attributes:
        act: the slot of the activation.
        up: the slot of the Linear that feeds the activation; None for a bare activation.
        down: the slot of the Linear that reads it; None for a bare activation.
        gate: the slot of the Linear whose output is bent, where that of `up` is multiplied with it: a gated FFN.
        fused: where one Linear gives both inputs of a gate (`up` and `gate` are then that one), which half of its
            outputs is bent, 0 or 1.
        obstacle: why the module that holds a gated FFN cannot be replaced as a whole, or an empty string.
    """

    act: Slot
    up: Slot | None = None
    down: Slot | None = None
    gate: Slot | None = None
    fused: int | None = None
    obstacle: str = ""

    @property
    def fixed(self) -> str:
        """Why nothing can be put in the place of the activation, or an empty string."""
        return self.act.fixed if isinstance(self.act, CallSlot) else ""

    @property
    def slots(self) -> tuple[Slot, ...]:
        return tuple(slot for slot in (self.up, self.gate, self.act, self.down) if slot is not None)


@dataclass(frozen=True, kw_only=True)
class Flag:
    """A plain attribute that must follow a swap, such as a switch of a fused fast path."""

    slot: Slot
    value: int | str


@dataclass(frozen=True, kw_only=True)
class Change:
    """What happens to a block: the function before (None where it has no name), the name after, the new width."""

    before: str | None
    to: str
    hidden: int


@dataclass(frozen=True, kw_only=True)
class Example:
    """A tiny model of a family with an input for it and the paths of its sites; the contract tests run on it."""

    model: nn.Module
    inputs: tuple[Tensor, ...]
    paths: tuple[str, ...]


class Adapter(Protocol):
    """Finds the sites of one family of modules by their structure. One file and one line in the table."""

    @property
    def looked_for(self) -> str:
        """What it looks for, for the error when nothing was found."""
        ...

    def match(self, module: nn.Module, recognise: Recogniser) -> list[Block]:
        """The blocks that this one module forms (not those inside its children)."""
        ...

    def flags(self, root: nn.Module, block: Block, change: Change) -> list[Flag]:
        """The attributes that must follow the change."""
        ...

    def example(self) -> Example:
        """A tiny model in which exactly the listed sites are of this family."""
        ...


class NoFlags:
    """The base of adapters whose family has no switch that must follow a swap."""

    def flags(self, root: nn.Module, block: Block, change: Change) -> list[Flag]:
        return []


def fits(up: object, down: object) -> bool:
    """Whether two modules are Linear layers whose widths meet."""
    return is_linear(up) and is_linear(down) and widths(up)[1] == widths(down)[0]


def is_linear(module: object) -> TypeGuard[nn.Linear]:
    """Whether a module is a Linear layer, a subclass of it, or GPT-2's `Conv1D`, which is one stored as [in, out]."""
    return isinstance(module, nn.Linear) or is_conv1d(module)


def is_conv1d(module: object) -> bool:
    """Whether a module is the `Conv1D` of transformers; looks only at names, so that it imports nothing."""
    return type(module).__name__ == "Conv1D" and type(module).__module__.startswith("transformers.")


def widths(linear: nn.Module) -> tuple[int, int]:
    """How many numbers a linear layer takes and gives."""
    rows, columns = linear.get_parameter("weight").shape
    return (rows, columns) if is_conv1d(linear) else (columns, rows)


def half(linear: nn.Linear, which: int) -> nn.Linear:
    """The first or the second half of a linear layer's outputs as a Linear that shares its memory. Not in any model."""
    weight, bias = linear.get_parameter("weight"), linear.get_parameter("bias") if has_bias(linear) else None
    rows = (weight.t() if is_conv1d(linear) else weight).chunk(2)[which]
    with torch.device("meta"):
        part = nn.Linear(rows.shape[1], rows.shape[0], bias=bias is not None)
    part.weight = nn.Parameter(rows.detach(), requires_grad=weight.requires_grad)
    if bias is not None:
        part.bias = nn.Parameter(bias.detach().chunk(2)[which], requires_grad=bias.requires_grad)
    return part
