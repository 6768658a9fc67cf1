"""torch.compile with its default back end (Inductor). The first call of each shape compiles, outside the timing."""

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from gatewise.core import GatewiseError

from ._inputs import Inputs, shapes
from ._machine import no_compiler
from ._runtime import FLOATS, Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Compile the whole model as one graph; a graph break is an error, not a silent fallback.

    The example's shape has a graph of its own; all other shapes share one that is compiled for any.

    Raises:
        GatewiseError: torch.compile gives no module.
    """
    call = by_shape(task, compiled(task.model, dynamic=False), compiled(task.model, dynamic=True))
    name = f"torch {torch.__version__} compile (inductor, fullgraph, static shapes)"
    return Prepared(call=call, implementation=name, differentiable=True, notes=(ANY_SHAPE,))


ANY_SHAPE = "calls of other shapes than the timed one (quality, output difference) run a graph compiled for any shape"


def compiled(model: nn.Module, *, dynamic: bool, backend: str | Callable[..., Any] = "inductor") -> nn.Module:
    """A model whose first call compiles it, with graphs and guards of its own."""
    found = torch.compile(_own(model), fullgraph=True, dynamic=dynamic, backend=backend)
    if not isinstance(found, nn.Module):
        raise GatewiseError("torch.compile did not return a module")
    return found


class _Inside(nn.Module):
    """A module that calls another and hands out its attributes."""

    def __init__(self, model: nn.Module) -> None:
        super().__init__()
        self.model = model

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("model"), name)


def _own(model: nn.Module) -> nn.Module:
    """The model behind a piece of code that nobody else runs.

    The compiler keeps its graphs by the code they came from. Two arms of one class would share a list: each call would
    check the other's guards first, and after eight of them the compiler gives up.
    """

    def forward(self: _Inside, *args: Any, **kwargs: Any) -> Any:
        return self.model(*args, **kwargs)

    forward.__code__ = forward.__code__.replace()
    return type("Inside", (_Inside,), {"forward": forward})(model).eval()


def by_shape(task: Task, static: nn.Module, dynamic: nn.Module) -> Callable[[Inputs], torch.Tensor]:
    """A call that runs one module for the example's shape and another for all others."""
    wanted = shapes(task.example)

    def call(inputs: Inputs) -> torch.Tensor:
        return task.run(static if shapes(inputs) == wanted else dynamic, inputs)

    return call


RUNTIME = Runtime(
    prepare=prepare,
    summary="torch.compile with its default back end, Inductor",
    lacks=no_compiler,
    dtypes=FLOATS,
    differentiable=True,
    custom_operators=True,
    keeps_model=True,
)
