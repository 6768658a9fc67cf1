"""A task as a file that an engine reads: traced once per model, kept in a folder, found again by what it was made from.

Two steps that can each fail: `torch.export` traces the workload's call to a graph of ATen operations, and a converter
writes it in the engine's format. The batch and, for token ids, the length stay free wherever the model's code allows.
"""

import contextlib
import hashlib
import io
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

from ._causes import cause_of
from ._inputs import Inputs, flat, names, rebuilt, shapes, with_rows
from ._runtime import Task

FIXED = (0, 0)

FEWEST_ROWS = 2
"""An example of one item is traced with two: a size of 1 would be taken for a constant."""


class Call(nn.Module):
    """The workload's whole call as a module of its own, so that pooling and heads are exported too."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.model = task.model
        self._run = task.run
        self._like = task.example

    def forward(self, *tensors: Tensor) -> Tensor:
        """One call on the flat inputs."""
        return self._run(self.model, rebuilt(self._like, tensors))


def folder_of(task: Task, kind: str) -> Path:
    """Where files of one kind are kept: in the task's folder, else in one that goes when the process ends."""
    if task.folder is None:
        path = Path(_temporary().name) / kind / fingerprint(task)
    else:
        path = task.folder / kind
    path.mkdir(parents=True, exist_ok=True)
    return path


_KEPT: list[tempfile.TemporaryDirectory[str]] = []


def _temporary() -> "tempfile.TemporaryDirectory[str]":
    if not _KEPT:
        _KEPT.append(tempfile.TemporaryDirectory(prefix="gatewise-runtimes-"))
    return _KEPT[0]


def fingerprint(task: Task) -> str:
    """What an export depends on: weights, structure, the call, the kind of its inputs, and torch's version."""
    digest = hashlib.sha256(f"{torch.__version__}|{task.model}|{_name_of(task.run)}".encode())
    for name, tensor in sorted(task.model.state_dict().items()):
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        data = tensor.detach().cpu().contiguous().flatten()
        digest.update(data.view(torch.uint8).numpy() if data.numel() else b"")
    for name, tensor in zip(names(task.example), flat(task.example), strict=True):
        digest.update(f"{name} {tensor.dtype} {tensor.dim()}".encode())
    return digest.hexdigest()[:16]


def _name_of(run: Callable[..., object]) -> str:
    return f"{getattr(run, '__module__', '')}.{getattr(run, '__qualname__', type(run).__name__)}"


def exported(task: Task, most: tuple[int, int] | None = None) -> torch.export.ExportedProgram:
    """The task as a graph of ATen operations, sizes free where the model allows it.

    `most`: the largest batch and length, for an engine that plans its memory beforehand; `FIXED` for no free sizes.

    Raises:
        GatewiseError: code that cannot be traced, such as a branch on the data; with the place.
    """
    tensors = flat(task.example if most == FIXED else _traced_with(task))
    free: Any = torch.export.Dim.AUTO
    ends: Any = [free(min=1, max=most[0]), free(min=2, max=most[1])] if most and most != FIXED else [free, free]
    sizes = tuple({dim: ends[dim] for dim in (() if most == FIXED else _free_dims(tensor))} for tensor in tensors)
    call = Call(task).eval()
    with quiet(), torch.inference_mode(False), torch.no_grad():
        try:
            return torch.export.export(call, tuple(tensors), dynamic_shapes={"tensors": sizes})
        except Exception as error:  # noqa: BLE001  (the exporter raises whatever the model's own code raises)
            raise GatewiseError(f"the model cannot be exported: {cause_of(error)}") from None


def _traced_with(task: Task) -> Any:
    rows = len(flat(task.example)[0])
    return task.example if rows >= FEWEST_ROWS else with_rows(task.example, [0] * FEWEST_ROWS)


def _free_dims(tensor: Tensor) -> tuple[int, ...]:
    """The batch; and the length of token ids and of vectors by position. An image's sides stay as they are."""
    return (0, 1) if tensor.dim() == 3 or (tensor.dim() == 2 and not tensor.is_floating_point()) else (0,)


def onnx_file(task: Task) -> Path:
    """The task as an ONNX file that takes the example's shape, written once.

    Raises:
        GatewiseError: what `exported` raises; an operation without an ONNX form.
    """
    return file_for(task, "onnx", ".onnx", lambda program, path: _write_onnx(task, program, path))


def _write_onnx(task: Task, program: torch.export.ExportedProgram, path: Path) -> None:
    with quiet(), torch.inference_mode(False), torch.no_grad():
        try:
            converted = torch.onnx.export(program, dynamo=True, verbose=False, input_names=names(task.example))
        except Exception as error:  # noqa: BLE001  (the converter raises from many places)
            raise GatewiseError(f"the model cannot be written as ONNX: {cause_of(error)}") from None
        assert converted is not None
        converted.save(path)


def file_for(
    task: Task,
    kind: str,
    suffix: str,
    write: Callable[[torch.export.ExportedProgram, Path], None],
    *,
    most: tuple[int, int] | None = None,
) -> Path:
    """The file of one kind that takes the example's shape: found in the task's folder, else traced and written.

    Raises:
        GatewiseError: what `exported` and `write` raise.
    """
    folder = folder_of(task, kind)
    wanted = fingerprint(task)
    for path in sorted(folder.glob(f"{wanted}-*{suffix}")):
        facts = facts_of(path)
        if facts and facts["made_from"] == wanted and _takes(facts["sizes"], shapes(task.example)):
            return path
    program = exported(task, most)
    sizes = free_sizes(program)
    path = folder / f"{wanted}-{_sizes_text(sizes)}{suffix}"
    write(program, path)
    write_facts(path, wanted, sizes=sizes)
    return path


def takes(path: Path, inputs: Inputs) -> bool:
    """Whether a file takes inputs of these shapes."""
    facts = facts_of(path)
    return bool(facts) and _takes(facts["sizes"], shapes(inputs))


def size_of(path: Path) -> int:
    """The bytes of a file with the weights that stand beside it."""
    beside = (path.with_name(f"{path.name}.data"), path.with_suffix(".bin"))
    return path.stat().st_size + sum(each.stat().st_size for each in beside if each.is_file())


Sizes = list[list[int | None]]
"""The size of every dimension of every input, None where any size is taken."""


def free_sizes(program: torch.export.ExportedProgram) -> Sizes:
    """What a traced call takes: where the model's code fixed a size, the size it was traced with."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes if node.op == "placeholder"}
    shapes = [values[str(name)].shape for name in program.graph_signature.user_inputs]
    return [[int(size) if isinstance(size, int) else None for size in shape] for shape in shapes]


def _takes(sizes: Sizes, wanted: tuple[tuple[int, ...], ...]) -> bool:
    return [len(size) for size in sizes] == [len(shape) for shape in wanted] and all(
        one in (None, other)
        for size, shape in zip(sizes, wanted, strict=True)
        for one, other in zip(size, shape, strict=True)
    )


def _sizes_text(sizes: Sizes) -> str:
    return "-".join("x".join("n" if size is None else str(size) for size in each) for each in sizes)


def write_facts(path: Path, made_from: str, **facts: Any) -> None:
    """Say beside a finished file what it was made from: a file without it is half of one."""
    aside = path.with_suffix(f"{path.suffix}.json")
    aside.write_text(json.dumps({"made_from": made_from} | facts), encoding="utf-8")


def facts_of(path: Path) -> dict[str, Any] | None:
    """What stands beside a finished file; None for half of one."""
    aside = path.with_suffix(f"{path.suffix}.json")
    return json.loads(aside.read_text(encoding="utf-8")) if path.is_file() and aside.is_file() else None


@contextlib.contextmanager
def quiet() -> Generator[None]:
    """Exporters talk a lot, on both streams, in warnings and in logs; what matters comes as an error."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(io.StringIO()),
            contextlib.redirect_stderr(io.StringIO()),
        ):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
