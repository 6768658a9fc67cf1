"""What a training run asks of the processes that it runs on, and the answers of one process alone."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from ._checkpoint import Kept
from ._workload import Batch, TrainWorkload, mean_loss

T = TypeVar("T")
RANDOM = "random"
"""The state of torch's random numbers in a checkpoint: of the first rank, and those of others as `random.RANK`."""


@dataclass(frozen=True)
class Alone:
    """One process. `Ranks` overrides what several of them do in another way; here everything is as if not asked."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def words(self) -> str:
        """What a record says of it."""
        return "one process"

    # -- beginning

    def together(self, make: Callable[[], T]) -> T:
        """What every process makes for itself. An error in one of them is an error in all."""
        return make()

    def first(self, make: Callable[[], T]) -> T:
        """What the first process makes; the others are given it. Its error is an error in all."""
        return make()

    def check(self, model: nn.Module, batch: Batch, diagnostics: Sequence[str]) -> None:
        """Raises `GatewiseError` where this run would not be what it is in one process."""

    def agree(self, identity: dict[str, str]) -> None:
        """Raises `GatewiseError` where the processes would not train the same model on the same data."""

    def wrap(self, model: nn.Module) -> nn.Module:
        """What is called instead of the model. Parameters may be replaced in it: before the optimiser is made."""
        return model

    def settle(self, called: nn.Module, loss: Callable[[], Tensor], seed: int) -> None:
        """Once before the first step of this process. `loss` is that of a share of the first batch."""

    # -- a step

    def share(self, batch: Batch) -> Batch:
        """The rows of a batch that are this process's."""
        return batch

    def mean(self, loss: Tensor) -> float:
        """The loss of the whole batch, from those of the shares."""
        return loss.item()

    def heldout(self, workload: TrainWorkload, model: nn.Module, batches: Sequence[Batch]) -> float:
        """The mean loss over batches, weighted by their tokens."""
        return mean_loss(workload, model, batches)

    def said(self, answer: bool) -> bool:
        """The first process's answer."""
        return answer

    # -- checkpoints

    def whole(self, tensor: Tensor) -> Tensor:
        """A tensor with all its parts."""
        return tensor

    def put(self, target: Tensor, value: Tensor) -> None:
        """Write a whole tensor into one that may be here in part."""
        target.copy_(value)

    def moment(self, parameter: Tensor, value: Tensor) -> Tensor:
        """A tensor of the optimiser's state, laid out as its parameter is."""
        del parameter
        return value.clone()

    def random_states(self) -> dict[str, Tensor]:
        """The states of torch's random numbers, by their names in a checkpoint."""
        return {RANDOM: torch.random.get_rng_state()}

    def random_restore(self, states: dict[str, Any]) -> None:
        """Go on from `random_states`."""
        torch.random.set_rng_state(states[RANDOM])

    def kept(self, read: Callable[[], Kept | None]) -> Kept | None:
        """A checkpoint that the first process reads; the others get its numbers as tensors without content."""
        return read()

    def plain(self, model: nn.Module, weights: dict[str, Tensor], fresh: Callable[[], nn.Module]) -> nn.Module:
        """The model as one process has it, whole. Needed on the first process only."""
        del weights, fresh
        return model
