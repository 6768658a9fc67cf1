"""Jobs that train: one arm from one seed, the price of a step, and what the arms of a training part are."""

import math
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from gatewise import measure, train
from gatewise.core import GatewiseError
from gatewise.workloads import WORKLOADS, Supervised, Workload

from ._generation import speak
from ._kernel import check_exchanged, chosen, exchanged, words
from ._plan import ORIGINAL, STOCK, Part, from_json, recorded
from ._prepare import formula_facts, subject_workload, unfair
from ._training_own import (
    Own,
    built_as,
    is_gate,
    judged_batches,
    match_by_time,
    match_schedules,
    schedules_unfair,
    search_rates,
    time_unfair,
)

Run = Callable[[], dict[str, Any]]

PRICE_STEPS = 12
CHECKPOINT_S = 20.0
"""Seconds between two checkpoints of a judged run: what a killed study loses of it, at most."""


def trainable(part: Part) -> Any:
    """The part's workload, which can build its model anew. Raises `GatewiseError` where it cannot."""
    made = subject_workload(part)
    check_trainable(part, made)
    return made


def check_trainable(part: Part, made: Workload) -> None:
    """Raises `GatewiseError` where a part's workload or one of its arms cannot be trained from scratch."""
    if not hasattr(made, "fresh"):
        names = [name for name in WORKLOADS if hasattr(WORKLOADS[name], "fresh")]
        raise GatewiseError(f"{made.name} cannot be trained from scratch\nvalid: {', '.join(names)}")
    if any(arm.name == ORIGINAL for arm in part.arms):
        raise GatewiseError("the arm 'original' has no architecture to train from scratch; name an activation")
    elsewhere = [arm.label for arm in part.arms if arm.runtime not in ("", "eager")]
    if elsewhere and part.measure is None:
        raise GatewiseError(f"training runs in eager: a runtime for {', '.join(elsewhere)} needs a [measure] table")


def implementation(precision: str = "f32", kernel: str = STOCK) -> str:
    """What trains, in words."""
    less = "" if precision == "f32" else f", {train.precision_words(precision)}"
    return f"torch {torch.__version__} eager, AdamW, one thread, deterministic{less}{words(kernel)}"


def prepare_training(
    part: Part, *, seed: int, budget_s: float = math.inf, folder: Path | None = None
) -> dict[str, Any]:
    """What each arm is, and what one training step costs on this machine, in the shape of `prepare_arms`.

    Widths that are matched by time and rates of the arms' own are found here; `folder` keeps what a search has done.
    """
    torch.set_num_threads(1)
    made = trainable(part)
    record: dict[str, Any] = {"facts": made.facts(), "arms": {}, "outputs": {}, "quality": {}, "prices": {}}
    counts: dict[str, int] = {}
    own = Own()
    match_by_time(made, part, own, plan=_settings(part, made), seed=seed, folder=folder)
    for arm in sorted(part.arms, key=lambda arm: arm.label != part.baseline):
        workload, matching = built_as(made, replace(arm, kernel=STOCK), own)
        model = workload.fresh(arm.name, seed=seed, matching=matching)
        if isinstance(made, Supervised):
            made.check(model, arm.name)
        counts[arm.label] = measure.parameters(model)
        by_time = arm.matching == "time" and is_gate(arm)
        record["arms"][arm.label] = formula_facts(arm.name, made) | {
            "folder": "",
            "weights_state": "trained",
            "sites": [],
            "left": [],
            "parameters": counts[arm.label],
            "weight_bytes": measure.weight_bytes(model),
            "flops": _flops(made, model, seed),
            "unfair": time_unfair(arm.label, own) if by_time else unfair(counts[arm.label], counts[part.baseline], arm),
        }
        exchanged(model, arm, record["arms"][arm.label])
    check_exchanged(part, record)
    record["training"] = training_facts(made, part, seed=seed, own=own, budget_s=budget_s, folder=folder)
    if part.train and "heldout_accuracy" in part.train.metrics and hasattr(made, "baselines"):
        record["training"]["baselines"] = made.baselines()
    for label, why in schedules_unfair(own).items():
        record["arms"][label]["unfair"] = record["arms"][label]["unfair"] or why
    return record


def _flops(made: Workload, model: torch.nn.Module, seed: int) -> int:
    inputs = made.inputs(1, 16, seed)
    with torch.inference_mode():
        return measure.flops(lambda: made.run(model.eval(), inputs))


def training_facts(
    made: Any,
    part: Part,
    *,
    seed: int,
    own: Own | None = None,
    budget_s: float = math.inf,
    folder: Path | None = None,
) -> dict[str, Any]:
    """The setting of a part's training, the seconds of one step of its slowest arm, and what arms have of their own."""
    own = own or Own()
    plan = _settings(part, made)
    steps = (part.train.steps if part.train else 0) or plan.steps
    prices: dict[str, float] = {}
    for arm in part.arms:
        workload, matching = built_as(made, arm, own)
        step = train.step_runner(workload, arm.name, seed=seed, plan=plan, matching=matching)
        step()
        times: list[float] = []
        for _ in range(PRICE_STEPS):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        prices[arm.label] = sorted(times)[PRICE_STEPS // 2]
    if part.train and part.train.compare_at == "time":
        match_schedules(made, part, own, plan=plan, seed=seed, folder=folder)
    search_rates(made, part, own, plan=plan, step_s=prices, budget_s=budget_s, folder=folder)
    slowest = max(prices.values())
    return {
        "settings": plan.to_json(),
        "steps": steps,
        "points": plan.steps // plan.eval_every,
        "step_s": slowest,
        "least_s": train.run_seconds(train.MIN_STEPS, slowest),
        "most_s": train.run_seconds(steps, slowest),
        "target": f"the baseline's own held-out loss at {train.TARGET_SHARE:.0%} of its steps, per seed",
        "precision": train.precision_words(plan.precision),
        "own": own.to_json(),
    } | own.facts


def _settings(part: Part, made: Any) -> train.TrainPlan:
    """How the arms of a part are trained, but for what each has of its own."""
    plan = replace(train.TrainPlan(), eval_batches=judged_batches(part, made))
    plan = replace(plan, learning_rate=getattr(made, "learning_rate", plan.learning_rate))
    if part.train is None:
        return plan
    precision = "bf16" if part.train.precision == "bf16" else "f32"
    plan = replace(plan, precision=precision)
    return replace(plan, learning_rate=part.train.learning_rate) if part.train.learning_rate else plan


def run_training(job: dict[str, Any]) -> Run:
    """Train one arm from one seed. `job`: plan, part, arm (label), run_seed, settings (of `TrainPlan`), folder, own.

    Checkpoints stand in the folder while it runs: when the study is killed and resumed, the run goes on.
    """
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    own = Own.of_job(job)
    place, arm = next((i, arm) for i, arm in enumerate(part.arms) if arm.label == job["arm"])
    plan = train.TrainPlan.from_json(job["settings"])
    workload, matching = built_as(made, arm, own)
    folder = Path(job["folder"]) / "runs" / f"{place:02d}-{job['run_seed']}" if job.get("folder") else None
    training = train.TrainRun(
        workload=workload,
        arm=arm.name,
        seed=job["run_seed"],
        plan=own.plan_of(arm, part, plan),
        matching=matching,
        diagnostics=recorded(part.train) if part.train else (),
        checkpoints=None if folder is None else train.Checkpoints(folder=folder, every_s=CHECKPOINT_S),
    )

    def run() -> dict[str, Any]:
        said: list[dict[str, str]] = []
        finish = (lambda model: said.extend(speak(workload, model))) if job.get("speak") else None
        found = training.train(finish=finish).to_json() | {"matching": arm.matching}
        if folder is not None:
            train.forget(folder)
        more = {
            "implementation": implementation(plan.precision, arm.kernel),
            "learning_rate": training.plan.learning_rate,
        }
        return found | more | {"continuations": said} | chosen([{"kernel": arm.kernel}])

    return run


def step_time(job: dict[str, Any]) -> Run:
    """Build every arm and the baseline's twin anew, in random order; the returned call times whole optimiser steps."""
    torch.set_num_threads(1)
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    planned = {arm.label: arm for arm in part.arms}
    rng = random.Random(job["seed"])
    own, plan = Own.of_job(job), _settings(part, made)
    calls: dict[str, Callable[[], object]] = {}
    planted = any(entry["slowdown"] for entry in job["arms"])  # then every arm bears the cost of planting
    for entry in rng.sample(job["arms"], len(job["arms"])):
        arm = planned[entry["arm"]]
        workload, matching = built_as(made, arm, own)
        step = train.step_runner(workload, arm.name, seed=job["seed"], plan=plan, matching=matching)
        calls[entry["label"]] = measure.slowed(step, entry["slowdown"]) if planted else step

    def run() -> dict[str, Any]:
        effort = measure.Effort(seconds=job["seconds"], most=200)
        times = measure.interleave(calls, effort=effort, seed=rng.randrange(2**31))
        return {
            "values": times.values_s,
            "pairs": times.pairs,
            "overhead_s": times.overhead_s,
            "implementations": {
                each["label"]: implementation(plan.precision, each.get("kernel", STOCK)) for each in job["arms"]
            },
            "seed": job["seed"],
        } | chosen(job["arms"])

    return run


def training_memory(job: dict[str, Any]) -> Run:
    """Peak memory of a few whole optimiser steps of one arm, in this process alone."""
    torch.set_num_threads(1)
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    label = job["arms"][0]["arm"]
    arm = next(arm for arm in part.arms if arm.label == label)
    workload, matching = built_as(made, arm, Own.of_job(job))
    plan = _settings(part, made)

    def run() -> dict[str, Any]:
        value, how = train.training_memory(
            workload,
            arm.name,
            seed=job["seed"],
            plan=plan,
            matching=matching,
            resident_bytes=measure.resident_bytes,
            peak_over=measure.peak_over,
        )
        return {"value": value, "implementation": f"{implementation(plan.precision, arm.kernel)}; {how}"}

    return run
