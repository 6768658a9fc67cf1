"""OpenVINO on the processor, float32: the exported graph, reshaped to the timed shape."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError

from ._apart import told as pieces
from ._by_shape import Call, by_shape
from ._export import folder_of, onnx_file, quiet, size_of
from ._inputs import Inputs, flat, shapes
from ._machine import no_openvino
from ._runtime import Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Export and compile for the latency of the example's shape; computed in float32, not in bfloat16."""
    return engine(task, onnx_file, precision="f32", label="float32")


def engine(
    task: Task,
    file_of: Callable[[Task], Path],
    *,
    precision: str,
    label: str,
    settings: dict[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Prepared:
    """A file of a task (ONNX or OpenVINO's own) in OpenVINO, at a precision of computation.

    Without the hint OpenVINO chooses bfloat16 by itself where the processor has it.
    """
    import openvino

    path = file_of(task)
    wanted = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(task.threads),
        "INFERENCE_PRECISION_HINT": precision,
        "CACHE_DIR": str(folder_of(task, "openvino-cache")),
    } | (settings or {})
    first = _compiled(path, wanted, shapes(task.example))
    ran = str(first.get_property("INFERENCE_PRECISION_HINT"))
    if _SHORT.get(ran, ran) != precision:
        raise GatewiseError(f"OpenVINO was asked for {precision} and computes in {ran}")
    version = openvino.__version__.partition("-")[0]
    plural = "s" if task.threads > 1 else ""
    return Prepared(
        call=by_shape(
            task,
            path,
            timed=_fixed_caller(first),
            file_of=file_of,
            load=lambda other: _caller(_compiled(other, wanted, None)),
        ),
        implementation=(
            f"openvino {version} CPU {label} (latency hint, one stream, static shapes), "
            f"{task.threads} thread{plural} of its own"
        ),
        size_bytes=size_of(path),
        notes=(*notes, *pieces(_kinds(first))),
    )


_SHORT = {"<Type: 'float32'>": "f32", "<Type: 'bfloat16'>": "bf16"}


def _compiled(path: Path, settings: dict[str, Any], wanted: tuple[tuple[int, ...], ...] | None) -> Any:
    """A file compiled for one shape, or for any."""
    import openvino

    with quiet():
        try:
            core = openvino.Core()
            model = core.read_model(str(path))
            if wanted is not None:
                model.reshape({port: list(shape) for port, shape in zip(model.inputs, wanted, strict=True)})
            return core.compile_model(model, "CPU", settings)
        except RuntimeError as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            raise GatewiseError(f"OpenVINO cannot load the exported model: {lines[-1][:240]}") from None


def _kinds(compiled_model: Any) -> "Counter[str]":
    """What the engine runs, in ONNX's words."""
    found: Counter[str] = Counter()
    for node in compiled_model.get_runtime_model().get_ops():
        info = node.get_rt_info()
        kind = str(info["layerType"].astype(str)) if "layerType" in info else node.get_type_name()
        found[kind.capitalize()] += 1
    return found


def _fixed_caller(made: Any) -> Call:
    """For the one shape that the graph was compiled for: inputs are written into the engine's own tensors.

    That takes less of the interpreter in each call than handing arrays over, which wraps each of them anew.
    """
    request = made.create_infer_request()
    places = [request.get_input_tensor(index).data for index in range(len(made.inputs))]

    def call(inputs: Inputs) -> Tensor:
        for place, tensor in zip(places, flat(inputs), strict=True):
            place[...] = tensor.numpy()
        request.infer()
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return call


def _caller(made: Any) -> Call:
    """For any shape."""
    request = made.create_infer_request()

    def call(inputs: Inputs) -> Tensor:
        """Inputs are read where they lie; the output is copied out, since the next call writes over it."""
        request.infer([tensor.numpy() for tensor in flat(inputs)], share_inputs=True, share_outputs=True)
        return torch.from_numpy(request.get_output_tensor(0).data.copy())

    return call


RUNTIME = Runtime(
    prepare=prepare,
    summary="OpenVINO, float32, latency hint",
    lacks=no_openvino,
    imports=("openvino",),
)
