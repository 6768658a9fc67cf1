"""`causal-lm`: language models in the shapes of LLaMA, GPT-2 and Qwen, in transformers' code, with random weights.

They are good for time and memory only: nothing was ever trained, so outputs and quality say nothing.

Shapes: B batch, T tokens, V vocabulary.
"""

import copy
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import activations, surgery
from gatewise.core import GatewiseError, available_memory_bytes, unknown_name
from gatewise.surgery.builders import huggingface

from ._causal_families import FAMILIES, ffn_hidden
from ._options import check_whole
from ._seeded import normal
from ._workload import Generative

RANDOM = "random: good for time and memory only"
COPIES = 2
"""Of the weights, while a model is saved and loaded again."""

_LARGEST = {"dim": 32_768, "layers": 512, "heads": 512, "vocab": 1_000_000, "context": 1_048_576, "hidden": 262_144}
_PROBE_BATCHES, _PROBE_BATCH, _PROBE_TOKENS = 2, 4, 16


@dataclass(frozen=True, kw_only=True)
class CausalLMWorkload(Generative):
    """A causal language model of a family, its FFNs replaced by those of an arm.

    The arm `original` is the family's own code (LLaMA and Qwen: SwiGLU; GPT-2: the tanh form of GELU on transposed
    matrices). Every other arm has the same model with a `gatewise.FeedForward` in each layer, of equal parameters by
    `matching`. A tensor comes from (seed, its name) alone: the arm named as the family's own function computes what
    `original` computes.

    One call reads a prompt and returns the logits of the token after it, as a server does before it writes.

    Attributes:
        family: `llama`, `gpt2` or `qwen`.
        dim, layers, heads: width of the residual stream, number of blocks, attention heads in each.
        kv_heads: heads of keys and values (None: a quarter of `heads`, for `gpt2` all of them).
        vocab: number of tokens.
        hidden: hidden width of the family's own FFN, `intermediate_size` in a config (None: 4 x dim for `gpt2`, and
            the gate of as many parameters for the others); the arms' widths follow from it.
        context: the most tokens that fit.
    """

    family: str = "llama"
    dim: int = 384
    layers: int = 6
    heads: int = 8
    kv_heads: int | None = None
    vocab: int = 8192
    hidden: int | None = None
    context: int = 1024

    name = "causal-lm"

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise unknown_name("family of causal-lm", self.family, FAMILIES)
        for name, most in _LARGEST.items():
            if name != "hidden" or self.hidden is not None:
                check_whole(f"causal-lm: {name}", getattr(self, name), least=1, most=most)
        if self.dim % (2 * self.heads):
            raise GatewiseError(f"causal-lm: dim must be a multiple of 2 x heads = {2 * self.heads}, got {self.dim}")
        if self.kv_heads is not None:
            check_whole("causal-lm: kv_heads", self.kv_heads, least=1, most=self.heads)
        if self.heads % self.num_kv_heads or (self.family == "gpt2" and self.num_kv_heads != self.heads):
            valid = "as many as heads for gpt2" if self.family == "gpt2" else f"a divisor of heads = {self.heads}"
            raise GatewiseError(f"causal-lm: kv_heads must be {valid}, got {self.kv_heads}")

    @property
    def num_kv_heads(self) -> int:
        """Heads of keys and values."""
        if self.kv_heads is not None:
            return self.kv_heads
        return self.heads if self.family == "gpt2" or self.heads % 4 else self.heads // 4

    @property
    def own_hidden(self) -> int:
        """The hidden width of the family's own FFN."""
        if self.hidden is not None:
            return self.hidden
        family = FAMILIES[self.family]
        return 4 * self.dim if family.gate is None else activations.matched_hidden(self.dim, 4 * self.dim)

    def facts(self) -> dict[str, Any]:
        shape = asdict(self) | {"kv_heads": self.num_kv_heads, "hidden": self.own_hidden}
        return {
            "workload": self.name,
            "data": {"source": "random token ids, from the seed", "sha256": None},
            "model": shape | {"own_activation": FAMILIES[self.family].own, "weights": RANDOM},
        }

    # -- the models

    def empty(self, activation: str | None, matching: str = "params") -> nn.Module:
        """The model of one arm (None: the family's own code), its weights not set yet, in eval mode."""
        family = FAMILIES[self.family]
        with huggingface.quiet(), torch.random.fork_rng(devices=[]):  # what is drawn here is replaced
            model = family.model(self)
            if activation is not None:
                hidden = ffn_hidden(family, self.dim, self.own_hidden, activation, matching)
                for layer in family.layers(model):
                    layer.mlp = activations.FeedForward(self.dim, hidden, activation, matching, bias=family.bias)
                config = {**asdict(self), "activation": activation, "matching": matching}
                model.gatewise_builder = {"name": self.name, "config": config}
        return model.eval()

    def original(self) -> nn.Module:
        """The family's own code with the weights of seed 0; they say that they are untrained."""
        return self.build("original", matching="params", seed=0)[0]

    def build(self, arm: str, *, matching: str, seed: int) -> tuple[nn.Module, None]:
        """The model of one arm, made anew; no surgery is needed, so there is no report.

        Raises `GatewiseError` for an unknown arm, and before anything is built where it would not fit into memory.
        """
        activation = None if arm == "original" else activations.get(arm).name
        with torch.device("meta"):
            check_memory(self.empty(activation, matching))
        model = self.empty(activation, matching)
        FAMILIES[self.family].start(model, lambda name, shape: normal(seed, name, shape))
        surgery.mark_weights(model, "untrained")
        return model, None

    # -- calls

    def inputs(self, batch: int, tokens: int, seed: int) -> dict[str, Tensor]:
        if not 1 <= tokens <= self.context:
            raise GatewiseError(f"{self.name} takes 1 to {self.context} tokens, not {tokens}")
        generator = torch.Generator().manual_seed(seed)
        return {"input_ids": torch.randint(self.vocab, (batch, tokens), generator=generator)}

    def run(self, model: nn.Module, inputs: dict[str, Tensor]) -> Tensor:
        """The logits of the token after the prompt, [B, V]; nothing is kept."""
        return model(**inputs, use_cache=False, logits_to_keep=1).logits[:, -1]

    def probe(self) -> Sequence[dict[str, Tensor]]:
        tokens = min(_PROBE_TOKENS, self.context)
        return [self.inputs(_PROBE_BATCH, tokens, seed) for seed in range(_PROBE_BATCHES)]

    # -- generation

    def prefill(self, model: nn.Module, inputs: dict[str, Tensor]) -> tuple[Tensor, Any]:
        """With transformers' `DynamicCache`, which grows with each token."""
        if not huggingface.is_pretrained(model):
            raise GatewiseError(f"generation with causal-lm runs transformers' code, not a {type(model).__name__}")
        config: Any = model.config
        return self._read(model, inputs["input_ids"], huggingface.transformers_module().DynamicCache(config=config))

    def decode(self, model: nn.Module, cache: Any, token_B: Tensor) -> tuple[Tensor, Any]:
        # A layer's update binds new tensors and leaves the old ones: a copy of the names is enough.
        longer = copy.copy(cache)
        longer.layers = [copy.copy(layer) for layer in cache.layers]
        return self._read(model, token_B.unsqueeze(1), longer)

    def _read(self, model: nn.Module, ids: Tensor, cache: Any) -> tuple[Tensor, Any]:
        past = cache.get_seq_length()
        if past + ids.shape[1] > self.context:
            raise GatewiseError(
                f"{self.name} holds {self.context} tokens: {past} are read, {ids.shape[1]} more do not fit"
            )
        output = model(input_ids=ids, past_key_values=cache, use_cache=True, logits_to_keep=1)
        return output.logits[:, -1], output.past_key_values

    def cache_tensors(self, cache: Any) -> Sequence[Tensor]:
        return [tensor for layer in cache.layers for tensor in (layer.keys, layer.values)]


def check_memory(model: nn.Module) -> None:
    """Raises `GatewiseError` where a model (on the meta device) would not fit into the memory that is free."""
    count = sum(parameter.numel() for parameter in model.parameters())
    needed, free = COPIES * 4 * count, available_memory_bytes()
    if free and needed > free:
        raise GatewiseError(
            f"{count:,} parameters need {needed / 2**30:.1f} GiB ({COPIES} copies while they are saved and loaded); "
            f"{free / 2**30:.1f} GiB are free\nmake layers, dim, hidden or vocab smaller"
        )


def build(config: dict[str, Any]) -> nn.Module:
    """The builder of recipes: a model of that shape and arm. Raises `GatewiseError` for an unknown key."""
    known = [field.name for field in fields(CausalLMWorkload)]
    for key in config:
        if key not in (*known, "activation", "matching"):
            raise unknown_name("causal-lm setting", key, (*known, "activation", "matching"))
    options = {key: value for key, value in config.items() if key in known}
    return CausalLMWorkload(**options).empty(config["activation"], config["matching"])
