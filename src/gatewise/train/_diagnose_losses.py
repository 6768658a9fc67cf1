"""Losses beside the held-out one: on what was trained on, on text of another kind, and slice by slice."""

from typing import Any

import torch

from ._diagnostic import Diagnostic, Found
from ._workload import Batch, mean_loss


class GeneralisationGap(Diagnostic):
    """Held-out loss minus the loss on as many windows that this very run was trained on, both with the last weights.

    The windows come from steps evenly spread over the run: all arms of a seed are asked about the same ones. Training
    and held-out texts are different files, so a gap is there without any over-fitting; what differs by arm is the rest.
    """

    def _seen(self) -> list[Batch]:
        run = self.run
        wanted = sum(len(x) for x, _ in run.heldout)
        size = len(run.workload.train_batch(0, run.seed, run.plan.batch)[0])
        count = min(run.plan.steps, -(-wanted // size))
        seen: list[Batch] = []
        for index in range(count):
            step = index * run.plan.steps // count
            x, y = run.workload.train_batch(step, run.seed, run.plan.batch)
            seen.append((x[:wanted], y[:wanted]))
            wanted -= len(seen[-1][0])
        return seen

    def finish(self, heldout_loss: float) -> Found:
        return {"generalisation_gap": heldout_loss - mean_loss(self.run.workload, self.run.model, self._seen())}


class ShiftedLoss(Diagnostic):
    """The loss on text of another kind, over as many batches as the held-out loss."""

    needs = ("shifted_batches",)

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        workload: Any = self.run.workload
        batches = workload.shifted_batches()[: len(self.run.heldout)]
        return {"shifted_loss": mean_loss(workload, self.run.model, batches)}


class HeldoutAccuracy(Diagnostic):
    """The share of held-out items whose most likely class is their own, with the last weights."""

    needs = ("correct",)

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        workload: Any = self.run.workload
        self.run.model.eval()
        with torch.inference_mode():
            hits = torch.cat([workload.correct(self.run.model, batch) for batch in self.run.heldout])
        self.run.model.train()
        return {"heldout_accuracy": hits.double().mean().item()}


class SliceGap(Diagnostic):
    """The held-out loss of the worst slice minus that of the best; `slice_loss.NAME` is each slice's own.

    A slice is what the predicted byte is, by the workload's own rule. Slices differ in difficulty whatever the model
    is: what counts is whether the gap differs by arm.
    """

    needs = ("heldout_slices", "token_losses")

    def finish(self, heldout_loss: float) -> Found:
        del heldout_loss
        workload: Any = self.run.workload
        names, marks = workload.heldout_slices()
        total, count = (torch.zeros(len(names), dtype=torch.float64) for _ in range(2))
        self.run.model.eval()
        with torch.inference_mode():
            for batch, marked in zip(self.run.heldout, marks, strict=False):  # a prefix where the plan asks for less
                losses = workload.token_losses(self.run.model, batch).double()
                for index in range(len(names)):
                    inside = marked == index
                    total[index] += losses[inside].sum()
                    count[index] += inside.sum()
        self.run.model.train()
        means = {name: (total[i] / count[i]).item() for i, name in enumerate(names) if count[i] > 0}
        gap = max(means.values()) - min(means.values()) if len(means) > 1 else None
        return {"slice_gap": gap} | {f"slice_loss.{name}": value for name, value in means.items()}
