"""The job that prepares a part, as a worker runs it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ._plan import from_json
from ._prepare import check_names, prepare_arms


def prepare(job: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    """Check every name of a part, then build, save and describe its arms."""
    part = from_json(job["plan"]).parts[job["part"]]
    check_names(part)
    if part.measure is None:
        from ._training import prepare_training  # noqa: PLC0415  (parts that only train need no surgery)

        return lambda: prepare_training(part, seed=job["seed"])
    return lambda: prepare_arms(part, Path(job["folder"]), seed=job["seed"])
