"""What every workload offers: a model, inputs of a size, outputs to compare, and quality where there is a target."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import surgery
from gatewise.core import GatewiseError

Inputs = Any
"""What one call of a workload's model takes; only the workload that made it looks inside."""

Cache = Any
"""Keys and values of the tokens a model has read; only the workload that made it looks inside."""


@dataclass(frozen=True, kw_only=True)
class Quality:
    """Quality of one model on the workload's own target, item by item, so that arms can be compared in pairs."""

    name: str
    scores: tuple[float, ...]
    """One value per held-out item; a higher one is better (for accuracy 0 or 1)."""
    chance: float
    """What always answering the most frequent label scores."""


class Workload(ABC):
    """A subject to be measured: model, data, metric, target."""

    name: str

    own_arms: Mapping[str, Mapping[str, str]] = MappingProxyType({})
    """Arms beyond the table of activations that this workload alone builds: what stands in their records."""

    sizes: Mapping[str, Mapping[str, Any]] = MappingProxyType({})
    """Options by the name of a size, which the option `size` sets together; what is named beside it wins."""

    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """Where model and data come from, with the data's hash; part of every record."""

    @abstractmethod
    def original(self) -> nn.Module:
        """The model as it is before any surgery, in eval mode."""

    @abstractmethod
    def inputs(self, batch: int, tokens: int, seed: int) -> Inputs:
        """Inputs for one call: `batch` items of `tokens` tokens. The same seed gives the same items."""

    @abstractmethod
    def run(self, model: nn.Module, inputs: Inputs) -> Tensor:
        """One call. Returns one row per item, shape (batch, features)."""

    @abstractmethod
    def probe(self) -> Sequence[Inputs]:
        """Fixed real inputs on which outputs of arms are compared."""

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, "surgery.SurgeryReport | None"]:
        """The model of one arm, by surgery on the original. The arm `original` is left untouched."""
        if arm == "original":
            return self.original(), None
        return surgery.swap(self.original(), arm, matching=matching, seed=seed)

    def save(self, model: nn.Module, folder: Path) -> None:
        """An arm to disk."""
        surgery.save(model, folder)

    def load(self, folder: Path) -> nn.Module:
        """An arm back from disk; every arm of a timed cell is built this way."""
        return surgery.load(folder)

    def quality(self, model: nn.Module) -> Quality | None:
        """Quality on held-out items, or None where the workload has no target."""
        del model
        return None


class Generative(Workload):
    """A causal language model: it reads a prompt once, then writes token by token with a cache of keys and values.

    A cache is a value: `decode` hands back a longer one and leaves the one it was given as it was, so that a call can
    start again from the same prompt.

    Shapes: B batch, V vocabulary.
    """

    context: int
    """The most tokens, prompt and continuation together, that the model can hold."""

    @abstractmethod
    def prefill(self, model: nn.Module, inputs: Inputs) -> tuple[Tensor, Cache]:
        """Read a prompt: the logits of the token after it, [B, V], and the cache."""

    @abstractmethod
    def decode(self, model: nn.Module, cache: Cache, token_B: Tensor) -> tuple[Tensor, Cache]:
        """Read one more token of each item: the logits of the next one, [B, V], and the longer cache."""

    @abstractmethod
    def cache_tensors(self, cache: Cache) -> Sequence[Tensor]:
        """The keys and the values of every layer, two tensors a layer."""

    def text(self, tokens: Sequence[int]) -> str:
        """Tokens as people read them. Raises `GatewiseError` where the model has no text."""
        del tokens
        raise GatewiseError(f"{self.name} has no text: its tokens are numbers")


def cosine_rows(one: Tensor, other: Tensor) -> Tensor:
    """Cosine of matching rows in float64, shape (items,). A row that is not finite gives NaN.

    Raises:
        GatewiseError: shapes that differ.
    """
    if one.shape != other.shape:
        raise GatewiseError(f"outputs of different shapes cannot be compared: {tuple(one.shape)}, {tuple(other.shape)}")
    a, b = one.double().flatten(1), other.double().flatten(1)
    same = (a == b).all(dim=1)
    cosine = torch.nn.functional.cosine_similarity(a, b, dim=1, eps=0.0)
    return torch.where(same, torch.ones_like(cosine), cosine.clamp(max=1.0))
