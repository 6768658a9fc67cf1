"""Inductor ahead of time with frozen weights, packed once for oneDNN: one library per model, for any batch and length.

`torch.compile` with freezing packs float32 weights for MKL, which on AMD processors runs at less than half of what
oneDNN does, and checks its guards in every call. The ahead-of-time compiler packs for oneDNN, has no guards, and its
file is loaded in a tenth of a second.
"""

from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._by_shape import Call, by_shape
from ._causes import cause_of
from ._export import file_for, quiet
from ._inputs import Inputs, flat
from ._machine import no_compiler
from ._runtime import FLOATS, Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Trace, freeze, pack and compile once; later only load.

    Raises:
        GatewiseError: a model that cannot be traced or compiled, with the place.
    """
    path = _file(task)
    first = _load(path)
    return Prepared(
        call=by_shape(task, path, timed=first, file_of=_file, load=_load),
        implementation=(
            f"torch {torch.__version__} inductor ahead of time (frozen weights packed for oneDNN, sizes free)"
        ),
        size_bytes=path.stat().st_size,
    )


def _file(task: Task) -> Path:
    # The number of threads is compiled in.
    return file_for(task, f"frozen-{task.threads}", ".pt2", lambda program, path: _compile(program, path, task.threads))


def _compile(program: torch.export.ExportedProgram, path: Path, threads: int) -> None:
    settings: dict[str, Any] = {"freezing": True, "cpp.enable_concat_linear": True, "cpp.threads": threads}
    with quiet(), torch.inference_mode(False), torch.no_grad():
        try:
            _inductor().aoti_compile_and_package(program, package_path=str(path), inductor_configs=settings)
        except Exception as error:  # noqa: BLE001  (the compiler raises from many places)
            raise GatewiseError(f"the model cannot be compiled ahead of time: {cause_of(error)}") from None


def _inductor() -> Any:
    return import_module("torch._inductor")


def _load(path: Path) -> Call:
    loaded: Any = _inductor().aoti_load_package(str(path))

    def call(inputs: Inputs) -> Tensor:
        found = loaded(*flat(inputs))
        return found[0] if isinstance(found, (list, tuple)) else found

    return call


RUNTIME = Runtime(
    prepare=prepare,
    custom_operators=True,
    summary="Inductor ahead of time, frozen weights packed for oneDNN",
    lacks=no_compiler,
    dtypes=FLOATS,
    imports=("torch._inductor",),
)
