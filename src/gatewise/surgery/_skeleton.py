"""A model rebuilt from plain data without its weights, and whether that is the model one has."""

import copy
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gatewise.core import GatewiseError

from ._edits import apply_edit
from ._random import NoRandomFill
from ._recognise import is_function
from .builders import BUILDERS

CALLER = "caller"
"""The builder's name in the recipe of a model that only the user's own code can build."""


def build_skeleton(
    builder: dict[str, Any], edits: list[dict[str, Any]], own: Callable[[], nn.Module] | None = None
) -> nn.Module:
    """Run the builder, then the edits. Draws no random numbers; the weights hold arbitrary values.

    `own` is the caller's own code, for a recipe that says it needs it.
    Raises `GatewiseError` when the builder is unknown, missing, or its config does not build.
    """
    if builder["name"] == CALLER:
        return _build_own(own, edits)
    build = BUILDERS[builder["name"]]
    dtype = torch.get_default_dtype()
    try:
        torch.set_default_dtype(torch.float32)
        with torch.random.fork_rng(devices=[]), torch.device("cpu"), NoRandomFill():
            model = build(builder["config"])
            for edit in edits:
                apply_edit(model, edit)
    except (TypeError, ValueError, KeyError, AttributeError, RuntimeError, ArithmeticError, AssertionError) as error:
        raise GatewiseError(f"the builder {builder['name']!r} cannot build this config: {error}") from error
    finally:
        torch.set_default_dtype(dtype)
    return model.eval()


def _build_own(own: Callable[[], nn.Module] | None, edits: list[dict[str, Any]]) -> nn.Module:
    if own is None:
        raise GatewiseError("only the code that built this model can build it again: load it with builder=FUNCTION")
    with torch.random.fork_rng(devices=[]):
        model = copy.deepcopy(own())
    for edit in edits:
        apply_edit(model, edit)
    return model.eval()


def check_same(model: nn.Module, rebuilt: nn.Module) -> None:
    """Refuse a description that would give another model. Raises `GatewiseError` that names the first difference."""
    mine, theirs = _structure(model), _structure(rebuilt)
    for path in [*mine, *theirs]:
        if mine.get(path) != theirs.get(path):
            raise GatewiseError(
                f"the model cannot be rebuilt from its description: {path or 'the model'} is {mine.get(path)}, "
                f"rebuilt it is {theirs.get(path)}\nchange models with gatewise.swap, or give them a `gatewise_builder`"
            )


def _structure(model: nn.Module) -> dict[str, str]:
    parts: dict[str, str] = {}
    for path, module in model.named_modules(remove_duplicate=False):
        text = f"{type(module).__module__}.{type(module).__qualname__}({module.extra_repr()})"
        functions = {name: value for name, value in vars(module).items() if is_function(value)}
        text += "".join(f" {name}={_function_name(value)}" for name, value in sorted(functions.items()))
        if type(module).__module__.startswith("torch.nn."):
            # What decides how a stock module runs and is not in its repr: norm_first, fast-path switches, ...
            plain = {name: value for name, value in vars(module).items() if isinstance(value, int | float | str)}
            text += "".join(f" {name}={plain[name]!r}" for name in sorted(plain) if name != "training")
        parts[path] = text
    for name, tensor in [*model.named_parameters(remove_duplicate=False), *model.named_buffers(remove_duplicate=False)]:
        parts[f"tensor {name}"] = str(list(tensor.shape))
    return parts


def _function_name(value: object) -> str:
    return f"{getattr(value, '__module__', '')}.{getattr(value, '__qualname__', repr(value))}"
