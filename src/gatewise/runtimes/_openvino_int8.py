"""OpenVINO with int8 weights (compressed by NNCF) and activations quantised in groups as they come."""

import os
from importlib import import_module
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
    import openvino

    nncf = silent_nncf()
    model: Any = nncf.compress_weights(openvino.Core().read_model(str(source)), mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(model, str(target), compress_to_fp16=False)


def silent_nncf() -> Any:
    """NNCF, imported so that it reports nothing: it otherwise tells its makers over the network of each use."""
    switch = "NNCF_CI"
    before = os.environ.get(switch)
    os.environ[switch] = "1"  # read once, while it is imported
    try:
        return import_module("nncf")
    finally:
        if before is None:
            del os.environ[switch]
        else:
            os.environ[switch] = before


def no_nncf() -> str | None:
    """Why OpenVINO cannot quantise, or None."""
    return no_openvino() or not_installed("nncf", get="pip install 'gatewise[int8]'")


RUNTIME = Runtime(
    prepare=prepare,
    summary="OpenVINO, int8 weights, activations quantised in each call",
    lacks=no_nncf,
    tolerance=None,
    imports=("onnx", "openvino"),
)
