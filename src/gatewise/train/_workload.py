"""What training asks of a workload."""

from collections.abc import Sequence
from typing import Protocol

import torch
from torch import Tensor, nn

Batch = tuple[Tensor, Tensor]


class TrainWorkload(Protocol):
    """What training asks of a workload; `workloads` has the built-in one."""

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        """An untrained model; parameters that arms share start the same for the same seed."""
        ...

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> Batch:
        """The batch of a step: a function of step, seed and size alone."""
        ...

    def heldout_batches(self) -> Sequence[Batch]:
        """Fixed batches that are never trained on."""
        ...

    def loss(self, model: nn.Module, batch: Batch) -> Tensor:
        """The mean loss of a batch, in the unit that is reported."""
        ...


def mean_loss(workload: TrainWorkload, model: nn.Module, batches: Sequence[Batch]) -> float:
    """The mean loss over batches in eval mode, weighted by their tokens; the model is back in train mode after."""
    model.eval()
    with torch.inference_mode():
        total = sum(workload.loss(model, batch).item() * batch[1].numel() for batch in batches)
    model.train()
    return total / sum(batch[1].numel() for batch in batches)
