"""zentorch, AMD's plug-in for torch.compile, with frozen weights, as its makers recommend for inference."""

from importlib import import_module
from importlib.metadata import version
from typing import Any

import torch
from torch import Tensor

from ._compile import ANY_SHAPE, by_shape, compiled
from ._inputs import Inputs
from ._machine import no_compiler, not_amd, not_installed
from ._runtime import FLOATS, Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Compile the model with zentorch's back end, once for the example's shape and once for any other."""
    import_module("zentorch")  # registers the back end
    static = compiled(task.model, dynamic=False, backend=_frozen)
    dynamic = compiled(task.model, dynamic=True, backend=_frozen)
    either = by_shape(task, static, dynamic)

    def call(inputs: Inputs) -> Tensor:
        with torch.no_grad():  # with gradients nothing would be frozen
            return either(inputs)

    return Prepared(
        call=call,
        implementation=f"zentorch {version('zentorch')} on torch {torch.__version__} (frozen weights, static shapes)",
        notes=(ANY_SHAPE,),
    )


def _frozen(graph: Any, inputs: Any) -> Any:
    """zentorch's back end with frozen weights, and nothing of it left behind.

    It puts its graph pass into Inductor's settings and leaves it there. The plain `compile` of another arm would then
    run zentorch's operations too, and those, where weights are not frozen, pack them in place: seen here, the model
    itself was changed.
    """
    settings: Any = import_module("torch._inductor.config")
    backend: Any = import_module("torch._dynamo.backends.registry").lookup_backend("zentorch")
    with settings.patch({"freezing": True, "joint_custom_post_pass": None}):
        return backend(graph, inputs)


def _lacks() -> str | None:
    return not_amd() or not_installed("zentorch", get="pip install 'gatewise[amd]'") or no_compiler()


RUNTIME = Runtime(
    prepare=prepare,
    summary="AMD's plug-in for torch.compile, frozen weights",
    lacks=_lacks,
    dtypes=FLOATS[:2],
    keeps_model=True,
    imports=("zentorch",),
)
