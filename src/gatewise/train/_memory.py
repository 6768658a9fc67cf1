"""Peak memory of training one arm, in a process of its own."""

import gc
from collections.abc import Callable

import torch
from torch import nn

from ._arm import step_runner
from ._plan import TrainPlan
from ._workload import TrainWorkload


def training_memory(
    workload: TrainWorkload,
    arm: str,
    *,
    seed: int,
    plan: TrainPlan,
    matching: str = "params",
    resident_bytes: Callable[[], int],
    peak_over: Callable[[int, Callable[[], object]], tuple[int, str]],
) -> tuple[int, str]:
    """The highest memory over a few whole optimiser steps, above the level before the model was built, and how read.

    Weights, gradients, the optimiser's state and activations count. The data and what torch loads at its very first
    training step, whatever the model, do not: both are there before the level is taken.

    Args:
        resident_bytes, peak_over: those of `gatewise.measure`, which stands beside this package.
    """
    workload.train_batch(0, seed, plan.batch)
    _wake_torch()
    gc.collect()
    before = resident_bytes()
    step = step_runner(workload, arm, seed=seed, plan=plan, matching=matching)
    return peak_over(before, step)


def _wake_torch() -> None:
    with torch.random.fork_rng(devices=[]):
        layer = nn.Linear(8, 8)
    optimizer = torch.optim.AdamW(layer.parameters(), fused=True)
    layer(torch.ones(8, 8)).square().sum().backward()
    nn.utils.clip_grad_norm_(layer.parameters(), 1.0)
    optimizer.step()
