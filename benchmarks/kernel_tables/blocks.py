"""Part `ffn`: feed-forward blocks at inference, and part `linear`: the products alone."""

import random
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from gatewise.activations import FeedForward

from . import clock, limits, peers
from .elementwise import section
from .parts_of_ours import chosen, made
from .record import Job, Record

DIMS = (384, 768)
TOKENS = (1, 4, 16, 128, 512, 2048)
SOME, FEW = (1, 128, 2048), (128, 2048)
"""Numbers of tokens with torch.compile; with the peers that take longest to make (frozen compile, zentorch)."""
FEW_ROWS = (1, 4, 16)
"""Numbers of tokens at which reading the weights once may be the limit."""
MULTIPLE = 64
LINEARS = ((384, 1024), (1024, 384), (768, 2048), (2048, 768), (768, 2304))


def block(dim: int, activation: str, seed: int = 0) -> FeedForward:
    """A stock block; a gate's hidden width matches GELU's in parameters, rounded up to a multiple of 64."""
    torch.manual_seed(seed)
    return FeedForward(dim, activation=activation, multiple_of=MULTIPLE)


def products_of(stock: FeedForward, rows: int) -> list[limits.Product]:
    """The products of its forward pass."""
    up = 2 if stock.activation.endswith("glu") else 1
    return [(rows, stock.dim, stock.hidden)] * up + [(rows, stock.hidden, stock.dim)]


def run_ffn(job: Job) -> Record:
    """One process: all widths, activations and numbers of tokens, in random order."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    cells = [(dim, "swiglu", tokens) for dim in DIMS for tokens in TOKENS]
    cells += [(DIMS[-1], "gelu", tokens) for tokens in FEW]
    if job.quick:
        cells = [cell for cell in cells if cell[2] in (1, 16, 512)]
    for dim, activation, tokens in rng.sample(cells, len(cells)):
        stock = block(dim, activation).eval()
        x = torch.randn(tokens, dim)
        with torch.inference_mode():
            wanted = stock(x)
        calls = _candidates(job, record, stock, x, wanted)
        products = products_of(stock, tokens)
        extra = limits.products(products, torch.float32, packed=True) if tokens > 1 else {}
        extra |= limits.arithmetic(job.path) if tokens > 1 else {}
        bytes_ = sum(parameter.nbytes for parameter in stock.parameters())
        if tokens in FEW_ROWS:
            extra |= limits.memory(job.path, "read_all", bytes_, limits.places(bytes_))
        with torch.inference_mode():
            times = clock.medians(
                calls | extra,
                seconds=0.3 if job.quick else 1.0,
                fewest=3 if tokens < 2048 else 2,
                seed=rng.randrange(2**31),
            )
        if tokens in FEW_ROWS:
            times |= limits.best(times, "read_all") | limits.moved_bytes("read_all", bytes_)
        if tokens > 1:
            times = limits.with_bounds(times, products)
        record.add(section("FFN inference f32", job), f"{activation} d = {dim}, {tokens} tokens", times)
        del calls
        torch.compiler.reset()
    record.notes |= chosen()
    return record


def _candidates(job: Job, record: Record, stock: FeedForward, x: Tensor, wanted: Tensor) -> dict[str, clock.Call]:
    """Eager, ours and every peer, each checked against eager's answer."""
    calls: dict[str, clock.Call] = {"eager": lambda: stock(x)}
    mine = made("FeedForward", lambda kind: kind.of(stock).eval(), record.skipped)
    skipped = record.skipped
    with torch.inference_mode():
        if mine is not None:
            calls |= peers.checked("ours", lambda: lambda: mine(x), wanted, skipped)
        if x.shape[0] in SOME or job.quick:
            compiled: Any = torch.compile(peers.own(stock), fullgraph=True, dynamic=False)
            calls |= peers.checked("compile", lambda: lambda: compiled(x), wanted, skipped)
    model, arrays = peers.block_bytes(stock, x.shape[0]), [x.numpy()]
    calls |= peers.checked("onnxruntime", lambda: peers.onnxruntime(model, arrays, job.threads), wanted, skipped)
    calls |= peers.checked("openvino", lambda: peers.openvino(model, arrays, job.threads), wanted, skipped)
    if x.shape[0] in FEW or (job.quick and x.shape[0] == 512):
        for peer in ("compile-frozen", "zentorch"):
            folder = Path(job.folder) / f"{peer}-{stock.activation}-{stock.dim}-{x.shape[0]}-{job.threads}"
            folder.mkdir(exist_ok=True)

            def prepared(peer: str = peer, folder: Path = folder) -> clock.Call:
                return peers.stock_runtime(peer, stock, {"x": x}, folder)

            calls |= peers.checked(peer, prepared, wanted, skipped)
    return calls


def run_linear(job: Job) -> Record:
    """One process: F.linear and ours, forward and forward + backward."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    rows = (128, 2048)
    cells = [(inner, columns, n) for inner, columns in LINEARS for n in rows]
    for inner, columns, n in rng.sample(cells, len(cells)):
        torch.manual_seed(0)
        stock = torch.nn.Linear(inner, columns)
        mine = made("Linear", lambda kind, stock=stock: kind.of(stock), record.skipped)
        x, grad = torch.randn(n, inner), torch.randn(n, columns)
        leaf = x.clone().requires_grad_()
        models = {"eager": stock} | ({"ours": mine} if mine is not None else {})
        ways = {
            "forward": ({name: (lambda m=m, x=x: m(x)) for name, m in models.items()}, [(n, inner, columns)]),
            "both ways": (
                {name: _both(m, leaf, grad) for name, m in models.items()},
                [(n, inner, columns), (n, columns, inner), (columns, n, inner)],
            ),
        }
        for way, (calls, products) in ways.items():
            extra = limits.products(products, torch.float32, packed=way == "forward")
            with torch.inference_mode() if way == "forward" else torch.enable_grad():
                times = clock.medians(calls | extra, seconds=0.15 if job.quick else 0.6, seed=rng.randrange(2**31))
            row = f"{inner} to {columns}, {n} rows, {way}"
            record.add(section("linear f32", job), row, limits.with_bounds(times, products))
    record.notes |= chosen()
    return record


def _both(model: torch.nn.Module, leaf: Tensor, grad: Tensor) -> clock.Call:
    leaves = [leaf, *model.parameters()]
    return lambda: torch.autograd.grad(model(leaf), leaves, grad)
