"""Asks for the tables of bfloat16 in a fresh process, from several threads at once.

    python kernel_threads.py PATH

Prints by how many bytes the memory of the process grew at a short call and at the first long one, then `sound`.
"""

import re
import sys
import threading
from pathlib import Path

import numpy as np
from kernel_calls import LONG, Numbers, bits, by_formula, call, counts, fresh, use

USERS = (
    ("gelu", "geglu"),
    ("gelu_tanh", "geglu_tanh"),
    ("silu", "swiglu"),
    ("quick_gelu",),
    ("swiglu_clamped",),
)
"""The kernels that read the same table."""
THREADS = 8
PATTERNS = np.arange(2**16, dtype=np.uint32).astype(np.uint16)


def operands(name: str, backward: bool) -> list[Numbers]:
    """Every pattern, and ordinary numbers beside it."""
    ones = np.full(len(PATTERNS), 0x3F81, np.uint16)
    return [PATTERNS, ones, ones][: counts(name, backward)[0]]


def resident_bytes() -> int:
    """How much memory the process has, exactly."""
    found = re.search(r"^Rss: +(\d+) kB", Path("/proc/self/smaps_rollup").read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    return 1024 * int(found[1])


def growth() -> tuple[int, int]:
    """By a call one number shorter than a table is worth, made before, and by the first that is worth one."""
    x, y = PATTERNS.copy(), np.zeros_like(PATTERNS)
    call("quick_gelu", False, "bfloat16", [x], [y], end=LONG - 1)
    call("quick_gelu", False, "bfloat16", [x], [y], begin=LONG + 1)
    sizes = [resident_bytes()]
    for end in (LONG - 1, LONG):
        call("quick_gelu", False, "bfloat16", [x], [y], end=end)
        sizes.append(resident_bytes())
    return sizes[1] - sizes[0], sizes[2] - sizes[1]


def at_once(names: tuple[str, ...]) -> None:
    """Every kernel that reads the table, in all threads, none of which has been there before."""
    kernels = [(name, backward) for name in names for backward in (False, True)]
    wants = [by_formula(*kernel, "bfloat16", operands(*kernel)) for kernel in kernels]
    start, wrong = threading.Barrier(THREADS), list[str]()

    def first(i: int) -> None:
        kernel, want = kernels[i % len(kernels)], wants[i % len(kernels)]
        inputs = operands(*kernel)
        start.wait(60)
        for got, right in zip(fresh(*kernel, "bfloat16", inputs), want, strict=True):
            if not np.array_equal(bits(got), bits(right)):
                wrong.append(f"{kernel}: {int((bits(got) != bits(right)).sum())} numbers differ")

    threads = [threading.Thread(target=first, args=(i,)) for i in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if wrong:
        raise SystemExit("; ".join(wrong))


def main(path: str) -> None:
    """All of it, on that path."""
    if not use(path):
        raise SystemExit(f"this machine has no {path}")
    sizes = None
    for names in USERS:
        if names == ("quick_gelu",):
            sizes = growth()
        else:
            at_once(names)
    assert sizes is not None
    print(*sizes, "sound")


if __name__ == "__main__":
    main(*sys.argv[1:])
