"""A registered or staged model made ready to run: what is done alike when it is registered and when it is loaded."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._execute import Call, as_array, as_tensor, form_of, given_as, onnx_session, openvino_session, torch_call
from ._ports import Arrays, Port
from ._source import FILE, Inputs, opened

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor

    from gatewise.runtimes import Prepared, Task

FILE_RUNTIMES = ("onnxruntime", "openvino")
MODEL, GRAPH = "model", "graph"


@dataclass(frozen=True, kw_only=True)
class Content:
    """What decides how a version behaves, and so its digest.

    Attributes:
        kind, name: of the source. `runtime`: what executes it. `precision`: of its numbers.
        form: `tensor`, `tuple` or `dict`: how its inputs are handed over.
        rounded: inputs that are bfloat16 inside, where NumPy's are float32.
        output: the name of the output of a PyTorch model.
    """

    kind: str
    name: str
    runtime: str
    precision: str
    form: str = "dict"
    rounded: tuple[str, ...] = ()
    output: str = "output"


def content_of(manifest: Mapping[str, Any]) -> Content:
    """The content of a manifest. Raises `GatewiseError` where it is damaged."""
    try:
        fields: dict[str, Any] = dict(manifest["content"])
        fields["rounded"] = tuple(fields["rounded"])
        return Content(**fields)
    except (KeyError, TypeError, ValueError) as error:
        raise GatewiseError(f"the manifest is damaged: {error}") from error


@dataclass(frozen=True, kw_only=True)
class Built:
    """A model ready to run.

    Attributes:
        call: arrays in, arrays out. `implementation`: what runs, in words.
        inputs, outputs: of a file, its ports; None for a PyTorch model, where probes tell.
        task, prepared: of a PyTorch model.
    """

    call: Call
    implementation: str
    inputs: tuple[Port, ...] | None = None
    outputs: tuple[Port, ...] | None = None
    task: "Task | None" = None
    prepared: "Prepared | None" = None


def build(
    content: Content,
    folder: Path,
    *,
    threads: int,
    example: Arrays | None,
    graphs: Path,
    calibration: Sequence[Arrays] = (),
) -> Built:
    """Make the model in an object's folder ready; a runtime that exports keeps its files in `graphs`.

    Raises:
        GatewiseError: what loading and the runtime raise.
    """
    if content.kind == FILE:
        return _build_file(content, folder / MODEL / content.name, threads)
    import torch

    from gatewise.runtimes import Task, check_runtime, prepare

    check_runtime(content.runtime, dtype=content.precision)
    assert example is not None
    names = list(example)
    torch.get_num_threads()  # a thread's first look takes over the last number set anywhere
    torch.set_num_threads(threads)
    model, run = opened(content.kind, content.name, folder / MODEL)
    task = Task(
        model=model,
        run=run,
        example=as_inputs(content, example),
        threads=threads,
        folder=graphs,
        calibration=[as_inputs(content, call) for call in calibration],
    )
    prepared = prepare(content.runtime, task)
    executed = torch_call(prepared.call, content.form, names, content.output, threads=threads, rounded=content.rounded)
    return Built(call=executed, implementation=prepared.implementation, task=task, prepared=prepared)


def as_inputs(content: Content, arrays: Arrays) -> Inputs:
    """Arrays by name as the model takes them."""
    return given_as(content.form, list(arrays), [_rounded(content, name, arrays[name]) for name in arrays])


def _rounded(content: Content, name: str, array: "np.ndarray") -> "Tensor":
    import torch

    tensor = as_tensor(array)
    return tensor.to(torch.bfloat16) if name in content.rounded else tensor


def _by_name(inputs: Inputs) -> "dict[str, Tensor]":
    if isinstance(inputs, dict):
        return {str(name): value for name, value in inputs.items()}
    if not isinstance(inputs, tuple):
        return {"input": inputs}
    return {f"input_{at}": value for at, value in enumerate(inputs)}


def as_arrays(inputs: Inputs) -> "tuple[dict[str, np.ndarray], tuple[str, ...]]":
    """A call's inputs as arrays by name, and which of them were bfloat16."""
    import torch

    values = _by_name(inputs)
    rounded = tuple(name for name, value in values.items() if value.dtype == torch.bfloat16)
    return {name: as_array(value) for name, value in values.items()}, rounded


def in_precision(inputs: Inputs, precision: str) -> Inputs:
    """The same inputs with their fractions in the model's precision."""
    import torch

    dtype: torch.dtype = getattr(torch, precision)
    values = {name: value.to(dtype) if value.is_floating_point() else value for name, value in _by_name(inputs).items()}
    return given_as(form_of(inputs), list(inputs) if isinstance(inputs, dict) else [], list(values.values()))


def _build_file(content: Content, path: Path, threads: int) -> Built:
    from gatewise.runtimes import check_runtime

    if content.runtime not in FILE_RUNTIMES:
        raise GatewiseError(
            f"{path.name} cannot run on the runtime {content.runtime!r}\nvalid: {', '.join(FILE_RUNTIMES)}"
        )
    check_runtime(content.runtime)
    if path.suffix.lower() == ".xml" and content.runtime == "onnxruntime":
        raise GatewiseError(f"{path.name} is a file of OpenVINO; give --runtime openvino")
    session = onnx_session if content.runtime == "onnxruntime" else openvino_session
    inputs, outputs, call = session(path, threads)
    return Built(call=call, implementation=f"{content.runtime} on {path.name}", inputs=inputs, outputs=outputs)
