"""A workload's model on a runtime as something that serves batches of numbered queries."""

import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError, num_cores

from ._serve import Call

if TYPE_CHECKING:
    from gatewise.workloads import Workload

CALIBRATED = 4
"""Probes that a runtime calibrates on, at most."""

POOL = 8
"""Different inputs a batch size, used in turn."""


@dataclass(frozen=True, kw_only=True)
class SubjectPlan:
    """What is to be served.

    Attributes:
        model: a workload's name, a model folder, or `package.module:function`.
        runtime: what executes it. `threads`: how many a call may use. `tokens`: the length of each query.
        max_batch: the largest batch; every size up to it is called twice before anything is timed.
        only_full: batches are full ones, or single queries: the sizes between are not called and not warmed up.
        calibration: an `.npz` file of inputs for a runtime that calibrates; without one, the workload's own probes.
    """

    model: str
    runtime: str = "eager"
    threads: int = 1
    tokens: int = 32
    max_batch: int = 1
    only_full: bool = False
    seed: int = 0
    calibration: str = ""

    def __post_init__(self) -> None:
        for name in ("threads", "tokens", "max_batch"):
            value: int = getattr(self, name)
            if type(value) is not int or value < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if self.threads > num_cores():
            raise GatewiseError(f"{self.threads} threads on {num_cores()} cores measure their own contention, not more")


@dataclass(frozen=True, kw_only=True)
class Subject:
    """A model that serves.

    Attributes:
        call: serves a batch of queries, given by number.
        implementation: what runs, in words. `notes`: what a reader should know of it.
        load_s: from an imported framework to a model that can be called. `first_s`: the first call of batch 1.
        size_bytes: of its file on disk, and `size_of` says of which; None where there is none.
    """

    call: Call
    implementation: str
    notes: tuple[str, ...]
    load_s: float
    first_s: float
    size_bytes: int | None
    size_of: str


def load_subject(plan: SubjectPlan, *, warm: bool = True) -> Subject:
    """Load the model, prepare the runtime, make the queries, and call every batch size. Raises `GatewiseError`."""
    import torch

    from gatewise.runtimes import Task, check_runtime, prepare
    from gatewise.workloads import WORKLOADS, workload

    check_runtime(plan.runtime)
    torch.set_num_threads(plan.threads)
    named = plan.model in WORKLOADS
    made = workload(name=plan.model if named else "", model="" if named else plan.model)
    sizes = sorted({1, plan.max_batch}) if plan.only_full else range(1, plan.max_batch + 1)
    sizes = sizes if warm else (1,)
    pools: dict[int, list[Any]] = {
        size: [made.inputs(size, plan.tokens, plan.seed + i) for i in range(POOL)] for size in sizes
    }
    begin = time.perf_counter()
    # Outside inference mode: an export cannot take weights that were made inside.
    model = made.original().eval()
    given = _calibration(plan, made, pools[1][0])
    task = Task(model=model, run=made.run, example=pools[1][0], threads=plan.threads, calibration=given)
    prepared = prepare(plan.runtime, task)
    load_s = time.perf_counter() - begin

    def call(numbers: Sequence[int]) -> object:
        pool = pools[len(numbers)]
        with torch.inference_mode():
            return prepared.call(pool[numbers[0] % POOL])

    with running(plan.model, plan.runtime):
        begin = time.perf_counter()
        call([0])
        first_s = time.perf_counter() - begin
        for size in sizes:
            for _ in range(2 if warm else 0):
                call(range(size))
    size_bytes, size_of = prepared.size_bytes, "the runtime's file"
    folder = getattr(made, "folder", None)
    if size_bytes is None and folder is not None:
        size_bytes, size_of = sum(path.stat().st_size for path in folder.glob("*.safetensors")), "the weights' files"
    return Subject(
        call=call,
        implementation=prepared.implementation,
        notes=prepared.notes,
        load_s=load_s,
        first_s=first_s,
        size_bytes=size_bytes or None,
        size_of=size_of,
    )


def _calibration(plan: SubjectPlan, made: "Workload", like: Any) -> Sequence[Any]:
    """What a runtime that calibrates takes its ranges from; nothing is judged here, so the probes will do."""
    from gatewise.runtimes import RUNTIMES, read_calibration

    if not RUNTIMES[plan.runtime].calibrates:
        if plan.calibration:
            raise GatewiseError(f"calibration is for runtimes that calibrate, and {plan.runtime!r} does not")
        return ()
    return read_calibration(Path(plan.calibration), like) if plan.calibration else list(made.probe())[:CALIBRATED]


@contextmanager
def running(model: str, runtime: str) -> Generator[None]:
    """First calls on an engine: what fails in them is one line, whatever kind of error the engine has."""
    try:
        yield
    except GatewiseError:
        raise
    except Exception as error:
        told = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise GatewiseError(f"{model} was prepared for the runtime {runtime!r}, and fails there: {told}") from error
