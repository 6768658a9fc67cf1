"""Where a model is weak: groups of held-out rows by one column, against all other held-out rows.

Two questions about each slice. Is it harder there: wrong more often (two exact binomial intervals, each at half the
level), or with larger squared errors (Welch's t)? And is the model systematically too high or too low there: mean
predicted minus mean found (the exact binomial interval of a share, for a t interval of none in thirty would be far too
short, else a t interval)? Many are looked at, so each answer is given at alpha / (number of looks) (Bonferroni), and a
slice with few rows is not looked at.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise.core import Evidence, Rule, compare

from ._calibration import share_interval
from ._columns import Column
from ._features import dates, numbers
from ._plan import ALPHA
from ._values import folded, is_missing

FEWEST = 30
_MOST_LEVELS, _MOST_SHOWN = 20, 6
_QUARTERS = ("lowest quarter", "second quarter", "third quarter", "highest quarter")


@dataclass(frozen=True, kw_only=True)
class Slice:
    """Held-out rows that share something; `inside` marks them."""

    column: str
    says: str
    inside: np.ndarray


def slices_of(column: Column, cells: Sequence[str]) -> list[Slice]:
    """The groups of one column: its categories, the quarters of its values, its years, and where it is missing."""
    missing = np.asarray([is_missing(cell) for cell in cells])
    found = [Slice(column=column.name, says="missing", inside=missing)] if missing.any() else []
    if column.kind == "category":
        words = ["" if is_missing(cell) else folded(cell) for cell in cells]
        spelt = {word: cell for word, cell in zip(words, cells, strict=True) if word}
        counts = Counter(word for word in words if word)
        for level, _ in sorted(counts.items(), key=lambda each: (-each[1], each[0]))[:_MOST_LEVELS]:
            inside = np.asarray([word == level for word in words])
            found.append(Slice(column=column.name, says=spelt[level], inside=inside))
    elif column.kind == "number":
        found += _by_value(column, numbers(column, cells))
    elif column.kind == "date":
        days = dates(column, cells)
        years = np.where(np.isfinite(days), np.floor(1970.0 + days / 365.2425), 0.0)
        for year in sorted(set(years[years > 0].tolist())):
            found.append(Slice(column=column.name, says=f"{year:.0f}", inside=years == year))
    return found


def _by_value(column: Column, values: np.ndarray) -> list[Slice]:
    known = values[np.isfinite(values)]
    different = sorted(set(known.tolist()))
    if len(different) <= len(_QUARTERS):
        return [Slice(column=column.name, says=f"{value:g}", inside=values == value) for value in different]
    edges = np.quantile(known, [0.25, 0.5, 0.75])
    place = np.where(np.isfinite(values), np.searchsorted(edges, values, side="left"), -1)
    made: list[Slice] = []
    for quarter, name in enumerate(_QUARTERS):
        inside = place == quarter
        if inside.any():
            low, high = float(values[inside].min()), float(values[inside].max())
            made.append(Slice(column=column.name, says=f"{low:g} to {high:g} ({name})", inside=inside))
    return made


def worst(
    slices: Sequence[Slice], losses: np.ndarray, found: np.ndarray, predicted: np.ndarray, *, shares: bool
) -> dict[str, Any]:
    """What was found, as plain data: how many were looked at, how many were too small, and those that stand out.

    All by held-out row. `losses`: where `shares`, 1 for a wrong answer and 0 for a right one, else squared errors.
    `found` and `predicted`: of two classes the last one's presence and its probability; of more whether the likeliest
    class was right and its probability; else values.
    """
    fit = [each for each in slices if each.inside.sum() >= FEWEST and (~each.inside).sum() >= FEWEST]
    level = ALPHA / max(2 * len(fit), 1)
    harder: list[dict[str, Any]] = []
    off: list[dict[str, Any]] = []
    for each in fit:
        inside = each.inside
        told = {"column": each.column, "says": each.says, "rows": int(inside.sum())}
        here, rest = float(losses[inside].mean()), float(losses[~inside].mean())
        interval = _more(losses[inside], losses[~inside], level, shares=shares)
        if interval is not None and interval[0] > 0.0:
            if not shares:
                here, rest = here**0.5, rest**0.5
            harder.append({**told, "here": here, "rest": rest})
        interval = _bias(predicted[inside], found[inside], level, shares=shares)
        if interval is not None and (interval[0] > 0.0 or interval[1] < 0.0):
            means = {"predicted": float(predicted[inside].mean()), "found": float(found[inside].mean())}
            off.append({**told, **means, "estimate": means["predicted"] - means["found"], "interval": list(interval)})
    harder.sort(key=lambda each: each["rest"] - each["here"])
    off.sort(key=lambda each: -abs(each["estimate"]))
    return {
        "looked_at": len(fit),
        "too_small": len(slices) - len(fit),
        "fewest_rows": FEWEST,
        "alpha": level,
        "harder": harder[:_MOST_SHOWN],
        "off": off[:_MOST_SHOWN],
        "more": max(len(harder) - _MOST_SHOWN, 0) + max(len(off) - _MOST_SHOWN, 0),
    }


def _more(inside: np.ndarray, rest: np.ndarray, level: float, *, shares: bool) -> tuple[float, float] | None:
    """The interval of the mean inside minus the mean of the rest; None where the judge refuses."""
    if shares:
        low, high = share_interval(int(inside.sum()), len(inside), level / 2)
        least, most = share_interval(int(rest.sum()), len(rest), level / 2)
        return low - most, high - least
    found = compare(rest.tolist(), inside.tolist(), paired=False, kind="difference", margin=0.0, alpha=level)
    return found.interval


def _bias(predicted: np.ndarray, found: np.ndarray, level: float, *, shares: bool) -> tuple[float, float] | None:
    """The interval of mean predicted minus mean found; None where the judge refuses."""
    if shares:
        low, high = share_interval(int(found.sum()), len(found), level)
        return float(predicted.mean()) - high, float(predicted.mean()) - low
    rule = Rule(kind="difference", direction="lower", margin=0.0)
    return Evidence(effects=tuple((predicted - found).tolist()), rule=rule, method="mean").at(level).interval
