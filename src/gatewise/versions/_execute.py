"""What executes a version: arrays by name in, arrays by name out."""

import threading
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._ports import DATATYPES, FREE, Arrays, Port

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

Call = Callable[[Arrays], "dict[str, np.ndarray]"]


def form_of(inputs: Any) -> str:
    """How a model is called: with one tensor, with several in order, or by name."""
    return "dict" if isinstance(inputs, dict) else "tuple" if isinstance(inputs, tuple) else "tensor"


def given_as(form: str, names: Sequence[str], tensors: "Sequence[Tensor]") -> Any:
    """Tensors in a form."""
    if form == "dict":
        return dict(zip(names, tensors, strict=True))
    return tuple(tensors) if form == "tuple" else tensors[0]


def torch_call(
    call: Callable[[Any], "Tensor"],
    form: str,
    names: Sequence[str],
    output: str,
    *,
    threads: int,
    rounded: Sequence[str] = (),
) -> Call:
    """A prepared runtime on arrays. Arrays are read where they lie and the output is handed out as it was made.

    PyTorch's number of threads belongs to the thread that calls, and a fresh one starts with what any thread set last;
    so it is set in each thread's first call. `rounded`: inputs that become bfloat16.
    """
    import torch

    known = threading.local()
    places = [list(names).index(name) for name in rounded]

    def execute(inputs: Arrays) -> "dict[str, np.ndarray]":
        if not hasattr(known, "set"):
            torch.get_num_threads()  # a thread's first look takes over the last number set anywhere
            torch.set_num_threads(threads)
            known.set = True
        tensors = [as_tensor(inputs[name]) for name in names]
        for place in places:
            tensors[place] = tensors[place].to(torch.bfloat16)
        with torch.inference_mode():
            return {output: as_array(call(given_as(form, names, tensors)))}

    return execute


@contextmanager
def failing(where: str) -> Generator[None]:
    """Calls before anything is served: what fails in them is one line, whatever kind of error the engine has."""
    try:
        yield
    except GatewiseError:
        raise
    except Exception as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise GatewiseError(f"{where} fails on its probes: {told}") from error


class _Writable:
    """A read-only array's memory, described as writable: PyTorch knows no other kind, and no runtime writes there."""

    def __init__(self, array: "np.ndarray") -> None:
        self.__array_interface__ = {**array.__array_interface__, "data": (array.__array_interface__["data"][0], False)}
        self.kept = array


def as_tensor(array: "np.ndarray") -> "Tensor":
    """The same memory as a tensor; copied only where PyTorch has no such layout."""
    import numpy as np
    import torch

    if not array.flags.c_contiguous:
        array = np.ascontiguousarray(array)
    if not array.flags.writeable:
        array = np.asarray(_Writable(array))
    return torch.from_numpy(array)


def as_array(tensor: "Tensor") -> "np.ndarray":
    """The same memory as an array; bfloat16, which NumPy does not have, becomes float32."""
    import torch

    if tensor.dtype == torch.bfloat16:
        tensor = tensor.float()
    return tensor.detach().numpy()


def onnx_session(path: Path, threads: int) -> tuple[tuple[Port, ...], tuple[Port, ...], Call]:
    """An ONNX file in ONNX Runtime: its inputs, its outputs, its call.

    Raises:
        GatewiseError: the engine refuses the file, or a type cannot be served.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    options.log_severity_level = 4
    options.add_session_config_entry("session.force_spinning_stop", "1")
    try:
        made: Any = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except Exception as error:  # noqa: BLE001  (the engine's own kinds have no class in common)
        raise GatewiseError(
            f"ONNX Runtime cannot load {path.name}: {str(error).strip().splitlines()[0][:240]}"
        ) from None
    inputs = tuple(_onnx_port(each) for each in made.get_inputs())
    outputs = tuple(_onnx_port(each) for each in made.get_outputs())
    names = [port.name for port in outputs]
    return inputs, outputs, lambda arrays: dict(zip(names, made.run(names, dict(arrays)), strict=True))


_ONNX_TYPES = {"float": "FP32", "double": "FP64"}


def _onnx_port(each: Any) -> Port:
    kind = str(each.type).removeprefix("tensor(").removesuffix(")")
    datatype = _ONNX_TYPES.get(kind) or DATATYPES.get(kind)
    if datatype is None:
        raise GatewiseError(f"{each.name!r} is a {each.type}, which cannot be served")
    return _port(each.name, datatype, [size if isinstance(size, int) else FREE for size in each.shape])


def _port(name: str, datatype: str, sizes: Sequence[int]) -> Port:
    if not sizes:
        raise GatewiseError(f"{name!r} is a single number; what is served has a row for each item")
    return Port(name=name, datatype=datatype, shape=(FREE if sizes[0] < 0 else sizes[0], *sizes[1:]))


def openvino_session(path: Path, threads: int) -> tuple[tuple[Port, ...], tuple[Port, ...], Call]:
    """An ONNX or OpenVINO file in OpenVINO, computed in float32: its inputs, its outputs, its call.

    Raises:
        GatewiseError: the engine refuses the file, or a type cannot be served.
    """
    import openvino

    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "NUM_STREAMS": "1",
        "INFERENCE_NUM_THREADS": str(threads),
        "INFERENCE_PRECISION_HINT": "f32",
    }
    try:
        core = openvino.Core()
        made: Any = core.compile_model(core.read_model(str(path)), "CPU", settings)
    except RuntimeError as error:
        lines = [line.strip() for line in str(error).splitlines() if line.strip()]
        raise GatewiseError(f"OpenVINO cannot load {path.name}: {lines[-1][:240]}") from None
    inputs = tuple(_openvino_port(each, f"input_{at}") for at, each in enumerate(made.inputs))
    outputs = tuple(_openvino_port(each, f"output_{at}") for at, each in enumerate(made.outputs))
    request = made.create_infer_request()

    def execute(arrays: Arrays) -> "dict[str, np.ndarray]":
        request.infer([arrays[port.name] for port in inputs], share_inputs=True, share_outputs=True)
        return {port.name: request.get_output_tensor(at).data.copy() for at, port in enumerate(outputs)}

    return inputs, outputs, execute


_OPENVINO_TYPES = {"f16": "FP16", "f32": "FP32", "f64": "FP64", "boolean": "BOOL"}


def _openvino_port(each: Any, otherwise: str) -> Port:
    kind = str(each.get_element_type().get_type_name())
    whole = {"i": "int", "u": "uint"}.get(kind[0], "")
    datatype = _OPENVINO_TYPES.get(kind) or DATATYPES.get(f"{whole}{kind[1:]}")
    names = sorted(each.get_names())
    if datatype is None:
        raise GatewiseError(f"{names[0] if names else otherwise!r} is of the type {kind}, which cannot be served")
    sizes = [int(size.get_length()) if size.is_static else FREE for size in each.get_partial_shape()]
    return _port(names[0] if names else otherwise, datatype, sizes)
