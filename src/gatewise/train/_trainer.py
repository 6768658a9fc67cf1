"""A model, its optimiser and the steps done: what a run is between two of its steps, and what a checkpoint keeps."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from ._diagnostic import Diagnostic
from ._parallel import Alone
from ._plan import TrainPlan
from ._precision import autocast, check_precision
from ._workload import Batch, TrainWorkload


class Trainer:
    """One arm in training. `step` is one whole optimiser step; everything that the next step depends on is here.

    With `processes` every one of them has a trainer and calls the same methods at the same time.
    """

    def __init__(
        self,
        workload: TrainWorkload,
        model: nn.Module,
        *,
        seed: int,
        plan: TrainPlan,
        processes: Alone | None = None,
    ) -> None:
        check_precision(plan.precision)
        self.workload, self.model, self.seed, self.plan = workload, model.train(), seed, plan
        self.processes = processes or Alone()
        self._called = self.processes.wrap(self.model)
        self.done = 0
        self.watch: tuple[Diagnostic, ...] = ()
        self.order = ""
        """A chain of hashes over every training batch in order: the next link holds the one before, and the batch."""
        self._parameters = list(model.parameters())
        matrices = [parameter for parameter in self._parameters if parameter.dim() > 1]
        rest = [parameter for parameter in self._parameters if parameter.dim() <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=plan.learning_rate,
            betas=(plan.beta1, plan.beta2),
            fused=True,
        )
        self.processes.settle(self._called, lambda: self._loss(workload.train_batch(0, seed, plan.batch)), seed)

    def _loss(self, batch: Batch) -> Tensor:
        """The mean loss of this process's share of a batch."""
        with autocast(self.plan.precision, self.processes.device.type):
            return self.workload.loss(self._called, self.processes.share(batch))

    def step(self) -> float:
        """One whole optimiser step: draw the batch, forward, backward, clip, update. Returns the batch's loss."""
        for each in self.watch:
            each.before_step(self.done)
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate(self.done % self.plan.steps)
        x, y = self.workload.train_batch(self.done, self.seed, self.plan.batch)
        self.order = hashlib.sha256(self.order.encode() + x.numpy().tobytes()).hexdigest()
        loss = self._loss((x, y))
        self._optimizer.zero_grad()
        loss.backward()
        self._clip()
        self._optimizer.step()
        self.done += 1
        return self.processes.mean(loss)

    def _clip(self) -> None:
        norm = None
        if self.plan.grad_clip:
            norm = nn.utils.clip_grad_norm_(self._parameters, self.plan.grad_clip)
        if self.watch:
            if norm is None:
                norm = nn.utils.get_total_norm([p.grad for p in self._parameters if p.grad is not None])
            for each in self.watch:
                each.gradient(self.done, norm.item())

    def heldout(self, batches: Sequence[Batch]) -> float:
        """The mean loss over batches, weighted by their tokens, in float32."""
        with ExitStack() as stack:
            for each in self.watch:
                stack.enter_context(each.evaluation())
            return self.processes.heldout(self.workload, self.model, batches)

    # -- what a checkpoint keeps

    def weights(self) -> dict[str, Tensor]:
        """Every parameter and buffer once, by name; what is shared stands under its first name."""
        return {name: self.processes.whole(tensor) for name, tensor in self._tensors()}

    def _tensors(self) -> Iterator[tuple[str, Tensor]]:
        for name, tensor in (*self.model.named_parameters(), *self.model.named_buffers()):
            yield name, tensor.detach()

    def moments(self) -> dict[str, Tensor]:
        """The optimiser's state as `NAME:KEY`, and the state of torch's random numbers as `random`."""
        return dict(self._moments()) | self.processes.random_states()

    def _moments(self) -> Iterator[tuple[str, Tensor]]:
        for name, parameter in self.model.named_parameters():
            for key, value in self._optimizer.state.get(parameter, {}).items():
                yield f"{name}:{key}", self.processes.whole(value)

    def restore(self, weights: dict[str, Tensor], moments: dict[str, Tensor]) -> None:
        """Put both back, bit by bit. Names and shapes have been checked by the caller."""
        with torch.no_grad():
            for name, target in self._tensors():
                self.processes.put(target, weights[name])
        parameters = dict(self.model.named_parameters())
        for key, value in moments.items():
            name, colon, kind = key.rpartition(":")
            if colon:
                self._optimizer.state[parameters[name]][kind] = self.processes.moment(parameters[name], value)
        self.processes.random_restore(moments)
