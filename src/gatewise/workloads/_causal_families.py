"""The families of `causal-lm`: their config in transformers, where their FFNs stand, and how their weights start."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from gatewise import activations
from gatewise.surgery.builders import huggingface

Draw = Callable[[str, tuple[int, ...]], Tensor]
"""Standard normal numbers for a tensor of that name and shape."""


class Shape(Protocol):
    """What a family's config is made from."""

    @property
    def dim(self) -> int: ...
    @property
    def layers(self) -> int: ...
    @property
    def heads(self) -> int: ...
    @property
    def num_kv_heads(self) -> int: ...
    @property
    def vocab(self) -> int: ...
    @property
    def context(self) -> int: ...
    @property
    def own_hidden(self) -> int: ...


@dataclass(frozen=True, kw_only=True)
class Family:
    """One family.

    Attributes:
        config, architecture: the names of its classes in transformers.
        settings: what its config takes for a shape.
        own: the activation or gate of its own FFN.
        path: where its layers stand; each has an `mlp`.
        parts: the names in its own `mlp` against those of `gatewise.FeedForward`.
        transposed: whether its matrices are stored as [in, out].
        bias: whether its FFN has biases.
    """

    config: str
    architecture: str
    settings: Callable[[Shape], dict[str, Any]]
    own: str
    path: str
    parts: dict[str, str]
    transposed: bool = False
    bias: bool = False

    @property
    def gate(self) -> str | None:
        """The gate of its own FFN, None where that is a scalar one."""
        return self.own if activations.get(self.own).kind == "gate" else None

    def model(self, shape: Shape) -> Any:
        """The family's own model of that shape."""
        transformers = huggingface.transformers_module()
        no_tokens = {"bos_token_id": None, "eos_token_id": None, "pad_token_id": None}
        config = getattr(transformers, self.config)(**self.settings(shape), **no_tokens)
        return getattr(transformers, self.architecture)(config)

    def layers(self, model: nn.Module) -> Sequence[Any]:
        """The layers of a model of this family."""
        return list(model.get_submodule(self.path).children())

    def start(self, model: nn.Module, draw: Draw) -> None:
        """Set every parameter: matrices normal with deviation 1/sqrt(fan in), norms 1, biases 0.

        The family's own FFN gets the numbers that a `FeedForward` in its place would get.
        """
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if parameter.dim() == 1:
                    parameter.fill_(0.0 if name.endswith("bias") else 1.0)
                    continue
                rows, columns = parameter.shape
                before, found, part = name.removesuffix(".weight").rpartition(".mlp.")
                if self.transposed and part in self.parts and found:
                    values = draw(f"{before}.ffn.{self.parts[part]}", (columns, rows)).T
                else:
                    label = f"{before}.ffn.{self.parts.get(part, part)}" if found else name
                    values = draw(label, (rows, columns))
                # GPT-2 stores its matrices as [in, out]; embeddings and the blocks put in are [out, in].
                stored_in_out = self.transposed and (part in self.parts if found else ".attn." in name)
                parameter.copy_(values * (rows if stored_in_out else columns) ** -0.5)


def _decoder(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocab,
        "hidden_size": shape.dim,
        "intermediate_size": shape.own_hidden,
        "num_hidden_layers": shape.layers,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.num_kv_heads,
        "head_dim": shape.dim // shape.heads,
        "max_position_embeddings": shape.context,
    }


def _gpt2(shape: Shape) -> dict[str, Any]:
    return {
        "vocab_size": shape.vocab,
        "n_embd": shape.dim,
        "n_inner": shape.own_hidden,
        "n_layer": shape.layers,
        "n_head": shape.heads,
        "n_positions": shape.context,
    }


_GATED = {"gate_proj": "unit.gate", "up_proj": "unit.up", "down_proj": "down"}

FAMILIES: dict[str, Family] = {
    "llama": Family(
        config="LlamaConfig",
        architecture="LlamaForCausalLM",
        settings=_decoder,
        own="swiglu",
        path="model.layers",
        parts=_GATED,
    ),
    "gpt2": Family(
        config="GPT2Config",
        architecture="GPT2LMHeadModel",
        settings=_gpt2,
        own="gelu_tanh",
        path="transformer.h",
        parts={"c_fc": "up", "c_proj": "down"},
        transposed=True,
        bias=True,
    ),
    "qwen": Family(
        config="Qwen3Config",
        architecture="Qwen3ForCausalLM",
        settings=_decoder,
        own="swiglu",
        path="model.layers",
        parts=_GATED,
    ),
}


def ffn_hidden(family: Family, dim: int, own_hidden: int, arm: str, matching: str) -> int:
    """The hidden width of an arm that stands in for the family's own FFN of `own_hidden`.

    From a scalar to a gate it is `activations.matched_hidden`; from a gate to a scalar the same equation the other way,
    the nearest whole number; within one kind the width stays.
    """
    gated = activations.get(arm).kind == "gate"
    even = activations.matched_hidden(dim, own_hidden, matching, bias=family.bias)  # checks `matching` too
    if gated == (family.gate is not None) or matching == "none":
        return own_hidden
    if gated:
        return even
    b = int(family.bias)
    top, bottom = (3 * dim + 2 * b, 2 * dim + b) if matching == "params" else (6 * dim + 2 + 2 * b, 4 * dim + 1 + b)
    return max(1, (2 * own_hidden * top + bottom) // (2 * bottom))
