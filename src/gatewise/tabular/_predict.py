"""Predictions for a second file, by the models that were measured."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.core import GatewiseError

from ._cells import ready, refit
from ._columns import Column
from ._features import dates, numbers
from ._prepare import Table
from ._read import File
from ._split import Split
from ._values import folded, is_missing

RANGE = 0.9
"""The share of new values that the stated range of a predicted value is meant to hold."""

_SAME = 1e-6
_MOST_MISSING = 0.5


@dataclass(frozen=True, kw_only=True)
class Asked:
    """The second file, brought into the order of the columns that the models see."""

    file: File
    cells: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def match(table: Table, file: File) -> Asked:
    """Find every used column in the second file, by its name. Raises `GatewiseError` where most of them are missing."""
    if not file.rows:
        raise GatewiseError(f"{file.name} has a header and no rows: there is nothing to predict")
    exact = {name: place for place, name in enumerate(file.columns)}
    folded = {name.strip().lower(): place for name, place in reversed(list(exact.items()))}
    cells: list[tuple[str, ...]] = []
    missing: list[str] = []
    notes: list[str] = list(file.notes)
    for column in table.used:
        place = exact.get(column.name, folded.get(column.name.strip().lower()))
        if place is None:
            missing.append(column.name)
            cells.append(("",) * len(file.rows))
            continue
        cells.append(tuple(file.column(place)))
        notes += _unknown(column, table, cells[-1])
    if len(missing) > _MOST_MISSING * len(table.used):
        raise GatewiseError(
            f"{file.name} lacks {len(missing)} of the {len(table.used)} columns that were learnt from: "
            f"{', '.join(missing[:6])}{' …' if len(missing) > 6 else ''}\nits columns: {', '.join(file.columns[:12])}"
        )
    if missing:
        names = ", ".join(map(repr, missing[:6])) + (", …" if len(missing) > 6 else "")
        notes.insert(
            0, f"{file.name} lacks {names}: every row counts as missing there, and its answers are worth less."
        )
    return Asked(file=file, cells=tuple(cells), notes=tuple(notes))


def _unknown(column: Column, table: Table, cells: Sequence[str]) -> list[str]:
    """What the second file says in this column that the first never did."""
    known = table.cells[table.used.index(column)]
    present = [cell for cell in cells if not is_missing(cell)]
    if column.kind == "category":
        before = {folded(cell) for cell in known}
        unseen = [cell for cell in present if folded(cell) not in before]
        if not unseen:
            return []
        many, new = len(unseen), sorted(set(unseen))
        names = ", ".join(map(repr, new[:4])) + (", …" if len(new) > 4 else "")
        return [
            f"{many:,} {_row(many)} in {column.name!r} what was never seen before ({names}); they count as 'other'."
        ]
    if column.kind not in ("number", "date"):
        return []
    read = numbers if column.kind == "number" else dates
    values, seen = read(column, cells), read(column, known)
    broken = len(present) - int(np.isfinite(values).sum())
    kind = "number" if column.kind == "number" else "date"
    counts = "it counts" if broken == 1 else "they count"
    said = [f"{broken:,} {_row(broken)} no {kind} in {column.name!r}; {counts} as missing there."] if broken else []
    held = values[np.isfinite(values)]
    beyond = int(((held > np.nanmax(seen)) | (held < np.nanmin(seen))).sum())
    if beyond and column.kind == "number":
        said.append(
            f"{beyond:,} {_row(beyond)} in {column.name!r} a value outside of {np.nanmin(seen):g} to "
            f"{np.nanmax(seen):g}, which is all that was seen."
        )
    return said


def _row(count: int) -> str:
    return "row has" if count == 1 else "rows have"


def predict(table: Table, split: Split, learner: str, stored: Sequence[tuple[int, Any]], asked: Asked) -> np.ndarray:
    """The mean prediction of the learner's models, one for each stored training, for the second file.

    The models are trained once more from the same rows and seeds and must give the held-out predictions that were
    stored, so what predicts is what was measured.

    Returns: the predictions (rows, classes or 1).

    Raises:
        GatewiseError: a model did not come out the same: another machine, or another version of a package.
    """
    total = np.zeros((len(asked.file.rows), table.num_classes or 1))
    for seed, predicted in stored:
        held = ready(table, split, seed)
        fitted = refit(held, learner)
        again, before = fitted.predict(held.heldout), np.asarray(predicted)
        if np.abs(again - before).max() > _SAME * (1.0 + np.abs(before).max()):
            raise GatewiseError(
                f"{learner} did not come out as it was measured before (seed {seed}): is this another machine?\n"
                "give another --out, so that everything is measured again"
            )
        total += fitted.predict(held.features.encode(asked.cells)) / len(stored)
    return total


def write_csv(table: Table, asked: Asked, predicted: np.ndarray, errors: np.ndarray) -> str:
    """The second file with its answers as further columns, as CSV text.

    Classes: the likeliest one and the probability of each (of two, of the last). Values: the prediction and a range
    that holds nine tenths of new values that come from where the held-out rows came from (split conformal, Vovk 2005);
    `errors` are the absolute errors on the held-out rows.
    """
    name, classes = table.target.name, table.target.classes
    head, answers = [f"predicted {name}"], list[list[str]]()
    if classes:
        shown = range(len(classes) - 1, len(classes)) if len(classes) == 2 else range(len(classes))
        head += [f"probability of {classes[place]}" for place in shown]
        for row in predicted:
            answers.append([classes[int(row.argmax())], *(f"{row[place]:.4f}" for place in shown)])
    else:
        rank = min(int(np.ceil(RANGE * (len(errors) + 1))), len(errors)) - 1
        reach = float(np.sort(errors)[rank])
        head += [f"{name} at least", f"{name} at most"]
        for value in predicted[:, 0].tolist():
            answers.append([f"{value:.6g}", f"{value - reach:.6g}", f"{value + reach:.6g}"])
    held = io.StringIO(newline="")
    writer = csv.writer(held, lineterminator="\n")
    writer.writerow([*asked.file.columns, *head])
    writer.writerows([*row, *answer] for row, answer in zip(asked.file.rows, answers, strict=True))
    return held.getvalue()
