"""What executes a subject. A runtime prepares a model once, says what it really runs, and never falls back silently."""

from collections.abc import Callable
from dataclasses import dataclass

from torch import nn

from gatewise.core import Registry


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model ready to be called.

    Attributes:
        model: what the workload calls.
        implementation: what executes it, in words, with versions.
        differentiable: whether gradients flow through it.
    """

    model: nn.Module
    implementation: str
    differentiable: bool


Prepare = Callable[[nn.Module], Prepared]

RUNTIMES: Registry[Prepare] = Registry(
    "runtime",
    group="runtimes",
    package=__package__ or "",
    table={"eager": "._eager:prepare", "compile": "._compile:prepare"},
)
