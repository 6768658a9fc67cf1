"""Checkpoints of a run: safetensors for weights and optimiser, JSON for the rest, whole or not there at all.

A checkpoint is a folder `step-N` of three files. It is written under another name, each file is forced to the disk, and
the folder is renamed last: whatever moment a process is killed at, a folder of that name is whole. `state.json` carries
the hash of the other two, so that a file that was cut or changed later is noticed. Nothing in it is executed.
"""

import hashlib
import json
import math
import os
import shutil
import uuid
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from ._plan import TrainPlan
    from ._workload import TrainWorkload

FORMAT = "gatewise.checkpoint/1"
WEIGHTS, MOMENTS, STATE = "weights.safetensors", "optimizer.safetensors", "state.json"
_UNFINISHED, _OLD = ".unfinished-", ".old-"


@dataclass(frozen=True, kw_only=True)
class Checkpoints:
    """Where and how often a run is kept; both limits hold where both are given. The last one is kept, and no more.

    Attributes:
        folder: of this run alone; it is made.
        every_steps, every_s: steps, and seconds, between two checkpoints; None does not count.
    """

    folder: Path
    every_steps: int | None = None
    every_s: float | None = None

    def __post_init__(self) -> None:
        steps, seconds = self.every_steps, self.every_s
        if steps is not None and (type(steps) is not int or steps < 1):
            raise GatewiseError(f"checkpoints every_steps must be a whole number of at least 1, got {steps!r}")
        if seconds is not None and not (math.isfinite(seconds) and seconds > 0):
            raise GatewiseError(f"checkpoints every_s must be seconds above 0, got {seconds!r}")

    def due(self, steps: int, seconds: float) -> bool:
        """Whether so many steps and seconds after the last checkpoint the next one is to be written."""
        by_steps = self.every_steps is not None and steps >= self.every_steps
        return by_steps or (self.every_s is not None and seconds >= self.every_s)


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a checkpoint holds. `identity` says whose it is, `ways` what its steps ran on, in order.

    Any number of processes goes on from it: weights and moments are whole, whoever wrote them.
    """

    done: int
    order: str
    curve: tuple[tuple[int, float], ...]
    seconds: float
    diagnostics: tuple[dict[str, Any], ...]
    identity: dict[str, str]
    weights: dict[str, Tensor]
    moments: dict[str, Tensor]
    ways: tuple[str, ...] = ()


class Run(Protocol):
    """What an identity is made of."""

    @property
    def workload(self) -> "TrainWorkload": ...
    @property
    def arm(self) -> str: ...
    @property
    def seed(self) -> int: ...
    @property
    def plan(self) -> "TrainPlan": ...
    @property
    def matching(self) -> str: ...
    @property
    def diagnostics(self) -> tuple[str, ...]: ...
    @property
    def heldout_from(self) -> int: ...


def identity(run: Run, model: nn.Module) -> dict[str, str]:
    """Everything that decides a run's bits, part by part, so that a refusal can name the part that differs."""
    made: Any = run.workload
    facts = made.facts() if hasattr(made, "facts") else {}
    settings = asdict(made) if is_dataclass(type(made)) else {}
    shapes = {name: list(tensor.shape) for name, tensor in (*model.named_parameters(), *model.named_buffers())}
    x, y = run.workload.train_batch(0, run.seed, run.plan.batch)
    kind = type(made)
    return {
        "arm": run.arm,
        "seed": str(run.seed),
        "matching": run.matching,
        "workload": f"{kind.__module__}.{kind.__qualname__} {_short([settings, facts, run.heldout_from])}",
        "data": hashlib.sha256(x.numpy().tobytes() + y.numpy().tobytes()).hexdigest()[:16],
        "model": f"{sum(map(math.prod, shapes.values())):,} numbers in {len(shapes)} tensors {_short(shapes)}",
        "diagnostics": ", ".join(run.diagnostics) or "none",
        "torch": f"{torch.__version__} on {torch.backends.cpu.get_cpu_capability()}",
    } | {f"plan.{field.name}": str(getattr(run.plan, field.name)) for field in fields(run.plan)}


def _short(content: object) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def check_same(folder: Path, found: dict[str, Any], wanted: dict[str, str]) -> None:
    """Raises `GatewiseError` that names what differs where a checkpoint belongs to another run."""
    differing = [key for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
    if differing:
        told = [f"{key} is {found.get(key, 'not there')} there and {wanted.get(key, 'not')} here" for key in differing]
        more = f" (and {len(told) - 3} more)" if len(told) > 3 else ""
        raise GatewiseError(
            f"the checkpoint in {folder} belongs to another run: {'; '.join(told[:3])}{more}\n"
            "give another folder, or delete this one to begin anew"
        )


def write(checkpoints: Checkpoints, kept: Kept) -> Path:
    """Write a checkpoint whole, then drop those before it. Raises `GatewiseError` where the disk refuses."""
    from safetensors.torch import save_file

    folder = checkpoints.folder
    unfinished = folder / f"{_UNFINISHED}{uuid.uuid4().hex}"
    try:
        unfinished.mkdir(parents=True)
        for name, tensors in ((WEIGHTS, kept.weights), (MOMENTS, kept.moments)):
            save_file({key: tensor.contiguous().clone() for key, tensor in tensors.items()}, unfinished / name)
        state = {
            "format": FORMAT,
            "done": kept.done,
            "order": kept.order,
            "curve": [[step, loss] for step, loss in kept.curve],
            "seconds": kept.seconds,
            "diagnostics": list(kept.diagnostics),
            "identity": kept.identity,
            "ways": list(kept.ways),
            "sha256": {name: _hash(unfinished / name) for name in (WEIGHTS, MOMENTS)},
        }
        (unfinished / STATE).write_text(json.dumps(state, allow_nan=False), encoding="utf-8")
        for path in (*unfinished.iterdir(), unfinished):
            _force(path)
        target = folder / f"step-{kept.done:09d}"
        if target.exists():  # a damaged one of the same step, which was passed over
            drop(target)
        unfinished.rename(target)
        _force(folder)
    except OSError as error:
        shutil.rmtree(unfinished, ignore_errors=True)
        raise GatewiseError(f"cannot write a checkpoint to {folder}: {error.strerror or error}") from error
    for other in folder.iterdir():
        if other != target and other.name.startswith((_UNFINISHED, _OLD, "step-")):
            drop(other)
    return target


def _force(path: Path) -> None:
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def drop(path: Path) -> None:
    """Remove a checkpoint, or a folder of them, under another name, so that half of one never stands under its own."""
    aside = path if path.name.startswith((_OLD, _UNFINISHED)) else path.with_name(f"{_OLD}{uuid.uuid4().hex}")
    if aside != path:
        path.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _hash(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def latest(folder: Path, check: Callable[[dict[str, Any]], None]) -> Kept | None:
    """The newest whole checkpoint of a folder, or None where there is none. `check` is given whose it is.

    Raises `GatewiseError` where checkpoints stand there and every one of them is damaged.
    """
    found = sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []
    reasons: list[str] = []
    for path in found:
        try:
            state = _state(path)
        except (OSError, ValueError, KeyError, TypeError) as error:
            reasons.append(f"{path.name}: {error}")
            continue
        check(state["identity"])
        return _read(path, state)
    if reasons:
        raise GatewiseError(
            f"no checkpoint in {folder} is whole ({reasons[0]})\ndelete the folder to begin this run anew"
        )
    return None


def ways(folder: Path) -> tuple[str, ...]:
    """What the steps of a folder's newest checkpoint ran on, in order; empty where there is none."""
    found = sorted(folder.glob("step-*"), reverse=True) if folder.is_dir() else []
    return tuple(json.loads((found[0] / STATE).read_text(encoding="utf-8")).get("ways", ())) if found else ()


def _state(path: Path) -> dict[str, Any]:
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    if not isinstance(state, dict) or state["format"] != FORMAT:
        raise ValueError(f"{STATE} is not of {FORMAT}")
    for name, wanted in state["sha256"].items():
        if _hash(path / name) != wanted:
            raise ValueError(f"{name} was cut or changed after it was written")
    if set(state["sha256"]) != {WEIGHTS, MOMENTS} or not isinstance(state["identity"], dict):
        raise ValueError(f"{STATE} is incomplete")
    return state


def _read(path: Path, state: dict[str, Any]) -> Kept:
    from safetensors.torch import load_file

    return Kept(
        done=int(state["done"]),
        order=str(state["order"]),
        curve=tuple((int(step), float(loss)) for step, loss in state["curve"]),
        seconds=float(state["seconds"]),
        diagnostics=tuple(state["diagnostics"]),
        identity=state["identity"],
        weights=load_file(path / WEIGHTS),
        moments=load_file(path / MOMENTS),
        ways=tuple(state.get("ways", ())),
    )
