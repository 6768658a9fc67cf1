"""Part `dram`: arrays that no cache holds; recycled memory, and ours into memory that is kept."""

import random

import torch
from torch import Tensor

from . import clock, limits, memory, peers
from .elementwise import JUDGED, section
from .functions import DIRECTIONS, DTYPES, arrays, eager_into, grad_mode, is_gate, native, ours_into, pair, pool
from .record import Job, Record

FULL, QUICK = (8192, 11008), (2048, 11008)


def run(job: Job) -> Record:
    """One process: GELU and SwiGLU, all ways and dtypes, beside the traffic's limits."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    if (why := native()) is not None:
        record.skipped["ours"] = why
    shape = QUICK if job.quick else FULL
    places = limits.places(4 * shape[0] * shape[1])
    for dtype in rng.sample(list(DTYPES), len(DTYPES)):
        tensors = pool(shape, DTYPES[dtype], seed=job.seed)
        cells = [(name, way) for name in JUDGED for way in DIRECTIONS if (name, way) != ("gelu", "both ways")]
        for name, way in rng.sample(cells, len(cells)):
            values = _cell(job, record, (name, way, dtype), tensors, places)
            memory.trim()  # what aligned blocks of another size leave behind is not used again, and would add up
            record.add(section(f"DRAM-sized {shape[0]}x{shape[1]}", job), f"{name} {way} {dtype}", values)
    return record


def _cell(
    job: Job, record: Record, what: tuple[str, str, str], tensors: list[Tensor], places: list[Tensor]
) -> dict[str, float]:
    name, way, dtype = what
    at = arrays(name, tensors)
    calls = pair(name, way, dtype, at)
    if way == "forward":
        out = places[4][: at.grad.nbytes].view(at.grad.dtype).view(at.grad.shape)
        if (into := eager_into(name, at, out)) is not None:
            calls["eager out="] = into
        if native() is None:
            calls["ours out="] = ours_into(name, at, out, "default")
            if dtype == "f32":
                calls["ours high out="] = ours_into(name, at, out, "high")
    if job.memory == "recycled":
        calls |= peers.compiled_elementwise(name, way, at, record.skipped)
    pattern = None
    if way != "both ways":
        pattern = limits.TRAFFIC[("gate" if is_gate(name) else "scalar", way)]
        calls |= limits.memory(job.path, pattern, at.grad.nbytes, places)
    with grad_mode(way):
        times = clock.medians(calls, seconds=0.5 if job.quick else 2.0, fewest=2, long=not job.quick, seed=job.seed)
        for who in ("eager", "ours"):
            if who in calls:
                times[f"page faults {who}"] = max(clock.faults(calls[who], 1), 1e-9)
    if pattern is None:
        return times
    return times | limits.best(times, pattern) | limits.moved_bytes(pattern, at.grad.nbytes)
