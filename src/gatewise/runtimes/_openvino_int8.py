"""OpenVINO with int8 weights (compressed by NNCF) and activations quantised in groups as they come."""

from pathlib import Path
from typing import Any

from ._machine import no_openvino, not_installed
from ._openvino import engine
from ._quantised import quantised
from ._runtime import Prepared, Runtime, Task

GROUP = 32
"""How many activations share a scale."""


def prepare(task: Task) -> Prepared:
    """Compress weights to int8, and let the engine quantise activations in each call."""
    return engine(
        task,
        file_of,
        precision="f32",
        label=f"int8 weights, activations quantised in groups of {GROUP} in each call",
        settings={"DYNAMIC_QUANTIZATION_GROUP_SIZE": str(GROUP)},
    )


def file_of(task: Task) -> Path:
    """The compressed file for the example's shape, in OpenVINO's own format."""
    return quantised(task, "openvino-int8", _write, suffix=".xml")


def _write(source: Path, target: Path) -> None:
    import nncf  # pyright: ignore[reportMissingImports]  (an extra that not every machine has)
    import openvino

    model: Any = nncf.compress_weights(openvino.Core().read_model(str(source)), mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, str(target), compress_to_fp16=False)


def no_nncf() -> str | None:
    """Why OpenVINO cannot quantise, or None."""
    return no_openvino() or not_installed("nncf", get="pip install nncf")


RUNTIME = Runtime(
    prepare=prepare,
    summary="OpenVINO, int8 weights, activations quantised in each call",
    lacks=no_nncf,
    tolerance=None,
    imports=("onnx", "openvino"),
)
