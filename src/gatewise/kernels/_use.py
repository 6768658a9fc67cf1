"""Native kernels in a whole model: modules that have one are exchanged in place, everything else is left and named."""

import copy
import pickle
from collections import Counter
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from torch import nn
from torch.nn.utils import parametrize

from gatewise import activations

from ._feedforward import FeedForward
from ._functions import names
from ._library import status
from ._linear import Linear
from ._modules import WAS, Activation, GatedUnit
from ._stock import check_module

DTYPES = (torch.float32, torch.bfloat16)
HOOKS = (
    "_forward_hooks",
    "_forward_pre_hooks",
    "_backward_hooks",
    "_backward_pre_hooks",
    "_state_dict_hooks",
    "_state_dict_pre_hooks",
    "_load_state_dict_pre_hooks",
    "_load_state_dict_post_hooks",
)
FUSED = (nn.TransformerEncoderLayer, nn.MultiheadAttention)
"""Modules of torch that at inference read the weights of their parts and call none of them."""

BY_HAND = "on_kernels"
"""The method of a module that calls a function of the table itself: it gives its own twin on native kernels. The twin's
class has a true `has_kernels`."""


@dataclass(frozen=True, kw_only=True)
class Replaced:
    """A module that now is ours: where it stands, its class before and now, its function where it has one."""

    path: str
    was: str
    now: str
    function: str | None = None


@dataclass(frozen=True, kw_only=True)
class Left:
    """A module that might have been ours and is not: where it stands, its class, and why."""

    path: str
    was: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Used:
    """What `use` did.

    Attributes:
        model: the model to call. It is the one that was given, but where that itself is one of the modules exchanged.
        replaced: by place, in the model's order; a module that stands in several places comes once, with the first.
        left: what was left as it is, and why.
        instruction_set: what the kernels run with here; None where they are absent.
    """

    model: nn.Module
    replaced: tuple[Replaced, ...]
    left: tuple[Left, ...]
    instruction_set: str | None

    def to_json(self) -> dict[str, Any]:
        """Plain data for a record, without the model."""
        return {
            "instruction_set": self.instruction_set,
            "replaced": [asdict(each) for each in self.replaced],
            "left": [asdict(each) for each in self.left],
        }

    def __str__(self) -> str:
        if not self.replaced:
            why = "; ".join(dict.fromkeys(each.reason for each in self.left)) or "no module of the model has a kernel"
            return f"nothing was replaced: {why}"
        found = Counter(each.now if each.function is None else f"{each.now} {each.function}" for each in self.replaced)
        done = ", ".join(f"{count} x {what}" for what, count in found.items())
        return f"{done} ({self.instruction_set})" + (f"; {len(self.left)} left" if self.left else "")


def use(model: nn.Module) -> Used:
    """Put the native modules where stock ones stand, in place. The function and every parameter stay what they are.

    Exchanged are `activations.FeedForward`, `GatedUnit` and `Activation`, `nn.Linear`, `nn.GELU`, `nn.SiLU`, and
    modules without parameters that compute a function with a kernel, found by numbers (`activations.identify`). Only
    these very classes: a subclass may do more. Modules with hooks or parametrizations, of other dtypes than float32 and
    bfloat16 or not on the CPU, and those that work in place are left; so is what stands in a module of torch that may
    run a fused path of its own. A module in several places stays one module.

    What a forward calls as a function is not reached. Where the kernels are absent nothing is replaced, and `left` says
    why; `str()` of what is returned says it in a line. `stock` is the way back, for tools of torch that go by the very
    class of a module.

    Raises `GatewiseError` for anything but a module.
    """
    check_module("use", model)
    walk = _Walk()
    found = walk.at("", model)
    return Used(
        model=found,
        replaced=tuple(walk.replaced),
        left=tuple(walk.left),
        instruction_set=status().instruction_set,
    )


def in_use(model: nn.Module) -> bool:
    """Whether any module of a model is one of ours. Raises `GatewiseError` for anything but a module."""
    check_module("in_use", model)
    return any(_is_ours(module) for module in model.modules())


def _is_ours(module: nn.Module) -> bool:
    ours = isinstance(module, (Activation, FeedForward, GatedUnit, Linear))
    return ours or getattr(type(module), "has_kernels", False) is True


@dataclass(kw_only=True)
class _Walk:
    """One way through a model. `done` holds, by the id of a module, what stands in its place."""

    replaced: list[Replaced] = field(default_factory=list[Replaced])
    left: list[Left] = field(default_factory=list[Left])
    done: dict[int, nn.Module] = field(default_factory=dict[int, nn.Module])
    known: dict[object, str | None] = field(default_factory=dict[object, str | None])

    def at(self, path: str, module: nn.Module) -> nn.Module:
        """What stands in the module's place, its parts exchanged too."""
        if id(module) in self.done:
            return self.done[id(module)]
        found = self._exchanged(path, module)
        # Kept alive by `done`: an id must not be given to another module while the walk goes on.
        self.done[id(module)] = self.done[id(found)] = found
        if isinstance(found, FUSED):
            self._leave(path, module, "torch may run a fused path of its own in its place")
        elif not isinstance(found, FeedForward):
            parts: dict[str, nn.Module | None] = vars(found)["_modules"]  # named_children leaves shared ones out
            for name, part in parts.items():
                if part is not None:
                    parts[name] = self.at(f"{path}.{name}" if path else name, part)
        return found

    def _exchanged(self, path: str, module: nn.Module) -> nn.Module:
        """Ours for a module, with what else hangs on it; the module itself where it is left or none of ours."""
        made = self._ours(module)
        if made is None:
            return module
        make, function = made
        reason = _absent() or _reason(module)
        whole = isinstance(module, activations.FeedForward)  # its products have ways of their own, whatever it computes
        if reason is None and function is not None and not whole and function not in names():
            reason = f"{function} has no kernel"
        if reason is not None:
            self._leave(path, module, reason)
            return module
        found = make().train(module.training)
        for name, value in vars(module).items():
            vars(found).setdefault(name, value)  # what others hung on it: a builder, a history, a mark
        if next(module.parameters(), None) is None:
            vars(found)[WAS] = module  # no part of the model: for `stock`
        self.replaced.append(
            Replaced(path=path, was=type(module).__name__, now=type(found).__name__, function=function)
        )
        return found

    def _leave(self, path: str, module: nn.Module, reason: str) -> None:
        self.left.append(Left(path=path, was=type(module).__name__, reason=reason))

    def _ours(self, module: nn.Module) -> tuple[Callable[[], nn.Module], str | None] | None:
        """How ours is made and which function it has; None for a module of another kind."""
        kind = type(module)
        if _is_ours(module):
            return None
        by_hand: Callable[[nn.Module], nn.Module] | None = getattr(kind, BY_HAND, None)
        if by_hand is not None:
            return lambda: by_hand(module), str(getattr(module, "name", ""))
        if isinstance(module, activations.FeedForward) and kind is activations.FeedForward and not _inner(module):
            return lambda: FeedForward.of(module), module.activation
        if isinstance(module, activations.GatedUnit) and kind is activations.GatedUnit:
            return lambda: GatedUnit.of(module), module.name
        if isinstance(module, nn.Linear):
            return lambda: Linear.of(module), None
        function = self._function(module)
        return None if function is None else (lambda: Activation(function), function)

    def _function(self, module: nn.Module) -> str | None:
        """The function of a module that is nothing but one."""
        kind = type(module)
        if isinstance(module, activations.Activation) and kind is activations.Activation:
            return module.name
        if kind is nn.GELU:
            return "gelu_tanh" if module.approximate == "tanh" else "gelu"
        if kind is nn.SiLU:
            return "silu"
        if kind.__module__.startswith("torch.") and kind.__module__ != "torch.nn.modules.activation":
            return None
        if next(module.children(), None) or any(True for _ in (*module.parameters(), *module.buffers())):
            return None
        key = (kind, tuple(sorted((name, repr(value)) for name, value in vars(module).items() if name[:1] != "_")))
        if key not in self.known:
            self.known[key] = _identified(module)
        return self.known[key]


def _identified(module: nn.Module) -> str | None:
    """The function of the table that a module computes, in training as in use; None where it is none, or two."""
    try:
        twins = copy.deepcopy(module).train(), copy.deepcopy(module).eval()
    except (TypeError, ValueError, AttributeError, RuntimeError, copy.Error, pickle.PicklingError):
        return None  # what cannot be copied is not tried
    found = {activations.identify(lambda x, twin=twin: twin(x)).name for twin in twins}
    name = found.pop()
    return None if found or name == "identity" else name


def _inner(block: nn.Module) -> bool:
    """Whether a part of a block must stay as it is, so that the block cannot be taken whole."""
    return any(_reason(part) is not None or _odd(part) for part in block.modules() if part is not block)


def _odd(part: nn.Module) -> bool:
    return type(part) not in (nn.Linear, activations.Activation, activations.GatedUnit)


def _absent() -> str | None:
    found = status()
    return None if found.path is not None else f"the native kernels are absent: {found.reason}"


def _reason(module: nn.Module) -> str | None:
    """Why a module must stay as it is, or None."""
    if parametrize.is_parametrized(module):
        return "it has a parametrization"
    if isinstance(module, nn.Linear) and type(module) is not nn.Linear:
        return "a class of its own, which may do more than nn.Linear"
    if any(getattr(module, name, None) for name in HOOKS):
        return "it has hooks"
    if "forward" in vars(module):
        return "its forward was replaced"
    for parameter in module.parameters():
        if parameter.dtype not in DTYPES:
            return f"its weights are {str(parameter.dtype).removeprefix('torch.')}: float32 and bfloat16 have kernels"
        if parameter.device.type != "cpu":
            return f"its weights are on {parameter.device.type}: the kernels are for the CPU"
    if getattr(module, "inplace", False) is True or _writes(module):
        return "it works in place"
    return None


def _writes(module: nn.Module) -> bool:
    """Whether a module without parameters changes what it is given."""
    if type(module).__module__.startswith(("torch.", "gatewise.")) or next(module.parameters(), None) is not None:
        return False
    x = torch.linspace(-2.0, 2.0, 8)
    with torch.no_grad():
        given = x.clone()
        copy.deepcopy(module)(given)
    return not torch.equal(x, given)
