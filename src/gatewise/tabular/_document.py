"""The study's document, `gatewise.table/1`: plain data from which every page is drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._calibration import calibration
from ._columns import Column
from ._evidence import Heldout
from ._leaks import Leak
from ._learners import BASELINES, GUESS
from ._parts import row_losses
from ._plan import ALPHA, MARGIN, TablePlan
from ._prepare import Table
from ._scores import with_intervals
from ._slices import slices_of, worst
from ._split import Split
from ._verdicts import judge, recommend

SCHEMA = "gatewise.table/1"
Cells = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""By learner and seed: the record of a cell."""

UNMATCHED = 0.02
"""Arms whose numbers of parameters in the blocks differ by more than this are not matched, and the page says so."""

FEW_SEEDS = 4
"""Below, a t interval over the seeds is several times as wide as it would be from six."""


def document(table: Table, plan: TablePlan, cells: Mapping[str, Cells]) -> dict[str, Any]:
    """Judge what was finished, and put it into words that need no data file: the whole document but its run's facts."""
    splits = [_split(table, plan, split, cells[split.name]) for split in table.splits]
    matching = _matching(plan.arms, cells[table.splits[0].name])
    found = [*table.warnings, *(warning for each in splits for warning in each.pop("warnings"))]
    warnings = list(dict.fromkeys(found))
    if matching["largest_difference"] is not None and matching["largest_difference"] > UNMATCHED:
        warnings.append("The neural networks are not of equal size: a difference between them may be one of size.")
    return {
        "schema": SCHEMA,
        "file": _file(table),
        "target": _target(table),
        "plan": plan.to_json(),
        "columns": [_column(each) for each in table.columns],
        "findings": list(table.findings),
        "leaks": [_leak(each) for each in table.leaks],
        "judge": {"alpha": ALPHA, "margin": MARGIN, "unit": "share of what guessing costs"},
        "splits": splits,
        "matching": matching,
        "predictions": None,
        "warnings": warnings,
    }


def _file(table: Table) -> dict[str, Any]:
    file = table.file
    return {
        "name": file.name,
        "sha256": file.sha256,
        "encoding": file.encoding,
        "separator": file.separator,
        "rows": len(file.rows),
        "rows_used": len(table.y),
        "columns": len(file.columns),
    }


def _target(table: Table) -> dict[str, Any]:
    target, y = table.target, table.y
    counts = np.bincount(y.astype(np.int64), minlength=len(target.classes)).tolist() if target.classes else []
    classes = [{"name": name, "rows": rows} for name, rows in zip(target.classes, counts, strict=True)]
    spread = None if classes else {"mean": float(y.mean()), "least": float(y.min()), "most": float(y.max())}
    return {"name": target.name, "task": target.task, "classes": classes, "values": spread}


def _column(column: Column) -> dict[str, Any]:
    wanted = ("name", "kind", "used", "why", "missing", "distinct")
    return {key: getattr(column, key) for key in wanted}


def _leak(leak: Leak) -> dict[str, Any]:
    return {"columns": list(leak.columns), "share": leak.share, "left_out": leak.left_out, "says": leak.says}


def by_round(split: Split, cells: Mapping[int, Mapping[str, Any]]) -> np.ndarray:
    """The predictions of a learner's trainings, [seeds, held-out rows, classes or 1].

    In a cross-validation the folds of a round together are one seed: every row by the model that had not seen it.
    """
    if not split.folds:
        return np.asarray([each["predicted"] for each in cells.values()])
    rounds: dict[int, list[tuple[np.ndarray, np.ndarray]]] = {}
    for run, each in cells.items():
        rounds.setdefault(run // split.folds, []).append((split.turn(run)[1], np.asarray(each["predicted"])))
    found = np.empty((len(rounds), len(split.heldout), next(iter(rounds.values()))[0][1].shape[1]))
    for place, parts in enumerate(rounds.values()):
        for asked, predicted in parts:
            found[place, asked] = predicted
    return found


def _matching(arms: Sequence[str], cells: Cells) -> dict[str, Any]:
    """Exact counts: parameters of the blocks, which are matched, and of whole networks."""
    held = {arm: next(iter(cells[arm].values())) for arm in arms if cells[arm]}
    blocks = {arm: each["facts"].get("block_parameters") for arm, each in held.items()}
    known = [count for count in blocks.values() if count]
    return {
        "rule": "params",
        "block_parameters": blocks,
        "parameters": {arm: each["parameters"] for arm, each in held.items()},
        "largest_difference": max(known) / min(known) - 1.0 if known else None,
    }


def _split(table: Table, plan: TablePlan, split: Split, cells: Cells) -> dict[str, Any]:
    seeds = sorted(next(iter(cells.values())))
    y, warnings = table.y[split.heldout], list[str]()
    failed = {name: sum(each["predicted"] is None for each in held.values()) for name, held in cells.items()}
    for name, count in failed.items():
        if count:
            warnings.append(f"{name} failed in {count} of {len(seeds)} runs (no finite loss); it is not judged.")
    told: dict[str, Any] = {
        "name": split.name,
        "since": split.since,
        "train_rows": len(split.turn(0)[0]),
        "heldout_rows": len(split.heldout),
        "folds": split.folds,
        "seeds": len(seeds),
        "guess_loss": None,
        "learners": [],
        "comparisons": [],
        "recommended": None,
        "calibration": None,
        "slices": None,
        "warnings": warnings,
    }
    few = _few(split, plan, len(seeds))
    if few:
        warnings.append(few)
    if not seeds:
        warnings.append(f"No run of the {split.name} split was finished: nothing is judged.")
        return told
    given = {name: by_round(split, held) for name, held in cells.items() if not failed[name]}
    # One average for all rows: the folds' own differ a little, each against what its rows are, and would rank them.
    given[GUESS] = np.broadcast_to(given[GUESS].mean(axis=(0, 1)), given[GUESS].shape)
    guess_loss = float(row_losses(table.num_classes, y, given[GUESS].mean(axis=0)).mean())
    heldout = Heldout(
        y=y,
        groups=table.groups[split.heldout],
        classes=table.num_classes,
        guess_loss=guess_loss,
        rounds=split.rounds[: len(given[GUESS])] if split.folds else split.rounds,
    )
    comparisons = judge(heldout, given, plan.arms)
    recommended = recommend(comparisons, [arm for arm in plan.arms if arm in given])
    level = ALPHA / (len(given) - 1)
    learners = [
        _learner(name, cells[name], given.get(name), heldout, level) for name in (GUESS, *BASELINES, *plan.arms)
    ]
    best = given[recommended["learner"]].mean(axis=0)
    return {
        **told,
        "guess_loss": guess_loss,
        "learners": learners,
        "comparisons": comparisons,
        "recommended": recommended,
        **_looked_into(table, split, best, heldout),
    }


def _few(split: Split, plan: TablePlan, trainings: int) -> str:
    """The warning that a split was trained too few times to say much; empty where it was not."""
    if not 0 < trainings < (split.folds + 1 if split.folds else FEW_SEEDS):
        return ""
    wanted = sum(len(split.runs(seed)) for seed in range(plan.seeds))
    more = "use --seeds 6" if trainings == wanted else "a longer --budget with --resume helps"
    if split.folds:
        starts = "One round of folds says"
    else:
        starts = "One random start says" if trainings == 1 else f"{trainings} random starts say"
    where = " on the newest rows" if split.name == "time" else ""
    return f"{starts} little about chance{where}, so the intervals are wide and little can be shown: {more}."


def _learner(
    name: str, cells: Mapping[int, Mapping[str, Any]], given: np.ndarray | None, heldout: Heldout, alpha: float
) -> dict[str, Any]:
    """One learner's scores: the average of its models, and the losses of its single models."""
    told: dict[str, Any] = {
        "name": name,
        "kind": name if name in (GUESS, *BASELINES) else "neural",
        "facts": [each["facts"] for each in cells.values()],
        "parameters": next((each["parameters"] for each in cells.values()), None),
        "seconds": sum(each["seconds"] for each in cells.values()),
        "removes": None,
        "runs": [],
        "scores": {},
    }
    if given is None:
        return told
    runs = [float(heldout.losses(each[None]).mean()) for each in given]
    removes = [1.0 - run / heldout.guess_loss for run in runs]
    if heldout.rounds.size:  # single models, as they are judged; a row stands there once for each round
        y, groups = np.tile(heldout.y, len(given)), np.tile(heldout.groups, len(given))
        asked = given.reshape(len(y), -1)
        folds = (heldout.rounds + (heldout.rounds.max() + 1) * np.arange(len(given))[:, None]).ravel()
    else:
        y, groups, asked, folds = heldout.y, heldout.groups, given.mean(axis=0), None
    loss = float(row_losses(heldout.classes, y, asked).mean())
    scores = with_intervals(heldout.classes, y, asked, groups, alpha=alpha, folds=folds)
    return {**told, "removes": 1.0 - loss / heldout.guess_loss, "runs": removes, "scores": scores}


def _looked_into(table: Table, split: Split, best: np.ndarray, heldout: Heldout) -> dict[str, Any]:
    """Calibration and slices of the recommended learner."""
    y = heldout.y
    if table.num_classes == 2:
        predicted, found, of = best[:, 1], y, f"the chance of {table.target.classes[1]!r}"
    elif table.num_classes:
        predicted, found, of = (
            best.max(axis=1),
            (best.argmax(axis=1) == y).astype(np.float64),
            "the chance of being right",
        )
    else:
        predicted, found, of = best[:, 0], y, table.target.name
    cells = table.rows(split.heldout)
    slices = [each for column, held in zip(table.used, cells, strict=True) for each in slices_of(column, held)]
    shares = table.num_classes > 0
    wrong = (best.argmax(axis=1) != y).astype(np.float64) if shares else row_losses(0, y, best)
    return {
        "calibration": calibration(predicted, found, shares=shares, of=of),
        "slices": worst(slices, wrong, found, predicted, shares=shares),
    }
