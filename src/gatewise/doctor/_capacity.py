"""What the machine can do at most: memory bandwidth and matrix products, on one thread and on all."""

import platform
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any

import torch
from torch.nn.functional import linear

from gatewise.measure import Effort, interleave

from ._missing import Missing

BEYOND_CACHE = 4
LEAST_BYTES, MOST_BYTES = 64 * 2**20, 2**30
MEMORY_SHARE = 12
"""Three arrays may take a quarter of the free memory."""


def spread(values: Iterable[float]) -> dict[str, float]:
    """The middle of some repeats, the lowest and the highest."""
    found = list(values)
    return {"median": median(found), "low": min(found), "high": max(found)}


def array_bytes(cache_bytes: int, available_bytes: int) -> int:
    """The size of one array: well beyond the last cache, within the free memory."""
    room = available_bytes // MEMORY_SHARE if available_bytes else LEAST_BYTES
    return max(2**20, min(max(LEAST_BYTES, BEYOND_CACHE * cache_bytes), MOST_BYTES, room))


def bandwidth(threads: Iterable[int], cache_bytes: int, available_bytes: int, seconds: float) -> dict[str, Any]:
    """Bytes per second of `b = a` and `a = b + s c` on float32 arrays that no cache holds.

    Counted as STREAM does: what the program reads and writes. Where the processor reads a line before it writes to it,
    more goes over the wires than is counted.
    """
    size = array_bytes(cache_bytes, available_bytes)
    a, b, c = (torch.zeros(size // 4) + 1.0 for _ in range(3))
    moved = {"copy": 2 * size, "triad": 3 * size}

    def copy() -> object:
        return b.copy_(a)

    def triad() -> object:
        return torch.add(b, c, alpha=3.0, out=a)

    found: dict[str, Any] = {"array_bytes": size, "beyond_cache": size / cache_bytes if cache_bytes else _UNKNOWN_CACHE}
    for count in threads:
        torch.set_num_threads(count)
        times = interleave({"copy": copy, "triad": triad}, effort=Effort(seconds=seconds, fewest=2, warmup=1), seed=0)
        found[f"threads_{count}"] = {
            name: {"bytes_per_s": spread(moved[name] / value for value in values)}
            for name, values in times.values_s.items()
        }
    return found


_UNKNOWN_CACHE = Missing("the size of the last cache is unknown")


def matmul(threads: Iterable[int], side: int, seconds: float) -> dict[str, Any]:
    """Floating-point operations per second of square matrix products (a multiply-add is two), called in turn."""
    calls, missing = _products(side)
    flop = 2 * side**3
    found: dict[str, Any] = {
        "side": side,
        "torch_uses": torch.backends.cpu.get_cpu_capability(),
        "mkl": torch.backends.mkl.is_available(),
        "onednn": torch.backends.mkldnn.is_available(),
    }
    for count in threads:
        torch.set_num_threads(count)
        effort = Effort(seconds=seconds, fewest=3, warmup=1)
        with torch.inference_mode():
            times = interleave(calls, effort=effort, seed=1).values_s
        rows: dict[str, Any] = {
            name: {"flop_per_s": spread(flop / value for value in values)} for name, values in times.items()
        }
        best = [name for name in ("mm_f32", "packed_f32") if name in times]
        # Calls of one round stand side by side: their ratio is not moved by a machine that changes its speed.
        share = {name: median(x / y for x, y in zip(times[name], times["linear_f32"], strict=True)) for name in best}
        rows["linear_share_of_best"] = min(1.0, *share.values()) if share else missing["packed_f32"]
        found[f"threads_{count}"] = rows | missing
    return found


def accelerators() -> Any:
    """The names of what torch sees beside the processor."""
    if not torch.cuda.is_available():
        return Missing("torch sees none")
    return [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]


def _products(side: int) -> tuple[dict[str, Callable[[], object]], dict[str, Missing]]:
    """The products that run here, and why the others do not."""
    generator = torch.Generator().manual_seed(0)
    x, w = (torch.randn(side, side, generator=generator) for _ in range(2))
    x16, w16 = x.bfloat16(), w.bfloat16()
    packed: Any = getattr(torch.ops.mkldnn, "_linear_pointwise", None)
    candidates: dict[str, Callable[[], object]] = {
        "mm_f32": lambda: torch.mm(x, w),
        "linear_f32": lambda: linear(x, w),
        "mm_bf16": lambda: torch.mm(x16, w16),
        "packed_f32": lambda: packed(x, w, None, "none", [], ""),
    }
    calls: dict[str, Callable[[], object]] = {}
    missing: dict[str, Missing] = {}
    for name, call in candidates.items():
        try:
            call()
        except (RuntimeError, NotImplementedError, TypeError, AttributeError) as error:
            why = str(error).strip().splitlines()
            missing[name] = Missing(f"this torch does not run it on {platform.machine()}: {why[0] if why else error!r}")
        else:
            calls[name] = call
    return calls, missing
