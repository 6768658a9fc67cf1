"""One run: from its first step or its last checkpoint, to its end or to a step in between."""

import math
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field

import torch
from torch import nn
from torch.utils import deterministic

from ._checkpoint import Checkpoints, Kept, check_same, identity, latest, write
from ._checkpoint_lock import held
from ._diagnostic import Found, TrainingRun
from ._diagnostics import DIAGNOSTICS, check_diagnostics
from ._parallel import Alone
from ._plan import TrainPlan
from ._precision import check_precision
from ._result import TrainResult
from ._trainer import Trainer
from ._workload import Batch, TrainWorkload

Progress = Callable[[int, float], None]


@dataclass(frozen=True, kw_only=True)
class TrainRun:
    """One arm, one seed, one plan: everything that decides its curve. See `train_arm` for what each means.

    With `checkpoints` the run outlives its process: `train` goes on from the newest whole checkpoint, and curve,
    weights and the order of the data are bit by bit those of a run that was never interrupted, on one machine. The
    diagnostics' states are kept too. Without `checkpoints` nothing is written.

    With `processes` of several ranks (see `joined`) each of them has this run and calls `train`; the first one writes.
    """

    workload: TrainWorkload
    arm: str
    seed: int
    plan: TrainPlan = field(default_factory=TrainPlan)
    matching: str = "params"
    diagnostics: tuple[str, ...] = ()
    checkpoints: Checkpoints | None = None
    heldout_from: int = 0
    """The first of the held-out batches that the curve is taken over."""
    processes: Alone = field(default_factory=Alone)

    def train(
        self,
        *,
        progress: Progress | None = None,
        finish: Callable[[nn.Module], object] | None = None,
        until: int | None = None,
    ) -> TrainResult:
        """Train to the end, or until so many steps are done: then no final loss is given, and a later call goes on.

        Where there are checkpoints one is written at the end of either. `finish` is called with the whole model, and
        on the first of several ranks only.

        Raises `GatewiseError` for bad input, and for checkpoints that belong to another run, are damaged or are still
        written by another process.
        """
        last = self.plan.steps if until is None else min(until, self.plan.steps)
        with _reproducible(self.plan.threads, self.seed), ExitStack() as ended:
            return _Going(self, last, ended).train(progress, finish)


class _Going:
    """A run while it goes."""

    def __init__(self, run: TrainRun, last: int, ended: ExitStack) -> None:
        self.run, self.last, self.started = run, last, time.perf_counter()
        self.before_s = 0.0
        self.curve: list[tuple[int, float]] = []
        plan, workload = run.plan, run.workload
        model, self.heldout, self.identity = run.processes.together(self._made)
        run.processes.agree(self.identity)
        self.trainer = Trainer(workload, model, seed=run.seed, plan=plan, processes=run.processes)
        looked = TrainingRun(workload=workload, model=model, plan=plan, seed=run.seed, heldout=self.heldout)
        self.trainer.watch = tuple(DIAGNOSTICS[name](looked) for name in run.diagnostics)
        self.saved = 0
        self.saved_at = time.perf_counter()
        self.ways: tuple[str, ...] = ()
        if run.checkpoints is not None:
            self._resume(run.checkpoints, ended)

    def _made(self) -> tuple[nn.Module, Sequence[Batch], dict[str, str]]:
        """What each process makes for itself, and everything that may be wrong with it."""
        run, plan, workload = self.run, self.run.plan, self.run.workload
        check_diagnostics(run.diagnostics, workload)
        check_precision(plan.precision)
        model = workload.fresh(run.arm, seed=run.seed, matching=run.matching)
        run.processes.check(model, workload.train_batch(0, run.seed, plan.batch), run.diagnostics)
        end = None if plan.eval_batches is None else run.heldout_from + plan.eval_batches
        needed = run.checkpoints is not None or run.processes.size > 1
        return model, workload.heldout_batches()[run.heldout_from : end], identity(run, model) if needed else {}

    def _resume(self, checkpoints: Checkpoints, ended: ExitStack) -> None:
        def read() -> Kept | None:
            ended.enter_context(held(checkpoints.folder))
            return latest(checkpoints.folder, lambda found: check_same(checkpoints.folder, found, self.identity))

        kept = self.run.processes.kept(read)
        if kept is None:
            return
        self.trainer.restore(kept.weights, kept.moments)
        self.trainer.done, self.trainer.order = kept.done, kept.order
        self.curve, self.before_s, self.saved, self.ways = list(kept.curve), kept.seconds, kept.done, kept.ways
        for each, state in zip(self.trainer.watch, kept.diagnostics, strict=True):
            each.restore(state)

    def _keep(self, *, force: bool = False) -> None:
        checkpoints, trainer, processes = self.run.checkpoints, self.trainer, self.run.processes
        if checkpoints is None or trainer.done == self.saved:
            return
        waited = time.perf_counter() - self.saved_at
        if not (force or processes.said(checkpoints.due(trainer.done - self.saved, waited))):
            return
        if not self.ways or self.ways[-1] != processes.words:
            self.ways = (*self.ways, processes.words)
        kept = Kept(
            done=trainer.done,
            order=trainer.order,
            curve=tuple(self.curve),
            seconds=self._seconds(),
            diagnostics=tuple(each.state() for each in trainer.watch),
            identity=self.identity,
            weights=trainer.weights(),
            moments=trainer.moments(),
            ways=self.ways,
        )
        processes.first(lambda: str(write(checkpoints, kept)))
        self.saved, self.saved_at = trainer.done, time.perf_counter()

    def _seconds(self) -> float:
        return self.before_s + time.perf_counter() - self.started

    def train(self, progress: Progress | None, finish: Callable[[nn.Module], object] | None) -> TrainResult:
        run, trainer = self.run, self.trainer
        failure = self._go(progress)
        ended = failure is None and trainer.done == run.plan.steps
        if failure is None:
            self._keep(force=True)
        found: Found = dict.fromkeys(run.diagnostics)
        if ended:
            for each in trainer.watch:
                found |= each.finish(self.curve[-1][1])
            if finish is not None:
                self._finish(finish)
        return TrainResult(
            arm=run.arm,
            seed=run.seed,
            matching=run.matching,
            curve=tuple(self.curve),
            final_loss=self.curve[-1][1] if ended else None,
            failure=failure,
            parameters=sum(parameter.numel() for parameter in trainer.model.parameters()),
            steps=trainer.done,
            data_order_sha256=trainer.order,
            seconds=self._seconds(),
            diagnostics={name: v if v is None or math.isfinite(v) else None for name, v in found.items()},
        )

    def _finish(self, finish: Callable[[nn.Module], object]) -> None:
        run, trainer = self.run, self.trainer
        model = run.processes.plain(
            trainer.model,
            trainer.weights(),
            lambda: run.workload.fresh(run.arm, seed=run.seed, matching=run.matching),
        )

        def give() -> None:
            finish(model)

        run.processes.first(give)

    def _go(self, progress: Progress | None) -> str | None:
        """The steps, points of the curve added as they come. Returns why it ended early, or None."""
        trainer, run = self.trainer, self.run
        while trainer.done < self.last:
            if not math.isfinite(trainer.step()):
                return f"NaN/inf loss at step {trainer.done}"
            if trainer.plan.evaluates(trainer.done):
                value = trainer.heldout(self.heldout)
                if not math.isfinite(value):
                    return f"NaN/inf held-out loss at step {trainer.done}"
                self.curve.append((trainer.done, value))
                if progress is not None and run.processes.rank == 0:
                    progress(trainer.done, value)
            self._keep()
        return None


@contextmanager
def _reproducible(threads: int, seed: int) -> Generator[None]:
    """A fixed number of threads, torch's random numbers from the seed, an error from what is not deterministic."""
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    fill: bool = deterministic.fill_uninitialized_memory  # pyright: ignore[reportAttributeAccessIssue]
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(True)
    # Filling new memory with NaN is for debugging; every operation here writes what it reads.
    deterministic.fill_uninitialized_memory = False  # pyright: ignore[reportAttributeAccessIssue]
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)  # for models that draw while they train: dropout, the stochastic map
            yield
    finally:
        deterministic.fill_uninitialized_memory = fill  # pyright: ignore[reportAttributeAccessIssue]
        torch.use_deterministic_algorithms(before[1])
        torch.set_num_threads(before[0])
