"""Jobs that train: one arm from one seed, the price of a step, and what the arms of a training part are."""

import random
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from gatewise import measure, train
from gatewise.core import GatewiseError
from gatewise.workloads import WORKLOADS, Workload

from ._generation import speak
from ._plan import ORIGINAL, Part, from_json, recorded
from ._prepare import formula_facts, subject_workload, unfair

Run = Callable[[], dict[str, Any]]

PRICE_STEPS = 12


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


def implementation() -> str:
    """What trains, in words."""
    return f"torch {torch.__version__} eager, AdamW, one thread, deterministic"


def prepare_training(part: Part, *, seed: int) -> dict[str, Any]:
    """What each arm is, and what one training step costs on this machine, in the shape of `prepare_arms`."""
    torch.set_num_threads(1)
    made = trainable(part)
    record: dict[str, Any] = {"facts": made.facts(), "arms": {}, "outputs": {}, "quality": {}, "prices": {}}
    counts: dict[str, int] = {}
    for arm in sorted(part.arms, key=lambda arm: arm.label != part.baseline):
        model = made.fresh(arm.name, seed=seed, matching=arm.matching)
        counts[arm.label] = measure.parameters(model)
        record["arms"][arm.label] = formula_facts(arm.name, made) | {
            "folder": "",
            "weights_state": "trained",
            "sites": [],
            "left": [],
            "parameters": counts[arm.label],
            "weight_bytes": measure.weight_bytes(model),
            "flops": _flops(made, model, seed),
            "unfair": unfair(counts[arm.label], counts[part.baseline], arm),
        }
    record["training"] = training_facts(made, part, seed=seed)
    return record


def _flops(made: Workload, model: torch.nn.Module, seed: int) -> int:
    inputs = made.inputs(1, 16, seed)
    with torch.inference_mode():
        return measure.flops(lambda: made.run(model.eval(), inputs))


def training_facts(made: Any, part: Part, *, seed: int) -> dict[str, Any]:
    """The setting of a part's training, and the seconds of one step of its slowest arm."""
    plan = _settings(part)
    steps = (part.train.steps if part.train else 0) or plan.steps
    prices: list[float] = []
    for arm in part.arms:
        step = train.step_runner(made, arm.name, seed=seed, plan=plan, matching=arm.matching)
        step()
        times: list[float] = []
        for _ in range(PRICE_STEPS):
            start = time.perf_counter()
            step()
            times.append(time.perf_counter() - start)
        prices.append(sorted(times)[PRICE_STEPS // 2])
    return {
        "settings": plan.to_json(),
        "steps": steps,
        "points": plan.steps // plan.eval_every,
        "step_s": max(prices),
        "least_s": train.run_seconds(train.MIN_STEPS, max(prices)),
        "most_s": train.run_seconds(steps, max(prices)),
        "target": f"the baseline's own held-out loss at {train.TARGET_SHARE:.0%} of its steps, per seed",
    }


def _settings(part: Part) -> train.TrainPlan:
    """How the arms of a part are trained."""
    plan = train.TrainPlan()
    rate = part.train.learning_rate if part.train else 0.0
    return replace(plan, learning_rate=rate) if rate else plan


def run_training(job: dict[str, Any]) -> Run:
    """Train one arm from one seed. `job`: plan, part, arm (label), run_seed, settings (of `TrainPlan`)."""
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    arm = next(arm for arm in part.arms if arm.label == job["arm"])
    plan = train.TrainPlan.from_json(job["settings"])
    diagnostics = recorded(part.train) if part.train else ()

    def run() -> dict[str, Any]:
        said: list[dict[str, str]] = []
        finish = (lambda model: said.extend(speak(made, model))) if job.get("speak") else None
        result = train.train_arm(
            made,
            arm.name,
            seed=job["run_seed"],
            plan=plan,
            matching=arm.matching,
            diagnostics=diagnostics,
            finish=finish,
        )
        return result.to_json() | {"implementation": implementation(), "continuations": said}

    return run


def step_time(job: dict[str, Any]) -> Run:
    """Build every arm and the baseline's twin anew, in random order; the returned call times whole optimiser steps."""
    torch.set_num_threads(1)
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    planned = {arm.label: arm for arm in part.arms}
    rng = random.Random(job["seed"])
    plan = _settings(part)
    calls: dict[str, Callable[[], object]] = {}
    planted = any(entry["slowdown"] for entry in job["arms"])  # then every arm bears the cost of planting
    for entry in rng.sample(job["arms"], len(job["arms"])):
        arm = planned[entry["arm"]]
        step = train.step_runner(made, arm.name, seed=job["seed"], plan=plan, matching=arm.matching)
        calls[entry["label"]] = measure.slowed(step, entry["slowdown"]) if planted else step

    def run() -> dict[str, Any]:
        effort = measure.Effort(seconds=job["seconds"], most=200)
        times = measure.interleave(calls, effort=effort, seed=rng.randrange(2**31))
        return {
            "values": times.values_s,
            "pairs": times.pairs,
            "overhead_s": times.overhead_s,
            "implementations": dict.fromkeys(calls, implementation()),
            "seed": job["seed"],
        }

    return run


def training_memory(job: dict[str, Any]) -> Run:
    """Peak memory of a few whole optimiser steps of one arm, in this process alone."""
    torch.set_num_threads(1)
    part = from_json(job["plan"]).parts[job["part"]]
    made = trainable(part)
    label = job["arms"][0]["arm"]
    arm = next(arm for arm in part.arms if arm.label == label)

    def run() -> dict[str, Any]:
        value, how = train.training_memory(
            made,
            arm.name,
            seed=job["seed"],
            plan=_settings(part),
            matching=arm.matching,
            resident_bytes=measure.resident_bytes,
            peak_over=measure.peak_over,
        )
        return {"value": value, "implementation": f"{implementation()}; {how}"}

    return run
