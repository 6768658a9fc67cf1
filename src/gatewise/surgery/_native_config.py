"""Configs of transformers that may describe a changed model: which fields are tried, and with what in them."""

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib import import_module
from typing import Any

from gatewise import activations

from ._gate import simple_gate

Config = dict[str, Any]

_WIDTHS = ("d_ff", "intermediate_size", "ffn_dim", "n_inner")
"""Fields that hold the hidden width of a feed-forward block."""


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a config has to say.

    Attributes:
        acts: the scalar functions that were put in.
        befores: those that stood there.
        gates: the gates that were put in.
        hidden: the width of all of them, where it is one.
    """

    acts: tuple[str, ...]
    befores: tuple[str, ...]
    gates: tuple[str, ...]
    hidden: int | None


def changed_configs(config: Config, asked: Asked) -> Iterator[Config]:
    """The configs to try, the likeliest first; the unchanged one is always among them, at the end."""
    if len(asked.gates) == 1 and not asked.acts:
        act = simple_gate(asked.gates[0])
        if act is not None and asked.hidden is not None:
            yield from _gated(config, act, asked.hidden)
    if len(asked.acts) == 1 and not asked.gates:
        yield from _renamed(config, asked.acts[0], asked.befores)
    yield config


def _gated(config: Config, act: str, hidden: int) -> Iterator[Config]:
    """Families with a switch between a plain and a gated block."""
    if isinstance(config.get("feed_forward_proj"), str):  # T5 and kin
        for key in keys_of(act):
            yield _without(config, "dense_act_fn", "is_gated_act") | {
                "feed_forward_proj": f"gated-{key}",
                "d_ff": hidden,
            }
    if config.get("use_gated_mlp") is False:  # DINOv3
        for key in keys_of(act):
            yield copy.deepcopy(config) | {"use_gated_mlp": True, "hidden_act": key, "intermediate_size": hidden}
    if config.get("use_swiglu_ffn") is False and act == "silu":  # DINOv2: two thirds of the ratio, rounded up to 8
        for ratio in {round(1.5 * hidden / int(config["hidden_size"])), int(config.get("mlp_ratio", 4))}:
            yield copy.deepcopy(config) | {"use_swiglu_ffn": True, "mlp_ratio": ratio}


def _renamed(config: Config, act: str, befores: tuple[str, ...]) -> Iterator[Config]:
    """Another function in the fields that name one of those that stood there."""
    fields = [path for path, value in _texts(config, ()) if _function(value) in befores]
    for key in keys_of(act):
        for chosen in [fields, *([one] for one in fields if len(fields) > 1)]:
            if not chosen:
                continue
            new = _without(config, *(("dense_act_fn", "is_gated_act") if ("feed_forward_proj",) in chosen else ()))
            for path in chosen:
                _put(new, path, key)
            yield new


def _without(config: Config, *names: str) -> Config:
    return {name: copy.deepcopy(value) for name, value in config.items() if name not in names}


def _texts(config: Config, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], str]]:
    for name, value in config.items():
        if isinstance(value, str):
            yield (*path, name), value
        elif isinstance(value, dict):
            yield from _texts(value, (*path, name))


def _put(config: Config, path: tuple[str, ...], key: str) -> None:
    for name in path[:-1]:
        config = config.get(name, {})
    old = config.get(path[-1])
    if isinstance(old, str):
        config[path[-1]] = f"gated-{key}" if old.startswith("gated-") else key


def _function(value: str) -> str | None:
    """The function that a name in a config means; T5's "gated-gelu" is the tanh form."""
    return known_names().get("gelu_new" if value == "gated-gelu" else value.removeprefix("gated-"))


def keys_of(act: str) -> list[str]:
    """The names that transformers has for a function, its own name first, then the plainest."""
    found = [key for key, name in known_names().items() if name == act]
    return sorted(found, key=lambda key: (key != act, "pytorch" not in key, "python" in key))


@cache
def known_names() -> dict[str, str]:
    """What the names in transformers' table of functions compute, found by numbers, as everywhere here."""
    from .builders import huggingface

    huggingface.transformers_module()
    table: Any = import_module("transformers.activations").ACT2FN
    found: dict[str, str] = {}
    for key in (
        "gelu",
        "gelu_fast",
        "gelu_new",
        "gelu_python",
        "gelu_pytorch_tanh",
        "gelu_python_tanh",
        "hardswish",
        "leaky_relu",
        "mish",
        "quick_gelu",
        "relu",
        "relu2",
        "sigmoid",
        "silu",
        "swish",
        "tanh",
        "gelu_accurate",
    ):
        if key in table:
            name = activations.identify(table[key]).name
            if name is not None:
                found[key] = name
    return found
