"""Activation calls in code that torch.fx cannot trace, found by their names, so that an error can point at them."""

import dis
import inspect
from collections.abc import Iterator
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any

import torch
from torch import nn
from torch.nn import functional

from ._blocks import Block, CallSlot
from ._recognise import Recogniser

_NAMES = frozenset(
    """celu celu_ clamp_min clamp_min_ elu elu_ gelu hardsigmoid hardswish hardtanh hardtanh_ leaky_relu leaky_relu_
    logsigmoid mish relu relu6 relu_ selu selu_ sigmoid sigmoid_ silu softplus softsign tanh tanh_ tanhshrink
    threshold clamp clamp_ maximum erf exp""".split()  # noqa: SIM905  (one word a name, not one line)
)
_POSSIBLE = frozenset({"clamp", "clamp_", "clamp_min", "clamp_min_", "maximum", "erf", "exp", "threshold"})
"""Names that may be part of an activation, but alone say nothing."""
_DEPTH = 2


def called_names(module: nn.Module) -> list[tuple[str, str]]:
    """The names of activations in a module's forward and in the functions that it calls, each with file and line."""
    forward = inspect.unwrap(type(module).forward)
    seen: set[CodeType] = set()
    return list(_names(forward, type(module), seen, _DEPTH)) if isinstance(forward, FunctionType) else []


def untraced_calls(module: nn.Module, recognise: Recogniser, reason: str) -> list[Block]:
    """The activation calls that a forward makes where it cannot be traced: sites that nothing can be put at."""
    blocks: list[Block] = []
    lines: set[str] = set()
    for name, where in called_names(module):
        function = _function(name)
        if name in _POSSIBLE or function is None or where in lines or hasattr(module, name):
            continue
        if recognise(function) is not None:
            lines.add(where)
            place = f"the forward of {type(module).__name__} ({where})"
            fixed = f"{name} is called in {place}, which torch.fx cannot trace: {reason}"
            number = f"_{len(blocks) + 1}" if blocks else ""
            blocks.append(Block(act=CallSlot(owner=module, name=f"{name}{number}", function=function, fixed=fixed)))
    return blocks


def _names(function: FunctionType, cls: type, seen: set[CodeType], depth: int) -> Iterator[tuple[str, str]]:
    code = function.__code__
    if code in seen:
        return
    seen.add(code)
    line = code.co_firstlineno
    # Bytecode, not the source's text: it is there for the code of a notebook and of a prompt too.
    for step in dis.get_instructions(code):
        line = step.starts_line or line
        if not step.opname.startswith(("LOAD_GLOBAL", "LOAD_ATTR", "LOAD_METHOD", "LOAD_DEREF")):
            continue
        name = str(step.argval)
        meant = _meant(function, cls, step.opname, name)
        called = str(getattr(meant, "__name__", name)) if meant is not None else name
        if called in _NAMES:
            yield called, f"{code.co_filename.rpartition('/')[2]}:{line}"
        elif depth and isinstance(meant, FunctionType) and not (meant.__module__ or "").startswith("torch."):
            yield from _names(meant, cls, seen, depth - 1)


def _meant(function: FunctionType, cls: type, how: str, name: str) -> Any:
    """What a name in a function stands for, as far as that can be seen without running it."""
    found: Any = None
    if how == "LOAD_DEREF" and name in function.__code__.co_freevars and function.__closure__:
        cell = function.__closure__[function.__code__.co_freevars.index(name)]
        found = getattr(cell, "cell_contents", None)
    elif how == "LOAD_GLOBAL":
        found = function.__globals__.get(name)
    else:
        found = inspect.getattr_static(cls, name, None)
        modules = [each for each in function.__globals__.values() if isinstance(each, ModuleType)]
        owners = [each for each in modules if each.__name__.partition(".")[0] != "torch" and name in vars(each)]
        found = found if found is not None or not owners else vars(owners[0])[name]
    while isinstance(found, partial | staticmethod | classmethod):
        found = found.func if isinstance(found, partial) else found.__func__
    return found


def _function(name: str) -> Any:
    found = getattr(functional, name, None) or getattr(torch, name, None)
    return found if callable(found) else None
