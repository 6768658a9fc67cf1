"""`ffn`: one feed-forward block on its own, at inference, with random weights.

What an activation costs inside its block, without attention, embeddings and norms around it.

Shapes: B batch, T tokens, D width.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations, surgery

from ._options import check_whole
from ._seeded import normal, start_matrices
from ._workload import Workload

WIDEST = 65_536
_PROBE_BATCHES, _PROBE_BATCH, _PROBE_TOKENS = 4, 16, 16


@dataclass(frozen=True, kw_only=True)
class FeedForwardWorkload(Workload):
    """A block f(x W_up) W_down, or a gated one of equal parameters (by `matching`), without biases.

    Every matrix comes from (seed, its name) alone: scalar arms share all their weights, gates share theirs among
    themselves. Nothing is trained, so the weights state of every arm is `untrained`: times, memory and counts are
    valid, outputs and quality say nothing.

    Attributes:
        dim: width of the input and the output; 384 is that of the sentence encoder.
        hidden: hidden width of a *scalar* block (None: 4 x dim); a gate's own width follows from it.
    """

    dim: int = 384
    hidden: int | None = None

    name = "ffn"

    def __post_init__(self) -> None:
        check_whole("ffn: dim", self.dim, least=1, most=WIDEST)
        if self.hidden is not None:
            check_whole("ffn: hidden", self.hidden, least=1, most=4 * WIDEST)

    def hidden_of(self, arm: str, matching: str = "params") -> int:
        """The hidden width of one arm."""
        scalar = 4 * self.dim if self.hidden is None else self.hidden
        if activations.get(arm).kind == "scalar":
            return scalar
        return activations.matched_hidden(self.dim, scalar, matching)

    def facts(self) -> dict[str, Any]:
        return {
            "workload": self.name,
            "data": {"source": "standard normal numbers, from the seed", "sha256": None},
            "model": {"dim": self.dim, "hidden": self.hidden_of("gelu"), "weights": "random, from the seed"},
        }

    def original(self) -> nn.Module:
        """The GELU block of seed 0."""
        return self.build("gelu", matching="params", seed=0)[0]

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, None]:
        """The block of one arm, made anew; no surgery is needed, so there is no report."""
        name = "gelu" if arm == "original" else arm
        hidden = self.hidden_of(name, matching)
        with torch.random.fork_rng(devices=[]):  # torch draws weights that `start_matrices` replaces
            model = activations.FeedForward(self.dim, hidden, name, matching).eval()
        start_matrices(model, seed)
        surgery.mark_weights(model, "untrained")
        return model, None

    def inputs(self, batch: int, tokens: int, seed: int) -> Tensor:
        """x_BTD, float32."""
        return normal(seed, f"input {batch} {tokens}", (batch, tokens, self.dim))

    def run(self, model: nn.Module, inputs: Tensor) -> Tensor:
        return model(inputs).flatten(1)

    def probe(self) -> Sequence[Tensor]:
        return [self.inputs(_PROBE_BATCH, _PROBE_TOKENS, seed) for seed in range(_PROBE_BATCHES)]
