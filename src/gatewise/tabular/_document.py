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
    warnings = [warning for each in splits for warning in each.pop("warnings")]
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
        "train_rows": len(split.train),
        "heldout_rows": len(split.heldout),
        "seeds": len(seeds),
        "guess_loss": None,
        "learners": [],
        "comparisons": [],
        "recommended": None,
        "calibration": None,
        "slices": None,
        "warnings": warnings,
    }
    if 0 < len(seeds) < FEW_SEEDS:
        starts = "One random start says" if len(seeds) == 1 else f"{len(seeds)} random starts say"
        warnings.append(
            f"{starts} little about chance, so the intervals are wide and little can be shown: use --seeds 6."
        )
    if not seeds:
        warnings.append(f"No run of the {split.name} split was finished: nothing is judged.")
        return told
    given = {
        name: np.asarray([each["predicted"] for each in held.values()])
        for name, held in cells.items()
        if not failed[name]
    }
    guess_loss = float(row_losses(table.num_classes, y, given[GUESS].mean(axis=0)).mean())
    heldout = Heldout(y=y, groups=table.groups[split.heldout], classes=table.num_classes, guess_loss=guess_loss)
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
    average = given.mean(axis=0)
    runs = [float(heldout.losses(each[None]).mean()) for each in given]
    loss = float(row_losses(heldout.classes, heldout.y, average).mean())
    scores = with_intervals(heldout.classes, heldout.y, average, heldout.groups, alpha=alpha)
    removes = [1.0 - run / heldout.guess_loss for run in runs]
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
