"""Trees of stock `torch.nn` modules and our own blocks, described as they stand, surgery included.

A node is `{"type", "config", "children", "values"}`, or `{"ref": path}` for a module that stands at an earlier path
already. Only the types of the tables below are ever built.
"""

import inspect
from collections.abc import Callable
from typing import Any

from torch import nn
from torch.nn import functional

from gatewise import activations
from gatewise.core import GatewiseError, unknown_name
from gatewise.surgery._tree import children

Node = dict[str, Any]

# Stock modules whose constructor arguments stand on the module under the same names.
_LEAVES = """
AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveMaxPool1d AdaptiveMaxPool2d AlphaDropout AvgPool1d AvgPool2d BatchNorm1d
BatchNorm2d CELU ConstantPad1d Conv1d Conv2d Conv3d ConvTranspose1d ConvTranspose2d CosineSimilarity Dropout Dropout1d
Dropout2d ELU Embedding FeatureAlphaDropout Flatten GELU GLU GroupNorm Hardshrink Hardsigmoid Hardswish Hardtanh
Identity InstanceNorm1d InstanceNorm2d LayerNorm LeakyReLU Linear LogSigmoid LogSoftmax MaxPool1d MaxPool2d Mish
MultiheadAttention PReLU PixelShuffle PixelUnshuffle RMSNorm RReLU ReLU ReLU6 SELU SiLU Sigmoid Softmax Softmin
Softplus Softshrink Softsign Tanh Tanhshrink Threshold Unflatten Upsample ZeroPad1d ZeroPad2d
""".split()  # noqa: SIM905  (one word a module, not one line)
_CONTAINERS = ("Sequential", "ModuleList", "ModuleDict")
_FUNCTIONS: dict[str, Callable[..., Any]] = {"relu": functional.relu, "gelu": functional.gelu}
_OWN: dict[str, type[nn.Module]] = {
    "Activation": activations.Activation,
    "GatedUnit": activations.GatedUnit,
    "FeedForward": activations.FeedForward,
}
# Attributes that surgery sets and no constructor argument carries.
_VALUES = {
    "TransformerEncoderLayer": ("activation_relu_or_gelu",),
    "TransformerEncoder": ("enable_nested_tensor", "use_nested_tensor", "mask_check", "num_layers"),
    "FeedForward": ("activation", "hidden"),
}
_TYPES: dict[str, type[nn.Module]] = {
    **{name: getattr(nn, name) for name in (*_LEAVES, *_CONTAINERS) if hasattr(nn, name)},
    "TransformerEncoder": nn.TransformerEncoder,
    "TransformerEncoderLayer": nn.TransformerEncoderLayer,
    **_OWN,
}
_NAMES = {cls: name for name, cls in _TYPES.items()}


def describe(model: nn.Module) -> Node:
    """The tree of a model. Raises `GatewiseError` when a module in it is no stock one."""
    return _describe(model, "", {})


def build(config: Node) -> nn.Module:
    """The model of a tree. Raises `GatewiseError` for a type that is not in the tables."""
    try:
        return _build(config, "", {})
    except RecursionError as error:
        raise GatewiseError("the tree of modules is nested too deeply") from error


def _describe(module: nn.Module, path: str, seen: dict[int, str]) -> Node:
    if id(module) in seen:
        return {"ref": seen[id(module)]}
    seen[id(module)] = path
    name = _NAMES.get(type(module))
    if name is None:
        where = f" at {path!r}" if path else ""
        cls = type(module)
        raise GatewiseError(
            f"cannot save {cls.__module__}.{cls.__qualname__}{where}: its code is no part of plain data\n"
            "set `model.gatewise_builder = {'name': NAME, 'config': {...}}` where NAME is a builder of the entry-point "
            "group 'gatewise.builders' that rebuilds the model from that config"
        )
    node: Node = {"type": name, "config": _config(module, name)}
    if name != "MultiheadAttention":  # it makes its own output layer
        parts = {key: _describe(child, f"{path}.{key}".lstrip("."), seen) for key, child in children(module).items()}
        if parts:
            node["children"] = parts
    if name in _VALUES:
        node["values"] = {key: getattr(module, key) for key in _VALUES[name]}
    return node


def _config(module: Any, name: str) -> Node:
    if name in _CONTAINERS or name == "TransformerEncoder":
        return {}
    if name == "Activation":
        return {"name": module.name}
    if name == "GatedUnit":
        linear = module.gate
        return {
            "dim": linear.in_features,
            "hidden": linear.out_features,
            "name": module.name,
            "bias": linear.bias is not None,
        }
    if name == "FeedForward":
        return {"dim": module.dim, "hidden": module.hidden, "gated": module._gated, "matching": module.matching}
    if name == "TransformerEncoderLayer":
        return _encoder_layer_config(module)
    return _arguments(module, name)


def _arguments(module: Any, name: str) -> Node:
    """The constructor arguments of a stock module, read from its attributes."""
    found: Node = {}
    for key in inspect.signature(type(module).__init__).parameters:
        if key == "bias":
            found[key] = (module.in_proj_bias if name == "MultiheadAttention" else module.bias) is not None
        elif key == "add_bias_kv":
            found[key] = module.bias_k is not None
        elif key not in ("self", "device", "dtype") and not key.startswith("_") and hasattr(module, key):
            value = getattr(module, key)
            found[key] = list(value) if isinstance(value, tuple) else value
    return found


def _encoder_layer_config(layer: nn.TransformerEncoderLayer) -> Node:
    attention = layer.self_attn
    found: Node = {
        "d_model": attention.embed_dim,
        "nhead": attention.num_heads,
        "batch_first": attention.batch_first,
        "norm_first": layer.norm_first,
    }
    if not isinstance(layer.activation, nn.Module):
        names = [name for name, function in _FUNCTIONS.items() if layer.activation is function]
        if not names:
            raise GatewiseError(
                f"cannot save the function {layer.activation!r} of a TransformerEncoderLayer: it is no plain data\n"
                "give the layer a module (`activation=nn.SiLU()`), or relu or gelu"
            )
        found["activation"] = names[0]
    return found


def _build(node: Node, path: str, built: dict[str, nn.Module]) -> nn.Module:
    if "ref" in node:
        return built[node["ref"]]
    name = node["type"]
    if name not in _TYPES:
        raise unknown_name("module type", name, _TYPES)
    parts = {key: _build(child, f"{path}.{key}".lstrip("."), built) for key, child in node.get("children", {}).items()}
    module = _construct(name, node["config"], parts)
    for key, value in node.get("values", {}).items():
        if key not in _VALUES.get(name, ()):
            raise GatewiseError(f"a {name} has no value {key!r}")
        setattr(module, key, value)
    built[path] = module
    return module


def _construct(name: str, config: Node, parts: dict[str, nn.Module]) -> nn.Module:
    arguments: dict[str, Any] = dict(config)
    arguments |= {key: tuple(value) for key, value in config.items() if isinstance(value, list)}  # JSON has no tuples
    if name == "TransformerEncoder":
        module = nn.TransformerEncoder(nn.Identity(), 0, enable_nested_tensor=False)  # pyright: ignore[reportArgumentType]
    elif name == "TransformerEncoderLayer":
        arguments["activation"] = _FUNCTIONS[arguments.get("activation", "relu")]
        module = nn.TransformerEncoderLayer(**arguments, dim_feedforward=1)
    elif name == "FeedForward":
        # The parts are the real ones; this only decides which of the two forwards runs.
        activation = "swiglu" if arguments.pop("gated") else "relu"
        module = activations.FeedForward(**arguments, activation=activation)
    else:
        module = _TYPES[name](**arguments)
    for key, part in parts.items():
        if name in _CONTAINERS:
            module.add_module(key, part)
        else:
            setattr(module, key, part)
    return module
