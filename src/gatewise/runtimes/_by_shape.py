"""Calls of any shape for engines whose executables take some shapes only."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from torch import Tensor

from gatewise.core import GatewiseError

from ._export import takes
from ._inputs import Inputs, shapes
from ._runtime import Task

MOST_SHAPES = 32
"""What a model whose code fixes its sizes may be exported for."""

Call = Callable[[Inputs], Tensor]


def by_shape(
    task: Task, path: Path, *, timed: Call, file_of: Callable[[Task], Path], load: Callable[[Path], Call]
) -> Call:
    """`timed` for the example's shape; for others `load` of the same file, or of one exported for their shape.

    Raises (when called):
        GatewiseError: more shapes than `MOST_SHAPES` that each need a file of their own.
    """
    known = {shapes(task.example): timed}
    loaded: dict[Path, Call] = {}

    def call(inputs: Inputs) -> Tensor:
        asked = shapes(inputs)
        if asked not in known:
            mine = path if takes(path, inputs) else file_of(replace(task, example=inputs))
            if mine not in loaded:
                if len(loaded) >= MOST_SHAPES:
                    raise GatewiseError(
                        f"the model's code fixes its sizes: it is exported for {MOST_SHAPES} shapes at most"
                    )
                loaded[mine] = load(mine)
            known[asked] = loaded[mine]
        return known[asked](inputs)

    return call
