"""The way back from `use`: torch's own modules where ours stand, around the same Parameters."""

from collections.abc import Sequence

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._feedforward import FeedForward
from ._linear import Linear
from ._modules import WAS, Activation, GatedUnit


def stock(model: nn.Module) -> nn.Module:
    """Put torch's own modules where ours stand, in place, and return the model to call: it undoes `use`.

    Parameters stay the same objects, names and the state dict the same; hooks, modes and whatever else hangs on a
    module stay, too. For tools that go by the very class of a module, such as `quantize_dynamic`, which knows
    `nn.Linear` and no subclass. Where ours was put in the place of a module without parameters, that one comes back;
    elsewhere a function is an `activations.Activation`. A module in several places stays one. Subclasses of ours, and
    what stands in no module's list of parts, stay as they are.

    Raises `GatewiseError` for anything but a module.
    """
    check_module("stock", model)
    return _at(model, {})


def check_module(what: str, model: object) -> None:
    """Raises `GatewiseError` for anything but a module."""
    if not isinstance(model, nn.Module):
        got = f"the class {model.__name__}" if isinstance(model, type) else type(model).__name__
        raise GatewiseError(f"{what} takes a model, an nn.Module, not {got}")


def _at(module: nn.Module, done: dict[int, nn.Module]) -> nn.Module:
    if id(module) in done:
        return done[id(module)]
    found = _stock_of(module)
    done[id(module)] = done[id(found)] = found
    parts: dict[str, nn.Module | None] = vars(found)["_modules"]
    for name, part in parts.items():
        if part is not None:
            parts[name] = _at(part, done)
    return found


def _stock_of(module: nn.Module) -> nn.Module:
    """Torch's module for one of ours; itself where it is another."""
    was = vars(module).get(WAS)
    if isinstance(was, nn.Module):
        vars(was).update({name: value for name, value in vars(module).items() if "hooks" in name})
        return was.train(module.training)
    kind = type(module)
    if kind is Linear:
        return _made(nn.Linear, module, ("pack", "_packed"))
    if kind is FeedForward:
        return _made(activations.FeedForward, module, ("accuracy", "path", "cache", "pack", "save_bytes"))
    if isinstance(module, (Activation, GatedUnit)) and kind in (Activation, GatedUnit):
        found = _made(activations.GatedUnit if kind is GatedUnit else activations.Activation, module, ())
        vars(found)["_function"] = activations.get(module.name).torch
        return found
    return module


def _made(kind: type[nn.Module], module: nn.Module, ours: Sequence[str]) -> nn.Module:
    """A module of a stock class with everything that a module of ours has, but what only ours know."""
    made = kind.__new__(kind)
    made.__dict__.update({name: value for name, value in vars(module).items() if name not in ours})
    for name in ("_parameters", "_buffers", "_modules"):
        made.__dict__[name] = made.__dict__[name].copy()
    return made
