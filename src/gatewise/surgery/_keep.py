"""Conversion that keeps the function: which way a site takes, and who refuses it."""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from gatewise import activations
from gatewise.core import GatewiseError

from ._blocks import is_conv1d
from ._gate import gate_of, simple_gate
from ._keep_constants import Constants
from ._recognise import Recognised
from ._sites import FoundSite, Site
from ._tree import children, own_parameters

Method = Literal["none", "exact", "scaled", "fitted"]

QUICK = 1.702
"""x sigmoid(1.702 x) = silu(1.702 x) / 1.702 is the quick form of GELU (Hendrycks & Gimpel, arXiv 1606.08415)."""

# Functions that are another one with its input and output scaled: (before, after) -> beta; the scale is 1 / beta.
_SCALED = {("quick_gelu", "silu"): QUICK, ("silu", "quick_gelu"): 1.0 / QUICK}
# Functions that are their own input times another one, f(x) = x h(beta x): the other input of the gate is then the
# pre-activation itself, and needs no bias that the block does not have.
_PRODUCTS = {
    ("silu", "sigmoid"): 1.0,
    ("quick_gelu", "sigmoid"): QUICK,
    ("relu2", "relu"): 1.0,
}
# Where a fit starts, and what it is compared with, where that is not the bare exchange of the functions.
_STARTS = {
    ("gelu", "silu"): QUICK,
    ("gelu_tanh", "silu"): QUICK,
    ("silu", "gelu"): 1.0 / QUICK,
    ("silu", "gelu_tanh"): 1.0 / QUICK,
    # h(beta x) / beta goes to relu with beta; a larger one is closer, but bends as sharply as relu does.
    ("relu", "silu"): 6.0,
    ("relu", "gelu"): 6.0,
    ("relu", "gelu_tanh"): 6.0,
}


@dataclass(frozen=True, kw_only=True)
class Route:
    """How one site is converted.

    Attributes:
        method: `none` (it computes that already), `exact` (the same function), `scaled` (the same function but for two
            constants that hold for every input) or `fitted` (constants of every unit fitted on a calibration set).
        before: the scalar function that the site bends its input with.
        after: the one that it is to bend it with.
        beta: the scale that a unit starts from; 1 where the functions are simply exchanged.
        product: whether the other input of the gate is the pre-activation itself, instead of a constant.
    """

    method: Method
    before: str
    after: str
    beta: float = 1.0
    product: bool = False

    @property
    def needs_bias(self) -> bool:
        """Whether the new gate needs biases that the block may not have had."""
        return not self.product or self.method == "fitted"

    def start(self, hidden: int) -> Constants:
        """The constants that hold without any calibration."""
        if self.product:
            return Constants.uniform(hidden, beta=self.beta, scale=0.0, slope=1.0)
        return Constants.uniform(hidden, beta=self.beta, scale=1.0 / self.beta)


def route_of(model: nn.Module, found: FoundSite, to: str, *, calibrated: bool) -> Route:
    """The way from a site's function to the target. Raises `GatewiseError` where the function would not be kept."""
    site = found.site
    if site.named and site.before == to:
        return Route(method="none", before=to, after=to)
    after = _after(site, to)
    before = site.before if not site.gated else (simple_gate(site.before) if site.named else None) or ""
    if not site.named or not before:
        raise GatewiseError(f"{site.path!r} computes {site.before}, which is not in the table: it cannot be kept")
    if before == after:
        return Route(method="exact", before=before, after=after)
    obstacle = _fold_obstacle(model, found)
    if (before, after) in _SCALED and not obstacle:
        return Route(method="scaled", before=before, after=after, beta=_SCALED[before, after])
    widened = not site.gated and activations.get(to).kind == "gate"
    if widened and (before, after) in _PRODUCTS:
        beta = _PRODUCTS[before, after]
        return Route(method="exact" if beta == 1.0 else "scaled", before=before, after=after, beta=beta, product=True)
    product = widened and after == "sigmoid" and before in ("gelu", "gelu_tanh")
    if widened and after != "silu" and not product:
        raise GatewiseError(f"{to} does not keep {before} at {site.path!r}\n{_valid(before)}")
    if not calibrated:
        raise GatewiseError(
            f"{to} keeps {before} at {site.path!r} only by a fit on real inputs: give a calibration set\n"
            f"{_valid(before)}"
        )
    if obstacle:
        raise GatewiseError(f"nothing can be folded into the layers at {site.path!r}: {obstacle}")
    beta = QUICK if product else _STARTS.get((before, after), 1.0)
    return Route(method="fitted", before=before, after=after, beta=beta, product=product)


def _fold_obstacle(model: nn.Module, found: FoundSite) -> str:
    """Why constants cannot be folded into a site's layers, or an empty string."""
    if not found.site.gated:
        return found.site.obstacle
    # A gated block stays the module it is, so what would forbid another one in its place does not matter here.
    slots = [slot for block in found.blocks for slot in (block.up, block.gate, block.down) if slot is not None]
    keys, linears = {slot.key for slot in slots}, {id(slot.value): slot.value for slot in slots}
    weights: set[int] = set()
    for linear in linears.values():
        if not isinstance(linear, nn.Module) or (type(linear) is not nn.Linear and not is_conv1d(linear)):
            return f"one of its layers is a {type(linear).__name__}, not a plain nn.Linear"
        weights |= {id(weight) for weight in linear.parameters()}
    for module in model.modules():
        if any(id(part) in linears and (id(module), name) not in keys for name, part in children(module).items()):
            return "one of its layers is also used elsewhere in the model"
        if id(module) not in linears and any(id(weight) in weights for weight in own_parameters(module)):
            return "the weights of one of its layers are tied to another module"
    return ""


def _after(site: Site, to: str) -> str:
    """The scalar function that the target bends with. Raises `GatewiseError` for a target that keeps nothing there."""
    spec = activations.get(to)
    if spec.kind == "gate":
        act = simple_gate(to)
        if act is None:
            raise GatewiseError(f"{to} is {spec.formula}: it keeps no function of {site.path!r}")
        return act
    if site.gated:
        raise GatewiseError(f"{to} has one input: it cannot keep the gate {site.before} at {site.path!r}")
    return spec.name


def _valid(before: str) -> str:
    gate, known = gate_of(Recognised(name=before, label=before))
    exact = f"{gate} keeps it exactly; " if known else ""
    return f"valid: {exact}swiglu with calibration=, and without keep_function anything"
