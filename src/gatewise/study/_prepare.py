"""The first job of a part, in a process of its own: build every arm, save it, say what it is and how outputs move."""

import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch

from gatewise import activations, measure, surgery
from gatewise.core import GatewiseError, num_cores
from gatewise.runtimes import RUNTIMES
from gatewise.workloads import Workload, workload

from ._plan import ORIGINAL, Arm, Measure, Part
from ._words import signed

TABLES = ("arms", "outputs", "quality", "repeats", "prices")
"""What a prepared part records, by label of the arm; prices by condition."""

REPEATS = 1000
REPEATED = f"{REPEATS} repeated calls on one input, each compared bit by bit with the first"

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
    """Every name of a part, before anything is built. Raises `GatewiseError` with the nearest name."""
    for arm in part.arms:
        if arm.name != ORIGINAL and arm.name not in made.own_arms:
            activations.get(arm.name)
        if arm.runtime:
            _ = RUNTIMES[arm.runtime]
    for name in part.measure.runtimes if part.measure else ():
        _ = RUNTIMES[name]


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
    with _threads(1), torch.inference_mode():
        made.run(model, inputs)
        start = time.perf_counter()
        made.run(model, inputs)
        return time.perf_counter() - start


@contextmanager
def _threads(count: int) -> Generator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def prepare_arms(part: Part, folder: Path, *, seed: int) -> dict[str, Any]:
    """Build, save and describe all arms of a part that is measured.

    Returns `facts` (of the workload), `arms` (one record each, by label), `outputs` (1 - cosine per item, by label),
    `quality`, and `prices` (seconds of one baseline call, by condition), as plain data.
    """
    if part.measure is None:
        raise GatewiseError(f"part {part.name!r} has nothing to measure")
    torch.set_num_threads(num_cores())  # nothing is timed here but the prices, and those on one thread
    made = subject_workload(part)
    smallest = made.inputs(part.measure.batch[0], part.measure.tokens[0], seed)
    record: dict[str, Any] = {"facts": made.facts()} | {table: {} for table in TABLES}
    reference: torch.Tensor | None = None
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
        }
        if "output_difference" in part.measure.metrics:
            found = measure.outputs(made, loaded)
            reference = found if reference is None else reference
            if arm.label != part.baseline:
                record["outputs"][arm.label] = _distances(state, reference, found)
        _look(part.measure, made, loaded, state, record, arm.label)
        if arm.label == part.baseline:
            for batch in part.measure.batch:
                for tokens in part.measure.tokens:
                    price = _timed_call(made, loaded, made.inputs(batch, tokens, seed))
                    record["prices"][f"{batch}x{tokens}"] = price
    return record


def _look(
    measured: Measure, made: Workload, model: torch.nn.Module, state: str, record: dict[str, Any], label: str
) -> None:
    """What a model does without being timed: quality, silent units, repeated calls; into the record's tables."""
    if "quality" in measured.metrics:
        record["quality"][label] = _quality(state, made, model)
    if "silent_units" in measured.metrics and state == "original":
        record["arms"][label]["silent_units"] = asdict(measure.dead_units(made, model))
    if "repeat_difference" in measured.metrics:
        inputs = made.inputs(measured.batch[0], measured.tokens[0], seed=0)
        values = _repeats(made, model, inputs, measured.threads[0])
        record["repeats"][label] = {"values": values, "name": REPEATED}


def _flops(made: Workload, model: torch.nn.Module, inputs: Any) -> int:
    with torch.inference_mode():
        return measure.flops(lambda: made.run(model, inputs))


def _distances(state: str, baseline: torch.Tensor, arm: torch.Tensor) -> dict[str, Any]:
    if state == "untrained":
        return {"reason": "its weights are random: how far its outputs lie says nothing before training"}
    try:
        return {"values": measure.distances(baseline, arm)}
    except GatewiseError as error:
        return {"reason": str(error)}


def _repeats(made: Workload, model: torch.nn.Module, inputs: Any, threads: int) -> list[float]:
    """1.0 for each repeated call whose output differs from the first call's in any bit."""
    with _threads(threads), torch.inference_mode():
        return measure.repeats(lambda: made.run(model, inputs), REPEATS)


def _quality(state: str, made: Workload, model: torch.nn.Module) -> dict[str, Any]:
    if state in ("grafted", "untrained"):
        return {
            "reason": f"quality of {state} weights would be mistaken for the activation's; train or convert it first"
        }
    found = made.quality(model)
    if found is None:
        return {"reason": "there is no target: give [subject] data, text and target"}
    return {"name": found.name, "values": list(found.scores), "chance": found.chance}
