"""A run that is killed at any moment goes on to the very bits of one that was not."""

import json
import os
import random
import signal
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.train import DIAGNOSTICS, TrainPlan, TrainResult
from gatewise.train._checkpoint import MOMENTS, STATE, WEIGHTS, Checkpoints, drop
from gatewise.train._checkpoint_lock import LOCK, forget, held
from gatewise.train._run import TrainRun
from gatewise.workloads._byte_lm import ByteLMWorkload
from gatewise.workloads._images import ConvNetWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
PLAN = TrainPlan(steps=24, eval_every=6)
PRELOADED = ["gatewise.train._run", "gatewise.workloads._byte_lm", "torch._inductor.config", "torch._dynamo"]


def run_of(folder: Path | None, every: int = 9, **changes: object) -> TrainRun:
    kept = None if folder is None else Checkpoints(folder=folder, every_steps=every)
    run = TrainRun(workload=SMALL, arm="swiglu", seed=3, plan=PLAN, checkpoints=kept)
    return replace(run, **changes)  # pyright: ignore[reportArgumentType]


def weights_of(run: TrainRun, until: int | None = None) -> tuple[TrainResult, dict[str, Tensor]]:
    found: dict[str, Tensor] = {}

    def keep(model: nn.Module) -> None:
        found.update({name: tensor.clone() for name, tensor in model.state_dict().items()})

    return run.train(finish=keep, until=until), found


def same(one: tuple[TrainResult, dict[str, Tensor]], two: tuple[TrainResult, dict[str, Tensor]]) -> bool:
    equal = replace(one[0], seconds=0.0) == replace(two[0], seconds=0.0)
    return equal and one[1].keys() == two[1].keys() and all(torch.equal(one[1][name], two[1][name]) for name in one[1])


def child(folder: str, diagnostics: tuple[str, ...]) -> None:
    run_of(Path(folder), 1, diagnostics=diagnostics).train()


def test_killed_at_random_moments_it_ends_with_the_same_bits(tmp_path: Path) -> None:
    diagnostics = tuple(name for name in DIAGNOSTICS if name != "heldout_accuracy")
    whole = weights_of(run_of(None, diagnostics=diagnostics))
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    folder, rng, reached = tmp_path / "run", random.Random(7), list[int]()
    for _ in range(4):
        before = reached[-1] if reached else 0
        process = context.Process(target=child, args=(str(folder), diagnostics))
        process.start()
        until = time.monotonic() + 60
        while time.monotonic() < until and process.is_alive() and steps_kept(folder) <= before:
            time.sleep(0.002)
        time.sleep(rng.uniform(0, 0.03))  # in the midst of a step, or of writing
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        reached.append(steps_kept(folder))
    assert reached == sorted(reached)
    assert 0 < reached[0] < PLAN.steps
    assert same(weights_of(run_of(folder, diagnostics=diagnostics)), whole)
    assert sorted(path.name for path in folder.iterdir()) == [LOCK, f"step-{PLAN.steps:09d}"]


def steps_kept(folder: Path) -> int:
    return max((int(path.name.partition("-")[2]) for path in folder.glob("step-*")), default=0)


@pytest.mark.parametrize("arm", ["relu", "geglu"])
@pytest.mark.parametrize("pause", [1, 6, 23])
def test_a_pause_leaves_no_trace(tmp_path: Path, arm: str, pause: int) -> None:
    first = run_of(tmp_path, arm=arm).train(until=pause)
    assert (first.steps, first.final_loss, first.failure) == (pause, None, None)
    assert same(weights_of(run_of(tmp_path, arm=arm)), weights_of(run_of(None, arm=arm)))


def holder(folder: str, holds: Any, remove: Any) -> None:
    with held(Path(folder)):
        holds.set()
        if remove.wait(60):
            drop(Path(folder))


@contextmanager
def held_by_another(folder: Path) -> Generator[Any]:
    """A process that is alone in a folder, until the event is set: then it removes the folder and ends."""
    context = get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    holds, remove = context.Event(), context.Event()
    process = context.Process(target=holder, args=(str(folder), holds, remove))
    process.start()
    try:
        assert holds.wait(60)
        yield remove
    finally:
        process.kill()
        process.join()


def test_it_waits_for_a_process_that_still_trains_there(tmp_path: Path) -> None:
    folder = tmp_path / "run"
    run_of(folder).train(until=5)
    (kept,) = folder.glob("step-*")
    (kept / STATE).unlink()  # as the other process removes what it no longer needs
    found: list[Any] = []
    with held_by_another(folder) as remove:
        waiting = threading.Thread(target=lambda: found.append(weights_of(run_of(folder))), daemon=True)
        waiting.start()
        waiting.join(0.5)
        assert waiting.is_alive()
        remove.set()
        waiting.join(60)
    assert same(found[0], weights_of(run_of(None)))


def test_a_folder_is_held_by_one_process_and_is_free_when_that_was_killed(tmp_path: Path) -> None:
    with held_by_another(tmp_path):
        with pytest.raises(GatewiseError, match="another process trains in") as caught, held(tmp_path, patience_s=0):
            pass
        assert len(str(caught.value).splitlines()) == 2
    with held(tmp_path, patience_s=0):
        pass
    forget(tmp_path)
    assert not tmp_path.exists()
    forget(tmp_path)  # there is nothing to forget


def test_a_lock_that_cannot_be_made_ends_the_waiting(tmp_path: Path) -> None:
    (tmp_path / LOCK).symlink_to(tmp_path / "no" / "where")
    with pytest.raises(GatewiseError, match="another process trains in"), held(tmp_path, patience_s=0):
        pass


def test_a_run_that_has_ended_is_read_and_not_run_again(tmp_path: Path) -> None:
    whole = weights_of(run_of(tmp_path))
    heard: list[int] = []
    again = run_of(tmp_path).train(progress=lambda step, loss: heard.append(step))
    assert heard == []
    assert replace(again, seconds=0.0) == replace(whole[0], seconds=0.0)


class _Dropping(ByteLMWorkload):
    """A model that draws random numbers while it trains."""

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:  # pyright: ignore
        model = super().fresh(arm, seed=seed, matching=matching)
        for block in model.blocks:
            block.ffn.down = nn.Sequential(nn.Dropout(0.3), block.ffn.down)  # pyright: ignore
        return model


def test_random_numbers_and_running_means_go_on_too(tmp_path: Path) -> None:
    dropping = _Dropping(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
    digits = ConvNetWorkload(size=8, channels=4, stages=1)
    for number, workload in enumerate((dropping, digits)):
        folder = tmp_path / str(number)
        run_of(folder, workload=workload, arm="relu").train(until=11)
        resumed = weights_of(run_of(folder, workload=workload, arm="relu"))
        assert same(resumed, weights_of(run_of(None, workload=workload, arm="relu")))


OTHERS = {
    "seed": {"seed": 4},
    "arm": {"arm": "geglu"},
    "matching": {"matching": "flops"},
    "plan.steps": {"plan": replace(PLAN, steps=25)},
    "plan.learning_rate": {"plan": replace(PLAN, learning_rate=0.02)},
    "workload": {"workload": replace(SMALL, heldout_windows=16)},
    "data": {"workload": replace(SMALL, data="synthetic")},
    "model": {"workload": replace(SMALL, dim=32)},
    "diagnostics": {"diagnostics": ("gradient_spread",)},
}


@pytest.mark.parametrize("part", OTHERS)
def test_a_checkpoint_of_another_run_is_refused_in_two_lines(tmp_path: Path, part: str) -> None:
    run_of(tmp_path).train(until=2)
    held = sorted(path.read_bytes() for path in tmp_path.glob("*/*"))
    with pytest.raises(GatewiseError) as caught:
        run_of(tmp_path, **OTHERS[part]).train()
    message = str(caught.value)
    assert f"{part} is " in message
    assert len(message.splitlines()) == 2
    assert sorted(path.read_bytes() for path in tmp_path.glob("*/*")) == held


@pytest.mark.parametrize("name", [WEIGHTS, MOMENTS, STATE])
def test_a_half_written_one_is_never_used(tmp_path: Path, name: str) -> None:
    run_of(tmp_path).train(until=5)
    (whole,) = tmp_path.glob("step-*")
    later = tmp_path / ".unfinished-abc"
    later.mkdir()
    for path in whole.iterdir():
        (later / path.name).write_bytes(path.read_bytes()[: 40 if path.name == name else None])
    cut = tmp_path / "step-000000009"
    later.rename(cut)
    assert same(weights_of(run_of(tmp_path)), weights_of(run_of(None)))
    assert not cut.exists()


def test_where_all_are_damaged_it_says_so_and_changes_nothing(tmp_path: Path) -> None:
    run_of(tmp_path).train(until=5)
    (path,) = tmp_path.glob("step-*")
    content = bytearray((path / MOMENTS).read_bytes())
    content[-1] ^= 1
    (path / MOMENTS).write_bytes(content)
    with pytest.raises(GatewiseError, match=r"no checkpoint in .* is whole .*cut or changed"):
        run_of(tmp_path).train()
    assert (path / MOMENTS).read_bytes() == content


def test_what_is_kept_is_plain(tmp_path: Path) -> None:
    run_of(tmp_path).train(until=5)
    (path,) = tmp_path.glob("step-*")
    state = json.loads((path / STATE).read_text(encoding="utf-8"))
    assert (state["done"], state["identity"]["arm"]) == (5, "swiglu")
    moments = load_file(path / MOMENTS)
    assert {key.rpartition(":")[2] for key in moments} == {"exp_avg", "exp_avg_sq", "step", "random"}
    assert {key.rpartition(":")[0] for key in moments} - {""} == set(load_file(path / WEIGHTS)) - {"cos_TK", "sin_TK"}


@pytest.mark.parametrize("bad", [{"every_steps": 0}, {"every_s": 0.0}, {"every_s": float("nan")}, {"every_steps": 1.5}])
def test_odd_settings_are_refused(tmp_path: Path, bad: dict[str, float]) -> None:
    with pytest.raises(GatewiseError, match="checkpoints every"):
        Checkpoints(folder=tmp_path, **bad)  # pyright: ignore[reportArgumentType]


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write a checkpoint"):
        run_of(tmp_path / "file").train(until=1)
