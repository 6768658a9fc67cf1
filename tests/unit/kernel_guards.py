"""Calls the native core where one number too many ends the process: every buffer lies at a page nobody may touch.

    python kernel_guards.py tails   PATH            every length from 0 to 130 at both edges, for every kernel
    python kernel_guards.py rounds  PATH NUM SEED   random rows, strides, aliasing, streaming and cuts
    python kernel_guards.py long    PATH NUM SEED   the same in bfloat16, so long that tables are read
    python kernel_guards.py overrun PATH KIND       one number too many, on purpose: KIND is read or write

What is being called is written to the file named by GATEWISE_FUZZ_CASE beforehand. gcc's address sanitizer does not see
the masked loads and stores of AVX-512; these pages do. Results are compared bit by bit with those of plain short calls.
"""

import ctypes
import faulthandler
import mmap
import os
import sys
from collections.abc import Callable, Mapping
from itertools import pairwise

import numpy as np
from kernel_calls import (
    LONG,
    NAMES,
    PRECISIONS,
    Numbers,
    bits,
    by_formula,
    call,
    counts,
    dtype_of,
    fresh,
    to_brain,
    use,
)
from numpy.typing import NDArray

PAGE = mmap.PAGESIZE
LENGTHS = range(131)
_C = ctypes.CDLL(None, use_errno=True)
_C.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]


class Arena:
    """Memory between two pages that may not be touched."""

    def __init__(self, num_pages: int = 8) -> None:
        self.memory = mmap.mmap(-1, (num_pages + 2) * PAGE)
        start = ctypes.addressof(ctypes.c_char.from_buffer(self.memory))
        for guard in (start, start + (num_pages + 1) * PAGE):
            if _C.mprotect(guard, PAGE, 0):
                raise OSError(ctypes.get_errno(), "mprotect")
        self.bytes = np.frombuffer(self.memory, np.uint8, num_pages * PAGE, PAGE)

    def at_edge(self, kind: type[np.uint16] | type[np.float32], count: int, *, last: bool) -> Numbers:
        """`count` numbers that end at the page behind, or begin at the page before."""
        size = count * np.dtype(kind).itemsize
        start = len(self.bytes) - size if last else 0
        return self.bytes[start : start + size].view(kind)


class Case:
    """Says what is being called, for whoever finds the process dead."""

    def __init__(self) -> None:
        name = os.environ.get("GATEWISE_FUZZ_CASE")
        self.file = os.open(name, os.O_RDWR | os.O_CREAT) if name else None

    def says(self, *words: object) -> str:
        line = " ".join(map(str, words))
        if self.file is not None:
            os.pwrite(self.file, line.ljust(300).encode(), 0)
        return line


def numbers(draw: np.random.Generator, precision: str, count: int, scale: float) -> Numbers:
    """Normal numbers of that scale, and now and then a special one."""
    x = (scale * draw.standard_normal(count)).astype(np.float32)
    special = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-39, 3e38, -3e38, -7.5, 7.0, 5.3], np.float32)
    where = draw.random(count) < 0.1
    x[where] = draw.choice(special, int(where.sum()))
    return to_brain(x) if precision == "bfloat16" else x


def differ(got: Numbers, want: Numbers) -> bool:
    return not np.array_equal(bits(got), bits(want))


def tails(case: Case) -> None:
    """Every length at both edges, with nothing written beside it."""
    arenas = [Arena(2) for _ in range(5)]
    draw = np.random.default_rng(0)
    kernels = [(name, backward, precision) for name in NAMES for backward in (False, True) for precision in PRECISIONS]
    for name, backward, precision in kernels:
        num_in, num_out = counts(name, backward)
        sources = [numbers(draw, precision, LENGTHS[-1], 4.0) for _ in range(num_in)]
        wants = fresh(name, backward, precision, sources)
        for length in LENGTHS:
            for last in (False, True):
                line = case.says("tails", name, "backward" if backward else "forward", precision, length, last)
                views = [arena.at_edge(dtype_of(precision), length, last=last) for arena in arenas[: num_in + num_out]]
                for view, source in zip(views, sources, strict=False):
                    view[:] = source[:length]
                for arena in arenas[num_in : num_in + num_out]:
                    arena.bytes[:] = 0xA5
                if length:
                    call(name, backward, precision, views[:num_in], views[num_in:])
                for arena, view, want in zip(arenas[num_in:], views[num_in:], wants, strict=False):
                    written = arena.bytes != 0xA5
                    beside = written[: len(written) - view.nbytes] if last else written[view.nbytes :]
                    if beside.any() or differ(view, want[:length]):
                        raise SystemExit(f"wrong: {line}")


class Rows:
    """Rows of `cols` numbers at an edge of an arena, at a stride that may be 0 or negative for what is only read."""

    def __init__(
        self, arena: Arena, kind: type[np.uint16] | type[np.float32], shape: tuple[int, int], **how: int
    ) -> None:
        (rows, cols), stride = shape, how["stride"]
        self.flat = arena.at_edge(kind, (rows - 1) * abs(stride) + cols, last=bool(how["last"]))
        step = self.flat.itemsize
        first = self.flat if stride >= 0 else self.flat[(rows - 1) * -stride :]
        self.rows = np.lib.stride_tricks.as_strided(first, shape, (stride * step, step))
        self.inside: NDArray[np.bool_] = np.zeros(len(self.flat), np.bool_)
        for row in range(rows):
            self.inside[row * abs(stride) :][:cols] = True


def short(draw: np.random.Generator) -> tuple[int, int]:
    """A few rows of up to 700 numbers."""
    return int(draw.integers(1, 6)), int(draw.integers(1, 20 if draw.random() < 0.3 else 700))


def long(draw: np.random.Generator) -> tuple[int, int]:
    """Rows that have together about as many numbers as a table is worth, or up to twice as many."""
    rows = int(draw.choice([1, 1, 2, 3, 50]))
    near = LONG + int(draw.integers(-2, 3)) if draw.random() < 0.4 else int(draw.integers(LONG, 2 * LONG))
    return rows, -(-near // rows)


def one(draw: np.random.Generator, arenas: list[Arena], case: Case, label: str, precision: str) -> None:
    """One random call, cut into up to three, against plain ones."""
    name, shape = str(draw.choice(NAMES)), (long if label.startswith("long") else short)(draw)
    backward, kind = bool(draw.integers(2)), dtype_of(precision)
    num_in, num_out = counts(name, backward)
    aliased, stream = draw.random() < 0.3, bool(draw.integers(2))
    strides = [shape[1] + int(draw.choice([0, 1, 16, draw.integers(80)])) for _ in range(num_in + num_out)]
    if not aliased:
        strides[:num_in] = [int(draw.choice([s, s, -s, 0])) for s in strides[:num_in]]
    line = case.says(label, name, "backward" if backward else "forward", precision, shape, strides, aliased, stream)
    lasts = draw.random(num_in + num_out) < 0.7
    operands = [
        Rows(arena, kind, shape, stride=stride, last=int(last))
        for arena, stride, last in zip(arenas, strides, lasts, strict=False)
    ]
    for operand in operands:
        operand.flat[:] = numbers(draw, precision, len(operand.flat), float(draw.choice([1e-38, 0.1, 1, 4, 30, 1e20])))
    inputs, outputs = operands[:num_in], operands[num_in:]
    wants = by_formula(name, backward, precision, [np.ascontiguousarray(x.rows).reshape(-1) for x in inputs])
    if aliased:
        outputs = [inputs[i] for i in draw.permutation(num_in)[:num_out]]
    before = [out.flat.copy() for out in outputs]
    count = shape[0] * shape[1]
    cuts = sorted({0, count, *draw.integers(0, count + 1, int(draw.integers(3))).tolist()})
    for begin, end in pairwise(cuts):
        ins, outs = [x.rows for x in inputs], [x.rows for x in outputs]
        call(name, backward, precision, ins, outs, stream=stream, begin=begin, end=end)
    for out, old, want in zip(outputs, before, wants, strict=True):
        if differ(np.ascontiguousarray(out.rows).reshape(-1), want):
            raise SystemExit(f"another result: {line} cut at {cuts}")
        if not np.array_equal(
            out.flat.view(np.uint8).reshape(len(old), -1)[~out.inside],
            old.view(np.uint8).reshape(len(old), -1)[~out.inside],
        ):
            raise SystemExit(f"written between the rows: {line} cut at {cuts}")


def rounds(case: Case, num: int, seed: int) -> None:
    """Random calls; the draw of each follows from the seed and its number alone."""
    arenas = [Arena() for _ in range(5)]
    for i in range(num):
        draw = np.random.default_rng((seed, i))
        one(draw, arenas, case, f"seed {seed} round {i}:", str(draw.choice(PRECISIONS)))


def long_rounds(case: Case, num: int, seed: int) -> None:
    """Random long calls in bfloat16."""
    arenas = [Arena(48) for _ in range(5)]
    for i in range(num):
        one(np.random.default_rng((seed, i)), arenas, case, f"long, seed {seed} round {i}:", "bfloat16")


def overrun(case: Case, kind: str) -> None:
    """A call that reads or writes one number beyond the buffer, which nobody survives."""
    case.says("overrun", kind)
    small, large = (Arena(2).at_edge(np.float32, count, last=True) for count in (19, 20))
    x = np.lib.stride_tricks.as_strided(small, (20,)) if kind == "read" else large
    y = np.lib.stride_tricks.as_strided(small, (20,)) if kind == "write" else large
    call("gelu", False, "float32", [x], [y])


def main(runs: Mapping[str, Callable[..., None]], what: str, path: str, *rest: str) -> None:
    """The one of `runs` that the command line asks for; ends with the word `sound`."""
    if not use(path):
        raise SystemExit(f"this machine has no {path}")
    if what not in runs:
        raise SystemExit(f"no {what}; valid: {', '.join(runs)}")
    faulthandler.enable()
    runs[what](Case(), *(int(each) if each.isdigit() else each for each in rest))
    print("sound")


if __name__ == "__main__":
    main({"tails": tails, "rounds": rounds, "long": long_rounds, "overrun": overrun}, *sys.argv[1:])
