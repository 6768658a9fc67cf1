"""OpenVINO computing a float32 model in bfloat16, where the processor has instructions for it."""

from ._export import onnx_file
from ._machine import no_bf16, no_openvino
from ._openvino import engine
from ._runtime import Prepared, Runtime, Task


def prepare(task: Task) -> Prepared:
    """As `openvino`, with the precision hint bf16: inputs and outputs stay float32."""
    return engine(task, onnx_file, precision="bf16", label="bfloat16 inside, float32 in and out")


RUNTIME = Runtime(
    prepare=prepare,
    summary="OpenVINO computing in bfloat16",
    lacks=lambda: no_openvino() or no_bf16(),
    tolerance=None,
    imports=("openvino",),
)
