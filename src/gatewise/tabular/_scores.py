"""How good predictions are on held-out rows, each score with an interval over the rows.

The interval is a bootstrap's: groups of equal rows are drawn with replacement (so that copies count as one piece of
evidence), the score is taken again with the rows' counts as weights, and its percentiles are read (Efron 1979). Of
right answers it is the exact binomial one over those groups, for no resample of right answers alone ever holds a wrong
one. A bootstrap of no width is no interval. Chance in what was learnt from is not in these intervals.

Ranking is scored within the folds of a cross-validation and averaged over them: models of different folds are at
different levels, each a little against what its own rows are, and would be ranked by that.
"""

from collections.abc import Callable, Mapping

import numpy as np

from ._calibration import share_interval
from ._parts import row_losses

RESAMPLES = 1000
TOP = 0.1

Score = Callable[[np.ndarray, np.ndarray, np.ndarray], float]
"""From targets (n), predictions (n, classes) or (n, 1), and weights (n) to a number; NaN where there is none."""


def _mean(values: np.ndarray, weights: np.ndarray) -> float:
    return float(values @ weights / weights.sum())


def _log_loss(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    return _mean(row_losses(given.shape[1], y, given), weights)


def _brier(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    """Mean squared distance of the probabilities from what came; of two classes that of the last one."""
    wanted = np.eye(given.shape[1])[y.astype(np.int64)]
    apart = (given - wanted) ** 2
    return _mean(apart[:, -1] if given.shape[1] == 2 else apart.sum(axis=1), weights)


def _accuracy(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    return _mean((given.argmax(axis=1) == y).astype(np.float64), weights)


def auc(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    """The chance that a row of the last class is rated above one of the first; ties count half."""
    place = np.unique(given[:, -1], return_inverse=True)[1]
    many = int(place.max()) + 1
    ones = np.bincount(place, weights=weights * (y == 1), minlength=many)
    zeros = np.bincount(place, weights=weights * (y == 0), minlength=many)
    below = np.cumsum(zeros) - zeros
    total = ones.sum() * zeros.sum()
    return float((ones * (below + zeros / 2)).sum() / total) if total > 0 else float("nan")


def top_share(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    """Of all rows of the last class, the share among the tenth of rows that is rated highest.

    Of rows that are rated alike, as many count as there is room for, each with their common share of hits.
    """
    place = np.unique(-given[:, -1], return_inverse=True)[1]
    rows = np.bincount(place, weights=weights)
    hits = np.bincount(place, weights=weights * (y == 1))
    before = np.cumsum(rows) - rows
    inside = np.clip((TOP * weights.sum() - before) / np.maximum(rows, 1e-12), 0.0, 1.0)
    return float(inside @ hits / hits.sum()) if hits.sum() > 0 else float("nan")


def _rmse(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    return float(np.sqrt(_mean((given[:, 0] - y) ** 2, weights)))


def _mae(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
    return _mean(np.abs(given[:, 0] - y), weights)


def scores(classes: int) -> Mapping[str, Score]:
    """The scores of a task by name."""
    if not classes:
        return {"mae": _mae, "rmse": _rmse}
    two: dict[str, Score] = {"auc": auc, "top_tenth": top_share} if classes == 2 else {}
    return {**two, "accuracy": _accuracy, "log_loss": _log_loss, "brier": _brier}


RANKINGS = ("auc", "top_tenth")


def _within(score: Score, folds: np.ndarray | None) -> Score:
    """The score as the mean over the folds in which it has a value."""
    if folds is None:
        return score
    parts = [np.flatnonzero(folds == each) for each in np.unique(folds)]

    def averaged(y: np.ndarray, given: np.ndarray, weights: np.ndarray) -> float:
        each = [score(y[part], given[part], weights[part]) for part in parts]
        known = [value for value in each if np.isfinite(value)]
        return sum(known) / len(known) if known else float("nan")

    return averaged


def with_intervals(
    classes: int,
    y: np.ndarray,
    given: np.ndarray,
    groups: np.ndarray,
    *,
    alpha: float,
    folds: np.ndarray | None = None,
) -> dict[str, dict[str, float | list[float] | None]]:
    """Every score with its interval at `alpha`: `{name: {value, interval}}`; None where there is no number.

    `folds` says by which model each row was answered, where they were several.
    """
    rng = np.random.default_rng(0)
    names, place = np.unique(groups, return_inverse=True)
    table = {name: _within(score, folds) if name in RANKINGS else score for name, score in scores(classes).items()}
    ones = np.ones(len(y))
    drawn: dict[str, list[float]] = {name: [] for name in table}
    for _ in range(RESAMPLES):
        counts = np.bincount(rng.integers(0, len(names), len(names)), minlength=len(names))
        weights = counts[place].astype(np.float64)
        for name, score in table.items():
            drawn[name].append(score(y, given, weights))
    found: dict[str, dict[str, float | list[float] | None]] = {}
    for name, score in table.items():
        value = score(y, given, ones)
        known = np.asarray([each for each in drawn[name] if np.isfinite(each)])
        interval = None
        if len(known) > RESAMPLES / 2:
            low, high = np.quantile(known, [alpha / 2, 1 - alpha / 2])
            interval = [float(low), float(high)] if high > low else None
        if name == "accuracy":
            interval = list(share_interval(round(value * len(names)), len(names), alpha))
        found[name] = {"value": value if np.isfinite(value) else None, "interval": interval}
    return found
