"""Part `lm`: whole training steps of byte-lm with SwiGLU: time, peak memory, first gradients, final loss over seeds."""

import copy
import random
from typing import Any

import torch
from torch import nn

from . import clock, memory
from .elementwise import section
from .parts_of_ours import chosen, find
from .record import Job, Record

SIZES = {
    384: {"dim": 384, "layers": 3, "heads": 6, "context": 256, "batch": 8},
    768: {"dim": 768, "layers": 2, "heads": 12, "context": 256, "batch": 8},
}
QUICK = {"dim": 128, "layers": 2, "heads": 4, "context": 256, "batch": 8}
LOSSES = {"dim": 384, "layers": 2, "heads": 6, "context": 128, "batch": 4}
"""The smaller model whose losses are compared: many steps of several seeds."""
LEARNING_RATE = 1e-3
ARMS = ("eager", "ours", "compile")


def _workload(options: dict[str, int]) -> Any:
    from gatewise.workloads import workload

    return workload(name="byte-lm", options=options)


def model_of(arm: str, options: dict[str, int], seed: int, skipped: dict[str, str]) -> nn.Module | None:
    """The same weights for every arm."""
    model = _workload(options).fresh("swiglu", seed=seed)
    if arm == "ours":
        use, why = find("use")
        if use is None:
            skipped["ours"] = why or ""
            return None
        used = use(model)
        return used.model if isinstance(getattr(used, "model", None), nn.Module) else model
    if arm == "compile":
        model.compile(dynamic=False)
    return model


def trainer(arm: str, options: dict[str, int], seed: int, threads: int, record: Record) -> Any:
    """A trainer of gatewise: batch, forward, backward, clipping, AdamW."""
    from gatewise.train import TrainPlan
    from gatewise.train._trainer import Trainer

    model = model_of(arm, options, seed, record.skipped)
    if model is None:
        return None
    plan = TrainPlan(learning_rate=LEARNING_RATE, threads=threads)
    return Trainer(_workload(options), model, seed=seed, plan=plan)


def run(job: Job) -> Record:
    """One process: times (recycled memory), peaks and gradients (fresh memory), or losses (`only`)."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    if job.only == "losses":
        losses(job, record)
        record.notes |= chosen()
        return record
    for dim, options in {128: QUICK}.items() if job.quick else SIZES.items():
        row = f"swiglu d = {dim}, {options['layers']} layers, {options['batch']}x{options['context']} tokens"
        found = {arm: trainer(arm, options, 0, job.threads, record) for arm in rng.sample(ARMS, len(ARMS))}
        there = {arm: each for arm, each in found.items() if each is not None}
        if job.memory == "fresh":
            peaks: dict[str, float] = {}
            for arm, each in there.items():
                each.step()  # gradients and the optimiser's state are there afterwards, and do not count
                peaks[arm] = memory.peak_bytes(lambda each=each: _forward_backward(each))
            record.add(section("byte-lm training step, peak bytes of activations", job), row, peaks)
            if "ours" in there:
                record.add("byte-lm first gradients", row, first_gradients(options, record))
        else:
            calls = {arm: each.step for arm, each in there.items()}
            seconds = 3.0 if job.quick else 16.0 * dim / 768
            times = clock.medians(calls, seconds=seconds, long=True, seed=rng.randrange(2**31))
            record.add(section("byte-lm training step f32", job), row, times)
        torch.compiler.reset()
    record.notes |= chosen()
    return record


def _forward_backward(each: Any) -> None:
    """What holds activations: forward and backward into gradients that are there already."""
    batch = each.workload.train_batch(0, each.seed, each.plan.batch)
    each.workload.loss(each.model, batch).backward()


def gradients(model: nn.Module, work: Any) -> list[torch.Tensor]:
    """Of the first batch, as float64."""
    work.loss(model, work.train_batch(0, 0)).backward()
    found = [parameter.grad.double() for parameter in model.parameters() if parameter.grad is not None]
    for parameter in model.parameters():
        parameter.grad = None
    return found


def first_gradients(options: dict[str, int], record: Record) -> dict[str, float]:
    """How far eager's and our gradients of the first step lie from those of float64, at the worst parameter.

    As a share of the parameter's largest gradient. What rounding does to eager is the measure of what it may do to
    ours.
    """
    work = _workload(options)
    stock, mine = (model_of(arm, options, 0, record.skipped) for arm in ("eager", "ours"))
    assert stock is not None
    exact = gradients(copy.deepcopy(stock).double(), work)
    found: dict[str, float] = {}
    arms = {"eager": gradients(stock, work)} | ({"ours": gradients(mine, work)} if mine is not None else {})
    for arm, grads in arms.items():
        if len(grads) != len(exact):
            raise RuntimeError(f"{arm} has {len(grads)} gradients, the reference {len(exact)}")
        found[arm] = max(
            float((one - right).abs().max() / right.abs().max()) for one, right in zip(grads, exact, strict=True)
        )
    return found


def losses(job: Job, record: Record) -> None:
    """The held-out loss after some steps, of every arm and seed: the process's seed is that of the training."""
    options = QUICK if job.quick else LOSSES
    steps = 10 if job.quick else 60
    work = _workload(options | {"heldout_windows": 32})
    found: dict[str, float] = {}
    for arm in ("eager", "ours"):
        each = trainer(arm, options, job.seed, job.threads, record)
        if each is None:
            continue
        for _ in range(steps):
            each.step()
        each.model.eval()
        with torch.no_grad():
            batches = work.heldout_batches()
            found[arm] = sum(float(work.loss(each.model, batch)) for batch in batches) / len(batches)
    record.add("byte-lm final loss, bits per byte", f"swiglu d = {options['dim']}, {steps} steps", found)
