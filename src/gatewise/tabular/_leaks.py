"""Columns that give the target away, and rows that stand in the file more than once.

A column is tried alone: a small tree is fitted on half of the training rows and asked about the other half. What it
removes of the guesswork (Brier score, or squared error, against always saying the average) is how far the column
determines the target. Held-out rows are not looked at.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._columns import Column
from ._features import fit, numbers

DETERMINES = {"classes": 0.97, "values": 0.995}
"""Beyond this a column is left out: a strong honest one seldom reaches it, least of all for classes."""

SUSPICIOUS = 0.85
_EXACT = 0.999_99
_MOST_SUMMED = 6


@dataclass(frozen=True, kw_only=True)
class Leak:
    """One finding: the columns, how far they determine the target, whether they are left out, and the sentence."""

    columns: tuple[str, ...]
    share: float
    left_out: bool
    says: str


def duplicates(rows: Sequence[Sequence[str]], groups: np.ndarray, values: np.ndarray) -> list[str]:
    """Sentences about rows that are equal in every column, and equal rows with different targets."""
    said: list[str] = []
    num_groups = len(set(groups.tolist()))
    whole = len({(group, value) for group, value in zip(groups.tolist(), values.tolist(), strict=True)})
    copies = len(rows) - whole
    if copies:
        many = "1 row is a copy" if copies == 1 else f"{copies:,} rows are copies"
        said.append(
            f"{many} of another row. Copies stay on one side of every split, so no model is asked about a row it saw."
        )
    if whole > num_groups:
        apart = whole - num_groups
        said.append(
            f"{apart:,} times rows are equal in everything and differ in the target only: no model can tell them apart."
        )
    return said


def leaks(
    columns: Sequence[Column], cells: Sequence[Sequence[str]], y: np.ndarray, *, classes: int, target: str
) -> list[Leak]:
    """What gives the target away on training rows: `cells` by column, `y` class numbers or values."""
    half = np.random.default_rng(1).permutation(len(y))
    one, other = half[: len(y) // 2], half[len(y) // 2 :]
    found: list[Leak] = []
    for column, held in zip(columns, cells, strict=True):
        share = _determined(column, held, y, (one, other), classes=classes)
        if share >= SUSPICIOUS:
            out = share >= DETERMINES["classes" if classes else "values"]
            says = _alone(column.name, share, target, out=out)
            found.append(Leak(columns=(column.name,), share=share, left_out=out, says=says))
    if classes:
        return found
    rest = [(column, held) for column, held in zip(columns, cells, strict=True) if column.kind == "number"]
    for log, verb in ((False, "sum"), (True, "product")):
        together = _together([(column, numbers(column, held)) for column, held in rest], y, log=log)
        if len(together) > 1:
            names = " and ".join(repr(name) for name in together)
            says = f"{target!r} is a {verb} of {names}: they hold the answer. They were left out."
            kept = [leak for leak in found if leak.columns[0] not in together]
            return [Leak(columns=tuple(together), share=1.0, left_out=True, says=says), *kept]
    return found


def _alone(name: str, share: float, target: str, *, out: bool) -> str:
    shown = f"{100.0 * min(share, 1.0):.1f} %"
    if out:
        return (
            f"{name!r} alone removes {shown} of the guesswork about {target!r}. It is a copy of the answer, or was "
            f"written after it was known, and was left out. If it is known beforehand, keep it with --set keep={name}"
        )
    return (
        f"{name!r} alone removes {shown} of the guesswork about {target!r}. Ask whether it is known before {target!r} "
        f"is; if not, leave it out with --set drop={name}"
    )


def _determined(
    column: Column, cells: Sequence[str], y: np.ndarray, halves: tuple[np.ndarray, np.ndarray], *, classes: int
) -> float:
    """The share of the guesswork that a small tree on this column alone removes on rows it has not seen."""
    from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor

    one, other = halves
    known = [cells[int(place)] for place in one]
    asked = [cells[int(place)] for place in other]
    try:
        features = fit([column], [known], y[one], classes=classes > 0)
    except ValueError:
        return 0.0
    x, heldout = features.encode([known]), features.encode([asked])
    if x.shape[1] == 0:
        return 0.0
    settings: dict[str, Any] = {"max_depth": 8, "min_samples_leaf": 3, "random_state": 0}
    if classes:
        tree = DecisionTreeClassifier(**settings).fit(x, y[one])
        wanted = np.eye(classes)[y[other].astype(np.int64)]
        given = np.zeros_like(wanted)
        given[:, np.asarray(tree.classes_, dtype=np.int64)] = tree.predict_proba(heldout)
        base = np.bincount(y[one].astype(np.int64), minlength=classes) / len(one)
    else:
        wanted, given = y[other][:, None], DecisionTreeRegressor(**settings).fit(x, y[one]).predict(heldout)[:, None]
        base = np.asarray([y[one].mean()])
    guess = float(((wanted - base) ** 2).sum())
    return 1.0 - float(((wanted - given) ** 2).sum()) / guess if guess > 0 else 0.0


def _together(columns: Sequence[tuple[Column, np.ndarray]], y: np.ndarray, *, log: bool) -> list[str]:
    """The columns whose weighted sum (of logarithms: whose product) is the target; empty where there are none."""
    if log and not ((y > 0).all() and len(columns) > 1):
        return []
    usable = [(column.name, values) for column, values in columns if np.isfinite(values).all()]
    if log:
        usable = [(name, np.log(values)) for name, values in usable if (values > 0).all()]
    wanted = np.log(y) if log else y
    total = float(((wanted - wanted.mean()) ** 2).sum())
    usable = [(name, values - values.mean()) for name, values in usable if values.std() > 0]
    rest, chosen = wanted - wanted.mean(), list[int]()
    while len(chosen) < min(_MOST_SUMMED, len(usable)) and len(y) > 20:
        gain = [
            -1.0 if index in chosen else abs(float(values @ rest)) / float(np.sqrt(values @ values))
            for index, (_, values) in enumerate(usable)
        ]
        chosen.append(int(np.argmax(gain)))
        matrix = np.stack([usable[index][1] for index in chosen], axis=1)
        weights = np.linalg.lstsq(matrix, wanted - wanted.mean(), rcond=None)[0]
        rest = wanted - wanted.mean() - matrix @ weights
        if total > 0 and 1.0 - float(rest @ rest) / total > _EXACT:
            return [usable[index][0] for index in chosen]
    return []
