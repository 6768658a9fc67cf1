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

        own = {"budget_s": job["plan"]["budget_s"], "folder": Path(job["folder"])}
        if part.measure is None:
            return _training.prepare_training(part, seed=job["seed"], **own)
        record = prepare_arms(part, Path(job["folder"]), seed=job["seed"])
        if part.train is not None:
            made = _training.trainable(part)
            record["training"] = _training.training_facts(made, part, seed=job["seed"], **own)
        return record

    return run
