"""Structured reduction: the hidden units of a converted gate that contribute least go, the rest make up for them.

A unit's contribution is measured on the calibration set: the squared error of the site's output that remains when the
unit is removed and the layer back is refitted by least squares, |w_j|^2 / [G^-1]_jj with G the second moments of the
hidden units (the saliency of Optimal Brain Surgeon, Hassibi & Stork 1993, for a layer that is linear in its weights).
Units go in rounds, with new contributions after each.

What the smaller block should give is one of two things, and the whole model's error decides which: what the old block
gives on the same input; or what that of the original model gives, plus what is missing in the input by now. The second
makes up for the sites before, where the model adds a block's input to its output, as BERT does.
Shapes: N rows, H hidden units, K kept ones, O outputs.
"""

from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._blocks import widths
from ._fit_inputs import Batch, Reader
from ._keep_constants import bias_of, rows_of
from ._keep_figures import whole_figures
from ._keep_site import KeptSite, Layers
from ._random import NoRandomFill
from ._surgeon import Surgeon
from ._tree import has_bias

ROUNDS = 4
FIRST_RIDGE = 1e-3
RIDGES = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Strengths of the pull towards the old weights, as shares of the mean second moment; a held-out quarter decides."""
ROWS_PER_UNIT = 2
TRIED = 8
"""Batches on which the whole model's error decides between the two targets."""


def reduced_width(site: KeptSite, matching: str, multiple_of: int) -> int:
    """The hidden width at which the gate, which always has biases, costs what the original block cost.

    With i in, o out, h wide and b the bias of the original's first layer: params h (i + o + b) / (2 i + o + 2), less
    what the bias of `down` costs where it had none; flops h (2 i + 2 o + 1 + b) / (4 i + 2 o + 4). The nearest
    whole number, or rounded up to `multiple_of`; never more than h.
    """
    i, wide = widths(site.old.gate)
    o, b = widths(site.old.down)[1], int(has_bias(site.old.gate))
    extra = o * (1 - has_bias(site.old.down))
    if matching == "params":
        top, bottom = wide * (i + o + b) - extra, 2 * i + o + 2
    else:
        top, bottom = wide * (2 * i + 2 * o + 1 + b) - extra, 4 * i + 2 * o + 4
    if multiple_of > 1:
        return min(wide, max(1, -(-(top // bottom) // multiple_of)) * multiple_of)
    return min(wide, max(1, (2 * top + bottom) // (2 * bottom)))


@dataclass
class _Moments:
    """Sums over rows of the hidden units and the outputs they should give."""

    rows: int = 0
    units: Tensor | float = 0.0
    outputs: Tensor | float = 0.0
    squares: Tensor | float = 0.0
    products: Tensor | float = 0.0

    def add(self, hidden_NH: Tensor, output_NO: Tensor) -> None:
        hidden, output = hidden_NH.double(), output_NO.double()
        self.rows += len(hidden)
        self.units = self.units + hidden.sum(0)
        self.outputs = self.outputs + output.sum(0)
        self.squares = self.squares + hidden.t() @ hidden
        self.products = self.products + hidden.t() @ output

    def plus(self, other: "_Moments") -> "_Moments":
        names = ("rows", "units", "outputs", "squares", "products")
        return _Moments(**{name: getattr(self, name) + getattr(other, name) for name in names})

    def centred(self) -> "_Centred":
        assert isinstance(self.units, Tensor)
        assert isinstance(self.outputs, Tensor)
        units_H, outputs_O = self.units / self.rows, self.outputs / self.rows
        return _Centred(
            units=units_H,
            outputs=outputs_O,
            gram=self.squares / self.rows - torch.outer(units_H, units_H),
            cross=self.products / self.rows - torch.outer(units_H, outputs_O),
        )


@dataclass(frozen=True, kw_only=True)
class _Centred:
    """The same as means, and second moments about them: units [H], outputs [O], gram [H, H], cross [H, O]."""

    units: Tensor
    outputs: Tensor
    gram: Tensor
    cross: Tensor

    def part(self, outputs: slice) -> "_Centred":
        """Some of the outputs."""
        return replace(self, outputs=self.outputs[outputs], cross=self.cross[:, outputs])

    def error(self, weight_HO: Tensor) -> float:
        """Mean squared error of these weights, less the outputs' own variance, with the best bias."""
        return float((weight_HO * (self.gram @ weight_HO - 2.0 * self.cross)).sum())


@dataclass(frozen=True, kw_only=True)
class _Reduced:
    """A way to reduce a site: the units [K] that stay, and the layer back, [K, O] and [O]."""

    chosen: Tensor
    weight: Tensor
    bias: Tensor


def reduce_site(surgeon: Surgeon, site: KeptSite, original: nn.Module, batches: list[Batch]) -> None:
    """Bring one site to the matched width on the inputs that it gets now. Both models are in eval mode already.

    Raises `GatewiseError` when the calibration set has too few rows for the least squares.
    """
    kept = reduced_width(site, surgeon.plan.matching, surgeon.plan.multiple_of)
    wide = widths(site.old.gate)[1]
    if kept >= wide:
        return
    up = site.found.blocks[0].up
    assert up is not None  # only a block with its layers is widened
    twin = Reader(entries={site.path: original.get_submodule(surgeon.paths.of(up)[0])})
    fitted, tested = _moments(surgeon.model, site, batches, original, twin)
    rows = fitted.rows + tested.rows
    if rows < ROWS_PER_UNIT * wide:
        raise GatewiseError(
            f"the calibration set is too small: {site.path!r} reads {rows} rows of it, and to refit its {wide} hidden "
            f"units at least {ROWS_PER_UNIT * wide} are needed ({ROWS_PER_UNIT} rows, tokens or items, a unit)"
        )
    old_HO = rows_of(site.new.down).double().t()
    parts = fitted.centred(), tested.centred(), fitted.plus(tested).centred()
    width = old_HO.shape[1]
    ways = [
        _way(*(part.part(slice(first, first + width)) for part in parts), old_HO=old_HO, kept=kept)
        for first in range(0, len(parts[0].outputs), width)
    ]
    layers = site.new
    _put(surgeon, site, kept)
    errors: list[float] = []
    tried = batches[:: -(-len(batches) // TRIED)]
    for way in ways:
        _fill(site.new, layers, way)
        errors.append(whole_figures(original, surgeon.model, tried, "reduced").rms if len(ways) > 1 else 0.0)
    _fill(site.new, layers, ways[errors.index(min(errors))])


def _way(fitted: _Centred, tested: _Centred, whole: _Centred, *, old_HO: Tensor, kept: int) -> _Reduced:
    ridge = _ridge(fitted, tested, old_HO, kept)
    chosen = choose_units(whole.gram, whole.cross, old_HO, kept, ridge)
    weight_KO = refit(whole.gram, whole.cross, old_HO, chosen, ridge)
    return _Reduced(chosen=chosen, weight=weight_KO, bias=whole.outputs - whole.units[chosen] @ weight_KO)


def choose_units(gram_HH: Tensor, cross_HO: Tensor, old_HO: Tensor, kept: int, ridge: float) -> Tensor:
    """The indices, in their order, of the `kept` units that remain after rounds of removing the least ones."""
    chosen = torch.arange(len(gram_HH), device=gram_HH.device)
    removed = len(gram_HH) - kept
    for round_ in range(ROUNDS):
        now = removed * (round_ + 1) // ROUNDS - removed * round_ // ROUNDS
        if now == 0:
            continue
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(_ridged(gram_HH, chosen, ridge)))
        weight = inverse @ (cross_HO[chosen] + ridge * _size(gram_HH) * old_HO[chosen])
        contribution = weight.square().sum(1) / inverse.diagonal().clamp_min(1e-300)
        chosen = chosen[contribution.argsort(descending=True)[: len(chosen) - now].sort().values]
    return chosen


def refit(gram_HH: Tensor, cross_HO: Tensor, old_HO: Tensor, chosen: Tensor, ridge: float) -> Tensor:
    """The least-squares weights [K, O] of the chosen units, drawn towards the old ones by the ridge."""
    pull = ridge * _size(gram_HH)
    return torch.linalg.solve(_ridged(gram_HH, chosen, ridge), cross_HO[chosen] + pull * old_HO[chosen])


def _size(gram_HH: Tensor) -> float:
    return float(gram_HH.diagonal().mean()) + 1e-300


def _ridged(gram_HH: Tensor, chosen: Tensor, ridge: float) -> Tensor:
    eye = torch.eye(len(chosen), dtype=gram_HH.dtype, device=gram_HH.device)
    return gram_HH[chosen][:, chosen] + ridge * _size(gram_HH) * eye


def _ridge(fitted: _Centred, tested: _Centred, old_HO: Tensor, kept: int) -> float:
    """The ridge with the least error on rows that were not fitted on."""
    errors: dict[float, float] = {}
    chosen = choose_units(fitted.gram, fitted.cross, old_HO, kept, FIRST_RIDGE)
    for ridge in RIDGES:
        weight = torch.zeros_like(old_HO)
        weight[chosen] = refit(fitted.gram, fitted.cross, old_HO, chosen, ridge)
        errors[ridge] = tested.error(weight)
    return min(errors, key=lambda ridge: errors[ridge])


def _moments(
    model: nn.Module, site: KeptSite, batches: list[Batch], original: nn.Module, twin: Reader
) -> tuple[_Moments, _Moments]:
    """Moments of three quarters of the rows, and of the rest; the outputs of both targets lie side by side."""
    reader = Reader(entries={site.path: site.entry})
    act = activations.get(site.route.after).torch
    square = len({*widths(site.old.gate)[:1], widths(site.old.down)[1]}) == 1
    parts = (_Moments(), _Moments())
    for batch in batches:
        read, _ = reader.read(model, batch)
        if site.path not in read:
            continue
        x = read[site.path]
        hidden, output = site.new.hidden(act, x), site.before(x)
        if square:
            first = twin.read(original, batch)[0][site.path]
            output = torch.cat([output, site.before(first) + (first - x)], dim=1)
        last = torch.arange(len(x), device=x.device) % 4 == 3
        for part, chosen in zip(parts, (~last, last), strict=True):
            part.add(hidden[chosen], output[chosen])
    if not parts[0].rows or not parts[1].rows:
        raise GatewiseError(f"the calibration set is too small: {site.path!r} reads {parts[0].rows} rows of it")
    return parts


def _put(surgeon: Surgeon, site: KeptSite, kept: int) -> None:
    """Smaller layers in the place of the converted ones, still to be filled."""
    found, wide = site.found, site.new
    ups = [block.up for block in found.blocks if block.up]
    downs = [block.down for block in found.blocks if block.down]
    dim, out = widths(wide.gate)[0], widths(wide.down)[1]
    with NoRandomFill():
        unit = surgeon.put(ups, "GatedUnit", dim=dim, hidden=kept, name=surgeon.plan.to, bias=True)
        down = surgeon.put(downs, "Linear", in_features=kept, out_features=out, bias=True)
    assert isinstance(unit, activations.GatedUnit)
    assert isinstance(down, nn.Linear)
    for flag in surgeon.flags(found, kept):
        surgeon.set(flag)
    site.new, site.entry = Layers(gate=unit.gate, up=unit.up, down=down), unit
    after = sum(parameter.numel() for layer in (unit, down) for parameter in layer.parameters())
    site.change = replace(site.change, hidden_after=kept, parameters_after=after)


def _fill(new: Layers, wide: Layers, way: _Reduced) -> None:
    """Give the smaller layers the chosen units of the wide ones, and the layer back that was fitted."""
    assert new.up is not None
    assert wide.up is not None
    for layer, old in ((new.gate, wide.gate), (new.up, wide.up)):
        bias = bias_of(old).to(old.weight.dtype)[way.chosen]
        layer.weight = nn.Parameter(old.weight.detach()[way.chosen].clone(), requires_grad=old.weight.requires_grad)
        layer.bias = nn.Parameter(bias, requires_grad=(old.bias if has_bias(old) else old.weight).requires_grad)
    like = wide.down.weight
    new.down.weight = nn.Parameter(way.weight.t().to(like.dtype).contiguous(), requires_grad=like.requires_grad)
    new.down.bias = nn.Parameter(way.bias.to(like.dtype), requires_grad=like.requires_grad)
