"""What a neural network must beat: a guess, a linear model and boosted trees, each tuned on the same tuning rows.

The linear model and the trees are scikit-learn's. Each has as many settings to choose from as a neural arm has
learning rates.
"""

import warnings
from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import numpy as np

from gatewise.core import MissingExtraError

from ._parts import Fitted, Parts, Predict, row_losses

STRENGTHS = (0.01, 0.1, 1.0, 10.0)
"""How strongly the linear model trusts the data: C of a logistic regression; of a ridge, rows / (100 alpha)."""

TREES = ((0.1, 6), (0.1, 24), (0.03, 6), (0.03, 24))
"""Learning rate and most leaves of a tree."""

ROUNDS, CHUNK = 300, 50


def need_sklearn() -> None:
    """Raises `MissingExtraError` where scikit-learn is not installed."""
    from importlib.util import find_spec

    if find_spec("sklearn") is None:
        raise MissingExtraError("scikit-learn", "tabular")


@contextmanager
def _quiet() -> Generator[None]:
    """One thread, so that sums come in one order; a fit that did not converge is judged by its rows like any other."""
    from sklearn.exceptions import ConvergenceWarning
    from threadpoolctl import threadpool_limits

    with warnings.catch_warnings(), threadpool_limits(1):
        warnings.simplefilter("ignore", ConvergenceWarning)
        yield


def guess(parts: Parts) -> Fitted:
    """Always the average: the share of each class, or the mean."""
    y = np.concatenate([parts.y, parts.y_tuning])
    if parts.classes:
        always = (np.bincount(y.astype(np.int64), minlength=parts.classes) + 1e-9) / len(y)
    else:
        always = np.asarray([y.mean()])

    def predict(x: np.ndarray) -> np.ndarray:
        return np.tile(always, (len(x), 1))

    return Fitted(predict=predict, tuning_loss=_loss(parts, predict(parts.x_tuning)))


def linear(parts: Parts, seed: int) -> Fitted:
    """A logistic regression, or a ridge regression, with the strength that the tuning rows chose."""
    from sklearn.linear_model import LogisticRegression, Ridge

    del seed  # it has no random part of its own
    found: list[tuple[float, float, Fitted]] = []
    with _quiet():
        for strength in STRENGTHS:
            if parts.classes:
                model = LogisticRegression(C=strength, max_iter=500).fit(parts.x, parts.y)
                predict = _probabilities(model, parts.classes)
            else:
                model = Ridge(alpha=len(parts.y) / (100.0 * strength)).fit(parts.x, parts.y)
                predict = _column(model)
            loss = _loss(parts, predict(parts.x_tuning))
            found.append((loss, strength, Fitted(predict=predict, tuning_loss=loss, facts={"strength": strength})))
    return min(found, key=lambda each: each[:2])[2]


def trees(parts: Parts, seed: int) -> Fitted:
    """Gradient-boosted trees with the setting and the number of rounds that the tuning rows chose."""
    from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor

    make = HistGradientBoostingClassifier if parts.classes else HistGradientBoostingRegressor
    x = np.ascontiguousarray(parts.x[:, parts.lean])
    fixed: dict[str, Any] = {"early_stopping": False, "random_state": seed}
    found: list[tuple[float, int, float, int]] = []
    with _quiet():
        for rate, leaves in TREES:
            tried = make(warm_start=True, learning_rate=rate, max_leaf_nodes=leaves, **fixed)
            loss, rounds = _rounds(tried, parts, x)
            found.append((loss, rounds, rate, leaves))
        loss, rounds, rate, leaves = min(found)
        model = make(max_iter=rounds, learning_rate=rate, max_leaf_nodes=leaves, **fixed).fit(x, parts.y)
    raw = _probabilities(model, parts.classes) if parts.classes else _column(model)

    def predict(asked: np.ndarray) -> np.ndarray:
        return raw(np.ascontiguousarray(asked[:, parts.lean]))

    return Fitted(predict=predict, tuning_loss=loss, facts={"learning_rate": rate, "leaves": leaves, "rounds": rounds})


def _rounds(model: Any, parts: Parts, x: np.ndarray) -> tuple[float, int]:
    """The least loss on the tuning rows, and after how many rounds; ends where the last ones brought nothing."""
    tuning = np.ascontiguousarray(parts.x_tuning[:, parts.lean])
    losses: list[float] = []
    for rounds in range(CHUNK, ROUNDS + 1, CHUNK):
        model.set_params(max_iter=rounds).fit(x, parts.y)
        staged = model.staged_predict_proba if parts.classes else model.staged_predict
        losses = [_loss(parts, _shaped(each, model, parts.classes)) for each in staged(tuning)]
        if int(np.argmin(losses)) < rounds - CHUNK:
            break
    best = int(np.argmin(losses))
    return losses[best], best + 1


def _shaped(raw: np.ndarray, model: Any, classes: int) -> np.ndarray:
    """Predictions as (rows, classes) or (rows, 1); a class that the training rows lack has probability 0."""
    if not classes:
        return np.asarray(raw, dtype=np.float64)[:, None]
    found = np.zeros((len(raw), classes))
    found[:, model.classes_.astype(np.int64)] = raw
    return found


def _probabilities(model: Any, classes: int) -> Predict:
    def predict(x: np.ndarray) -> np.ndarray:
        with _quiet():
            return _shaped(model.predict_proba(x), model, classes)

    return predict


def _column(model: Any) -> Predict:
    def predict(x: np.ndarray) -> np.ndarray:
        with _quiet():
            return np.asarray(model.predict(x), dtype=np.float64)[:, None]

    return predict


def _loss(parts: Parts, predicted: np.ndarray) -> float:
    return float(row_losses(parts.classes, parts.y_tuning, predicted).mean())
