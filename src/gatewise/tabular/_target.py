"""The target: what is to be predicted, as class numbers or as values."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from gatewise.core import GatewiseError, unknown_name

from ._columns import Column
from ._plan import Asked, Task
from ._read import File
from ._values import folded, is_missing, plain_number

FEWEST_ROWS = 60
FEWEST_OF_CLASS = 8
"""Fewer rows of a class cannot stand in all three parts (training, tuning, held out)."""

MOST_CLASSES = 30
_MOST_VALUES_OF_CLASSES = 10
_YES = frozenset({"yes", "y", "true", "t", "1", "ja", "j", "wahr", "oui", "vrai", "si", "sí"})
_NO = frozenset({"no", "n", "false", "f", "0", "nein", "falsch", "non", "faux"})
_LOOKED_FOR = _YES | {"churn", "churned", "positive"}


@dataclass(frozen=True, kw_only=True)
class Target:
    """What is predicted.

    Attributes:
        rows: the places in the file of the rows that have a target that can be used.
        values: for those rows class numbers (integers as floats) or values, float64.
        classes: names by class number, none where values are predicted. Of two, the last is the one looked for.
    """

    name: str
    task: Task
    rows: "np.ndarray"
    values: "np.ndarray"
    classes: tuple[str, ...]
    counts: tuple[int, ...]
    notes: tuple[str, ...]


def target(file: File, columns: Sequence[Column], name: str, asked: Asked) -> Target:
    """Read the target. Raises `GatewiseError` where nothing can be learnt: unknown, one class, too few rows."""
    column = next((each for each in columns if each.name == name), None)
    if column is None:
        raise unknown_name("target", name, file.columns)
    cells = file.column(column.index)
    present = [place for place, cell in enumerate(cells) if not is_missing(cell)]
    notes: list[str] = []
    if not present:
        raise GatewiseError(f"the target {name!r} is empty: nothing can be learnt")
    if len(present) < len(cells):
        gone = len(cells) - len(present)
        notes.append(f"{_rows(gone)} without a value of {name!r} {_were(gone)} left out.")
    if len(present) < FEWEST_ROWS:
        raise GatewiseError(
            f"{len(present)} rows have a value of {name!r}; that is too few to say anything\n"
            f"valid: at least {FEWEST_ROWS} rows, and better some hundreds"
        )
    numeric = _as_numbers(column, [cells[place] for place in present])
    task = _task(name, asked, numeric, column.distinct, notes)
    if task == "regress":
        return _values(name, numeric, present, notes)
    return _classes(name, cells, present, notes)


def _as_numbers(column: Column, cells: Sequence[str]) -> list[float] | None:
    """The numbers, NaN where a cell is none; None where fewer than nineteen of twenty are numbers."""
    from ._values import number_form

    form = column.number if column.kind == "number" else number_form(cells, separator="comma")[0]
    values = [form.parse(cell) for cell in cells]
    broken = sum(value is None for value in values)
    return None if broken > 0.05 * len(values) else [np.nan if value is None else value for value in values]


def _task(name: str, asked: Asked, numeric: Sequence[float] | None, distinct: int, notes: list[str]) -> Task:
    if asked == "regress":
        if numeric is None:
            raise GatewiseError(f"--task regress needs numbers, and {name!r} holds words\nvalid: --task classify")
        return "regress"
    if asked == "classify":
        return "classify"
    if numeric is None or distinct <= 2:
        return "classify"
    if distinct <= _MOST_VALUES_OF_CLASSES and all(value == round(value) for value in numeric if value == value):
        notes.append(
            f"{name!r} has {distinct} whole numbers and was taken as classes; --task regress takes their size."
        )
        return "classify"
    return "regress"


def _values(name: str, numeric: Sequence[float] | None, present: Sequence[int], notes: list[str]) -> Target:
    assert numeric is not None
    values = np.asarray(numeric, dtype=np.float64)
    kept = np.isfinite(values)
    if not kept.all():
        gone = int((~kept).sum())
        notes.append(f"{_rows(gone)} whose {name!r} is no number {_were(gone)} left out.")
    values, rows = values[kept], np.asarray(present)[kept]
    if len(set(values.tolist())) < 2:
        raise GatewiseError(f"the target {name!r} is always {values[0]:g}: there is nothing to predict")
    return Target(name=name, task="regress", rows=rows, values=values, classes=(), counts=(), notes=tuple(notes))


def _classes(name: str, cells: Sequence[str], present: Sequence[int], notes: list[str]) -> Target:
    spelt = _spellings([cells[place] for place in present], notes)
    cells = [spelt.get(cell, cell) for cell in cells]
    counts = Counter(cells[place] for place in present)
    if len(counts) == 1:
        raise GatewiseError(f"the target {name!r} is always {next(iter(counts))!r}: there is nothing to predict")
    rare = sorted(label for label, count in counts.items() if count < FEWEST_OF_CLASS)
    kept = {label: count for label, count in counts.items() if count >= FEWEST_OF_CLASS}
    if len(kept) < 2:
        shown = ", ".join(f"{label!r} {count} rows" for label, count in counts.most_common(4))
        raise GatewiseError(
            f"fewer than two values of {name!r} have {FEWEST_OF_CLASS} rows or more: {shown}\n"
            "valid: more rows of the rare ones, or a column of numbers with --task regress"
        )
    if len(kept) > MOST_CLASSES:
        raise GatewiseError(
            f"{name!r} has {len(kept)} different values, too many for classes\n"
            f"valid: at most {MOST_CLASSES} classes, or a column of numbers with --task regress"
        )
    if rare:
        gone = sum(counts[label] for label in rare)
        shown = ", ".join(map(repr, rare[:4])) + (", …" if len(rare) > 4 else "")
        notes.append(
            f"{_rows(gone)} of classes with fewer than {FEWEST_OF_CLASS} rows {_were(gone)} left out ({shown})."
        )
    ordered = _ordered(kept)
    number = {label: place for place, label in enumerate(ordered)}
    kept_rows = [place for place in present if cells[place] in number]
    values = np.asarray([number[cells[place]] for place in kept_rows], dtype=np.float64)
    if len(kept_rows) < FEWEST_ROWS:
        raise GatewiseError(
            f"{len(kept_rows)} rows of classes that are frequent enough are too few\nvalid: {FEWEST_ROWS}"
        )
    return Target(
        name=name,
        task="classify",
        rows=np.asarray(kept_rows),
        values=values,
        classes=tuple(ordered),
        counts=tuple(kept[label] for label in ordered),
        notes=tuple(notes),
    )


def _spellings(present: Sequence[str], notes: list[str]) -> dict[str, str]:
    """By spelling the most frequent one of the same word: `Yes`, `YES` and, among yes and no alone, `y`; 1 and 1.0."""
    counts = Counter(present)
    words: dict[str, list[str]] = {}
    for cell in counts:
        value = None if len(cell) > 1 and cell[0] == "0" and cell[1] != "." else plain_number(cell)
        words.setdefault(folded(cell) if value is None else f"{value:.15g}", []).append(cell)
    if len(words) > 2 and set(words) <= _YES | _NO and not {"1", "0"} < set(words):
        words = {
            side: [cell for word in sorted(words) if word in among for cell in words[word]]
            for side, among in (("yes", _YES), ("no", _NO))
        }
    found: dict[str, str] = {}
    for cells in words.values():
        ordered = sorted(cells, key=lambda cell: (-counts[cell], cell))
        found |= dict.fromkeys(ordered, ordered[0]) if ordered else {}
        if len(ordered) > 1:
            notes.append(f"{', '.join(map(repr, ordered[1:5]))} were taken for {ordered[0]!r}: the same word.")
    return found


def _ordered(kept: dict[str, int]) -> list[str]:
    """Alphabetical; of two classes the one that is looked for comes last: a yes, else the rarer one."""
    ordered = sorted(kept)
    if len(ordered) == 2:
        yes = [label for label in ordered if label.lower() in _LOOKED_FOR]
        last = yes[0] if len(yes) == 1 else max(ordered, key=lambda label: (-kept[label], label))
        ordered = [label for label in ordered if label != last] + [last]
    return ordered


def _rows(count: int) -> str:
    return "1 row" if count == 1 else f"{count:,} rows"


def _were(count: int) -> str:
    return "was" if count == 1 else "were"
