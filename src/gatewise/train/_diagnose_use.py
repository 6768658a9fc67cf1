"""How the hidden units are used at the end of a run: saturated, open, and how large they get."""

from typing import Any

import torch
from torch import Tensor, nn

from gatewise.workloads import HiddenUnits, hidden_units, slopes, watching

from ._diagnose_units import FLAT
from ._diagnostic import Diagnostic, Found


class HiddenUse(Diagnostic):
    """Over every hidden unit and every held-out token, with the last weights; z is the pre-activation of f.

    `saturated_units`: the share of (unit, token) with |f'(z)| <= 1e-3: where no gradient passes through f. A unit that
    is saturated at every token is a dead one (`dead_units`); most saturated ones are not. ReLU is saturated wherever z
    is negative, so read it between smooth functions, or along with `gate_openness`.
    `gate_openness`: the share of (unit, token) with z > 0. For a gate z is the gate's input.
    `largest_hidden`: the largest |hidden value|, for a gate |act(gate) x up|: what a narrow number format must hold.
    """

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        model, units = self.run.model, hidden_units(self.run.model)
        seen = _Seen()
        handles = [model.get_submodule(each.path).register_forward_hook(seen.output) for each in units]
        model.eval()
        try:
            with watching(model, units, seen.before), torch.inference_mode():
                for batch in self.run.heldout:
                    self.run.workload.loss(model, batch)
        finally:
            for handle in handles:
                handle.remove()
            model.train()
        return {
            "saturated_units": seen.flat / seen.total,
            "gate_openness": seen.open / seen.total,
            "largest_hidden": seen.largest,
        }


class _Seen:
    def __init__(self) -> None:
        self.flat = self.open = self.total = 0
        self.largest = 0.0

    def before(self, units: HiddenUnits, z: Tensor) -> None:
        self.flat += int((slopes(units.function, z).abs() <= FLAT).sum())
        self.open += int((z > 0).sum())
        self.total += z.numel()

    def output(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        del module, inputs
        self.largest = max(self.largest, output.abs().max().item())
