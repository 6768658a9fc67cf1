"""Looking at the hidden units of a model's FFNs while it runs: their pre-activations, and the function on them."""

from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError


@dataclass(frozen=True, kw_only=True)
class HiddenUnits:
    """The hidden units of one FFN.

    Attributes:
        path: where the activation or the gated unit stands.
        function: the scalar function that bends the pre-activations; for a gate the one on its gate input.
    """

    path: str
    function: str


See = Callable[[HiddenUnits, Tensor], None]
"""Is given the units of one FFN and their pre-activations of one call, shape [..., hidden]."""


def hidden_units(model: nn.Module) -> tuple[HiddenUnits, ...]:
    """The FFNs of a model whose function is a known one: plain ones, and gated units of gatewise.

    Raises `GatewiseError` where there is none, or where one activation object serves several FFNs.
    """
    found = [
        HiddenUnits(path=site.path, function=activations.get(site.before).act or site.before)
        for site in surgery.find_sites(model)
        if site.kind == "ffn" and site.named and _module(model, site.path) is not None
    ]
    for path, module in model.named_modules():
        if isinstance(module, activations.GatedUnit):
            act = activations.get(module.name).act
            assert act is not None  # every gate names the function on its gate input
            found.append(HiddenUnits(path=path, function=act))
    if not found:
        raise GatewiseError("there is no FFN in the model whose hidden units could be looked at")
    if len({id(_module(model, units.path)) for units in found}) < len(found):
        raise GatewiseError("one activation object serves several FFNs: their units cannot be told apart")
    return tuple(found)


def _module(model: nn.Module, path: str) -> nn.Module | None:
    try:
        return model.get_submodule(path)
    except AttributeError:  # a function that an attribute holds
        return None


@contextmanager
def watching(model: nn.Module, units: tuple[HiddenUnits, ...], see: See) -> Generator[None]:
    """Inside it, `see` is given the pre-activations of every call of these units. What the model computes stays."""
    handles: list[Any] = []
    try:
        for each in units:
            module = model.get_submodule(each.path)
            if isinstance(module, activations.GatedUnit):
                handles.append(module.gate.register_forward_hook(_after(see, each)))
            else:
                handles.append(module.register_forward_pre_hook(_before(see, each)))
        yield
    finally:
        for handle in handles:
            handle.remove()


def _before(see: See, units: HiddenUnits) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        del module
        see(units, inputs[0])

    return hook


def _after(see: See, units: HiddenUnits) -> Callable[..., None]:
    def hook(module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        del module, inputs
        see(units, output)

    return hook


def slopes(function: str, z: Tensor) -> Tensor:
    """f'(z) of a scalar function of the table, as torch's autograd computes it."""
    with torch.inference_mode(False), torch.enable_grad():
        x = z.detach().clone().requires_grad_()
        (slope,) = torch.autograd.grad(activations.get(function).torch(x).sum(), x)
    return slope
