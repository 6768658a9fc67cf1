"""Parts `train` and `bf16`: one feed-forward block, forward and backward, its time, its peak memory."""

import random
from typing import Any

import torch
from torch import Tensor, nn

from gatewise.activations import FeedForward

from . import clock, limits, memory, peers
from .blocks import DIMS, block, products_of
from .elementwise import section
from .parts_of_ours import chosen, made
from .record import Job, Record

TOKENS, LONG = 2048, 8192
BF16_DIM = 768


def step_of(model: Any, x: Tensor, grad: Tensor, parameters: list[nn.Parameter]) -> clock.Call:
    """Forward and backward, all gradients handed out and dropped: no optimiser."""
    leaf = x.clone().requires_grad_()
    leaves = [leaf, *parameters]
    return lambda: torch.autograd.grad(model(leaf), leaves, grad)


def products_of_step(stock: FeedForward, rows: int) -> list[limits.Product]:
    """The products of a training step: each forward product with those of its two gradients; nothing recomputed."""
    found: list[limits.Product] = []
    for n, inner, columns in products_of(stock, rows):
        found += [(n, inner, columns), (n, columns, inner), (columns, n, inner)]
    return found


def models(stock: FeedForward, record: Record) -> dict[str, Any]:
    """Eager, ours, compile, on the same parameters."""
    found: dict[str, Any] = {"eager": stock}
    mine = made("FeedForward", lambda kind: kind.of(stock), record.skipped)
    if mine is not None:
        found["ours"] = mine.train(stock.training)
    found["compile"] = torch.compile(peers.own(stock), fullgraph=True, dynamic=False)
    return found


def run_train(job: Job) -> Record:
    """One process: a training step of a float32 block, at every width, beside its products' bound."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    tokens = 512 if job.quick else TOKENS
    cells = [(dim, "swiglu") for dim in DIMS] + ([] if job.quick else [(768, "gelu")])
    for dim, activation in rng.sample(cells, len(cells)):
        stock = block(dim, activation).train()
        x, grad = torch.randn(tokens, dim), torch.randn(tokens, dim)
        parameters = list(stock.parameters())
        calls = {name: step_of(model, x, grad, parameters) for name, model in models(stock, record).items()}
        products = products_of_step(stock, tokens)
        extra = limits.products([*products, limits.SQUARE], torch.float32) | limits.arithmetic(job.path)
        seconds = (1.5 if job.quick else 6.0) * (dim / 768)
        times = clock.medians(calls | extra, seconds=seconds, long=True, seed=rng.randrange(2**31))
        row = f"{activation} d = {dim}, {tokens} tokens"
        record.add(section("FFN training step f32", job), row, limits.with_bounds(times, products))
        torch.compiler.reset()
    record.notes |= chosen()
    return record


def run_bf16(job: Job) -> Record:
    """One process: bfloat16, many tokens, forward and training step; with fresh memory the peaks instead of times."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    tokens = 2048 if job.quick else LONG
    stock = block(BF16_DIM, "swiglu").to(torch.bfloat16)
    x, grad = (torch.randn(tokens, BF16_DIM).to(torch.bfloat16) for _ in range(2))
    parameters = list(stock.parameters())
    steps = {n: step_of(model, x, grad, parameters) for n, model in models(stock.train(), record).items()}
    torch.compiler.reset()
    forwards = {n: (lambda model=model: model(x)) for n, model in models(stock.eval(), record).items()}
    row = f"swiglu d = {BF16_DIM}, {tokens} tokens"
    for what, calls in {"forward": forwards, "training step": steps}.items():
        with torch.inference_mode() if what == "forward" else torch.enable_grad():
            if job.memory == "fresh":
                names = rng.sample(list(calls), len(calls))
                peaks = {name: memory.peak_bytes(calls[name]) for name in names}
                record.add(section(f"FFN bf16 {what}, peak bytes", job), row, peaks)
            else:
                products = products_of(stock, tokens) if what == "forward" else products_of_step(stock, tokens)
                extra = limits.products([*products, limits.SQUARE], torch.bfloat16)
                times = clock.medians(
                    calls | extra, seconds=2.0 if job.quick else 6.0, long=True, seed=rng.randrange(2**31)
                )
                record.add(section(f"FFN bf16 {what}", job), row, limits.with_bounds(times, products))
    record.notes |= chosen()
    return record
