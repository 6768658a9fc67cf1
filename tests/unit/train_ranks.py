"""What each rank does in `test_train_parallel`: torchrun starts this file. Each rank writes what it saw to a file."""

import contextlib
import io
import json
import os
import signal
import sys
import warnings
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.cli import main
from gatewise.core import GatewiseError
from gatewise.train import Checkpoints, TrainPlan, TrainRun
from gatewise.train._parallel import Alone
from gatewise.train._parallel_ranks import Ranks, joined
from gatewise.workloads._byte_lm import ByteLMWorkload
from gatewise.workloads._images import ConvNetWorkload

SMALL = ByteLMWorkload(
    data="synthetic", dim=16, layers=2, heads=2, context=32, batch=6, heldout_windows=12, heldout_batch=4
)
# Some of the steps are clipped and some are not, so that both a wrong norm and a wrong mean show.
PLAN = TrainPlan(steps=12, eval_every=3, grad_clip=1.7)
PAUSE = 5
CLI = "train --steps 12 --seed 3 --arm swiglu --set data=synthetic --set dim=16 --set context=32 --set batch=6"
CLI += " --set heldout_windows=12 --set heldout_batch=4 --set train.eval_every=3 --set train.grad_clip=1.7"


def run_of(processes: Alone, folder: Path | None = None, **changes: Any) -> TrainRun:
    kept = None if folder is None else Checkpoints(folder=folder, every_steps=3)
    run = TrainRun(workload=SMALL, arm="swiglu", seed=3, plan=PLAN, checkpoints=kept, processes=processes)
    return replace(run, **changes)


def seen(run: TrainRun, until: int | None = None) -> dict[str, Any]:
    """The curve and a fingerprint of the weights, both to the last bit."""
    kept: dict[str, Tensor] = {}

    def keep(model: nn.Module) -> None:
        kept.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    result = run.train(until=until, finish=keep)
    bits = {name: tensor.flatten().view(torch.int32).long().sum().item() for name, tensor in kept.items()}
    return {"curve": list(result.curve), "order": result.data_order_sha256, "bits": bits, "steps": result.steps}


class FirstRows(Ranks):
    """Wrong: every rank trains on the rows of the first."""

    def share(self, batch: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return replace(Ranks(0, self.size), kind=self.kind).share(batch)


class Summed(ByteLMWorkload):
    """Wrong: with two ranks, gradients as they are where they are added up and not averaged."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return super().loss(model, batch) * (2 if torch.is_grad_enabled() else 1)


@contextlib.contextmanager
def clipped_by_parts() -> Iterator[None]:
    """Wrong: each rank takes the norm of its own part of the gradient for that of the whole."""
    right = nn.utils.clip_grad_norm_

    def wrong(parameters: list[Tensor], limit: float) -> Tensor:
        parts: list[Any] = [parameter.grad for parameter in parameters]
        norm = nn.utils.get_total_norm([part.to_local() for part in parts])
        for part in parts:
            part.mul_(min(1.0, limit / (norm.item() + 1e-6)))
        return norm

    nn.utils.clip_grad_norm_ = wrong  # pyright: ignore
    try:
        yield
    finally:
        nn.utils.clip_grad_norm_ = right


def refusals(ranks: Ranks) -> dict[str, str]:
    """What is said of runs that cannot be shared."""
    cases = {
        "batch": replace(run_of(ranks), workload=replace(SMALL, batch=7)),
        "arm": replace(run_of(ranks), arm="swigluu"),
        "diagnostics": replace(run_of(ranks), diagnostics=("gradient_spread",)),
        "norm": replace(run_of(ranks), workload=ConvNetWorkload(size=8, channels=4, stages=1), arm="relu"),
        "data": replace(run_of(ranks), workload=replace(SMALL, heldout_windows=12 + 4 * ranks.rank)),
        "one": replace(run_of(ranks), arm="swiglu" if ranks.rank == 0 else "no-such"),
    }
    found: dict[str, str] = {}
    for name, run in cases.items():
        try:
            run.train()
        except GatewiseError as error:
            found[name] = str(error)
    return found


def both(out: Path, kind: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with joined(kind, timeout_s=60) as ranks:
        found["whole"] = seen(run_of(ranks))
        run_of(ranks, out / kind).train(until=PAUSE)
        found["resumed"] = seen(run_of(ranks, out / kind))
        found["after one"] = seen(run_of(ranks, out / f"one-{kind}"))
        run_of(ranks, out / f"{kind}-one").train(until=PAUSE)
        found["first rows"] = seen(run_of(FirstRows(ranks.rank, ranks.size, ranks.device, ranks.kind)))
        found["summed"] = seen(run_of(ranks, workload=Summed(**vars(SMALL))))
        if kind == "fsdp":
            with clipped_by_parts():
                found["clipped by parts"] = seen(run_of(ranks))
        found["refused"] = refusals(ranks)
    return found


def command(words: str) -> dict[str, Any]:
    """What the command line says and returns in this rank."""
    out, error = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(error):
        code = main(words.split())
    return {"code": code, "out": out.getvalue(), "error": error.getvalue()}


def dies() -> dict[str, str]:
    """The second rank is killed in the midst of training; the first is told by its connection."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # torchrun's: what is looked at is what comes without it
    try:
        with joined("ddp", timeout_s=60) as ranks:
            run_of(ranks).train(until=5)
            if ranks.rank == 1:
                os.kill(os.getpid(), signal.SIGKILL)
            run_of(ranks).train()
    except GatewiseError as error:
        return {"said": str(error)}
    return {"said": ""}


def act(out: Path) -> None:
    rank, found = os.environ["RANK"], dict[str, Any]()
    for kind in ("ddp", "fsdp"):
        found[kind] = both(out, kind)
    found["cli"] = command(f"{CLI} --out {out}/cli --parallel fsdp")
    found["cli again"] = command(f"{CLI} --out {out}/cli")
    found["cli arm"] = command(f"{CLI} --out {out}/other --arm gleu")
    (out / f"{rank}.json").write_text(json.dumps(found))
    (out / f"dead-{rank}.json").write_text(json.dumps(dies()))


if __name__ == "__main__":
    warnings.simplefilter("error")
    act(Path(sys.argv[1]))
