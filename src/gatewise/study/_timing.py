"""Jobs that measure arms in a fresh process: load every arm from disk, wait for the word, then time or weigh."""

import contextlib
import gc
import os
import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from gatewise import measure
from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES, Prepared, prepare, warm_up
from gatewise.workloads import Workload

from ._calibration import calibrates, split
from ._generation import WRITING, written
from ._kernel import chosen, on_kernel, words
from ._plan import from_json
from ._prepare import subject_workload
from ._runs import moved, task_of

Run = Callable[[], dict[str, Any]]


def synchroniser(device: str) -> Callable[[], object] | None:
    """What waits for a device to finish; None where calls are synchronous. Raises `GatewiseError` without a device."""
    if device == "cpu":
        return None
    if device.partition(":")[0] == "cuda" and torch.cuda.is_available():
        return torch.cuda.synchronize
    raise GatewiseError(
        f"the device {device!r} is not there; valid: cpu{', cuda' if torch.cuda.is_available() else ''}"
    )


def latency(job: dict[str, Any]) -> Run:
    """Load the arms of some cells in random order, each from its folder; the returned call times them all.

    What a runtime specialises is made for the very inputs that are timed, and called once, while other processes load
    too: what is compiled by the first call is not compiled in anybody's turn.

    `job`: plan, part (index), arms (label, folder, runtime, slowdown), cells (id, batch, tokens, seconds), rounds,
    threads, device, dtype, seed.
    """
    torch.set_num_threads(job["threads"])
    part = from_json(job["plan"]).parts[job["part"]]
    made = subject_workload(part)
    held = split(part, made) if calibrates(part) else None
    rng = random.Random(job["seed"])
    synchronise = synchroniser(job["device"])
    dtype: torch.dtype = getattr(torch, job["dtype"])
    models: dict[str, torch.nn.Module] = {}
    for arm in rng.sample(job["arms"], len(job["arms"])):
        models[arm["label"]] = _loaded(made, job, arm)
    inputs: dict[str, Any] = {}
    prepared: dict[tuple[str, str], Prepared] = {}
    for cell in rng.sample(job["cells"], len(job["cells"])):
        example = moved(made.inputs(cell["batch"], cell["tokens"], rng.randrange(2**31)), job["device"], dtype)
        inputs[cell["id"]] = example
        for arm in rng.sample(job["arms"], len(job["arms"])):
            folder = Path(job["folder"]) / arm["folder"]
            task = task_of(made, models[arm["label"]], example, folder, threads=job["threads"], held=held)
            ready = prepared[cell["id"], arm["label"]] = prepare(arm["runtime"], task)
            if RUNTIMES[arm["runtime"]].specialises and cell["call"] == "forward":
                with torch.inference_mode():
                    ready.call(example)
    gc.collect()
    gc.freeze()

    def ran(cell: str, arm: dict[str, Any]) -> str:
        return prepared[cell, arm["label"]].implementation + words(arm["kernel"], models[arm["label"]])

    def run() -> dict[str, Any]:
        records: dict[str, Any] = {}
        for cell in rng.sample(job["cells"], len(job["cells"])):
            planted = any(arm["slowdown"] for arm in job["arms"])  # then every arm bears the cost of planting
            calls: dict[str, Callable[[], object]] = {}
            for arm in job["arms"]:
                ready, model = prepared[cell["id"], arm["label"]], models[arm["label"]]
                call = _call(made, ready, model, inputs[cell["id"]], cell["call"])
                calls[arm["label"]] = measure.slowed(call, arm["slowdown"]) if planted else call
            effort = measure.Effort(seconds=cell["seconds"], fewest=job["rounds"], warmup=1)
            with contextlib.nullcontext() if cell["call"] == "backward" else torch.inference_mode():
                times = measure.interleave(calls, effort=effort, seed=rng.randrange(2**31), synchronise=synchronise)
            records[cell["id"]] = {
                "values": times.values_s,
                "pairs": times.pairs,
                "overhead_s": times.overhead_s,
                "implementations": {arm["label"]: ran(cell["id"], arm) for arm in job["arms"]},
                "seed": job["seed"],
                "load": os.getloadavg()[0],
            } | chosen(job["arms"])
        return records

    return run


def _loaded(made: Workload, job: dict[str, Any], arm: dict[str, Any]) -> torch.nn.Module:
    model = made.load(Path(job["folder"]) / arm["folder"]).eval().to(job["device"], getattr(torch, job["dtype"]))
    return on_kernel(model, arm["kernel"])


def _call(made: Workload, prepared: Prepared, model: torch.nn.Module, inputs: Any, kind: str) -> Callable[[], object]:
    """What is timed: a call of that kind (see `Cell.call`) of one arm."""
    if kind in WRITING:
        return written(made, model, inputs, kind)
    if kind == "forward":
        return lambda: prepared.call(inputs)
    both = measure.with_backward(lambda _, tracked: prepared.call(tracked))
    return lambda: both(model, inputs)


def memory(job: dict[str, Any]) -> Run:
    """Load one arm in this process alone; the returned call gives its peak memory, by condition from small to large.

    Engines are imported before the count begins, as torch is: what is counted is the model and what runs it. Where an
    engine reads a file of its own, PyTorch's copy of the weights is loaded before and not counted.
    """
    torch.set_num_threads(job["threads"])
    part = from_json(job["plan"]).parts[job["part"]]
    made = subject_workload(part)
    held = split(part, made) if calibrates(part) else None
    cells = sorted(job["cells"], key=lambda cell: cell["batch"] * cell["tokens"])
    dtype: torch.dtype = getattr(torch, job["dtype"])
    inputs = {c["id"]: moved(made.inputs(c["batch"], c["tokens"], job["seed"]), "cpu", dtype) for c in cells}
    arm = job["arms"][0]
    warm_up(arm["runtime"])

    def run() -> dict[str, Any]:
        folder = Path(job["folder"]) / arm["folder"]
        keeps = RUNTIMES[arm["runtime"]].keeps_model
        model = None if keeps else made.load(folder).eval().to(dtype)
        gc.collect()
        before = measure.resident_bytes()
        model = made.load(folder).eval().to(dtype) if model is None else model
        model = on_kernel(model, arm["kernel"])
        records: dict[str, Any] = {}
        for cell in cells:
            task = task_of(made, model, inputs[cell["id"]], folder, threads=job["threads"], held=held)
            prepared = prepare(arm["runtime"], task)
            with torch.inference_mode():
                value, how = measure.peak_over(before, _call(made, prepared, model, inputs[cell["id"]], "forward"))
            said = how if keeps else f"{how}, without PyTorch's copy of the weights"
            ran = f"{prepared.implementation}{words(arm['kernel'], model)}"
            records[cell["id"]] = {"value": value, "implementation": f"{ran}; {said}"}
        return records

    return run
