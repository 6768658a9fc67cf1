"""OpenVINO with int8 weights and activations whose ranges were calibrated beforehand, by NNCF."""

from pathlib import Path
from typing import Any

from ._calibration import calibration_hash, feeds, told
from ._openvino import engine
from ._openvino_int8 import no_nncf, silent_nncf
from ._quantised import quantised
from ._runtime import Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Quantise with the ranges seen on the calibration inputs."""
    return engine(
        task, lambda other: _file(task, other), precision="f32", label="int8 (static, by NNCF)", notes=(told(task),)
    )


def _file(calibrated: Task, task: Task) -> Path:
    name = f"openvino-int8-static-{calibration_hash(calibrated)}"
    return quantised(task, name, lambda source, target: _write(calibrated, source, target), suffix=".xml")


def _write(task: Task, source: Path, target: Path) -> None:
    import openvino

    nncf = silent_nncf()
    model: Any = openvino.Core().read_model(str(source))
    attention = any(node.get_type_name() == "Softmax" for node in model.get_ops())
    found = nncf.quantize(
        model,
        nncf.Dataset(list(feeds(task))),
        model_type=nncf.ModelType.TRANSFORMER if attention else None,
        preset=nncf.QuantizationPreset.MIXED,
        subset_size=len(task.calibration),
    )
    openvino.save_model(found, str(target), compress_to_fp16=False)


RUNTIME = Runtime(
    prepare=prepare,
    summary="OpenVINO, int8 with calibrated ranges",
    lacks=no_nncf,
    tolerance=None,
    calibrates=True,
    imports=("onnx", "openvino"),
)
