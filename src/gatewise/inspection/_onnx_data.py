"""Runs an ONNX file on arrays and looks at values inside it, with ONNX Runtime."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError, MissingExtraError

from ._arrays import Arrays, as_dtype, check_names
from ._opened import Watch

BATCH = 32


def observe_onnx(path: Path, arrays: Arrays, watch: Mapping[str, Watch]) -> str:
    """Tell each watcher what its value holds on the arrays; says what data that was.

    A value that the file does not have by that name is left out.
    The values are made outputs of a copy in memory, and all optimisations are off, so that they exist.

    Raises:
        GatewiseError: the arrays do not fit the model's inputs, or the model fails on them.
    """
    onnx, runtime = _package("onnx"), _package("onnxruntime")
    model = onnx.load(str(path))
    made = {name for node in model.graph.node for name in node.output} | {value.name for value in model.graph.input}
    inside = [name for name in watch if name in made]
    declared = {value.name for value in model.graph.output}
    model.graph.output.extend(onnx.ValueInfoProto(name=name) for name in inside if name not in declared)
    options = runtime.SessionOptions()
    options.graph_optimization_level = runtime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # External data is already in memory; what is larger than the format allows cannot be copied.
    try:
        session = runtime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as error:
        raise GatewiseError(f"ONNX Runtime cannot run {path}: {_first_line(error)}") from error
    inputs = {value.name: value for value in session.get_inputs()}
    check_names(arrays, list(inputs), str(path))
    fed = {name: _fitting(name, arrays[name], inputs[name]) for name in inputs}
    count = len(next(iter(fed.values()))) if fed else 0
    fixed = {value.shape[0] for value in inputs.values() if value.shape and isinstance(value.shape[0], int)}
    step = fixed.pop() if len(fixed) == 1 else BATCH
    for start in range(0, count, step):
        rows = {name: array[start : start + step] for name, array in fed.items()}
        try:
            results = session.run(inside, rows)
        except Exception as error:
            raise GatewiseError(f"{path} fails on the data: {_first_line(error)}") from error
        for name, value in zip(inside, results, strict=True):
            watch[name](np.asarray(value))
    return f"{count} items given"


def _package(name: str) -> Any:
    try:
        return import_module(name)
    except ImportError as error:
        raise MissingExtraError(name, "onnx") from error


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


_TYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(int64)": "int64",
    "tensor(int32)": "int32",
    "tensor(int8)": "int8",
    "tensor(uint8)": "uint8",
    "tensor(bool)": "bool",
}


def _fitting(name: str, array: NDArray[Any], wanted: Any) -> NDArray[Any]:
    shape = tuple(size if isinstance(size, int) else None for size in wanted.shape)
    fits = len(shape) == array.ndim and all(
        size in (None, got) for size, got in zip(shape[1:], array.shape[1:], strict=True)
    )
    if fits and shape and shape[0] is not None and len(array) % shape[0]:
        raise GatewiseError(f"{name!r} takes {shape[0]} items at a time, and {len(array)} is no multiple of that")
    if not fits:
        shown = tuple("any" if size is None else size for size in shape)
        raise GatewiseError(f"{name!r} has the shape {array.shape}, the model takes {shown}")
    return as_dtype(name, array, _TYPES.get(wanted.type, array.dtype.name))
