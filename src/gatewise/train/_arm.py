"""Training one arm from one seed, and single steps of it for timing."""

import hashlib
import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import nn
from torch.utils import deterministic

from ._diagnostic import Diagnostic, Found, TrainingRun
from ._diagnostics import DIAGNOSTICS, check_diagnostics
from ._plan import TrainPlan
from ._result import TrainResult
from ._workload import Batch, TrainWorkload, mean_loss

Progress = Callable[[int, float], None]


class _Trainer:
    """A model, its optimiser and the number of steps done."""

    def __init__(self, workload: TrainWorkload, model: nn.Module, *, seed: int, plan: TrainPlan) -> None:
        self.workload, self.model, self.seed, self.plan = workload, model.train(), seed, plan
        self.done = 0
        self.watch: tuple[Diagnostic, ...] = ()
        self.order = hashlib.sha256()
        self._parameters = list(model.parameters())
        matrices = [parameter for parameter in self._parameters if parameter.dim() > 1]
        rest = [parameter for parameter in self._parameters if parameter.dim() <= 1]
        self._optimizer = torch.optim.AdamW(
            [{"params": matrices, "weight_decay": plan.weight_decay}, {"params": rest, "weight_decay": 0.0}],
            lr=plan.learning_rate,
            betas=(plan.beta1, plan.beta2),
            fused=True,
        )

    def step(self) -> float:
        """One whole optimiser step: draw the batch, forward, backward, clip, update. Returns the training loss."""
        for each in self.watch:
            each.before_step(self.done)
        for group in self._optimizer.param_groups:
            group["lr"] = self.plan.rate(self.done % self.plan.steps)
        x, y = self.workload.train_batch(self.done, self.seed, self.plan.batch)
        self.order.update(x.numpy().tobytes())
        loss = self.workload.loss(self.model, (x, y))
        self._optimizer.zero_grad()
        loss.backward()
        self._clip()
        self._optimizer.step()
        self.done += 1
        return loss.item()

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
        """The mean loss over batches, weighted by their tokens."""
        with ExitStack() as stack:
            for each in self.watch:
                stack.enter_context(each.evaluation())
            return mean_loss(self.workload, self.model, batches)


def train_arm(
    workload: TrainWorkload,
    arm: str,
    *,
    seed: int,
    plan: TrainPlan,
    matching: str = "params",
    progress: Progress | None = None,
    diagnostics: Sequence[str] = (),
    finish: Callable[[nn.Module], object] | None = None,
) -> TrainResult:
    """Train one arm from scratch. Two runs on one machine give the same curve, bit by bit.

    `progress(steps done, held-out loss)` is called at each point of the curve. A loss that is not finite ends the run:
    the result then has a `failure` with the step, the curve so far, and no final loss. Torch's thread count and its
    determinism switches are set for the run and put back.

    `diagnostics` names what else is recorded (see `DIAGNOSTICS`). They only look on: curve and weights are the same bit
    by bit with and without them. In a run that fails each is None.

    `finish` is called with the trained model at the end of a run that did not fail; the model is not kept.

    Raises `GatewiseError` for an arm that cannot be built and for a diagnostic that is unknown or has no data.
    """
    check_diagnostics(diagnostics, workload)
    started = time.perf_counter()
    with _reproducible(plan.threads):
        trainer = _Trainer(workload, workload.fresh(arm, seed=seed, matching=matching), seed=seed, plan=plan)
        curve: list[tuple[int, float]] = []
        heldout = workload.heldout_batches()[: plan.eval_batches]
        run = TrainingRun(workload=workload, model=trainer.model, plan=plan, seed=seed, heldout=heldout)
        trainer.watch = tuple(DIAGNOSTICS[name](run) for name in diagnostics)
        failure = _run_to_end(trainer, heldout, curve, progress)
        found: Found = dict.fromkeys(diagnostics)
        if failure is None:
            for each in trainer.watch:
                found |= each.finish(curve[-1][1])
            if finish is not None:
                finish(trainer.model)
    return TrainResult(
        arm=arm,
        seed=seed,
        matching=matching,
        curve=tuple(curve),
        final_loss=None if failure else curve[-1][1],
        failure=failure,
        parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
        steps=trainer.done,
        data_order_sha256=trainer.order.hexdigest(),
        seconds=time.perf_counter() - started,
        diagnostics={name: value if value is None or math.isfinite(value) else None for name, value in found.items()},
    )


def _run_to_end(
    trainer: _Trainer, heldout: Sequence[Batch], curve: list[tuple[int, float]], progress: Progress | None
) -> str | None:
    """All steps, points of the curve added as they come. Returns why it ended early, or None."""
    while trainer.done < trainer.plan.steps:
        if not math.isfinite(trainer.step()):
            return f"NaN/inf loss at step {trainer.done}"
        if not trainer.plan.evaluates(trainer.done):
            continue
        value = trainer.heldout(heldout)
        if not math.isfinite(value):
            return f"NaN/inf held-out loss at step {trainer.done}"
        curve.append((trainer.done, value))
        if progress is not None:
            progress(trainer.done, value)
    return None


def step_runner(
    workload: TrainWorkload,
    arm: str,
    *,
    seed: int,
    plan: TrainPlan,
    matching: str = "params",
    model: nn.Module | None = None,
) -> Callable[[], float]:
    """A callable that does exactly one whole optimiser step per call and returns the training loss.

    It is the very step of `train_arm`, drawing the batch included, without evaluation. `model` (of that arm, say loaded
    from disk) replaces a fresh one. Threads are the caller's: nothing global is changed.
    """
    fresh = workload.fresh(arm, seed=seed, matching=matching) if model is None else model
    return _Trainer(workload, fresh, seed=seed, plan=plan).step


@contextmanager
def _reproducible(threads: int) -> Generator[None]:
    """A fixed number of threads, and an error from any operation that is not deterministic."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill: bool = deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling new memory with NaN is for debugging; every operation here writes what it reads.
    deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        yield
    finally:
        deterministic.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]
        torch.use_deterministic_algorithms(before[1])
        torch.set_num_threads(before[0])
