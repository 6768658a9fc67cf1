"""What every arm gives on every runtime, looked at before anything is timed: agreement, outputs, quality, repeats."""

import copy
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise import measure
from gatewise.core import GatewiseError
from gatewise.runtimes import Task, agreement, prepare, variations
from gatewise.workloads import Workload

from ._calibration import Split, split, watching
from ._cells import Cell, RunArm, cells, forward_cells, run_arms
from ._kernel import on_kernel, words
from ._plan import STOCK, Arm, Measure, Part

REPEATS = 1000
REPEATED = f"{REPEATS} repeated calls on one input, each compared bit by bit with the first"
ASKS = frozenset(("output_difference", "quality", "repeat_difference"))
RUNTIME_FILES = "runtimes"
"""Where in an arm's folder the files of its runtimes lie."""

REAL_PROBES = 2
"""On how many of the workload's own probes a runtime is compared with eager, beside random inputs."""


def moved(inputs: Any, device: str, dtype: torch.dtype) -> Any:
    """Inputs on a device; those of floats in that dtype."""

    def move(tensor: Tensor) -> Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    if isinstance(inputs, dict):
        return {key: move(tensor) for key, tensor in inputs.items()}
    return tuple(move(tensor) for tensor in inputs) if isinstance(inputs, tuple) else move(inputs)


@contextmanager
def threads(count: int) -> Generator[None]:
    """A number of torch's threads, for a while."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def task_of(made: Workload, model: nn.Module, example: Any, folder: Path, *, threads: int, held: Split | None) -> Task:
    """An arm's model as what a runtime is to execute; `folder` is the arm's own."""
    calibration = held.calibration if held else ()
    return Task(
        model=model,
        run=made.run,
        example=example,
        threads=threads,
        folder=folder / RUNTIME_FILES,
        calibration=calibration,
    )


@dataclass(kw_only=True)
class Looking:
    """The look at all arms of a part on all their runtimes, the baseline first: its outputs are the `reference`."""

    part: Part
    measured: Measure
    made: Workload
    folder: Path
    seed: int
    held: Split
    reference: Tensor | None = None

    def at(self, run: RunArm, state: str, record: dict[str, Any]) -> None:
        """One arm on one runtime, into the record's tables under its label. Raises `GatewiseError` naming the arm."""
        cell = cells(self.measured)[0]
        with threads(cell.threads):  # what a runtime compiles or starts here is for that many
            try:
                record["runtimes"][run.label] = self._agree(run)
                if ASKS & set(self.measured.metrics):
                    self._look(run, state, cell, record)
            except GatewiseError as error:
                if run.runtime == "eager":
                    raise
                raise GatewiseError(f"{run.label}: {error}") from error

    def _model(self, run: RunArm, dtype: str = "float32", device: str = "cpu", kernel: str = "") -> nn.Module:
        """The arm's model on its own kernel, or on that one."""
        model = self.made.load(self.folder / run.folder).eval().to(device, getattr(torch, dtype))
        return on_kernel(model, kernel or run.kernel)

    def _task(self, run: RunArm, model: nn.Module, cell: Cell, example: Any) -> Task:
        return task_of(self.made, model, example, self.folder / run.folder, threads=cell.threads, held=self.held)

    def _agree(self, run: RunArm) -> dict[str, Any]:
        """Prepare every cell that is timed, so that its files are there, and compare with eager."""
        facts: dict[str, Any] = {"runtime": run.runtime}
        if run.runtime == "eager" and run.kernel == STOCK:
            return facts
        device, dtype = self.measured.device, getattr(torch, self.measured.dtype)
        model = self._model(run, self.measured.dtype, device)
        stock = model if run.kernel == STOCK else self._model(run, self.measured.dtype, device, STOCK)
        real = [moved(each, device, dtype) for each in self.held.probes[:REAL_PROBES]]
        worst = -1.0
        for number, cell in enumerate(forward_cells(self.measured)):
            example = moved(self.made.inputs(cell.batch, cell.tokens, self.seed), device, dtype)
            task = self._task(run, model, cell, example)
            prepared = prepare(run.runtime, task)
            inputs = [*variations(example), *real] if number == 0 else [example]
            wanted = replace(task, model=stock)
            found = agreement(run.runtime, wanted, prepared, inputs, exact=run.kernel == STOCK)
            if found.relative > worst:
                worst = found.relative
                facts |= {
                    "implementation": prepared.implementation + words(run.kernel, model),
                    "size_bytes": prepared.size_bytes,
                    "notes": list(prepared.notes),
                    "agreement": found.to_json(),
                }
        return facts

    def _look(self, run: RunArm, state: str, cell: Cell, record: dict[str, Any]) -> None:
        """Outputs, quality and repeats in float32, as the arm computes them on its runtime."""
        model = self._model(run)
        inputs = self.made.inputs(cell.batch, cell.tokens, seed=0)
        call = prepare(run.runtime, self._task(run, model, cell, inputs)).call
        metrics = self.measured.metrics
        if "output_difference" in metrics:
            found = measure.outputs(call, self.held.probes)
            self.reference = found if self.reference is None else self.reference
            if run.label != run_arms(self.part, {})[0].label:
                same = self._as_baseline(run)  # then it has the same weights, whatever they are
                record["outputs"][run.label] = _distances("original" if same else state, self.reference, found)
        if "quality" in metrics:
            record["quality"][run.label] = self._quality(state, model, call)
        if "repeat_difference" in metrics:
            with torch.inference_mode():
                values = measure.repeats(lambda: call(inputs), REPEATS)
            record["repeats"][run.label] = {"values": values, "name": REPEATED}

    def _as_baseline(self, run: RunArm) -> bool:
        """Whether an arm is the baseline's model: itself, or the same on another kernel."""
        planned = {arm.label: arm for arm in self.part.arms}
        return _built(planned[run.arm]) == _built(planned[self.part.baseline])

    def _quality(self, state: str, model: nn.Module, call: Callable[[Any], Tensor]) -> dict[str, Any]:
        if state in ("grafted", "untrained"):
            told = f"quality of {state} weights would be mistaken for the activation's"
            return {"reason": f"{told}; train or convert it first"}
        seen: list[str] = []
        found = routed(self.made, watching(call, seen) if self.held.items else call).quality(model)
        if found is None:
            return {"reason": "there is no target: give [subject] data, text and target"}
        values = self.held.kept(seen, found.scores) if self.held.items else list(found.scores)
        if not values:
            return {"reason": "every item with a known answer was needed for calibration; give more data"}
        name = f"{found.name} (without the items calibrated on)" if self.held.items else found.name
        return {"name": name, "values": values, "chance": found.chance}


def _built(arm: Arm) -> tuple[str, str]:
    return arm.name, arm.matching


def routed(made: Workload, call: Callable[[Any], Tensor]) -> Workload:
    """The same workload, whose model calls go through a runtime."""
    found = copy.copy(made)
    object.__setattr__(found, "run", lambda _, inputs: call(inputs))  # some workloads are frozen
    return found


def _distances(state: str, baseline: Tensor, arm: Tensor) -> dict[str, Any]:
    if state == "untrained":
        return {"reason": "its weights are random: how far its outputs lie says nothing before training"}
    try:
        # Rounding may be too small for an angle: only equal bits are called identical.
        return {"values": measure.distances(baseline, arm), "identical": torch.equal(baseline, arm)}
    except GatewiseError as error:
        return {"reason": str(error)}


def look(part: Part, made: Workload, folder: Path, record: dict[str, Any], *, seed: int) -> None:
    """Look at every arm of a part on every runtime of its own, in the order of the plan, the baseline first.

    Raises:
        GatewiseError: a model that cannot be exported, a runtime that does not give eager's outputs; named by arm.
    """
    if part.measure is None:
        return
    held = split(part, made)
    looking = Looking(part=part, measured=part.measure, made=made, folder=folder, seed=seed, held=held)
    facts = record["arms"]
    for run in run_arms(part, {label: facts[label]["folder"] for label in facts}):
        looking.at(run, facts[run.arm]["weights_state"], record)
