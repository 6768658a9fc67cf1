"""ONNX Runtime with int8 weights and activations whose ranges were calibrated beforehand (static, QDQ)."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ._calibration import calibration_hash, feeds, told
from ._machine import no_onnx
from ._onnxruntime import engine
from ._onnxruntime_int8 import WITH_WEIGHTS
from ._quantised import quantised, stayed_float
from ._runtime import Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """Quantise what has weights, per channel, with the ranges seen on the calibration inputs."""
    path = file_of(task)
    notes = (*stayed_float(path, WITH_WEIGHTS, ()), told(task))
    return engine(task, file_of, precision="int8 (static, QDQ, weights per channel)", notes=notes)


def file_of(task: Task) -> Path:
    """The quantised file for the example's shape."""
    return quantised(
        task, f"onnx-int8-static-{calibration_hash(task)}", lambda source, target: _write(task, source, target)
    )


def _write(task: Task, source: Path, target: Path) -> None:
    from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Reader(CalibrationDataReader):
        """The calibration inputs one after the other, then None."""

        def __init__(self) -> None:
            self._left: Iterator[Any] = feeds(task)

        def get_next(self) -> Any:
            return next(self._left, None)

    prepared = target.with_suffix(".prepared.tmp")
    quant_pre_process(source, prepared, skip_symbolic_shape=True)
    quantize_static(
        prepared,
        target,
        Reader(),
        quant_format=QuantFormat.QDQ,
        per_channel=True,
        activation_type=QuantType.QUInt8,
        weight_type=QuantType.QInt8,
        op_types_to_quantize=list(WITH_WEIGHTS),
        # A product of two activations (attention) stays float32: it has no weights to shrink and moves outputs most.
        extra_options={"MatMulConstBOnly": True},
    )
    for each in target.parent.glob(f"{prepared.name}*"):
        each.unlink()


RUNTIME = Runtime(
    prepare=prepare,
    summary="ONNX Runtime, int8 with calibrated ranges",
    lacks=no_onnx,
    tolerance=None,
    calibrates=True,
    imports=("onnx", "onnxruntime"),
)
