"""ONNX Runtime on the processor, float32: the exported graph with all of the engine's own fusions."""

import json
import os
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._apart import apart
from ._by_shape import Call, by_shape
from ._export import folder_of, onnx_file, quiet, size_of
from ._inputs import Inputs, flat
from ._machine import no_onnx
from ._runtime import Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Export and let the engine optimise for the example's shape; a second session takes all other shapes."""
    return engine(task, onnx_file, precision="float32")


def engine(task: Task, file_of: Callable[[Task], Path], *, precision: str, notes: tuple[str, ...] = ()) -> Prepared:
    """An ONNX file of a task, in ONNX Runtime. `file_of` gives the file for the shape of a task's example."""
    import onnxruntime

    path = file_of(task)
    threads = task.threads
    first, stayed = _timed_session(task, path)
    load = partial(_session, threads=threads)
    plural = "s" if threads > 1 else ""
    return Prepared(
        call=by_shape(task, path, timed=_caller(first), file_of=file_of, load=lambda other: _caller(load(other))),
        implementation=(
            f"onnxruntime {onnxruntime.__version__} CPU {precision} (all optimisations, static shapes), "
            f"{threads} thread{plural} of its own"
        ),
        size_bytes=size_of(path),
        notes=(*notes, *stayed),
    )


def _timed_session(task: Task, path: Path) -> tuple[Any, tuple[str, ...]]:
    """The session whose sizes are the example's, so that shapes are folded away; and what stayed in pieces.

    What stayed in pieces is read off the optimised graph once and kept: a process that measures writes nothing, and
    several may load side by side.
    """
    sizes = _sizes(path, task)
    shape = "-".join(f"{name}{size}" for name, size in sorted(sizes.items()))
    kept = folder_of(task, "onnx-optimised") / f"{path.stem}-{shape}.json"
    if kept.is_file():
        return _session(path, threads=task.threads, sizes=sizes), tuple(json.loads(kept.read_text(encoding="utf-8")))
    optimised = kept.with_name(f"{kept.stem}-{os.getpid()}.onnx")
    made = _session(path, threads=task.threads, sizes=sizes, optimised=optimised)
    notes = apart(optimised)
    for written in optimised.parent.glob(f"{optimised.name}*"):
        written.unlink()
    partial_file = kept.with_suffix(f".{os.getpid()}.partial")
    partial_file.write_text(json.dumps(notes), encoding="utf-8")
    partial_file.replace(kept)
    return made, notes


def _session(path: Path, *, threads: int, sizes: dict[str, int] | None = None, optimised: Path | None = None) -> Any:
    """A session of one file.

    Threads spin while a call runs and stop when it returns: a pool that spins on would burn the processor that the next
    arm is timed on, and one that never spins is slower within a call.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    for name, size in (sizes or {}).items():
        options.add_free_dimension_override_by_name(name, size)
    if optimised is not None:
        options.optimized_model_filepath = str(optimised)
    with quiet():
        try:
            return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # noqa: BLE001  (the engine's own kinds have no class in common)
            lines = str(error).strip().splitlines()
            raise GatewiseError(f"ONNX Runtime cannot load the exported model: {lines[0][:240]}") from None


def _sizes(path: Path, task: Task) -> dict[str, int]:
    """The example's sizes by the names that the file gives to what is free."""
    import onnx

    inputs = onnx.load(str(path), load_external_data=False).graph.input
    return {
        declared.dim_param: int(size)
        for each, tensor in zip(inputs, flat(task.example), strict=True)
        for declared, size in zip(each.type.tensor_type.shape.dim, tensor.shape, strict=True)
        if declared.dim_param
    }


def _caller(made: Any) -> Call:
    names = [each.name for each in made.get_inputs()]

    def call(inputs: Inputs) -> Tensor:
        feed = {name: tensor.numpy() for name, tensor in zip(names, flat(inputs), strict=True)}
        return torch.from_numpy(made.run(None, feed)[0])

    return call


RUNTIME = Runtime(
    prepare=prepare,
    summary="ONNX Runtime, float32, with all of its own fusions",
    lacks=no_onnx,
    imports=("onnx", "onnxruntime"),
)
