"""What a model folder declares, for machines without torch or transformers: nothing here is probed."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.core import GatewiseError
from gatewise.graphs import Array, Constant, Found, Site, read_weights

from ._inspection import stored_bytes
from ._opened import Opened

# What Hugging Face calls them in a config.
_NAMES = {
    "gelu": "gelu",
    "gelu_python": "gelu",
    "gelu_new": "gelu_tanh",
    "gelu_fast": "gelu_tanh",
    "gelu_pytorch_tanh": "gelu_tanh",
    "gelu_accurate": "gelu_tanh",
    "quick_gelu": "quick_gelu",
    "silu": "silu",
    "swish": "silu",
    "relu": "relu",
    "relu2": "relu2",
    "mish": "mish",
    "leaky_relu": "leaky_relu",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "linear": "identity",
}
_GATES = {"silu": "swiglu", "gelu": "geglu", "gelu_tanh": "geglu_tanh", "relu": "reglu", "sigmoid": "glu"}
_ACT_KEYS = (
    "hidden_act",
    "hidden_activation",
    "activation_function",
    "dense_act_fn",
    "feed_forward_proj",
    "activation",
)
_WIDTH_KEYS = ("intermediate_size", "ffn_dim", "n_inner", "d_ff", "hidden_dim", "encoder_ffn_dim", "dim_feedforward")
_MODULES = {"GELU": "gelu", "SiLU": "silu", "ReLU": "relu", "Mish": "mish", "Hardswish": "hardswish", "Tanh": "tanh",
            "Sigmoid": "sigmoid", "ELU": "elu", "SELU": "selu", "LeakyReLU": "leaky_relu", "Softplus": "softplus",
            "GLU": "glu"}  # fmt: skip
_GATE_NAMES = re.compile(r"(^|\.)(gate_proj|w1|wi_0|linear_gate|gate)\.weight$")


def declared(folder: Path, why: str) -> Opened:
    """The sites that recipe.json or config.json declare; parameters and bytes come from the safetensors headers.

    Raises:
        GatewiseError: a broken recipe, config or header, or no weights.
    """
    stored = sorted(read_weights(folder), key=lambda tensor: _natural(tensor.name))
    weights = {
        tensor.name: Constant(name=tensor.name, shape=tensor.shape, dtype=tensor.dtype, load=tensor.load)
        for tensor in stored
    }
    recipe = _json(folder / "recipe.json")
    config = _json(folder / "config.json")
    reason = f"declared by the {'recipe' if recipe else 'config'}, not probed: {why}"
    found: dict[str, Site] = {}
    builder = _table(recipe.get("builder"))
    if builder.get("name") == "modules":
        for path, name in _modules(_table(builder.get("config")), ""):
            found[path] = _site(path, name, (), weights, reason)
    else:
        settings = _table(_table(builder.get("config")).get("config")) if recipe else config
        for site in _configured(settings, weights, reason):
            found[site.path] = site
    for site in _swapped(recipe, weights, reason):
        same = [path for path in found if path == site.path or path.startswith(f"{site.path}.")]
        for path in same or [old for old in found if site.path.startswith(f"{old}.")]:
            del found[path]
        found[site.path] = site
    facts = {
        "files": sorted({tensor.file.name for tensor in stored}),
        "weights_state": recipe.get("weights_state", "original"),
    }
    return Opened(
        source=str(folder), format="safetensors", facts=facts, weights=weights, declared=tuple(found.values())
    )


def _natural(name: str) -> list[tuple[int, str]]:
    """For an order in which layer 2 comes before layer 10."""
    return [(int(part) if part.isdigit() else -1, part) for part in re.split(r"(\d+)", name)]


def _json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise GatewiseError(f"cannot read {path}: {error}") from error
    if not isinstance(data, dict):
        raise GatewiseError(f"{path} is no JSON object")
    return data


def _table(value: object) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _modules(node: Mapping[str, Any], path: str) -> Iterator[tuple[str, str]]:
    """The activations in a tree of modules, as a recipe describes it."""
    kind, config = str(node.get("type", "")), _table(node.get("config"))
    if kind in ("Activation", "GatedUnit", "FeedForward"):
        yield path, str(config.get("name", config.get("activation", "")))
    elif kind == "GELU" and config.get("approximate") == "tanh":
        yield path, "gelu_tanh"
    elif kind in _MODULES:
        yield path, _MODULES[kind]
    for name, child in _table(node.get("children")).items():
        yield from _modules(_table(child), f"{path}.{name}".lstrip("."))


def _configured(config: Mapping[str, Any], weights: Mapping[str, Constant], reason: str) -> Iterator[Site]:
    """One site for each projection to the hidden width that the config names."""
    act = next((str(config[key]) for key in _ACT_KEYS if config.get(key)), "")
    gated = act.startswith("gated-")
    name = _NAMES.get(act.removeprefix("gated-"))
    width = next((config[key] for key in _WIDTH_KEYS if isinstance(config.get(key), int)), None)
    if width is None and isinstance(config.get("n_embd"), int):
        width = 4 * config["n_embd"]
    gates = [key for key in weights if _GATE_NAMES.search(key)]
    if gates:
        for key in gates:
            yield _site(key.rsplit(".", 2)[0], _GATES.get(name or "", ""), _block(key, weights), weights, reason)
        return
    for key, weight in weights.items():
        shape = weight.shape
        to_width = len(shape) == 2 and width in shape and key.endswith(".weight") and "embed" not in key
        out = 1 if key.endswith(("c_fc.weight", "c_proj.weight")) else 0  # GPT-2 stores its matrices transposed
        if to_width and shape[out] == width and shape[1 - out] != width:
            path = key.rsplit(".", 2)[0]
            yield _site(path, "" if gated else name or "", _block(key, weights), weights, reason)


def _block(key: str, weights: Mapping[str, Constant]) -> tuple[str, ...]:
    prefix = key.removesuffix("weight")
    return tuple(name for name in (key, f"{prefix}bias") if name in weights)


def _swapped(recipe: Mapping[str, Any], weights: Mapping[str, Constant], reason: str) -> Iterator[Site]:
    """The sites that surgery changed, as its report has them."""
    for surgery in recipe.get("surgeries", []):
        for entry in _table(surgery).get("sites", []):
            path, name = str(_table(entry).get("path", "")), str(_table(entry).get("after", ""))
            width = _table(entry).get("hidden_after")
            yield _site(path, name, (), weights, reason, width=width if isinstance(width, int) else None)


def _site(
    path: str,
    name: str,
    names: Sequence[str],
    weights: Mapping[str, Constant],
    reason: str,
    *,
    width: int | None = None,
) -> Site:
    gate = name in {*_GATES.values(), "bilinear", "swiglu_clamped"}
    kept = [weights[key] for key in names]
    matrices = [weight for weight in kept if len(weight.shape) == 2]
    return Site(
        path=path,
        kind="gate" if gate else "scalar",
        found=Found(name=name or None, nearest=name or None, distance=math.nan, reason=reason),
        inputs=("gate", "up") if gate else ("x",),
        output=path,
        ops=(),
        dtype=kept[0].dtype if kept else "",
        evaluate=_not_probed,
        width=width if width is not None else _width(matrices),
        weights=tuple(weight.name for weight in matrices),
        feeding=tuple(weight.name for weight in matrices),
        parameters=sum(weight.size for weight in kept),
        flops=sum(2 * weight.size for weight in matrices),
        bytes=sum(stored_bytes(weight) for weight in kept),
    )


def _width(matrices: Sequence[Constant]) -> int | None:
    if not matrices:
        return None
    rows, columns = matrices[0].shape
    return columns if matrices[0].name.endswith("c_fc.weight") else rows


def _not_probed(inputs: Sequence[Array]) -> Array:
    raise ValueError(f"a declared function cannot be computed ({np.size(inputs[0])} values asked for)")
