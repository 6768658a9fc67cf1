"""PyTorch as it is: one kernel per operation."""

import torch

from ._runtime import FLOATS, Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Take the model as it stands."""
    return Prepared(
        call=lambda inputs: task.run(task.model, inputs),
        implementation=f"torch {torch.__version__} eager",
        differentiable=True,
    )


RUNTIME = Runtime(
    prepare=prepare,
    summary="PyTorch as it is: one kernel per operation",
    dtypes=FLOATS,
    tolerance=0.0,
    differentiable=True,
    specialises=False,
    custom_operators=True,
    keeps_model=True,
)
