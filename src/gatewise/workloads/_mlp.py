"""A plain deep net: fully connected layers, one after the other, without norms or shortcuts.

Shapes: B batch, P inputs, H hidden width, L classes.
"""

from dataclasses import asdict, dataclass, fields
from itertools import pairwise
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name

from ._options import check_whole
from ._seeded import normal

_EPS = 1e-6
"""Added to a mean square, so that a blank image stays one."""


@dataclass(frozen=True, kw_only=True)
class MLPConfig:
    """The shape of an `MLP`. Raises `GatewiseError` for sizes out of range.

    Attributes:
        inputs, classes: numbers in an item, and logits out.
        layers: hidden layers, each with the activation after it.
        hidden: width of the *scalar* arms' layers; a gate's own width follows from it by `matching`.
        dropout: the share of hidden values set to 0 while it trains.
        activation: name of a scalar function or of a gate.
        matching: `params`: a gated net is as wide as comes nearest to the scalar net's parameters; `flops`: to its
            FLOPs (a multiply-add counts as 2; an activation, a product and a bias as 1 per element); `none`: as wide.
        norm: whether the values that go into each layer, and into the last one, are divided by the root of their mean
            square (an RMS norm without parameters). Without it a signal shrinks from layer to layer, and a gate, which
            multiplies two small numbers, squares that: eight gated layers in a row then pass nothing on.
    """

    inputs: int
    classes: int = 10
    layers: int = 8
    hidden: int = 128
    dropout: float = 0.0
    activation: str = "gelu"
    matching: str = "params"
    norm: bool = True

    def __post_init__(self) -> None:
        most = {"inputs": 2**20, "classes": 2**20, "layers": 256, "hidden": 65_536}
        for name, limit in most.items():
            check_whole(name, getattr(self, name), least=1, most=limit)
        if isinstance(self.dropout, bool) or not 0 <= self.dropout < 1:
            raise GatewiseError(f"dropout must be a number in [0, 1), got {self.dropout!r}")
        if not isinstance(self.norm, bool):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise GatewiseError(f"norm must be true or false, got {self.norm!r}")
        activations.get(self.activation)
        activations.matched_hidden(1, 1, self.matching)  # refuses an unknown matching

    @property
    def width(self) -> int:
        """The width of this arm's layers."""
        if activations.get(self.activation).kind == "scalar" or self.matching == "none":
            return self.hidden
        wanted = self._cost(self.hidden, gated=False)
        wide = min(range(1, self.hidden + 1), key=lambda width: abs(self._cost(width, gated=True) - wanted))
        return max(1, wide)

    def _cost(self, width: int, *, gated: bool) -> int:
        """Parameters, or FLOPs per item, of a net of that width."""
        matrices, elements = 1 + gated, width * self.layers
        weights = width * self.inputs + width * width * (self.layers - 1)
        if self.matching == "params":
            return matrices * (weights + elements) + width * self.classes + self.classes
        bent = elements * (2 * matrices if gated else 2)  # biases, the function, and for a gate the product
        return 2 * matrices * weights + bent + 2 * width * self.classes + self.classes


class Layer(nn.Module):
    """dropout(f(x W + b)), or with a gate dropout(act(x Wg + bg) * (x Wu + bu)): x[..., into] to [..., width]."""

    def __init__(self, into: int, width: int, activation: str, dropout: float) -> None:
        super().__init__()
        self._gated = activations.get(activation).kind == "gate"
        if self._gated:
            self.unit = activations.GatedUnit(into, width, activation, bias=True)
        else:
            self.linear = nn.Linear(into, width)
            self.act = activations.Activation(activation)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        return self.dropout(self.unit(x) if self._gated else self.act(self.linear(x)))


class MLP(nn.Module):
    """x float32 [B, ...] with P numbers an item to logits [B, L]. The weights come from `seed`."""

    def __init__(self, config: MLPConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config
        self.gatewise_builder = {"name": "mlp", "config": asdict(config)}
        sizes = [config.inputs] + [config.width] * config.layers
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are replaced below
            self.layers = nn.ModuleList(
                Layer(into, width, config.activation, config.dropout) for into, width in pairwise(sizes)
            )
            self.head = nn.Linear(config.width, config.classes)
        initialise(self, seed)

    def forward(self, x: Tensor) -> Tensor:
        x = x.flatten(1)
        if x.shape[1] != self.config.inputs:
            raise GatewiseError(f"this net takes {self.config.inputs} numbers an item, got {x.shape[1]}")
        for layer in self.layers:
            x = layer(self._normed(x))
        return self.head(self._normed(x))

    def _normed(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, x.shape[-1:], eps=_EPS) if self.config.norm else x


def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter from (seed, its name) alone: biases 0, matrices normal, each unit's weights of length 1.

    That is the start of the GELU paper's code. The rule is the same for all arms.
    """
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.zero_()
                continue
            drawn = normal(seed, name, tuple(parameter.shape))
            parameter.copy_(drawn / drawn.norm(dim=1, keepdim=True))


def build(config: dict[str, Any]) -> MLP:
    """The builder of recipes. Raises `GatewiseError` for an unknown key."""
    known = [field.name for field in fields(MLPConfig)]
    for key in config:
        if key not in known:
            raise unknown_name("mlp setting", key, known)
    return MLP(MLPConfig(**config))
