"""What rebuilds a model from plain data, without its weights: one callable `build(config) -> nn.Module` a name."""

from collections.abc import Callable
from typing import Any

from torch import nn

from gatewise.core import Registry

Build = Callable[[dict[str, Any]], nn.Module]

BUILDERS: Registry[Build] = Registry(
    "builder",
    group="builders",
    package=__name__,
    table={
        "huggingface": ".huggingface:build",
        "modules": ".modules:build",
    },
)
