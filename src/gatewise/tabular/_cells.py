"""One cell of a study: one split, one seed, one learner. What it leaves behind is stored as soon as it is there."""

import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._features import Features, fit
from ._learners import fit_learner
from ._parts import Fitted, Parts
from ._prepare import Table, seed_of
from ._split import TUNING_SHARE, Split, take


@dataclass(frozen=True, kw_only=True)
class Ready:
    """The rows of one split and seed as numbers; every learner of the seed gets the same."""

    features: Features
    parts: Parts
    heldout: np.ndarray
    seed: int


def ready(table: Table, split: Split, seed: int) -> Ready:
    """Set tuning rows aside (a fifth of the training rows, another fifth for each seed) and fit the features."""
    drawn = seed_of(table.file.sha256, split.name, seed)
    learnt, asked = split.turn(seed)
    tuning = take(learnt, table.groups, table.strata, TUNING_SHARE, drawn)
    train = np.setdiff1d(learnt, tuning)
    features = fit(table.used, table.rows(train), table.y[train], classes=table.num_classes > 0)
    parts = Parts(
        classes=table.num_classes,
        x=features.encode(table.rows(train)),
        y=table.y[train],
        x_tuning=features.encode(table.rows(tuning)),
        y_tuning=table.y[tuning],
        lean=features.lean,
    )
    return Ready(features=features, parts=parts, heldout=features.encode(table.rows(asked)), seed=drawn)


def run_cell(held: Ready, learner: str) -> dict[str, Any]:
    """Train one learner and predict the held-out rows: the record of the cell, plain data."""
    started = time.perf_counter()
    fitted = fit_learner(learner, held.parts, held.seed)
    predicted = fitted.predict(held.heldout)
    failed = not (np.isfinite(fitted.tuning_loss) and np.isfinite(predicted).all())
    return {
        "predicted": None if failed else predicted.tolist(),
        "failure": "no training came to a finite loss" if failed else None,
        "tuning_loss": None if failed else fitted.tuning_loss,
        "parameters": fitted.parameters,
        "features": held.parts.x.shape[1],
        "facts": fitted.facts,
        "seconds": time.perf_counter() - started,
    }


def refit(held: Ready, learner: str) -> Fitted:
    """The model of a finished cell once more: the same rows and seed give the same model."""
    return fit_learner(learner, held.parts, held.seed)
