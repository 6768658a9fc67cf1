"""Hugging Face models from their config. Only classes that stand in `transformers` itself; never remote code."""

import json
from collections.abc import Callable, Generator
from contextlib import contextmanager
from importlib import import_module
from typing import Any

import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from gatewise.core import GatewiseError, MissingExtraError

# Anything else (a name with a slash) would make transformers fetch a kernel, which is code, from a hub.
_IMPLEMENTATIONS = (
    "eager",
    "sdpa",
    "flex_attention",
    "flash_attention_2",
    "flash_attention_3",
    "flash_attention_4",
    "grouped_mm",
    "batched_mm",
)


class _NothingDrawn(TorchFunctionMode):
    """Inside it, random fills give zeros.

    `nn.init.trunc_normal_` draws until every number lies within its bounds. Where the fills do nothing at all, it looks
    at whatever the memory held and may never end.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        if func in (torch.Tensor.normal_, torch.Tensor.uniform_):
            return args[0].zero_()
        return func(*args, **(kwargs or {}))


def is_pretrained(model: nn.Module) -> bool:
    """Whether a model is a `PreTrainedModel`; looks only at names, so that it imports nothing."""
    return any(
        cls.__name__ == "PreTrainedModel" and cls.__module__.startswith("transformers.") for cls in type(model).__mro__
    )


def describe(model: Any) -> dict[str, Any]:
    """The config of `build`. Raises `GatewiseError` for a class that is not a public one of transformers."""
    name = type(model).__name__
    if architecture(name) is not type(model):
        raise GatewiseError(
            f"{type(model).__module__}.{name} is not a class of transformers itself, so plain data cannot rebuild it\n"
            "set `model.gatewise_builder = {'name': ..., 'config': {...}}` and register that builder"
        )
    config: dict[str, Any] = json.loads(model.config.to_json_string(use_diff=False))
    config.pop("_name_or_path", None)  # a path of this machine
    return {"architecture": name, "config": config, "attention": model.config._attn_implementation}


def build(config: dict[str, Any]) -> nn.Module:
    """The model of a config, with weights that mean nothing yet."""
    cls = architecture(str(config["architecture"]))
    if cls is None:
        raise GatewiseError(f"transformers has no model class {config['architecture']!r}")
    check_config(config["config"])
    check_config({"attn_implementation": config.get("attention")})
    with quiet(), _NothingDrawn():
        settings = cls.config_class.from_dict(dict(config["config"]))
        settings._attn_implementation = config.get("attention")
        return cls(settings)


def architecture(name: str) -> Any:
    """The model class of that name in transformers, or None. Raises `MissingExtraError` without transformers."""
    transformers = transformers_module()
    cls = getattr(transformers, name, None) if name.isidentifier() and not name.startswith("_") else None
    if not isinstance(cls, type) or not issubclass(cls, transformers.PreTrainedModel):
        return None
    return cls if cls.__module__.startswith("transformers.") else None


def transformers_module() -> Any:
    """`transformers` itself; its parts are imported on use. Raises `MissingExtraError` where it is missing."""
    try:
        return import_module("transformers")
    except ImportError as error:
        raise MissingExtraError("transformers", "hf") from error


def check_config(config: object) -> None:
    """Refuse settings that would fetch or run foreign code, wherever they stand in a config."""
    if isinstance(config, dict):
        for key, value in config.items():
            if str(key).endswith("_implementation") and not _known(value):
                raise GatewiseError(f"the config asks for {key} = {value!r}\nvalid: {', '.join(_IMPLEMENTATIONS)}")
            check_config(value)
    elif isinstance(config, list):
        for value in config:
            check_config(value)


def _known(value: object) -> bool:
    if isinstance(value, dict):
        return all(_known(inner) for inner in value.values())
    return value is None or value in _IMPLEMENTATIONS


@contextmanager
def quiet() -> Generator[None]:
    """Without transformers' progress bars and advice on stderr; its settings are put back afterwards."""
    transformers_module()
    logging = import_module("transformers.utils.logging")
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
