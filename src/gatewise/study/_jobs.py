"""The job that prepares a part, as a worker runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._plan import from_json
from ._prepare import check_names, prepare_arms, subject_workload


def prepare(job: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Check every name of a part, then build, save and describe its arms."""
    part = from_json(job["plan"]).parts[job["part"]]
    check_names(part, subject_workload(part))

    def run() -> dict[str, Any]:
        from . import _training

        seed, budget_s, folder = job["seed"], float(job["plan"]["budget_s"]), Path(job["folder"])
        if part.measure is None:
            return _training.prepare_training(part, seed=seed, budget_s=budget_s, folder=folder)
        record = prepare_arms(part, folder, seed=seed)
        if part.train is not None:
            made = _training.trainable(part)
            record["training"] = _training.training_facts(made, part, seed=seed, budget_s=budget_s, folder=folder)
        return record

    return run
