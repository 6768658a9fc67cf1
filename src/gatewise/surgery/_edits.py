"""Edits: a swap as plain data. The same code carries them out in a swap and when a recipe is loaded."""

from typing import Any, cast

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._calls import open_call
from ._tree import has_slot

Edit = dict[str, Any]

# Plain attributes that an edit may set, with the type each must have; a recipe cannot reach any other.
_ATTRIBUTES: dict[str, type] = {
    "activation_relu_or_gelu": int,
    "use_nested_tensor": bool,
    "activation": str,
    "hidden": int,
}


def module_edit(paths: list[str], kind: str, **arguments: object) -> Edit:
    """Put one new module at all these paths."""
    return {"paths": paths, "module": {"type": kind, **arguments}}


def value_edit(paths: list[str], value: int | str) -> Edit:
    """Set one plain attribute."""
    return {"paths": paths, "value": value}


def apply_edit(model: nn.Module, edit: Edit) -> nn.Module | None:
    """Carry out one edit; returns the new module where there is one. Raises `GatewiseError` for what is no edit."""
    try:
        paths = cast("list[str]", edit["paths"])
        if "module" in edit:
            new = _new_module(dict(edit["module"]))
            for path in paths:
                owner, name = _slot(model, path)
                new.train(owner.training)
                setattr(owner, name, new)
            return new
        for path in paths:
            owner, name = _slot(model, path)
            if type(edit["value"]) is not _ATTRIBUTES.get(name) or type(getattr(owner, name)) is not _ATTRIBUTES[name]:
                raise GatewiseError(f"an edit may not set {path!r} to {edit['value']!r}")
            setattr(owner, name, edit["value"])
    except (KeyError, TypeError, ValueError, AttributeError, RuntimeError) as error:
        raise GatewiseError(f"the edit {edit!r} does not fit the model: {error}") from error
    return None


def _slot(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """The owner and the name of a slot that holds a module, a function or a plain value, or is a functional call."""
    parent, _, name = path.rpartition(".")
    owner = model.get_submodule(parent)
    if not has_slot(owner, name) and not open_call(owner, name):
        raise AttributeError(f"there is nothing at {path!r}")
    return owner, name


def _new_module(description: dict[str, Any]) -> nn.Module:
    kind = description.pop("type")
    if kind == "Activation":
        return activations.Activation(**description)
    if kind == "Identity" and not description:
        return nn.Identity()
    if kind == "GatedUnit":
        return activations.GatedUnit(**description)
    if kind == "FeedForward":
        return activations.FeedForward(**description)
    if kind == "Linear":
        return nn.Linear(**description)
    raise GatewiseError(
        f"unknown module {kind!r} in an edit\nvalid: Activation, FeedForward, GatedUnit, Identity, Linear"
    )
