"""What one training run sees, and what it hands back."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ._plan import Task

Predict = Callable[[np.ndarray], np.ndarray]
"""From features (rows, features) to class probabilities (rows, classes), or values (rows, 1); float64."""


@dataclass(frozen=True, kw_only=True)
class Parts:
    """Training and tuning rows as numbers.

    Attributes:
        classes: how many; 0 where values are predicted.
        x, y: the training rows; `y` class numbers or values, float64.
        x_tuning, y_tuning: rows that choose settings and end a training; no weight is fitted to them.
        lean: the features that trees get (see `Features`).
    """

    classes: int
    x: np.ndarray
    y: np.ndarray
    x_tuning: np.ndarray
    y_tuning: np.ndarray
    lean: np.ndarray

    @property
    def task(self) -> Task:
        """What is predicted."""
        return "classify" if self.classes else "regress"


@dataclass(frozen=True, kw_only=True)
class Fitted:
    """A trained model.

    Attributes:
        tuning_loss: on the tuning rows; natural log-loss, or squared error.
        parameters: of a neural network; None elsewhere.
        facts: the settings that the tuning rows chose.
    """

    predict: Predict
    tuning_loss: float
    parameters: int | None = None
    facts: dict[str, Any] = field(default_factory=dict[str, Any])


def row_losses(classes: int, y: np.ndarray, predicted: np.ndarray) -> np.ndarray:
    """The loss of each row: -ln of the probability of what came (not below 1e-6), or the squared error; float64."""
    if classes:
        return -np.log(np.clip(predicted[np.arange(len(y)), y.astype(np.int64)], 1e-6, 1.0))
    return (predicted[:, 0] - y) ** 2
