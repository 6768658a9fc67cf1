"""`byte-lm`: a small decoder over bytes, trained from scratch on the source of the Python standard library.

Or on synthetic lines, or on a text file of one's own: see `_stdlib_source`, `_synthetic_source` and `_file_source`.

Shapes: B batch, T tokens (one token is one byte), D width, H heads, K width of a head, V the 256 byte values.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)
from torch import Tensor, nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError, unknown_name

from ._byte_cache import ByteCache, Reading
from ._byte_data import SOURCES, Batch, source_of, spread, spread_slices, text_of, windows
from ._options import check_whole
from ._seeded import normal
from ._workload import Generative

VOCABULARY = 256
_ROTARY_BASE = 10_000.0


@dataclass(frozen=True, kw_only=True)
class ByteLMConfig:
    """The shape of a `ByteLM`. Raises `GatewiseError` for sizes that do not fit together.

    Attributes:
        dim: width D of the residual stream; a multiple of 2 x `heads` (rotary positions turn pairs).
        layers, heads: number of blocks, and of attention heads in each.
        context: the most tokens one call takes.
        activation: name of a scalar function or of a gate.
        hidden: hidden width of the *scalar* block (None: 4 x dim); a gate's own width follows from it by `matching`.
        matching, multiple_of: as in `activations.matched_hidden`.
        recent: how many earlier bytes are summed into a position's vector, each through a table of its own. With 0 the
            model spends a short training on learning to look one byte back, and its FFNs have nothing to work on.
    """

    dim: int = 48
    layers: int = 2
    heads: int = 2
    context: int = 128
    activation: str = "gelu"
    hidden: int | None = None
    matching: str = "params"
    multiple_of: int = 1
    recent: int = 3

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "context", "multiple_of"):
            check_whole(name, getattr(self, name), least=1)
        check_whole("recent", self.recent, least=0)
        if self.hidden is not None:
            check_whole("hidden", self.hidden, least=1)
        if self.dim % (2 * self.heads):
            raise GatewiseError(f"dim must be a multiple of 2 x heads = {2 * self.heads}, got {self.dim}")
        activations.get(self.activation)

    @property
    def ffn_hidden(self) -> int:
        """The hidden width of this arm's FFN."""
        scalar = 4 * self.dim if self.hidden is None else self.hidden
        if activations.get(self.activation).kind == "scalar":
            return scalar
        return activations.matched_hidden(self.dim, scalar, self.matching, self.multiple_of)


class Block(nn.Module):
    """x + attention(norm(x)), then x + FFN(norm(x)); causal attention with rotary positions, no biases."""

    def __init__(self, config: ByteLMConfig) -> None:
        super().__init__()
        dim = config.dim
        self.heads = config.heads
        self.attention_norm = nn.LayerNorm(dim, bias=False)
        self.qkv = nn.Linear(dim, 3 * dim, bias=False)
        self.out = nn.Linear(dim, dim, bias=False)
        self.ffn_norm = nn.LayerNorm(dim, bias=False)
        self.ffn = activations.FeedForward(dim, config.ffn_hidden, config.activation, config.matching)

    def forward(self, x_BTD: Tensor, cos_TK: Tensor, sin_TK: Tensor, reading: Reading | None = None) -> Tensor:
        batch, tokens, dim = x_BTD.shape
        heads = self.qkv(self.attention_norm(x_BTD)).view(batch, tokens, 3, self.heads, dim // self.heads)
        q_BHTK, k_BHTK, v_BHTK = heads.permute(2, 0, 3, 1, 4)
        q_BHTK, k_BHTK = _rotate(q_BHTK, cos_TK, sin_TK), _rotate(k_BHTK, cos_TK, sin_TK)
        mask, causal = None, True
        if reading is not None:
            k_BHTK, v_BHTK = reading.extend(k_BHTK, v_BHTK)
            mask, causal = reading.mask, reading.causal
        y_BHTK = F.scaled_dot_product_attention(q_BHTK, k_BHTK, v_BHTK, mask, is_causal=causal)
        x_BTD = x_BTD + self.out(y_BHTK.transpose(1, 2).reshape(batch, tokens, dim))
        return x_BTD + self.ffn(self.ffn_norm(x_BTD))


def _rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    one, two = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-two, one), dim=-1) * sin


class ByteLM(nn.Module):
    """A causal language model over bytes: input_ids int64 [B, T] to logits float32 [B, T, 256].

    Pre-norm decoder; the output layer is the byte table itself (tied). `surgery.save` and `load` know it by
    `gatewise_builder`. The weights come from `seed`, parameter by parameter: see `initialise`.
    """

    def __init__(self, config: ByteLMConfig | None = None, *, seed: int = 0) -> None:
        super().__init__()
        self.config = config = config or ByteLMConfig()
        self.gatewise_builder = {"name": "byte-lm", "config": asdict(config)}
        # Layers draw weights as they are made, which `initialise` replaces: the global generator stays as it was.
        with torch.random.fork_rng(devices=[]):
            self.bytes = nn.Embedding(VOCABULARY, config.dim)
            self.recent = nn.ModuleList(nn.Embedding(VOCABULARY, config.dim) for _ in range(config.recent))
            self.blocks = nn.ModuleList(Block(config) for _ in range(config.layers))
            self.norm = nn.LayerNorm(config.dim, bias=False)
        half = config.dim // config.heads // 2
        angle = torch.outer(torch.arange(config.context), _ROTARY_BASE ** (-torch.arange(half) / half)).repeat(1, 2)
        self.register_buffer("cos_TK", angle.cos(), persistent=False)
        self.register_buffer("sin_TK", angle.sin(), persistent=False)
        initialise(self, seed)

    @property
    def num_parameters(self) -> int:
        """Exact count; the tied table counts once."""
        return sum(parameter.numel() for parameter in self.parameters())

    def embed(self, input_ids: Tensor) -> Tensor:
        """x_BTD of ids: each byte's own vector, and those of the `recent` bytes before it."""
        tokens = input_ids.shape[-1]
        x_BTD = self.bytes(input_ids)
        for back, table in enumerate(self.recent, start=1):
            # Positions before the start of the window add nothing.
            x_BTD = x_BTD + F.pad(table(input_ids[:, : max(0, tokens - back)]), (0, 0, min(back, tokens), 0))
        return x_BTD

    def forward(self, input_ids: Tensor) -> Tensor:
        tokens = input_ids.shape[-1]
        if input_ids.dim() != 2 or tokens > self.config.context:
            raise GatewiseError(f"byte-lm takes [B, T <= {self.config.context}] ids, got {list(input_ids.shape)}")
        x_BTD = self.embed(input_ids)
        cos_TK, sin_TK = self.get_buffer("cos_TK")[:tokens], self.get_buffer("sin_TK")[:tokens]
        for block in self.blocks:
            x_BTD = block(x_BTD, cos_TK, sin_TK)
        return F.linear(self.norm(x_BTD), self.bytes.weight)

    def read(self, input_ids: Tensor, cache: ByteCache | None = None) -> tuple[Tensor, ByteCache]:
        """Read on after a cache: the logits of the byte after the last one, [B, 256], and the longer cache.

        They are those of `forward` on the whole text, to rounding. Raises `GatewiseError` beyond the context.
        """
        new, past = input_ids.shape[1], cache.tokens if cache else 0
        if past + new > self.config.context:
            raise GatewiseError(f"byte-lm holds {self.config.context} bytes: {past} are read, {new} more do not fit")
        ids = torch.cat((cache.last_ids, input_ids), dim=1) if cache else input_ids
        x_BTD = self.embed(ids)[:, -new:]
        cos_TK, sin_TK = (self.get_buffer(name)[past : past + new] for name in ("cos_TK", "sin_TK"))
        reading = Reading(cache, new, input_ids.device)
        for block in self.blocks:
            x_BTD = block(x_BTD, cos_TK, sin_TK, reading)
        kept = ids[:, max(0, ids.shape[1] - self.config.recent) :]
        logits_BV = F.linear(self.norm(x_BTD[:, -1]), self.bytes.weight)
        return logits_BV, ByteCache(layers=tuple(reading.after), last_ids=kept)


def build(config: dict[str, Any]) -> ByteLM:
    """The builder of recipes: a model of that shape. Raises `GatewiseError` for an unknown key."""
    known = [field.name for field in fields(ByteLMConfig)]
    for key in config:
        if key not in known:
            raise unknown_name("byte-lm setting", key, known)
    return ByteLM(ByteLMConfig(**config))


def initialise(model: nn.Module, seed: int) -> None:
    """Set every parameter from (seed, its name) alone, so that arms share what they have in common, bit by bit.

    Matrices are normal with standard deviation 1/sqrt(fan in); those that write into the residual stream (`out` and
    `down`) divide by sqrt(2 x layers) as well, as GPT-2 does. Norms start at 1. Every activation gets the same rule.
    """
    layers = sum(name.endswith(".out.weight") for name, _ in model.named_parameters())
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if parameter.dim() == 1:
                parameter.fill_(1.0)
                continue
            std = parameter.shape[1] ** -0.5
            if name.endswith((".out.weight", ".down.weight")):
                std /= math.sqrt(2 * layers)
            parameter.copy_(normal(seed, name, tuple(parameter.shape)) * std)


SIZES: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "tiny": {},
        "small": {"dim": 128, "layers": 4, "heads": 4, "context": 256, "batch": 16, "learning_rate": 5e-3},
        "medium": {"dim": 384, "layers": 6, "heads": 6, "context": 256, "batch": 16, "learning_rate": 1.5e-3},
        "base": {"dim": 768, "layers": 12, "heads": 12, "context": 512, "batch": 16, "learning_rate": 6e-4},
    }
)
"""Options of each size; `tiny` is what stands there anyway. Only its rate was tuned; the others fall as about 1 / D."""


@dataclass(frozen=True, kw_only=True)
class ByteLMWorkload(Generative):
    """`byte-lm` with its data: what the arms share is fixed here, the arm itself is an argument.

    Attributes:
        data: `stdlib`, source code of the Python standard library, or `synthetic`, lines made by simple rules.
        file: a UTF-8 text file of one's own, read instead of `data`; its last tenth is held out.
        dim, layers, heads, context, hidden, multiple_of, recent: as in `ByteLMConfig`.
        batch: windows in one training step.
        heldout_windows: how many windows of `context` bytes the held-out loss is taken over.
        heldout_batch: windows in one held-out batch.
        learning_rate: the peak rate of the arms where the plan names none.

    The option `size` sets several of these at once: see `SIZES`.
    """

    data: str = "stdlib"
    file: str = ""
    dim: int = 48
    layers: int = 2
    heads: int = 2
    context: int = 128
    hidden: int | None = None
    multiple_of: int = 1
    recent: int = 3
    batch: int = 8
    heldout_windows: int = 512
    heldout_batch: int = 16
    learning_rate: float = 1e-2

    name = "byte-lm"
    sizes = SIZES

    def __post_init__(self) -> None:
        if self.data not in SOURCES:
            raise unknown_name("data of byte-lm", self.data, SOURCES)
        for name in ("batch", "heldout_windows", "heldout_batch"):
            check_whole(name, getattr(self, name), least=1)
        self.config("gelu")  # checks the shape

    def config(self, arm: str, matching: str = "params") -> ByteLMConfig:
        """The model's configuration for one arm."""
        shared = {field.name: getattr(self, field.name) for field in fields(ByteLMConfig) if hasattr(self, field.name)}
        return ByteLMConfig(activation=arm, matching=matching, **shared)

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> ByteLM:
        """An untrained model of one arm, in train mode."""
        return ByteLM(self.config(arm, matching), seed=seed)

    # -- data

    @property
    def source(self) -> str:
        """What names the text, for `_byte_data`."""
        return f"file:{self.file}" if self.file else self.data

    def data_facts(self) -> dict[str, Any]:
        """What the data is: where it comes from, bytes, hashes, the split."""
        return source_of(self.source).facts() | {"heldout_scored": self.heldout_windows * self.context}

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> Batch:
        """Windows drawn anywhere in the training text. They depend on (seed, step) only: all arms see the same."""
        text = text_of(self.source, "train")
        generator = np.random.default_rng([seed, step])
        starts = generator.integers(0, len(text) - self.context, size=batch or self.batch)
        return windows(text, starts, self.context)

    def heldout_batches(self) -> tuple[Batch, ...]:
        """Fixed windows, evenly spread over the held-out text; shuffled once, so any prefix is a fair sample."""
        return spread(self.source, "heldout", self.heldout_windows, self.heldout_batch, self.context)

    def shifted_batches(self) -> tuple[Batch, ...]:
        """As many fixed windows of text of another kind: prose instead of code; longer and rarer synthetic lines."""
        return spread(self.source, "shifted", self.heldout_windows, self.heldout_batch, self.context)

    def heldout_slices(self) -> tuple[tuple[str, ...], tuple[Tensor, ...]]:
        """The names of the slices, and for every y_BT of `heldout_batches` the slice of each byte, as an index."""
        return spread_slices(self.source, self.heldout_windows, self.heldout_batch, self.context)

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """Mean cross-entropy of the next byte, in bits per byte (a scalar with gradient)."""
        x_BT, y_BT = batch
        logits_BTV: Tensor = model(x_BT)
        return F.cross_entropy(logits_BTV.flatten(0, 1), y_BT.flatten()) / math.log(2)

    def token_losses(self, model: nn.Module, batch: Batch) -> Tensor:
        """The loss of each byte, in bits, shape [B, T]; `loss` is their mean."""
        x_BT, y_BT = batch
        logits_BTV: Tensor = model(x_BT)
        return F.cross_entropy(logits_BTV.transpose(1, 2), y_BT, reduction="none") / math.log(2)

    # -- as every workload

    def facts(self) -> dict[str, Any]:
        return {"workload": self.name, "data": self.data_facts(), "model": asdict(self.config("gelu"))}

    def original(self) -> nn.Module:
        """The GELU model of seed 0; its weights say that they are untrained."""
        model = self.fresh("gelu", seed=0).eval()
        surgery.mark_weights(model, "untrained")
        return model

    def inputs(self, batch: int, tokens: int, seed: int) -> dict[str, Tensor]:
        if not 1 <= tokens <= self.context:
            raise GatewiseError(f"{self.name} takes 1 to {self.context} tokens, not {tokens}")
        text = text_of(self.source, "heldout")
        starts = np.random.default_rng([seed, batch, tokens]).integers(0, len(text) - tokens, size=batch)
        return {"input_ids": windows(text, starts, tokens)[0]}

    def run(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """All logits of an item as one row, shape (batch, tokens x 256)."""
        return model(**inputs).flatten(1)

    def probe(self) -> Sequence[dict[str, Tensor]]:
        return [{"input_ids": x_BT} for x_BT, _ in self.heldout_batches()[:4]]

    # -- generation

    def prefill(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, ByteCache]:
        return _reader(model)(inputs["input_ids"])

    def decode(self, model: nn.Module, cache: ByteCache, token_B: Tensor) -> tuple[Tensor, ByteCache]:
        return _reader(model)(token_B.unsqueeze(1), cache)

    def cache_tensors(self, cache: ByteCache) -> Sequence[Tensor]:
        return [tensor for layer in cache.layers for tensor in layer]

    def text(self, tokens: Sequence[int]) -> str:
        """The bytes as text; what is no UTF-8 stands as a replacement character."""
        return bytes(tokens).decode("utf-8", errors="replace")


def _reader(model: nn.Module) -> Callable[..., tuple[Tensor, ByteCache]]:
    """`read` of a byte-lm. Raises `GatewiseError` for a model without it, such as one that a runtime has wrapped."""
    if not isinstance(model, ByteLM):
        raise GatewiseError(f"generation with byte-lm runs its own code (eager); this is a {type(model).__name__}")
    return model.read
