"""Which scalar function a module or a callable really computes, found by numbers and never by its name."""

import copy
import functools
import types
from collections.abc import Callable
from dataclasses import dataclass
from typing import cast

import torch
from torch import nn

from gatewise import activations

Elementwise = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True, kw_only=True)
class Recognised:
    """What an elementwise callable computes.

    Attributes:
        name: the activation's name in `gatewise.activations`, or None where none fits.
        label: what people read: the name, or the class or function name where there is none.
    """

    name: str | None
    label: str


class Recogniser:
    """Remembers what each object computes, so that a shared module is probed once."""

    def __init__(self) -> None:
        # The object is kept beside the answer: an id is only unique as long as its object lives.
        self._known: dict[int, tuple[object, Recognised | None]] = {}

    def __call__(self, candidate: object) -> Recognised | None:
        """The function of a module without tensors or of a plain function; None where it is no activation.

        The identity counts as none: a `Dropout` or a placeholder does not bend anything.
        """
        known = self._known.get(id(candidate))
        if known is None:
            known = self._known[id(candidate)] = (candidate, _recognise(candidate))
        return known[1]


def is_function(candidate: object) -> bool:
    """Whether an attribute can be an activation written as a plain function (`F.gelu`, `torch.tanh`, a partial)."""
    if isinstance(candidate, functools.partial):
        return True
    return isinstance(candidate, types.FunctionType | types.BuiltinFunctionType)


def is_passthrough(module: object) -> bool:
    """Whether a module leaves its input as it is once it is in eval mode: `Dropout` and `Identity`."""
    return isinstance(module, nn.Dropout | nn.Identity)


def _recognise(candidate: object) -> Recognised | None:
    if isinstance(candidate, nn.Module):
        if not _may_be_activation(candidate):
            return None
        # A copy in eval mode: probing never moves the training flag of the model that is looked at.
        function: Elementwise = copy.deepcopy(candidate).eval()
        label = type(candidate).__name__
    elif is_function(candidate) and callable(candidate):
        function = cast("Elementwise", candidate)
        label = str(getattr(candidate, "__name__", type(candidate).__name__))
    else:
        return None
    found = activations.identify(function)
    if not found.elementwise or found.name == "identity":
        return None
    if found.name is None and (not isinstance(candidate, nn.Module) or _has_parts(candidate) or _is_straight(function)):
        return None  # unknown functions may be anything, and the parts of an unknown composite are looked at alone
    return Recognised(name=found.name, label=found.name or label)


def _has_parts(module: nn.Module) -> bool:
    return next(module.children(), None) is not None


def _may_be_activation(module: nn.Module) -> bool:
    if is_passthrough(module) or isinstance(module, nn.Sequential | nn.ModuleList | nn.ModuleDict):
        return False
    if any(is_passthrough(inner) for inner in module.modules()):
        return False  # a dropout inside would be lost with the swap
    return next(module.parameters(), None) is None and next(module.buffers(), None) is None


def _is_straight(function: Elementwise) -> bool:
    """Whether an elementwise function is a straight line (a scale, a shift): that is no activation."""
    x = torch.linspace(-8.0, 8.0, 65)
    with torch.no_grad():
        y = function(x.clone())
    line = y[0] + (y[-1] - y[0]) * (x - x[0]) / (x[-1] - x[0])
    return torch.allclose(y, line, rtol=1e-5, atol=1e-5)
