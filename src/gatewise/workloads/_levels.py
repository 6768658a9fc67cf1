"""`levels`: one activation seen from five distances: alone, in its block, its layer, its model, and a whole request.

The same sizes at every level, so that times can be set beside each other: how much of an operator's gain is left where
somebody waits for an answer.

Shapes: B batch, T tokens, D width, H hidden width, V the 256 byte values.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError, unknown_name

from ._byte_lm import Block, ByteLM, ByteLMConfig
from ._options import check_whole
from ._seeded import normal, start_matrices
from ._workload import Workload

LEVELS = ("operator", "ffn", "layer", "model", "request")
ANSWERS = 5
ALPHABET = b"abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,;:"
BODY = b'{"text": "', b'"}'
_PROBE_BATCH, _PROBE_TOKENS, _PROBES = 4, 16, 4


@dataclass(frozen=True, kw_only=True)
class LevelConfig:
    """The sizes that all levels share, and the arm. Raises `GatewiseError` for sizes that do not fit together."""

    level: str
    activation: str
    matching: str = "params"
    dim: int = 384
    layers: int = 6
    heads: int = 6
    context: int = 2048

    def __post_init__(self) -> None:
        if self.level not in LEVELS:
            raise unknown_name("level", self.level, LEVELS)
        self.model()

    def model(self) -> ByteLMConfig:
        """The decoder that all levels are taken from."""
        return ByteLMConfig(
            dim=self.dim, layers=self.layers, heads=self.heads, context=self.context, activation=self.activation,
            matching=self.matching,
        )  # fmt: skip


class Level(nn.Module):
    """One activation at one level.

    operator  act(x_BTH), or act(gate_BTH) * up_BTH: two tensors, as the block's two projections make them
    ffn       x_BTD to [B, T, D]
    layer     x_BTD to [B, T, D]: attention and block, each with its norm and residual
    model     ids int64 [B, T] to logits [B, T, V]
    request   the same, between the bytes of a JSON text and the bytes of the JSON answer
    """

    def __init__(self, config: LevelConfig, *, seed: int = 0) -> None:
        super().__init__()
        self.level = config.level
        self.gatewise_builder = {"name": "levels", "config": asdict(config)}
        shape = config.model()
        self.gated = activations.get(config.activation).kind == "gate"
        self.part: nn.Module
        with torch.random.fork_rng(devices=[]):
            if config.level == "operator":
                self.part = activations.Activation(config.activation) if not self.gated else nn.Identity()
                self.function = activations.get(config.activation).torch
            elif config.level == "ffn":
                self.part = activations.FeedForward(shape.dim, shape.ffn_hidden, config.activation, config.matching)
            elif config.level == "layer":
                self.part = Block(shape)
                whole = ByteLM(ByteLMConfig(dim=shape.dim, layers=1, heads=shape.heads, context=shape.context))
                self.register_buffer("cos_TK", whole.get_buffer("cos_TK"), persistent=False)
                self.register_buffer("sin_TK", whole.get_buffer("sin_TK"), persistent=False)
            else:
                self.part = ByteLM(shape, seed=seed)
        if config.level in ("ffn", "layer"):
            _start(self.part, seed)

    def forward(self, x: Tensor, up_BTH: Tensor | None = None) -> Tensor:
        if up_BTH is not None:
            return self.function(x, up_BTH)
        if self.level == "layer":
            tokens = x.shape[1]
            return self.part(x, self.get_buffer("cos_TK")[:tokens], self.get_buffer("sin_TK")[:tokens])
        return self.part(x)


def _start(module: nn.Module, seed: int) -> None:
    """Matrices from (seed, name); norms start at 1."""
    matrices = nn.Module()
    for name, parameter in module.named_parameters():
        if parameter.dim() > 1:
            matrices.register_parameter(name.replace(".", "/"), nn.Parameter(parameter))
    start_matrices(matrices, seed)
    kept = dict(matrices.named_parameters())
    with torch.no_grad():
        for name, parameter in module.named_parameters():
            parameter.copy_(kept[name.replace(".", "/")]) if parameter.dim() > 1 else parameter.fill_(1.0)


def build(config: dict[str, Any]) -> Level:
    """The builder of recipes. Raises `GatewiseError` for an unknown key."""
    known = [field.name for field in fields(LevelConfig)]
    for key in config:
        if key not in known:
            raise unknown_name("levels setting", key, known)
    return Level(LevelConfig(**config))


@dataclass(frozen=True, kw_only=True)
class LevelsWorkload(Workload):
    """An arm at one level, with random weights: times and memory are valid, outputs and quality say nothing.

    A `request` is a JSON text `{"text": ...}` for each item: it is parsed, turned into ids, run, and answered with the
    five most likely next bytes as JSON. The network is not part of it.

    Attributes:
        level: operator, ffn, layer, model or request.
        dim, layers, heads, context: of the decoder that the levels are taken from.
    """

    level: str = "model"
    dim: int = 384
    layers: int = 6
    heads: int = 6
    context: int = 2048

    name = "levels"

    def __post_init__(self) -> None:
        for name in ("dim", "layers", "heads", "context"):
            check_whole(f"levels: {name}", getattr(self, name), least=1)
        self._config("gelu", "params")

    def _config(self, arm: str, matching: str) -> LevelConfig:
        return LevelConfig(
            level=self.level, activation="gelu" if arm == "original" else arm, matching=matching, dim=self.dim,
            layers=self.layers, heads=self.heads, context=self.context,
        )  # fmt: skip

    def facts(self) -> dict[str, Any]:
        sizes = {"dim": self.dim, "layers": self.layers, "heads": self.heads}
        return {
            "workload": self.name,
            "data": {"source": "random numbers and bytes, from the seed", "sha256": None},
            "model": {"level": self.level, **sizes, "weights": "random, from the seed"},
        }

    def original(self) -> nn.Module:
        return self.build("gelu", matching="params", seed=0)[0]

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, None]:
        """The level with one arm in it, made anew; no surgery is needed, so there is no report.

        Raises:
            GatewiseError: an unknown arm or rule; an operator of another rule than `params`, for which its inputs are.
        """
        if self.level == "operator" and matching != "params":
            activations.matched_hidden(1, 1, matching)  # an unknown rule has its own words
            raise GatewiseError(f"levels: an operator is as wide as with matching = params, not {matching!r}")
        model = Level(self._config(arm, matching), seed=seed).eval()
        surgery.mark_weights(model, "untrained")
        return model, None

    def inputs(self, batch: int, tokens: int, seed: int) -> Any:
        """What the level takes: float32 numbers, int64 ids, or for a request the JSON texts as uint8 [B, bytes]."""
        if tokens > self.context:
            raise GatewiseError(f"levels: at most {self.context} tokens (option context), not {tokens}")
        where = f"input {batch} {tokens}"
        if self.level in ("ffn", "layer"):
            return normal(seed, where, (batch, tokens, self.dim))
        if self.level == "operator":
            # All are handed to every arm; each reads its own, of the width that it has in its block.
            widths = (
                self._config("gelu", "params").model().ffn_hidden,
                self._config("swiglu", "params").model().ffn_hidden,
            )
            return {
                "x_BTH": normal(seed, where, (batch, tokens, widths[0])),
                "gate_BTH": normal(seed, f"{where} gate", (batch, tokens, widths[1])),
                "up_BTH": normal(seed, f"{where} up", (batch, tokens, widths[1])),
            }
        places = (normal(seed, where, (batch, tokens)).abs() * 24).long() % len(ALPHABET)
        ids = torch.tensor(list(ALPHABET))[places]
        if self.level == "model":
            return ids
        ends = [torch.tensor(list(end)).expand(batch, -1) for end in BODY]
        return torch.cat((ends[0], ids, ends[1]), dim=1).to(torch.uint8)

    def run(self, model: nn.Module, inputs: Any) -> Tensor:
        if self.level == "request":
            return _request(model, inputs)
        if self.level == "operator":
            gated = getattr(model, "gated", False)
            given = (inputs["gate_BTH"], inputs["up_BTH"]) if gated else (inputs["x_BTH"],)
            return model(*given).flatten(1)
        return model(inputs).flatten(1)

    def probe(self) -> Sequence[Any]:
        return [self.inputs(_PROBE_BATCH, min(_PROBE_TOKENS, self.context), seed) for seed in range(_PROBES)]


def _request(model: nn.Module, bodies_BX: Tensor) -> Tensor:
    """From the bytes of each JSON text to those of its answer, around one call of the model. Returns the logits."""
    ids_BT = torch.tensor([list(json.loads(bytes(body))["text"].encode()) for body in bodies_BX.tolist()])
    logits_BV = model(ids_BT)[:, -1].float()
    likely = logits_BV.softmax(-1).topk(ANSWERS)
    for places, shares in zip(likely.indices.tolist(), likely.values.tolist(), strict=True):
        json.dumps([{"byte": place, "p": share} for place, share in zip(places, shares, strict=True)]).encode()
    return logits_BV
