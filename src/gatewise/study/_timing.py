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
from gatewise.runtimes import RUNTIMES

from ._plan import from_json
from ._prepare import subject_workload

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


def moved(inputs: Any, device: str, dtype: torch.dtype) -> Any:
    """Inputs on a device; those of floats in that dtype."""

    def move(tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(device, dtype if tensor.is_floating_point() else None)

    if isinstance(inputs, dict):
        return {key: move(tensor) for key, tensor in inputs.items()}
    return tuple(move(tensor) for tensor in inputs) if isinstance(inputs, tuple) else move(inputs)


def latency(job: dict[str, Any]) -> Run:
    """Load the arms of some cells in random order, each from its folder; the returned call times them all.

    `job`: plan, part (index), arms (label, folder, runtime, slowdown), cells (id, batch, tokens, seconds), rounds,
    threads, device, dtype, seed.
    """
    torch.set_num_threads(job["threads"])
    part = from_json(job["plan"]).parts[job["part"]]
    made = subject_workload(part)
    rng = random.Random(job["seed"])
    synchronise = synchroniser(job["device"])
    dtype: torch.dtype = getattr(torch, job["dtype"])
    prepared: dict[str, Any] = {}
    for arm in rng.sample(job["arms"], len(job["arms"])):
        model = made.load(Path(job["folder"]) / arm["folder"]).eval().to(job["device"], dtype)
        prepared[arm["label"]] = RUNTIMES[arm["runtime"]](model)
    gc.collect()
    gc.freeze()

    def run() -> dict[str, Any]:
        records: dict[str, Any] = {}
        for cell in rng.sample(job["cells"], len(job["cells"])):
            inputs = moved(made.inputs(cell["batch"], cell["tokens"], rng.randrange(2**31)), job["device"], dtype)
            calls: dict[str, Callable[[], object]] = {}
            planted = any(arm["slowdown"] for arm in job["arms"])  # then every arm bears the cost of planting
            run_once = measure.with_backward(made.run) if cell["backward"] else made.run
            for arm in job["arms"]:
                call = _call(run_once, prepared[arm["label"]].model, inputs)
                calls[arm["label"]] = measure.slowed(call, arm["slowdown"]) if planted else call
            effort = measure.Effort(seconds=cell["seconds"], fewest=job["rounds"], warmup=1)
            with contextlib.nullcontext() if cell["backward"] else torch.inference_mode():
                times = measure.interleave(calls, effort=effort, seed=rng.randrange(2**31), synchronise=synchronise)
            records[cell["id"]] = {
                "values": times.values_s,
                "pairs": times.pairs,
                "overhead_s": times.overhead_s,
                "implementations": {label: prepared[label].implementation for label in calls},
                "seed": job["seed"],
                "load": os.getloadavg()[0],
            }
        return records

    return run


def _call(run: Callable[[Any, Any], object], model: Any, inputs: Any) -> Callable[[], object]:
    return lambda: run(model, inputs)


def memory(job: dict[str, Any]) -> Run:
    """Load one arm in this process alone; the returned call gives its peak memory, by condition from small to large."""
    torch.set_num_threads(job["threads"])
    part = from_json(job["plan"]).parts[job["part"]]
    made = subject_workload(part)
    cells = sorted(job["cells"], key=lambda cell: cell["batch"] * cell["tokens"])
    dtype: torch.dtype = getattr(torch, job["dtype"])
    inputs = {c["id"]: moved(made.inputs(c["batch"], c["tokens"], job["seed"]), "cpu", dtype) for c in cells}
    arm = job["arms"][0]

    def run() -> dict[str, Any]:
        gc.collect()
        before = measure.resident_bytes()
        prepared = RUNTIMES[arm["runtime"]](made.load(Path(job["folder"]) / arm["folder"]).eval().to(dtype))
        records: dict[str, Any] = {}
        for cell in cells:
            call = _call(made.run, prepared.model, inputs[cell["id"]])
            with torch.inference_mode():
                value, how = measure.peak_over(before, call)
            records[cell["id"]] = {"value": value, "implementation": f"{prepared.implementation}; {how}"}
        return records

    return run
