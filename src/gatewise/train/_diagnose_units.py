"""Hidden units through which no gradient passes."""

from collections.abc import Generator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from gatewise.workloads import HiddenUnits, hidden_units, slopes, watching

from ._diagnostic import Diagnostic, Found, TrainingRun, kept_exactly, read_exactly

FLAT = 1e-3
"""A slope this small counts as none."""


class DeadUnits(Diagnostic):
    """The share of hidden units with |f'(z)| <= 1e-3 at every held-out token, at the end of the run.

    f is the activation, for a gate the function on its gate input; z its pre-activation. `dead_units_most` is the
    largest share at any point of the curve: units may die and come back.
    """

    def __init__(self, run: TrainingRun) -> None:
        super().__init__(run)
        self._units = hidden_units(run.model)
        self._alive: dict[str, Tensor] = {}
        self._shares: list[float] = []

    @contextmanager
    def evaluation(self) -> Generator[None]:
        self._alive = {}
        with watching(self.run.model, self._units, self._see):
            yield
        self._shares.append(1.0 - torch.cat(list(self._alive.values())).double().mean().item())

    def _see(self, units: HiddenUnits, z: Tensor) -> None:
        rows = z.flatten(0, -2)
        alive = self._alive.setdefault(units.path, torch.zeros(rows.shape[1], dtype=torch.bool))
        # One token with a slope is enough, so only the units without one so far are looked at again.
        still = (~alive).nonzero().flatten()
        if len(still):
            alive[still] = (slopes(units.function, rows[:, still]).abs() > FLAT).any(dim=0)

    def state(self) -> dict[str, Any]:
        return {"shares": kept_exactly(self._shares)}

    def restore(self, state: Mapping[str, Any]) -> None:
        self._shares = read_exactly(state["shares"])

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        if not self._shares:
            return {"dead_units": None, "dead_units_most": None}
        return {"dead_units": self._shares[-1], "dead_units_most": max(self._shares)}
