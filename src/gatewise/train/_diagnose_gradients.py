"""How even the way down is: the spread of gradient norms and of the loss's curvature along training."""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ._diagnostic import Diagnostic, Found, TrainingRun, kept_exactly, read_exactly, spread_of_logs

SAMPLES = 30
_REACH = 1e-4
"""How far the curvature looks to either side, as a share of the length of all weights."""


class GradientSpread(Diagnostic):
    """The standard deviation of log |gradient| over the steps after the warm-up, before clipping."""

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        self._norms: list[float] = []

    def gradient(self, step: int, norm: float) -> None:
        if step >= self.run.warm_steps:
            self._norms.append(norm)

    def state(self) -> dict[str, Any]:
        return {"norms": kept_exactly(self._norms)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._norms = read_exactly(state["norms"])

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        return {"gradient_spread": spread_of_logs(self._norms)}


class CurvatureSpread(Diagnostic):
    """The standard deviation of log |d' H d| at up to 30 steps after the warm-up, d being the gradient's direction.

    Gradient and curvature are those of one fixed batch that the run never trains on. The curvature is a central
    difference of two gradients, 1e-4 of the weights' length to either side: a kink that lies on this way counts, which
    the exact second derivative of a piecewise linear function would not see. The weights are put back bit by bit.
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        first, last = run.warm_steps, run.plan.steps - 1
        self._steps = {first + round(i * (last - first) / (SAMPLES - 1)) for i in range(SAMPLES)}
        self._parameters = list(run.model.parameters())
        self._batch = run.workload.train_batch(run.plan.steps, run.seed, run.plan.batch)
        self._curvatures: list[float] = []

    def before_step(self, step: int) -> None:
        if step in self._steps:
            self._curvatures.append(self._curvature())

    def state(self) -> dict[str, Any]:
        return {"curvatures": kept_exactly(self._curvatures)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._curvatures = read_exactly(state["curvatures"])

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        return {"curvature_spread": spread_of_logs(self._curvatures)}

    def _gradients(self) -> list[Tensor]:
        model = self.run.model
        model.eval()
        loss = self.run.workload.loss(model, self._batch)
        found = torch.autograd.grad(loss, self._parameters)
        model.train()
        return list(found)

    def _curvature(self) -> float:
        kept = [parameter.detach().clone() for parameter in self._parameters]
        here = self._gradients()
        length = _length(here)
        if not (math.isfinite(length) and length > 0):
            return math.nan
        reach = _REACH * _length(kept)
        sides: list[list[Tensor]] = []
        try:
            for sign in (1.0, -1.0):
                with torch.no_grad():
                    for parameter, start, direction in zip(self._parameters, kept, here, strict=True):
                        parameter.copy_(start + direction * (sign * reach / length))
                sides.append(self._gradients())
        finally:
            with torch.no_grad():
                for parameter, start in zip(self._parameters, kept, strict=True):
                    parameter.copy_(start)
        change = sum(
            ((plus.double() - minus.double()) * direction.double()).sum().item()
            for plus, minus, direction in zip(*sides, here, strict=True)
        )
        return change / length / (2 * reach)


def _length(tensors: list[Tensor]) -> float:
    return math.sqrt(sum(tensor.double().square().sum().item() for tensor in tensors))
