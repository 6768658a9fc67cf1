"""Part `lm`: byte-lm with SwiGLU: whole training steps, peak memory, first gradients, final losses, and its forward."""

import copy
import random
from pathlib import Path
from typing import Any

import torch
from torch import nn

from . import clock, limits, memory, peers
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
    """One process: times (recycled memory), peaks and gradients (fresh memory), or losses or the forward (`only`)."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    if job.only:
        {"losses": losses, "forward": forward}[job.only](job, record)
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
            if "ours" in there and job.seed == 0:  # they are the same in every process
                record.add("byte-lm first gradients", row, first_gradients(options, record))
        else:
            calls = {arm: each.step for arm, each in there.items()}
            seconds = 3.0 if job.quick else 20.0 * dim / 768
            products = products_of_step(next(iter(there.values())).model, options)
            extra = limits.products(products, torch.float32) | limits.arithmetic(job.path)
            times = clock.medians(calls | extra, seconds=seconds, long=True, seed=rng.randrange(2**31))
            times = limits.with_bounds(times, products)
            record.add(section("byte-lm training step f32", job), row, times | _replaced(times, products))
        torch.compiler.reset()
    record.notes |= chosen()
    return record


def products_of(model: nn.Module, options: dict[str, int]) -> list[limits.Product]:
    """The products of a forward pass: every linear layer, and the logits; those of attention do not count."""
    rows = options["batch"] * options["context"]
    linears = [each for each in model.modules() if isinstance(each, nn.Linear)]
    return [(rows, each.in_features, each.out_features) for each in linears] + [(rows, options["dim"], 256)]


def products_of_step(model: nn.Module, options: dict[str, int]) -> list[limits.Product]:
    """The same with the two of each one's gradients."""
    return [
        product
        for rows, inner, columns in products_of(model, options)
        for product in ((rows, inner, columns), (rows, columns, inner), (columns, rows, inner))
    ]


def _replaced(times: dict[str, float], products: list[limits.Product]) -> dict[str, float]:
    """Eager's step if only its products took the quickest measured way: all else as it is."""
    if "limit matmul" not in times:
        return {}
    usual = [times.get(f"product {rows}x{inner}x{columns} mm") for rows, inner, columns in products]
    spent = sum(time for time in usual if time is not None)
    return {"matmul alone replaced": times["eager"] - spent + times["limit matmul"]}


def forward(job: Job, record: Record) -> None:
    """The model's forward pass at inference, beside the best-configured peers."""
    rng = random.Random(job.seed)
    for dim, options in {128: QUICK}.items() if job.quick else SIZES.items():
        stock, mine = (model_of(arm, options, 0, record.skipped) for arm in ("eager", "ours"))
        assert stock is not None
        ids, _ = _workload(options).train_batch(0, 0, options["batch"])
        stock.eval()
        products = products_of(stock, options)
        calls: dict[str, clock.Call] = {"eager": lambda stock=stock, ids=ids: stock(ids)}
        with torch.inference_mode():
            wanted = stock(ids)
            if mine is not None:
                mine.eval()
                calls |= peers.checked("ours", lambda m=mine, ids=ids: lambda: m(ids), wanted, record.skipped)
        for peer in ("compile-frozen", "zentorch"):
            folder = job.path / f"{peer}-byte-lm-{dim}-{job.threads}"
            folder.mkdir(exist_ok=True)

            def prepared(peer: str = peer, folder: Path = folder, inputs: Any = (stock, ids)) -> clock.Call:
                return peers.stock_runtime(peer, inputs[0], {"input_ids": inputs[1]}, folder)

            calls |= peers.checked(peer, prepared, wanted, record.skipped)
        extra = limits.products(products, torch.float32, packed=True) | limits.arithmetic(job.path)
        with torch.inference_mode():
            times = clock.medians(calls | extra, seconds=2.0, long=True, seed=rng.randrange(2**31))
        row = f"swiglu d = {dim}, {options['layers']} layers, {options['batch']}x{options['context']} tokens"
        record.add(section("byte-lm forward f32", job), row, limits.with_bounds(times, products))
        torch.compiler.reset()


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
