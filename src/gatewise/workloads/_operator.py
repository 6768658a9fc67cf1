"""`operator`: the activation alone, without any matrix around it.

Shapes: B batch, T tokens, D width of the output; a gate's input is 2 D wide.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations, kernels
from gatewise.core import unknown_name

from ._options import check_whole
from ._seeded import normal
from ._stochastic import StochasticGELU
from ._workload import Workload

WIDEST = 262_144
_PROBE_BATCHES, _PROBE_BATCH, _PROBE_TOKENS = 4, 16, 16


class Operator(nn.Module):
    """One activation or gate of the table, by the stock torch code.

    A scalar bends `x_BTD`. A gate takes one tensor, `gate_up_BTE` with E = 2 D, and splits it into its halves, gate
    first, as models with one fused input projection do. Either way the output is [B, T, D]. Both inputs are handed to
    every arm, so that all are called alike; each reads its own.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        if name in OperatorWorkload.own_arms:
            self.name, self._function, self._gated = name, StochasticGELU(), False
            self.gatewise_builder = {"name": "operator", "config": {"name": name}}
            return
        spec = activations.get(name)
        self.name = spec.name
        self.gatewise_builder = {"name": "operator", "config": {"name": spec.name}}
        self._function = spec.torch
        self._gated = spec.kind == "gate"

    def forward(self, x_BTD: Tensor, gate_up_BTE: Tensor) -> Tensor:
        if self._gated:
            gate, up = gate_up_BTE.chunk(2, dim=-1)
            return self._function(gate, up)
        return self._function(x_BTD)

    def extra_repr(self) -> str:
        return repr(self.name)

    def on_kernels(self) -> "NativeOperator":
        """The same function by its native kernel; its name must be one of `kernels.names()`."""
        return NativeOperator(self.name)


class NativeOperator(Operator):
    """The same by gatewise's native kernel: what `kernels.use` puts in its place."""

    has_kernels = True

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self._function = kernels.FUNCTIONS[name]


def build(config: dict[str, Any]) -> Operator:
    """The builder of recipes. Raises `GatewiseError` for an unknown key or name."""
    for key in config:
        if key != "name":
            raise unknown_name("operator setting", key, ["name"])
    return Operator(**config)


@dataclass(frozen=True, kw_only=True)
class OperatorWorkload(Workload):
    """An activation on normal numbers. There are no weights, so the weights state is `original` and parameters are 0.

    Arms are matched by the width of what they put out: `matching` has nothing to change. A gate reads twice as many
    numbers as a scalar function for it, and multiplies; in a block of equal parameters it is two thirds as wide (`ffn`
    measures that).

    Attributes:
        dim: width of the output; 1536 is the hidden width of the sentence encoder's blocks.
    """

    dim: int = 1536

    name = "operator"

    own_arms = MappingProxyType(
        {
            "stochastic_gelu": {
                "kind": "stochastic",
                "formula": "x · m, m ~ Bernoulli(Φ(x))",
                "paper": "Hendrycks and Gimpel 2016, Gaussian error linear units, section 2 (arXiv 1606.08415)",
                "implementation": "torch.bernoulli, drawn anew in every call; not what GELU computes",
            }
        }
    )

    def __post_init__(self) -> None:
        check_whole("operator: dim", self.dim, least=1, most=WIDEST)

    def facts(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "data": {"source": "standard normal numbers, from the seed", "sha256": None},
            "model": {"dim": self.dim, "matching": "width of the output; a gate reads two numbers for each"},
        }

    def original(self) -> nn.Module:
        return Operator("gelu").eval()

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, None]:
        """The operator of one arm; `matching` and `seed` change nothing, for there are no weights."""
        activations.matched_hidden(1, 1, matching)  # refuses an unknown rule
        del seed
        return Operator("gelu" if arm == "original" else arm).eval(), None

    def inputs(self, batch: int, tokens: int, seed: int) -> dict[str, Tensor]:
        """x_BTD, and gate_up_BTE whose first half holds the same numbers."""
        shape = (batch, tokens, self.dim)
        x_BTD = normal(seed, f"input {batch} {tokens}", shape)
        up_BTD = normal(seed, f"up {batch} {tokens}", shape)
        return {"x_BTD": x_BTD, "gate_up_BTE": torch.cat((x_BTD, up_BTD), dim=-1)}

    def run(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        return model(**inputs).flatten(1)

    def probe(self) -> Sequence[dict[str, Tensor]]:
        return [self.inputs(_PROBE_BATCH, _PROBE_TOKENS, seed) for seed in range(_PROBE_BATCHES)]
