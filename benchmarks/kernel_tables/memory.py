"""Peak memory of a call, by the same counter for every candidate.

Counted is the resident memory of the process, its highest value while the call runs above its value before: tensors,
what a compiler's code allocates, scratch memory of oneDNN and MKL alike. Before it the call runs once, so that code,
packed weights and thread stacks are there already, and free memory is handed back to the system. The process runs with
fresh memory (every block of 64 KiB or more is a mapping of its own), so that what is freed leaves at once.
"""

import ctypes
import gc
from collections.abc import Callable

from gatewise.measure import peak_over, resident_bytes


def trim() -> None:
    """Hand free memory back to the system."""
    gc.collect()
    try:
        ctypes.CDLL("libc.so.6").malloc_trim(0)
    except (OSError, AttributeError):
        return  # another C library: what it keeps counts as there before


def peak_bytes(call: Callable[[], object], calls: int = 1) -> float:
    """What `call` holds at most above what was there before, in bytes; at least one page."""
    call()
    trim()
    found, how = peak_over(resident_bytes(), call, calls=calls)
    if not how.startswith("VmHWM"):
        raise RuntimeError(f"peak memory needs /proc/self/clear_refs, here there is only the {how}")
    return float(max(found, 4096))
