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
    """Compile the model with zentorch's back end, once for the example's shape and once for any other.

    Weights are frozen only where the compiler is told so while it *traces*, and it may trace anew in any call; so every
    call runs under these settings, which cost a few microseconds, and puts them back. zentorch leaves its graph pass in
    Inductor's settings: a plain `compile` of another arm would then run zentorch's operations too, and those, where
    weights are not frozen, pack them in place (seen here: the model itself was changed).
    """
    import_module("zentorch")  # registers the back end
    settings: Any = import_module("torch._inductor.config")
    static = compiled(task.model, dynamic=False, backend="zentorch")
    dynamic = compiled(task.model, dynamic=True, backend="zentorch")
    either = by_shape(task, static, dynamic)

    def call(inputs: Inputs) -> Tensor:
        before, left = settings.freezing, settings.joint_custom_post_pass
        settings.freezing = True
        try:
            with torch.no_grad():  # with gradients nothing would be frozen
                return either(inputs)
        finally:
            settings.freezing = before
            if settings.joint_custom_post_pass is not left:
                settings.joint_custom_post_pass = left

    return Prepared(
        call=call,
        implementation=f"zentorch {version('zentorch')} on torch {torch.__version__} (frozen weights, static shapes)",
        notes=(ANY_SHAPE,),
    )


def _lacks() -> str | None:
    return not_amd() or not_installed("zentorch", get="pip install 'gatewise[amd]'") or no_compiler()


RUNTIME = Runtime(
    prepare=prepare,
    custom_operators=True,
    summary="AMD's plug-in for torch.compile, frozen weights",
    lacks=_lacks,
    dtypes=FLOATS[:2],
    keeps_model=True,
    imports=("zentorch",),
)
