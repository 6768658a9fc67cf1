"""The study of a file, from reading it to its document. Every finished training is stored before the next begins."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.core import GatewiseError, Store, environment

from ._baselines import need_sklearn
from ._cells import Ready, ready, run_cell
from ._document import by_round, document
from ._learners import BASELINES, GUESS
from ._plan import Asking, TablePlan
from ._predict import Asked, match, predict, write_csv
from ._prepare import Table, prepare
from ._read import read
from ._split import Split

STORE = "table.db"
PREDICTIONS = "predictions.csv"
Progress = Callable[[str, float | None], object]


class OtherTableError(GatewiseError):
    """The folder holds the study of another file, plan or version."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """What a run leaves behind: the document, and the second file's answers as CSV text where they were asked for."""

    document: dict[str, Any]
    predictions: str | None


def study(
    asking: Asking, out: Path, *, resume: bool = False, progress: Progress | None = None, replay: str = ""
) -> Study:
    """Train what is asked for (or what is left of it), judge it and describe it.

    Args:
        out: the folder of the record; made if needed.
        resume: go on with what is stored there.
        progress: called with a line of text and the seconds that are left of the budget.

    Raises:
        GatewiseError: bad input of any kind; scikit-learn is missing; the folder holds another study.
    """
    need_sklearn()
    started, clock = datetime.now(UTC), time.perf_counter()
    file = read(asking.data)
    table = prepare(file, asking.plan)
    asked = None if asking.predict is None else match(table, read(asking.predict, keep_ragged=True))
    store = _open(out, table, asking.plan, resume=resume)
    try:
        warnings = _train(store, table, asking.plan, clock, progress)
        cells = {split.name: finished(store, split, asking.plan) for split in table.splits}
        found = document(table, asking.plan, cells)
        text = None if asked is None else _answers(table, found, cells, asked)
        found = {
            **found,
            "warnings": [*warnings, *found["warnings"]],
            "started": started.isoformat(timespec="seconds"),
            "seconds": time.perf_counter() - clock,
            "environment": _environment(),
            "replay": replay,
        }
        return Study(document=found, predictions=text)
    finally:
        store.close()


def _environment() -> dict[str, Any]:
    from importlib.metadata import version

    found: dict[str, Any] = dict(environment())
    packages = found.get("packages")
    return {**found, "packages": {**(packages or {}), "scikit-learn": version("scikit-learn")}}


def _open(out: Path, table: Table, plan: TablePlan, *, resume: bool) -> Store:
    """The folder's store, for this very study. Raises `OtherTableError` where it holds another one."""
    path = out / STORE
    if path.exists() and not resume:
        raise OtherTableError(f"{out} holds a study already\nadd --resume to go on with it, or give another --out")
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise GatewiseError(f"cannot make the folder {out}: {error.strerror or error}") from error
    store = Store(path)
    packages = _environment()["packages"]
    identity = {
        "file": table.file.sha256,
        "plan": plan.identity(),
        "packages": {name: packages.get(name) for name in ("gatewise", "torch", "numpy", "scikit-learn")},
    }
    before = store.get("table")
    if before is None:
        store.put("table", identity)
    elif before != identity:
        differs = [key for key in identity if before.get(key) != identity[key]]
        store.close()
        raise OtherTableError(
            f"{out} holds a study of something else: another {' and '.join(differs)}\ngive another --out"
        )
    return store


def _train(store: Store, table: Table, plan: TablePlan, clock: float, progress: Progress | None) -> list[str]:
    """Every cell that is not stored yet, seed by seed, until all is done or the budget would not hold another one."""
    learners = (GUESS, *BASELINES, *plan.arms)
    done = {(split.name, cell, run) for split in table.splits for cell, run, _ in store.cells(split.name)}
    wanted = [(seed, split, run) for seed in range(plan.seeds) for split in table.splits for run in split.runs(seed)]
    longest = 0.0
    for place, (seed, split, run) in enumerate(wanted):
        held: Ready | None = None
        for learner in (each for each in learners if (split.name, each, run) not in done):
            spent = time.perf_counter() - clock
            if spent + longest > plan.budget_s:
                return [_ended(plan, seed)]
            if progress is not None:
                progress(f"training {place + 1} of {len(wanted)}: {learner}", plan.budget_s - spent)
            begun = time.perf_counter()
            held = held or ready(table, split, run)
            store.add(split.name, run, {learner: run_cell(held, learner)})
            longest = max(longest, time.perf_counter() - begun)
    return []


def _ended(plan: TablePlan, seed: int) -> str:
    whole = f"{seed} whole {'run' if seed == 1 else 'runs'} of {plan.seeds}"
    return f"The time was up after {whole}. What was finished is shown; a longer --budget with --resume goes on."


def finished(store: Store, split: Split, plan: TablePlan) -> dict[str, dict[int, Any]]:
    """The stored cells of a split by learner and run, of the seeds in all of whose runs every learner has finished."""
    learners = (GUESS, *BASELINES, *plan.arms)
    found: dict[str, dict[int, Any]] = {learner: {} for learner in learners}
    for cell, run, record in store.cells(split.name):
        if cell in found:
            found[cell][run] = record
    there = set.intersection(*(set(held) for held in found.values()))
    rounds = [list(split.runs(seed)) for seed in range(plan.seeds)]
    whole = [run for runs in rounds if there.issuperset(runs) for run in runs]
    return {learner: {run: held[run] for run in whole} for learner, held in found.items()}


def _answers(table: Table, found: dict[str, Any], cells: dict[str, Any], asked: Asked) -> str | None:
    """The second file's answers, by the recommended learner of the random split; the document says what they are."""
    first = found["splits"][0]
    learner = first["recommended"]["learner"] if first["recommended"] else None
    if learner is None:
        found["warnings"].append("Nothing was finished that could predict the second file.")
        return None
    split = table.splits[0]
    stored: Sequence[tuple[int, Any]] = [(run, each["predicted"]) for run, each in cells["random"][learner].items()]
    predicted = predict(table, split, learner, stored, asked)
    heldout = by_round(split, cells["random"][learner]).mean(axis=0)
    errors = np.abs(heldout[:, 0] - table.y[split.heldout]) if not table.num_classes else np.zeros(1)
    found["predictions"] = {
        "file": asked.file.name,
        "written": PREDICTIONS,
        "rows": len(asked.file.rows),
        "learner": learner,
        "notes": list(asked.notes),
        "mean": float(predicted[:, -1].mean()),
        "classes": _shares(table, predicted),
    }
    return write_csv(table, asked, predicted, errors)


def _shares(table: Table, predicted: np.ndarray) -> dict[str, int]:
    chosen = predicted.argmax(axis=1)
    return {name: int((chosen == place).sum()) for place, name in enumerate(table.target.classes)}
