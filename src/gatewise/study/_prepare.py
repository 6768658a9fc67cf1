"""The first job of a part, in a process of its own: build every arm, save it, say what it is and how outputs move."""

import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gatewise import activations, measure, surgery
from gatewise.core import GatewiseError, num_cores
from gatewise.runtimes import check_runtime
from gatewise.workloads import Workload, workload

from ._calibration import own_calibration
from ._generation import cache_bytes, check_generation, prices
from ._kernel import check_exchanged, check_kernels, exchanged
from ._plan import ORIGINAL, Arm, Measure, Part
from ._runs import look, threads
from ._words import signed

TABLES = ("arms", "runtimes", "outputs", "quality", "repeats", "prices")
"""What a prepared part records: arms by label, what depends on a runtime by the run's label, prices by condition."""

ON_DEVICES = ("eager", "compile")
"""The runtimes that run on an accelerator too."""

CURVE_POINTS = 161
CURVE_RANGE = 4.0


def subject_workload(part: Part) -> Workload:
    """The workload that a part's subject names."""
    subject = part.subject
    return workload(
        name=subject.workload,
        model=subject.model,
        data=subject.data,
        text=subject.text,
        target=subject.target,
        options=subject.options,
    )


def check_names(part: Part, made: Workload) -> None:
    """Every name of a part, before anything is built, and whether its runtimes can run here. Raises `GatewiseError`."""
    for arm in part.arms:
        if arm.name != ORIGINAL and arm.name not in made.own_arms:
            activations.get(arm.name)
        if arm.runtime:
            _check_runtime(arm.runtime, part.measure)
    for name in part.measure.runtimes if part.measure else ():
        _check_runtime(name, part.measure)
    check_kernels(part)
    check_generation(part, made)
    own_calibration(part, made)


def _check_runtime(name: str, measured: Measure | None) -> None:
    check_runtime(
        name,
        dtype=measured.dtype if measured else "float32",
        gradients=measured is not None and "gradient_time" in measured.metrics,
    )
    if measured and measured.device != "cpu" and name not in ON_DEVICES:
        raise GatewiseError(
            f"the runtime {name!r} runs on the processor only, and the plan measures on {measured.device}"
            f"\nvalid there: {', '.join(ON_DEVICES)}"
        )


def formula_facts(name: str, made: Workload) -> dict[str, Any]:
    """Formula, source, stock implementation and curve of one activation, for the record."""
    if name == ORIGINAL:
        return {"kind": ORIGINAL, "formula": "", "paper": "", "implementation": "the model's own code", "curve": None}
    if name in made.own_arms:
        return {**made.own_arms[name], "curve": None}
    spec = activations.get(name)
    scalar = spec if spec.kind == "scalar" else activations.get(spec.act) if spec.act else None
    curve = None
    if scalar is not None:
        step = 2 * CURVE_RANGE / (CURVE_POINTS - 1)
        x = torch.linspace(-CURVE_RANGE, CURVE_RANGE, CURVE_POINTS, dtype=torch.float64).numpy()
        curve = {
            "x": [round(-CURVE_RANGE + i * step, 6) for i in range(CURVE_POINTS)],
            "y": [round(float(value), 6) for value in scalar.reference(x)],
        }
    return {
        "kind": spec.kind,
        "formula": spec.formula,
        "paper": _cited(spec.paper),
        "implementation": spec.implementation,
        "curve": curve,
    }


def _cited(paper: activations.Paper) -> str:
    where = f"arXiv {paper.arxiv}" if paper.arxiv else paper.source
    return f"{paper.author} {paper.year}, {paper.title}{f' ({where})' if where else ''}"


def unfair(arm_parameters: int, baseline_parameters: int, arm: Arm) -> str | None:
    """Why an arm is no fair match for the baseline, or None. One in a hundred parameters is rounding."""
    if arm_parameters == baseline_parameters or abs(arm_parameters / baseline_parameters - 1) <= 0.01:
        return None
    return (
        f"unmatched: {arm_parameters:,} parameters against {baseline_parameters:,} "
        f"({signed(arm_parameters / baseline_parameters - 1)}, matching = {arm.matching})"
    )


def _timed_call(made: Workload, model: torch.nn.Module, inputs: Any) -> float:
    with threads(1), torch.inference_mode():
        made.run(model, inputs)
        start = time.perf_counter()
        made.run(model, inputs)
        return time.perf_counter() - start


def prepare_arms(part: Part, folder: Path, *, seed: int) -> dict[str, Any]:
    """Build, save and describe all arms of a part that is measured.

    Returns `facts` (of the workload), `arms` (one record each, by label) and `prices` (seconds of one baseline call, by
    condition); by label of the arm on its runtime: `runtimes` (what runs, how large, how far from eager), `outputs`
    (1 - cosine per item), `quality` and `repeats`; as plain data.
    """
    if part.measure is None:
        raise GatewiseError(f"part {part.name!r} has nothing to measure")
    torch.set_num_threads(num_cores())  # nothing is timed here but the prices, and those on one thread
    made = subject_workload(part)
    smallest = made.inputs(part.measure.batch[0], part.measure.tokens[0], seed)
    record: dict[str, Any] = {"facts": made.facts()} | {table: {} for table in TABLES}
    models: list[Arm] = sorted(part.arms, key=lambda arm: arm.label != part.baseline)  # the baseline first
    baseline_parameters = 0
    for index, arm in enumerate(models):
        model, report = made.build(arm.name, matching=arm.matching, seed=seed)
        target = folder / f"{index:02d}"
        made.save(model, target)
        loaded = made.load(target)
        count = measure.parameters(loaded)
        baseline_parameters = baseline_parameters or count
        surgery_facts = report.to_json() if report else {}
        state = surgery.weights_state(model)
        record["arms"][arm.label] = formula_facts(arm.name, made) | {
            "folder": target.name,
            "weights_state": state,
            "sites": surgery_facts.get("sites", []),
            "left": [{"path": path, "reason": reason} for path, reason in surgery_facts.get("left", [])],
            "parameters": count,
            "weight_bytes": measure.weight_bytes(loaded),
            "flops": _flops(made, loaded, smallest),
            "unfair": unfair(count, baseline_parameters, arm),
            "kv_cache_bytes": cache_bytes(part, made, loaded, seed=seed),
        }
        if "silent_units" in part.measure.metrics and state == "original":
            record["arms"][arm.label]["silent_units"] = asdict(measure.dead_units(made, loaded))
        loaded = exchanged(loaded, arm, record["arms"][arm.label])
        if arm.label == part.baseline:
            for batch in part.measure.batch:
                for tokens in part.measure.tokens:
                    price = _timed_call(made, loaded, made.inputs(batch, tokens, seed))
                    record["prices"][f"{batch}x{tokens}"] = price
            record["prices"] |= prices(part, made, loaded, seed=seed)
    check_exchanged(part, record)
    look(part, made, folder, record, seed=seed)
    return record


def _flops(made: Workload, model: torch.nn.Module, inputs: Any) -> int:
    with torch.inference_mode():
        return measure.flops(lambda: made.run(model, inputs))
