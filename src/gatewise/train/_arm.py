"""Training one arm from one seed, and single steps of it for timing."""

from collections.abc import Callable, Sequence

from torch import nn

from ._plan import TrainPlan
from ._result import TrainResult
from ._run import Progress, TrainRun
from ._trainer import Trainer
from ._workload import TrainWorkload


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
    the result then has a `failure` with the step, the curve so far, and no final loss. Torch's thread count, its random
    numbers and its determinism switches are set for the run and put back.

    `diagnostics` names what else is recorded (see `DIAGNOSTICS`). They only look on: curve and weights are the same bit
    by bit with and without them. In a run that fails each is None.

    `finish` is called with the trained model at the end of a run that did not fail; the model is not kept.

    A run that must outlive its process is a `TrainRun` with `Checkpoints`.

    Raises `GatewiseError` for an arm that cannot be built and for a diagnostic that is unknown or has no data.
    """
    run = TrainRun(workload=workload, arm=arm, seed=seed, plan=plan, matching=matching, diagnostics=tuple(diagnostics))
    return run.train(progress=progress, finish=finish)


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
    return Trainer(workload, fresh, seed=seed, plan=plan).step
