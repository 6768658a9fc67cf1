"""What every diagnostic of a training run is: it looks on, and leaves the run as it is, bit by bit."""

import math
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from statistics import stdev
from typing import Any

from torch import nn

from ._plan import TrainPlan
from ._workload import Batch, TrainWorkload

Found = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class TrainingRun:
    """The run that a diagnostic looks at; `heldout` are the batches that its curve is taken over."""

    workload: TrainWorkload
    model: nn.Module
    plan: TrainPlan
    seed: int
    heldout: Sequence[Batch]

    @property
    def warm_steps(self) -> int:
        """Steps of the warm-up, which the spreads leave out."""
        return round(self.plan.warmup * self.plan.steps)


class Diagnostic:
    """Looks at a run. Subclasses override what they need; nothing here may move weights or random states.

    `needs` names the methods that a workload must have for it.
    """

    needs: tuple[str, ...] = ()

    def __init__(self, run: TrainingRun) -> None:
        self.run = run

    def before_step(self, step: int) -> None:
        """Called before optimiser step `step`, counted from 0."""

    def gradient(self, step: int, norm: float) -> None:
        """Told the global norm of a step's gradient, before any clipping."""

    def evaluation(self) -> AbstractContextManager[None]:
        """Held open while a point of the curve is evaluated."""
        return nullcontext()

    def state(self) -> dict[str, Any]:
        """What it has gathered so far, as plain data for a checkpoint; numbers as `kept_exactly` writes them.

        Whoever gathers anything overrides this and `restore`; the rest look at the end alone.
        """
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from a `state`."""

    def finish(self, heldout_loss: float) -> Found:
        """What was found, after the last step; `heldout_loss` is the run's final loss."""
        raise NotImplementedError


def spread_of_logs(values: Sequence[float]) -> float | None:
    """The standard deviation of log |value|; None with fewer than two values, or where one is 0 or not finite."""
    if len(values) < 2 or not all(math.isfinite(value) and value != 0 for value in values):
        return None
    return stdev(math.log(abs(value)) for value in values)


def kept_exactly(values: Sequence[float]) -> list[str]:
    """Numbers as JSON keeps them to the last bit, NaN and infinity included."""
    return [float(value).hex() for value in values]


def read_exactly(values: Sequence[str]) -> list[float]:
    """Numbers back from `kept_exactly`."""
    return [float.fromhex(value) for value in values]
