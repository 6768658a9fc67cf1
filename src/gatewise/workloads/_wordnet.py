"""`wordnet`: which of 45 kinds of things a dictionary's definition describes.

A small net over words: hashed words and pairs of neighbours are looked up and summed, and residual feed-forward
blocks turn the sum into a class (a "deep averaging network": Iyyer et al., ACL 2015). The arms differ in the blocks;
most parameters are in the table, which all have alike.

Shapes: B batch, T tokens (words and pairs), D width, L classes.
"""

import math
from dataclasses import asdict, dataclass, fields
from functools import lru_cache
from typing import Any
from zlib import crc32

import numpy as np
import torch
from torch import Tensor, nn

from gatewise import activations
from gatewise.core import unknown_name

from ._linear import text_accuracy
from ._options import check_whole
from ._seeded import normal
from ._supervised import Batch, Supervised
from ._wordnet_data import CLASSES, PARTS, Glosses, facts, wordnet

_NOTHING = 0
"""The id of padding; its vector adds nothing."""


@dataclass(frozen=True, kw_only=True)
class GlossNetConfig:
    """The shape of a `GlossNet`. Raises `GatewiseError` for sizes out of range.

    Attributes:
        buckets: rows of the table that words and pairs are hashed into.
        dim, layers: width D of the residual stream, and number of feed-forward blocks.
        activation: name of a scalar function or of a gate.
        hidden: hidden width of the *scalar* block (None: 4 x dim); a gate's own width follows from it by `matching`.
        matching: as in `activations.matched_hidden`.
        classes: logits out.
    """

    buckets: int = 32_768
    dim: int = 64
    layers: int = 3
    activation: str = "gelu"
    hidden: int | None = None
    matching: str = "params"
    classes: int = len(CLASSES)

    def __post_init__(self) -> None:
        for name, most in {"buckets": 2**22, "dim": 8192, "layers": 128, "classes": 2**20}.items():
            check_whole(name, getattr(self, name), least=2 if name == "buckets" else 1, most=most)
        if self.hidden is not None:
            check_whole("hidden", self.hidden, least=1, most=65_536)
        activations.get(self.activation)

    @property
    def ffn_hidden(self) -> int:
        """The hidden width of this arm's blocks."""
        scalar = 4 * self.dim if self.hidden is None else self.hidden
        if activations.get(self.activation).kind == "scalar":
            return scalar
        return activations.matched_hidden(self.dim, scalar, self.matching)


class GlossBlock(nn.Module):
    """x + FFN(norm(x))."""

    def __init__(self, config: GlossNetConfig) -> None:
        super().__init__()
        self.ffn_norm = nn.LayerNorm(config.dim, bias=False)
        self.ffn = activations.FeedForward(config.dim, config.ffn_hidden, config.activation, config.matching)

    def forward(self, x_BD: Tensor) -> Tensor:
        return x_BD + self.ffn(self.ffn_norm(x_BD))


class GlossNet(nn.Module):
    """ids int64 [B, T], 0 for none, to class logits float32 [B, L]. The weights come from `seed`."""

    def __init__(self, config: GlossNetConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or GlossNetConfig()
        self.gatewise_builder = {"name": "gloss-net", "config": asdict(config)}
        with torch.random.fork_rng(devices=[]):  # layers draw weights that are replaced below
            self.table = nn.Embedding(config.buckets, config.dim)
            self.blocks = nn.ModuleList(GlossBlock(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.dim, bias=False)
            self.head = nn.Linear(config.dim, config.classes)
        with torch.no_grad():
            for name, parameter in self.named_parameters():
                if parameter.dim() == 1:
                    parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                    continue
                std = parameter.shape[1] ** -0.5
                if name.endswith(".down.weight"):
                    std /= math.sqrt(config.layers)
                parameter.copy_(normal(seed, name, tuple(parameter.shape)) * std)

    def forward(self, ids: Tensor) -> Tensor:
        there_BT = (ids != _NOTHING).to(self.table.weight.dtype)
        x_BTD = self.table(ids) * there_BT.unsqueeze(-1)
        # Divided by the root of the number: a sum of independent vectors then has one length, however many they are.
        x_BD = x_BTD.sum(dim=1) / there_BT.sum(dim=1, keepdim=True).clamp_min(1.0).sqrt()
        for block in self.blocks:
            x_BD = block(x_BD)
        return self.head(self.norm(x_BD))


def build(config: dict[str, Any]) -> GlossNet:
    """The builder of recipes. Raises `GatewiseError` for an unknown key."""
    known = [field.name for field in fields(GlossNetConfig)]
    for key in config:
        if key not in known:
            raise unknown_name("gloss-net setting", key, known)
    return GlossNet(GlossNetConfig(**config))


def encode(words: tuple[str, ...], length: int, buckets: int) -> list[int]:
    """The ids of the first words, and of each of them with the one before it; 0 behind them, `2 x length` in all."""
    kept = words[:length]
    pairs = [f"{one} {other}" for one, other in zip(("", *kept), kept, strict=False)]
    ids = [1 + crc32(text.encode()) % (buckets - 1) for text in (*kept, *pairs)]
    return ids + [_NOTHING] * (2 * length - len(ids))


@lru_cache(maxsize=4)
def side_of(folder: str, side: str, length: int, buckets: int, most: int) -> Batch:
    """Encoded glosses of `train` or `heldout`, at most so many of them (0: all), and their classes."""
    found: Glosses = getattr(wordnet(folder), side)
    kept = slice(most or None)
    rows = [encode(words, length, buckets) for words in found.words[kept]]
    return torch.from_numpy(np.array(rows, dtype=np.int32)).long(), torch.tensor(found.classes[kept])


@dataclass(frozen=True, kw_only=True)
class WordNetWorkload(Supervised):
    """WordNet's 117,659 glosses to their 45 lexicographer classes; nine tenths are trained on.

    Attributes:
        folder: where data.noun, data.verb, data.adj and data.adv stand; empty takes Debian's place.
        buckets, dim, layers, hidden: as in `GlossNetConfig`.
        length: how many words of a gloss are read.
        batch: glosses in one training step.
        heldout_glosses: how many of the held-out glosses the loss is taken over.
        heldout_batch: glosses in one held-out batch.
        learning_rate: the peak rate where the plan names none.
    """

    folder: str = ""
    buckets: int = 32_768
    dim: int = 64
    layers: int = 3
    hidden: int | None = None
    length: int = 24
    batch: int = 256
    heldout_glosses: int = 4096
    heldout_batch: int = 256
    learning_rate: float = 1e-2

    name = "wordnet"
    quality_name = "accuracy on held-out glosses"

    def __post_init__(self) -> None:
        for name in ("length", "batch", "heldout_glosses", "heldout_batch"):
            check_whole(name, getattr(self, name), least=1, most=10**6)
        self.config()

    def config(self, arm: str = "gelu", matching: str = "params") -> GlossNetConfig:
        """The net's configuration for one arm."""
        named = [field.name for field in fields(GlossNetConfig) if hasattr(self, field.name)]
        shared: dict[str, Any] = {name: getattr(self, name) for name in named}
        return GlossNetConfig(activation=arm, matching=matching, **shared)

    def side(self, side: str) -> Batch:
        most = self.heldout_glosses if side == "heldout" else 0
        return side_of(self.folder, side, self.length, self.buckets, most)

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> GlossNet:
        return GlossNet(self.config(arm, matching), seed=seed)

    def shape(self) -> dict[str, Any]:
        return asdict(self.config()) | {"length": self.length}

    def data_facts(self) -> dict[str, Any]:
        scored = self.items("heldout")[1]
        most = torch.bincount(scored).max().item() / len(scored)
        return facts(self.folder) | {"heldout_scored": len(scored), "majority_accuracy": round(most, 4)}

    def heldout_slices(self) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        """The parts of speech, and for the items of each held-out batch which one they are of, as an index."""
        parts = torch.tensor(wordnet(self.folder).heldout.parts[: self.heldout_glosses])
        return PARTS, tuple(parts[rows] for rows in self.heldout_order().split(self.heldout_batch))

    def baselines(self) -> dict[str, float | None]:
        """The most frequent class, and TF-IDF of words and pairs with a linear classifier, on the same glosses."""
        found, most = wordnet(self.folder), self.heldout_glosses
        heldout = (found.heldout.words[:most], found.heldout.classes[:most])
        linear = text_accuracy((found.train.words, found.train.classes), heldout)
        return super().baselines() | {"TF-IDF and a linear classifier": linear}
