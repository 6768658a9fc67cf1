"""The others, set up as their own pages show: torch.compile, zentorch, ONNX Runtime, OpenVINO, numba.

One that is absent, refuses or answers something else than eager is skipped, and the record says why in one line.
"""

import types
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from gatewise import activations

from .functions import Arrays, Call, aten, both_ways, is_gate

CLOSE = {torch.float32: 1e-4, torch.bfloat16: 2e-2}
"""How far an answer may lie from eager's, as a share of eager's largest."""


def own(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function with code of its own: the compiler keeps its graphs, and its limit on them, by the code."""

    def called(*inputs: Tensor) -> Any:
        return function(*inputs)

    return types.FunctionType(called.__code__.replace(), globals(), "called", None, called.__closure__)


def reason(error: BaseException) -> str:
    """An error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:150]}" if lines else type(error).__name__


def apart(got: Any, wanted: Tensor) -> float:
    """The largest difference as a share of the largest number that is wanted."""
    found = torch.as_tensor(got).to(torch.float64).reshape(wanted.shape)
    largest = float(wanted.abs().max())
    return float((found - wanted.double()).abs().max()) / (largest or 1.0)


def checked(name: str, make: Callable[[], Call], wanted: Tensor, skipped: dict[str, str]) -> dict[str, Call]:
    """The call under its name, if it can be made and its (first) answer is eager's."""
    try:
        call = make()
        got = call()
        first = got[0] if isinstance(got, (tuple, list)) else got
        far = apart(first, wanted)
    except Exception as error:  # noqa: BLE001  (a peer that fails is told, the others go on)
        skipped[name] = reason(error)
        return {}
    if not far <= CLOSE[wanted.dtype]:
        skipped[name] = f"differs from eager by {far:.0e} of the largest number"
        return {}
    return {name: call}


def compiled_elementwise(name: str, way: str, at: Arrays, skipped: dict[str, str]) -> dict[str, Call]:
    """torch.compile of the stock forward, of the gradient's formula, or of the forward and its backward by autograd."""
    function = activations.get(name).torch
    if way == "both ways":
        compiled = torch.compile(own(function), fullgraph=True, dynamic=False)
        return checked("compile", lambda: both_ways(compiled, at), both_ways(function, at)()[0], skipped)
    taken = at.inputs
    if way == "backward":
        function, taken = GRADIENTS[name], (at.grad, *at.inputs)
    compiled = torch.compile(own(function), fullgraph=True, dynamic=False)
    with torch.inference_mode():
        return checked("compile", lambda: lambda: compiled(*taken), first(function(*taken)), skipped)


GRADIENTS: dict[str, Callable[..., Any]] = {
    "gelu": aten.gelu_backward,
    "swiglu": lambda grad, gate, up: (aten.silu_backward(grad * up, gate), grad * aten.silu(gate)),
}
"""Of the functions that are judged, by the inputs alone, for a compiler to fuse."""


def elementwise(name: str, way: str, dtype: str, at: Arrays, skipped: dict[str, str]) -> dict[str, Call]:
    """All peers that know this function in this direction."""
    calls = compiled_elementwise(name, way, at, skipped)
    if way == "both ways" or dtype != "f32":
        return calls
    if way == "forward":
        wanted = activations.get(name).torch(*at.inputs)
        arrays = [tensor.numpy() for tensor in at.inputs]
        calls |= checked("zentorch", lambda: zentorch(activations.get(name).torch, at.inputs), wanted, skipped)
        for peer, make in (("onnxruntime", onnxruntime), ("openvino", openvino)):

            def made(make: Callable[..., Call] = make) -> Call:
                return make(model_bytes(name, [array.shape for array in arrays]), arrays, torch.get_num_threads())

            calls |= checked(peer, made, wanted, skipped)
    from . import numba_loops  # its functions compile when they are asked for

    if (why := numba_loops.missing()) is not None:
        skipped["numba"] = why
    elif (loop := numba_loops.loop(name, way, at)) is not None:
        from .functions import eager_backward

        wanted = activations.get(name).torch(*at.inputs) if way == "forward" else first(eager_backward(name, at)())
        calls |= checked("numba", lambda: loop, wanted, skipped)
    return calls


def first(found: Any) -> Tensor:
    """The first of several tensors, or the only one."""
    return found[0] if isinstance(found, (tuple, list)) else found


def zentorch(function: Callable[..., Tensor], inputs: tuple[Tensor, ...]) -> Call:
    """AMD's back end of torch.compile; its pass is taken out of Inductor's settings again."""
    settings: Any = import_module("torch._inductor.config")
    before = settings.joint_custom_post_pass
    import_module("zentorch")
    compiled = torch.compile(own(function), backend="zentorch", dynamic=False)
    try:
        with torch.inference_mode():
            compiled(*inputs)
    finally:
        settings.joint_custom_post_pass = before

    def call() -> object:
        with torch.inference_mode():
            return compiled(*inputs)

    return call


# -- engines that take a graph


def _node(operator: str, inputs: list[str], output: str, **attributes: Any) -> Any:
    helper = import_module("onnx").helper
    return helper.make_node(operator, inputs, [output], **attributes)


def activation_nodes(name: str, inputs: list[str], output: str) -> list[Any]:
    """The ONNX operators of gelu or swiglu."""
    if name == "gelu":
        return [_node("Gelu", inputs, output, approximate="none")]
    gate, up = inputs
    return [
        _node("Sigmoid", [gate], "s"),
        _node("Mul", [gate, "s"], "a"),
        _node("Mul", ["a", up], output),
    ]


def _serialised(nodes: list[Any], shapes: dict[str, tuple[int, ...]], out: tuple[int, ...], weights: Any) -> bytes:
    helper = import_module("onnx").helper
    element = import_module("onnx").TensorProto.FLOAT
    graph = helper.make_graph(
        nodes,
        "benchmark",
        [helper.make_tensor_value_info(name, element, list(shape)) for name, shape in shapes.items()],
        [helper.make_tensor_value_info("y", element, list(out))],
        [import_module("onnx").numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10).SerializeToString()


def model_bytes(name: str, shapes: list[tuple[int, ...]]) -> bytes:
    """gelu or swiglu as an ONNX model."""
    inputs = [f"x{index}" for index in range(len(shapes))]
    return _serialised(activation_nodes(name, inputs, "y"), dict(zip(inputs, shapes, strict=True)), shapes[0], {})


def block_bytes(block: activations.FeedForward, rows: int) -> bytes:
    """A feed-forward block as an ONNX model."""
    gated = is_gate(block.activation)
    parts = {"g": block.unit.gate, "u": block.unit.up} if gated else {"u": block.up}
    nodes = [_node("MatMul", ["x0", f"w{name}"], name) for name in parts]
    nodes += activation_nodes(block.activation, list(parts), "h")
    nodes.append(_node("MatMul", ["h", "wd"], "y"))
    weights = {f"w{name}": linear.weight for name, linear in parts.items()} | {"wd": block.down.weight}
    arrays = {name: np.ascontiguousarray(weight.detach().numpy().T) for name, weight in weights.items()}
    return _serialised(nodes, {"x0": (rows, block.dim)}, (rows, block.dim), arrays)


def onnxruntime(model: bytes, arrays: list[Any], threads: int) -> Call:
    """A session with all graph optimisations; no spinning after a call, which would slow down whoever comes next."""
    engine = import_module("onnxruntime")
    options = engine.SessionOptions()
    options.intra_op_num_threads = threads
    options.graph_optimization_level = engine.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    session = engine.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    feed = {f"x{index}": array for index, array in enumerate(arrays)}
    return lambda: session.run(None, feed)[0]


def openvino(model: bytes, arrays: list[Any], threads: int) -> Call:
    """A compiled model with the latency hint, float32 products, inputs and outputs shared."""
    engine = import_module("openvino")
    settings = {"PERFORMANCE_HINT": "LATENCY", "INFERENCE_NUM_THREADS": threads, "INFERENCE_PRECISION_HINT": "f32"}
    core = engine.Core()
    request = core.compile_model(core.read_model(model), "CPU", settings).create_infer_request()
    return lambda: request.infer(arrays, share_inputs=True, share_outputs=True)[0]


def stock_runtime(name: str, model: torch.nn.Module, inputs: dict[str, Tensor], folder: Path) -> Call:
    """A runtime of gatewise on a model: for the compiler with frozen weights, and for zentorch with them."""
    from gatewise.runtimes import Task, prepare

    task = Task(
        model=model,
        run=lambda model, inputs: model(**inputs),
        example=inputs,
        threads=torch.get_num_threads(),
        folder=folder,
    )
    ready = prepare(name, task)
    return lambda: ready.call(inputs)
