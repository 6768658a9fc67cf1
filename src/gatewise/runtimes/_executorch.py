"""ExecuTorch with XNNPACK, float32: what would run on a phone or a small board, run here."""

from dataclasses import replace
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._by_shape import Call
from ._causes import cause_of
from ._export import FIXED, file_for, quiet
from ._inputs import Inputs, flat, shape_text
from ._machine import not_installed
from ._runtime import Prepared, Runtime, Task

MOST_ITEMS, MOST_TOKENS = 64, 128
"""Memory is planned beforehand for the largest call; a larger example raises these."""


def prepare(task: Task) -> Prepared:
    """Lower what XNNPACK takes, the rest to portable kernels, into one file for calls up to a size."""
    _set_threads(task.threads)
    path = _file(task)
    free = _load(path)
    fixed: dict[str, Call] = {}

    def either(inputs: Inputs) -> Tensor:
        """Some operations do not follow a size that is free: such a call gets a file of its own."""
        shape = shape_text(inputs)
        if shape not in fixed:
            try:
                return free(inputs)
            except RuntimeError:
                fixed[shape] = _load(_fixed_file(replace(task, example=inputs)))
        return fixed[shape](inputs)

    return Prepared(
        call=either,
        implementation=f"executorch {version('executorch')} XNNPACK float32, threads of its own: {task.threads}",
        size_bytes=path.stat().st_size,
    )


_THREADS: list[int] = []


def _set_threads(count: int) -> None:
    """The engine has one pool of threads in a process, and crashes when that is replaced under a loaded model."""
    if not _THREADS:
        import_module("executorch.extension.pybindings.portable_lib")._unsafe_reset_threadpool(count)
        _THREADS.append(count)
    if _THREADS[0] != count:
        raise GatewiseError(
            f"the runtime 'executorch' has {_THREADS[0]} threads in this process and cannot change to {count}"
            "\ngive one number of threads in [measure], or leave it out of the runtimes"
        )


def _file(task: Task) -> Path:
    shapes = [tuple(tensor.shape) for tensor in flat(task.example)]
    items = max(MOST_ITEMS, *(shape[0] for shape in shapes))
    tokens = max(MOST_TOKENS, *(shape[1] if len(shape) > 1 else 1 for shape in shapes))
    return file_for(task, f"executorch-{items}-{tokens}", ".pte", _write, most=(items, tokens))


def _fixed_file(task: Task) -> Path:
    return file_for(task, "executorch-fixed", ".pte", _write, most=FIXED)


def _write(program: torch.export.ExportedProgram, path: Path) -> None:
    with quiet():
        try:
            exir: Any = import_module("executorch.exir")
            parts: Any = import_module("executorch.backends.xnnpack.partition.xnnpack_partitioner")
            lowered = exir.to_edge_transform_and_lower(program, partitioner=[parts.XnnpackPartitioner()])
            path.write_bytes(lowered.to_executorch().buffer)
        except Exception as error:  # noqa: BLE001  (the lowering raises from many places)
            raise GatewiseError(f"the model cannot be lowered for ExecuTorch: {cause_of(error)}") from None


def _load(path: Path) -> Call:
    engine: Any = import_module("executorch.runtime").Runtime.get()
    program = engine.load_program(str(path))
    held = (program, program.load_method("forward"))  # a method does not hold its program itself

    def call(inputs: Inputs) -> Tensor:
        return held[1].execute([tensor.contiguous() for tensor in flat(inputs)])[0].clone()

    return call


RUNTIME = Runtime(
    prepare=prepare,
    summary="ExecuTorch with XNNPACK, float32, the edge target",
    lacks=lambda: not_installed("executorch", get="pip install 'gatewise[executorch]'"),
    imports=("executorch.runtime",),
)
