"""One site under conversion: its old layers, its new ones, and the constants folded into them."""

import copy
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import cast

import torch
from torch import Tensor, nn

from gatewise import activations

from ._blocks import Slot, is_conv1d, widths
from ._keep import Route
from ._keep_constants import Constants, fill_columns, fill_rows
from ._random import NoRandomFill
from ._report import SiteChange
from ._sites import FoundSite
from ._surgeon import Surgeon
from ._tree import has_bias

Function = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Layers:
    """The linear layers of a block; `up` is None where there is one input only."""

    gate: nn.Linear
    up: nn.Linear | None
    down: nn.Linear

    def hidden(self, act: Function, x: Tensor) -> Tensor:
        """What `down` reads: act(gate(x)), times up(x) where there is one."""
        bent = act(self.gate(x))
        return bent if self.up is None else bent * self.up(x)

    def output(self, act: Function, x: Tensor) -> Tensor:
        return self.down(self.hidden(act, x))


@dataclass(kw_only=True)
class KeptSite:
    """A site whose structure is that of the target already.

    Attributes:
        old: copies of the layers before; with `before` they are the function to keep.
        new: the live layers of the model.
        entry: the module that reads the site's input.
        constants: what is folded into the new layers now.
        steps: the site as it was after each step, as functions of its input, by name.
    """

    found: FoundSite
    route: Route
    old: Layers
    new: Layers
    entry: nn.Module
    constants: Constants
    change: SiteChange
    steps: list[tuple[str, Function]] = field(default_factory=list)

    @property
    def path(self) -> str:
        return self.found.site.path

    @property
    def offsets(self) -> bool:
        """Whether an offset can be folded into the bias of `down`."""
        return has_bias(self.new.down) and self.old.up is None

    @property
    def shifts(self) -> bool:
        """Whether a shift can be folded into the bias of the layer that feeds the activation."""
        return has_bias(self.new.gate)

    def fill(self, constants: Constants) -> None:
        """Fold these constants into the live layers."""
        fold(self.old, self.new, constants)
        self.constants = constants

    def before(self, x: Tensor) -> Tensor:
        """What the site computed before."""
        return self.old.output(activations.get(self.route.before).torch, x)

    def remember(self, name: str) -> None:
        """Keep the layers as they are now, as a step of the report."""
        self.steps.append((name, partial(copy.deepcopy(self.new).output, activations.get(self.route.after).torch)))


def fold(old: Layers, new: Layers, constants: Constants, *, down: bool = True) -> None:
    """Fill `new` so that it computes with these constants what `old` computes with the function before.

    Without `down` the layer back of a scalar block that becomes a gated one stays the object that it is.
    """
    c = constants
    fill_rows(new.gate, old.gate, c.beta, c.shift)
    if old.up is not None and new.up is not None:  # a gated block: the scale goes into the other input
        fill_rows(new.up, old.up, c.scale, torch.zeros_like(c.scale))
    elif new.up is not None:  # a scalar block that has become a gated one
        fill_rows(new.up, old.gate, c.slope, c.scale)
        if down:
            fill_columns(new.down, old.down, torch.ones_like(c.scale), c.offset)
    else:
        fill_columns(new.down, old.down, c.scale, c.offset)


def open_site(surgeon: Surgeon, found: FoundSite, route: Route) -> KeptSite:
    """Carry out the edits of one site and fill it with the constants that need no calibration."""
    assert found.up is not None  # `route_of` lets no bare activation through
    assert found.down is not None
    old = Layers(
        gate=copy.deepcopy(found.gate or found.up),
        up=copy.deepcopy(found.up) if found.gate is not None else None,
        down=copy.deepcopy(found.down),
    )
    hidden = widths(old.gate)[1]
    flags = surgeon.flags(found, hidden)
    own = _own_rounding(found, route)
    acts = [block.act for block in found.blocks]
    if found.gate is None and activations.get(surgeon.plan.to).kind == "gate":
        entry, new = _gated(surgeon, found, route, acts)
    else:
        surgeon.put(acts, "Activation", name=route.after)
        new = Layers(gate=found.gate or found.up, up=found.up if found.gate else None, down=found.down)
        held = found.blocks[0].gate or found.blocks[0].up
        assert held is not None
        entry = cast("nn.Module", held.value)  # the live layer, also where `found` has halves of a fused one
    for flag in flags:
        surgeon.set(flag)
    constants = route.start(hidden)
    fold(old, new, constants, down=route.method == "fitted")
    layers = [layer for layer in (new.gate, new.up, new.down) if layer is not None]
    after = sum(parameter.numel() for layer in layers for parameter in layer.parameters())
    change = replace(surgeon.change(found, hidden, after, "converted", flags), method=route.method)
    change = replace(change, note="; ".join(part for part in (change.note, own) if part))
    return KeptSite(found=found, route=route, old=old, new=new, entry=entry, constants=constants, change=change)


def _own_rounding(found: FoundSite, route: Route) -> str:
    """A note for float64 models whose own code has rounded constants (BLOOM's 0.79788456 in the tanh GELU)."""
    act = found.blocks[0].act.value
    if found.up is None or found.up.weight.dtype != torch.float64 or not callable(act):
        return ""
    x = torch.linspace(-8.0, 8.0, 4097, dtype=torch.float64, device=found.up.weight.device)
    with torch.no_grad():
        bend = cast("Function", act)
        gap = float((bend(x.clone()) - activations.get(route.before).torch(x)).abs().max())
    if gap < 1e-14:
        return ""
    return f"the model's own {route.before} is up to {gap:.1g} away from the formula, which is kept instead"


def _gated(surgeon: Surgeon, found: FoundSite, route: Route, acts: list[Slot]) -> tuple[nn.Module, Layers]:
    """A gated unit where the layer was that feeds the activation; `down` stays, but for a bias that a fit needs."""
    up, down = found.up, found.down
    assert up is not None
    assert down is not None
    ups = [block.up for block in found.blocks if block.up]
    downs = [block.down for block in found.blocks if block.down]
    dim, hidden = widths(up)
    with NoRandomFill():
        bias = has_bias(up) or route.needs_bias
        unit = surgeon.put(ups, "GatedUnit", dim=dim, hidden=hidden, name=surgeon.plan.to, bias=bias)
        if route.method == "fitted" and not has_bias(down) and not is_conv1d(down):
            back = surgeon.put(downs, "Linear", in_features=hidden, out_features=widths(down)[1], bias=True)
            assert isinstance(back, nn.Linear)
            fill_columns(back, down, torch.ones(hidden, dtype=torch.float64), torch.zeros(hidden, dtype=torch.float64))
            down = back
    assert isinstance(unit, activations.GatedUnit)
    surgeon.put(acts, "Identity")
    return unit, Layers(gate=unit.gate, up=unit.up, down=down)
