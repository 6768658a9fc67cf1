"""Peak memory of one model in a process of its own."""

import resource
from collections.abc import Callable
from pathlib import Path

from gatewise.core import GatewiseError


def _status(field: str) -> int | None:
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return None
    for line in lines:
        if line.startswith(field):
            return int(line.split()[1]) * 1024
    return None


def resident_bytes() -> int:
    """Memory that this process holds now, in bytes. Raises `GatewiseError` where the system does not tell."""
    found = _status("VmRSS:")
    if found is None:
        raise GatewiseError("peak_memory needs Linux (/proc/self/status); leave it out of the metrics")
    return found


def peak_over(before_bytes: int, call: Callable[[], object], *, calls: int = 3) -> tuple[int, str]:
    """The highest resident memory while `call` runs, above `before_bytes`, and how it was read.

    `before_bytes` is read after the imports and before the model is loaded: what is counted is the model, its
    activations and the allocator's caches, not the framework.
    """
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # resets the high-water mark
        how = "VmHWM, reset before the calls"
    except OSError:
        how = "maximum resident set of the whole process"
    for _ in range(calls):
        call()
    peak = _status("VmHWM:") if how.startswith("VmHWM") else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    if peak is None:
        raise GatewiseError("peak_memory needs Linux (/proc/self/status); leave it out of the metrics")
    return peak - before_bytes, how
