"""ONNX Runtime with int8 weights and activations that are quantised as they come (dynamic): no calibration."""

from pathlib import Path

from ._machine import no_onnx
from ._onnxruntime import engine
from ._quantised import quantised, stayed_float
from ._runtime import Prepared, Runtime, Task

WITH_WEIGHTS = ("MatMul", "Gemm", "Conv")
DYNAMIC = ("MatMulInteger", "ConvInteger", "QLinearMatMul", "QLinearConv")


def prepare(task: Task) -> Prepared:
    """Quantise the exported file's weights per channel to int8; activations are quantised in each call."""
    path = file_of(task)
    notes = stayed_float(path, WITH_WEIGHTS, DYNAMIC)
    return engine(task, file_of, precision="int8 (dynamic, weights per channel)", notes=notes)


def file_of(task: Task) -> Path:
    """The quantised file for the example's shape."""
    return quantised(task, "onnx-int8", _write)


def _write(source: Path, target: Path) -> None:
    import onnx
    from onnxruntime.quantization import QuantType, quantize_dynamic

    model = onnx.load(str(source))
    del model.graph.value_info[:]  # the quantiser turns weights round, and the old shapes would contradict it
    # Convolutions stay float32: the engine's dynamic integer convolution is slower than its float one.
    quantize_dynamic(
        model, target, weight_type=QuantType.QInt8, per_channel=True, op_types_to_quantize=["MatMul", "Gemm"]
    )


RUNTIME = Runtime(
    prepare=prepare,
    summary="ONNX Runtime, int8 weights, activations quantised in each call",
    lacks=no_onnx,
    tolerance=None,
    imports=("onnx", "onnxruntime"),
)
