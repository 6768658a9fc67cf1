"""Part `elementwise`: every function in cache with its peers, the sweep over sizes, and wide inputs."""

import gc
import random

import torch

from . import clock, limits, peers
from .functions import (
    DIRECTIONS,
    DTYPES,
    FUNCTIONS,
    Arrays,
    arrays,
    both_ways,
    grad_mode,
    is_gate,
    native,
    ours,
    pair,
    pool,
)
from .record import Job, Record

SHAPE = (64, 3072)
JUDGED = ("gelu", "swiglu")
"""The functions that have figures of their own, and all peers."""
SWEEP = (16, 128, 1024, 8192, 65536, 262144, 1048576)
QUICK_SWEEP, THREADED_SWEEP = (16, 1024, 65536), (1024, 65536, 1048576)
SPREADS = (3.0, 10.0)


def section(what: str, job: Job) -> str:
    """The heading of a table; verdicts look their cells up by it."""
    return f"{what}, {job.memory} memory, {job.threads} thread{'s' if job.threads > 1 else ''}"


def run(job: Job) -> Record:
    """One process: cells in random order."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    if (why := native()) is not None:
        record.skipped["ours"] = why
    in_cache(job, record, rng)
    gc.collect()
    gc.freeze()  # what the compilers left is looked through before every cell else
    if job.memory == "recycled":
        sweep(job, record, rng)
        if job.threads == 1:
            wide(job, record, rng)
    return record


def in_cache(job: Job, record: Record, rng: random.Random) -> None:
    """All functions at 64x3072; the judged ones beside every peer and the limits."""
    names = FUNCTIONS if job.memory == "recycled" else JUDGED
    cells = [(name, way, dtype) for name in names for way in DIRECTIONS for dtype in DTYPES]
    pools = {dtype: pool(SHAPE, DTYPES[dtype], seed=job.seed) for dtype in DTYPES}
    places = limits.places(4 * SHAPE[0] * SHAPE[1])
    for name, way, dtype in rng.sample(cells, len(cells)):
        at = arrays(name, pools[dtype])
        calls = pair(name, way, dtype, at)
        if name in JUDGED and job.memory == "recycled":
            calls |= peers.elementwise(name, way, dtype, at, record.skipped)
        bytes_ = at.grad.nbytes
        if way != "both ways":
            pattern = limits.TRAFFIC[("gate" if is_gate(name) else "scalar", way)]
            calls |= limits.memory(job.path, pattern, bytes_, places)
        judged = name in JUDGED
        seconds = (0.15 if judged else 0.06) if job.quick else (0.5 if judged else 0.15)
        with grad_mode(way):
            times = clock.medians(calls, seconds=seconds, seed=rng.randrange(2**31), in_a_row=clock.IN_A_ROW)
            for who in ("eager", "ours"):
                if judged and who in calls:
                    times[f"page faults {who}"] = max(clock.faults(calls[who]), 1e-9)
        if way == "both ways" and judged and "ours" in calls:
            times["autograd alone"] = autograd_alone(name, at, seconds / 4)
        if way != "both ways":
            times |= limits.best(times, pattern) | limits.moved_bytes(pattern, bytes_)
        record.add(section("elementwise 64x3072", job), f"{name} {way} {dtype}", times)


def autograd_alone(name: str, at: Arrays, seconds: float) -> float:
    """Seconds that autograd takes at least with these arrays: `torch.mul`, a function in C++, both ways on 16 elements.

    Our kernels have just gone over the arrays then, so that torch's and Python's own code and data left the caches.
    """
    small = pool((16,), torch.float32)
    kernels = [ours(name, way, at, "default") for way in ("forward", "backward")]

    def over_the_arrays() -> None:
        with torch.inference_mode():
            for kernel in kernels:
                kernel()

    return clock.after(over_the_arrays, both_ways(torch.mul, arrays("swiglu", small)), seconds=seconds)


def sweep(job: Job, record: Record, rng: random.Random) -> None:
    """Eager and ours for all functions, ways and dtypes over the sizes."""
    sizes = QUICK_SWEEP if job.quick else SWEEP if job.threads == 1 else THREADED_SWEEP
    cells = [(n, way, dtype, size) for n in FUNCTIONS for way in DIRECTIONS for dtype in DTYPES for size in sizes]
    pools = {(dtype, size): pool((size,), DTYPES[dtype], seed=job.seed) for dtype in DTYPES for size in sizes}
    for name, way, dtype, size in rng.sample(cells, len(cells)):
        calls = pair(name, way, dtype, arrays(name, pools[dtype, size]))
        with grad_mode(way):
            seconds = 0.015 if job.quick else 0.03
            times = clock.medians(calls, seconds=seconds, seed=rng.randrange(2**31), in_a_row=clock.IN_A_ROW)
        record.add(section("sweep", job), f"{name} {way} {dtype} {size}", times)


def wide(job: Job, record: Record, rng: random.Random) -> None:
    """Inputs of other standard deviations: rare branches cost time there."""
    cells = [(n, way, dtype, s) for n in FUNCTIONS for way in DIRECTIONS[:2] for dtype in DTYPES for s in SPREADS]
    pools = {(dtype, s): pool(SHAPE, DTYPES[dtype], spread=s, seed=job.seed) for dtype in DTYPES for s in SPREADS}
    for name, way, dtype, spread in rng.sample(cells, len(cells)):
        at: Arrays = arrays(name, pools[dtype, spread])
        with grad_mode(way):
            calls, seconds = pair(name, way, dtype, at), 0.02 if job.quick else 0.05
            times = clock.medians(calls, seconds=seconds, seed=rng.randrange(2**31), in_a_row=clock.IN_A_ROW)
        record.add(section("wide inputs 64x3072", job), f"{name} {way} {dtype} standard deviation {spread:g}", times)
