"""What executes a model. A runtime prepares it once, says what it really runs, and never falls back silently."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError, Registry

from ._inputs import Inputs, flat

if TYPE_CHECKING:
    from torch import Tensor, nn

    Run = Callable[[nn.Module, Inputs], Tensor]

FLOATS = ("float32", "bfloat16", "float16")
CLOSE = 1e-4
"""How far outputs of the same precision may lie from eager's, as a share of the largest eager output."""


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a runtime is to execute.

    Attributes:
        model: the model, in eval mode.
        run: the workload's own call, pooling and all.
        example: the inputs of the calls that will be timed: for their shapes an engine may specialise.
        threads: how many threads a call may use.
        folder: where exported files are kept and found again, so that each measuring process only loads.
        calibration: inputs whose ranges a static quantisation takes over.
    """

    model: "nn.Module"
    run: "Run"
    example: Inputs
    threads: int = 1
    folder: Path | None = None
    calibration: Sequence[Inputs] = ()


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """A model ready to be called.

    Attributes:
        call: what is timed. It takes other batch sizes and lengths than the example too, and its result is the
            caller's to keep.
        implementation: engine, version, precision and settings, in words.
        differentiable: whether gradients flow through it to the parameters of the task's model.
        size_bytes: the size of the file that is loaded; None where the engine holds the model's own weights.
        notes: what a reader should know: operations that stayed apart, layers that stayed float32.
    """

    call: "Callable[[Inputs], Tensor]"
    implementation: str
    differentiable: bool = False
    size_bytes: int | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Runtime:
    """One way to execute a model.

    Attributes:
        prepare: makes a task callable.
        summary: one line for people.
        lacks: what this machine lacks for it and how to get it, in one line; None where it runs. Imports nothing heavy.
        dtypes: the dtypes of weights and inputs that it takes.
        tolerance: the largest difference to eager allowed, as a share of the largest eager output; None for lower
            precision, which is reported and refused only where it is garbage.
        calibrates: whether it needs `Task.calibration`.
        differentiable: whether gradients flow through it.
        specialises: whether it makes something of its own for every shape that is timed.
        custom_operators: whether it runs operators that torch did not bring, such as gatewise's native kernels.
        keeps_model: whether it runs the task's model itself, and not a file made from it.
        imports: what is imported before memory is counted, as torch is.
    """

    prepare: Callable[[Task], Prepared]
    summary: str
    lacks: Callable[[], str | None] = lambda: None
    dtypes: tuple[str, ...] = ("float32",)
    tolerance: float | None = CLOSE
    calibrates: bool = False
    differentiable: bool = False
    specialises: bool = True
    custom_operators: bool = False
    keeps_model: bool = False
    imports: tuple[str, ...] = ()


RUNTIMES: Registry[Runtime] = Registry(
    "runtime",
    group="runtimes",
    package=__package__ or "",
    table={
        "eager": "._eager:RUNTIME",
        "compile": "._compile:RUNTIME",
        "compile-frozen": "._compile_frozen:RUNTIME",
        "onnxruntime": "._onnxruntime:RUNTIME",
        "openvino": "._openvino:RUNTIME",
        "openvino-bf16": "._openvino_bf16:RUNTIME",
        "zentorch": "._zentorch:RUNTIME",
        "onnxruntime-int8": "._onnxruntime_int8:RUNTIME",
        "onnxruntime-int8-static": "._onnxruntime_int8_static:RUNTIME",
        "openvino-int8": "._openvino_int8:RUNTIME",
        "openvino-int8-static": "._openvino_int8_static:RUNTIME",
        "executorch": "._executorch:RUNTIME",
    },
)


def availability() -> dict[str, str | None]:
    """Every runtime with what this machine lacks for it, None where it runs. Imports no engine."""
    return {name: RUNTIMES[name].lacks() for name in RUNTIMES}


def check_runtime(name: str, *, dtype: str = "float32", gradients: bool = False) -> Runtime:
    """The runtime of that name, if it can run here.

    Raises:
        GatewiseError: an unknown name; something that it needs is not there; a dtype that it does not take; gradients
            asked of an engine for inference.
    """
    runtime = RUNTIMES[name]
    if reason := runtime.lacks():
        raise GatewiseError(f"the runtime {name!r} cannot run here: {reason}")
    if dtype not in runtime.dtypes:
        takes = [other for other in RUNTIMES if dtype in RUNTIMES[other].dtypes]
        raise GatewiseError(
            f"the runtime {name!r} takes {', '.join(runtime.dtypes)} models, not {dtype}\nvalid for {dtype}: "
            f"{', '.join(takes)}"
        )
    if gradients and not runtime.differentiable:
        takes = [other for other in RUNTIMES if RUNTIMES[other].differentiable]
        raise GatewiseError(f"gradient_time: no gradients flow through the runtime {name!r}\nvalid: {', '.join(takes)}")
    return runtime


def warm_up(name: str) -> None:
    """Import what a runtime needs, so that it is not counted as the model's memory or load time."""
    for module in RUNTIMES[name].imports:
        import_module(module)


def prepare(name: str, task: Task) -> Prepared:
    """Make a task callable on the runtime of that name.

    Raises:
        GatewiseError: what `check_runtime` raises; a model that cannot be exported; no calibration inputs where they
            are needed, or of another kind than the example.
    """
    runtime = check_runtime(name)
    if runtime.calibrates and not task.calibration:
        raise GatewiseError(f"the runtime {name!r} needs calibration inputs, and the task has none")
    _check_calibration(name, task)
    return runtime.prepare(task)


def _check_calibration(name: str, task: Task) -> None:
    wanted = [(tensor.dtype, tensor.dim()) for tensor in flat(task.example)]
    for inputs in task.calibration:
        found = [(tensor.dtype, tensor.dim()) for tensor in flat(inputs)]
        if found != wanted:
            raise GatewiseError(
                f"calibration inputs for {name!r} are of another kind than the model's: "
                f"{_kinds(found)} instead of {_kinds(wanted)}"
            )
        for mine, given in zip(flat(task.example), flat(inputs), strict=True):
            if mine.is_floating_point() and mine.shape[-1] != given.shape[-1]:
                raise GatewiseError(
                    f"calibration inputs for {name!r} have {given.shape[-1]} instead of {mine.shape[-1]} numbers a row"
                )


def _kinds(found: Sequence[tuple[object, int]]) -> str:
    return ", ".join(f"{str(dtype).removeprefix('torch.')} with {dim} dimensions" for dtype, dim in found)
