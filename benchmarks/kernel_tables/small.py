"""Part `small`: calls on 16 elements, where what counts is the way to the kernel."""

import random

import torch
import torch.nn.functional as F  # noqa: N812  (the field's own name for it)

from gatewise import activations, functional

from . import clock
from .elementwise import section
from .functions import DTYPES, FUNCTIONS, arrays, both_ways, is_gate, native, pool
from .record import Job, Record

MODES = {"inference mode": torch.inference_mode, "no_grad": torch.no_grad, "autograd": torch.enable_grad}


def run(job: Job) -> Record:
    """One process: every function in three modes, beside F.gelu and F.silu."""
    torch.set_num_threads(job.threads)
    record, rng = Record(), random.Random(job.seed)
    if (why := native()) is not None:
        record.skipped["ours"] = why
    for dtype in DTYPES:
        with torch.inference_mode():
            frozen = pool((16,), DTYPES[dtype], seed=job.seed)
        usual = pool((16,), DTYPES[dtype], seed=job.seed)
        for mode, context in MODES.items():
            calls = _calls(frozen if mode == "inference mode" else usual, mode)
            with context():
                times = clock.medians(calls, seconds=0.4 if job.quick else 1.2, seed=rng.randrange(2**31))
            for name in FUNCTIONS:
                found = {"F.gelu": times["F.gelu"], "F.silu": times["F.silu"], "eager": times[f"eager {name}"]}
                if native() is None:
                    found["ours"] = times[f"ours {name}"]
                record.add(section("calls on 16 elements", job), f"{name} {mode} {dtype}", found)
    return record


def _calls(tensors: list[torch.Tensor], mode: str) -> dict[str, clock.Call]:
    x, up = tensors[:2]
    if mode == "autograd":
        one = arrays("gelu", tensors)
        calls = {"F.gelu": both_ways(F.gelu, one), "F.silu": both_ways(F.silu, one)}
    else:
        calls = {"F.gelu": lambda: F.gelu(x), "F.silu": lambda: F.silu(x)}
    for name in FUNCTIONS:
        for who, function in (("eager", activations.get(name).torch), ("ours", getattr(functional, name))):
            if mode == "autograd":
                calls[f"{who} {name}"] = both_ways(function, arrays(name, tensors))
            elif is_gate(name):
                calls[f"{who} {name}"] = lambda function=function: function(x, up)
            else:
                calls[f"{who} {name}"] = lambda function=function: function(x)
    return calls
