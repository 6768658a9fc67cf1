"""The machine's limits, measured in the same process as the candidates: memory traffic, matrix products, arithmetic.

Memory: loops that only load and store (streams.c, built once a run with the machine's compiler), per pattern of
traffic, with stores through the caches and past them, with loads asked for ahead, and torch's own copy. The best of
them is the limit.
"""

import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

Call = Callable[[], object]

PATTERNS = {"copy": (1, 1), "triad": (2, 1), "gate": (3, 2), "read_all": (1, 0)}
"""How many arrays each pattern reads and writes."""
TRAFFIC = {
    ("scalar", "forward"): "copy",
    ("scalar", "backward"): "triad",
    ("gate", "forward"): "triad",
    ("gate", "backward"): "gate",
}
"""The pattern that a kernel's traffic has."""
HOW = {0: "plain", 1: "streaming", **{bytes_: f"{bytes_} bytes ahead" for bytes_ in (512, 1024, 2048, 8192)}}
"""The ways of `streams.c`, by the number that it takes."""
SOURCE = Path(__file__).with_name("streams.c")


def build(folder: Path) -> str:
    """Compile streams.c into `folder`; empty on success, else why not, in a line."""
    compiler = os.environ.get("CC") or shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        return "no C compiler: memory limits are torch's own copy and add"
    target = folder / "streams.so"
    command = [compiler, "-O3", "-march=native", "-fopenmp", "-shared", "-fPIC", str(SOURCE), "-o", str(target)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"exit code {done.returncode}"]
        why = next((line for line in said if "error" in line), said[-1])
        return f"{compiler} failed ({why}): memory limits are torch's own copy and add"
    return ""


@cache
def library(path: str) -> ctypes.CDLL | None:
    """The loops; loaded after torch, they run in torch's own pool of threads. None where they were not built."""
    if not Path(path).is_file():
        return None
    core = ctypes.CDLL(path)
    for name in PATTERNS:
        function = getattr(core, name)
        function.argtypes = [ctypes.c_void_p] * 5 + [ctypes.c_size_t, ctypes.c_int, ctypes.c_int]
        function.restype = None
    for loop, turn in ((core.multiply, core.turn), (core.multiply_tiles, core.tile_turn)):
        loop.argtypes = [ctypes.c_size_t, ctypes.c_int, ctypes.c_void_p]
        loop.restype = None
        turn.restype = ctypes.c_size_t
    return core


APART = 2**20 + 11 * 64
"""By so much more than the one before does each array start after a page: arrays that all start on a page make loads
and stores wait for each other (their last twelve bits are the same), and a limit would be told too low."""


def aligned(bytes_: int, place: int = 0) -> Tensor:
    """Bytes that start on a page, or `place` times `APART` after one."""
    raw = torch.ones(bytes_ + 4096 + place * APART, dtype=torch.uint8)
    offset = -raw.data_ptr() % 4096 + place * APART
    return raw[offset : offset + bytes_]


def places(bytes_: int) -> list[Tensor]:
    """Five arrays, as `memory` takes them."""
    return [aligned(bytes_, place) for place in range(5)]


def memory(folder: Path, pattern: str, bytes_: int, arrays: list[Tensor]) -> dict[str, Call]:
    """Calls that move what `pattern` moves on arrays of `bytes_` each, by name: the ways of `HOW` and torch's own.

    `arrays` are five byte arrays (three read, two written) of at least that size.
    """
    size = bytes_ // 512 * 512
    threads = torch.get_num_threads()
    a, b, _, y, _ = (array[:size] for array in arrays)
    calls: dict[str, Call] = {}
    core = library(str(folder / "streams.so"))
    if core is not None:
        function = getattr(core, pattern)
        pointers = [array.data_ptr() for array in arrays]
        ways = {how: name for how, name in HOW.items() if how != 1 or pattern != "read_all"}
        calls |= {name: partial(function, *pointers, size, how, threads) for how, name in ways.items()}
    if pattern == "copy":
        wide = a.view(torch.float32), y.view(torch.float32)
        calls["torch copy_"] = lambda: wide[1].copy_(wide[0])
    if pattern == "triad" and core is None:
        first, second, out = (array.view(torch.int32) for array in (a, b, y))
        calls["torch xor"] = lambda: torch.bitwise_xor(first, second, out=out)
    if pattern == "read_all" and core is None:
        words = a.view(torch.float32)
        calls["torch sum"] = words.sum
    return {f"limit {pattern} {name}": call for name, call in calls.items()}


def best(values: dict[str, float], pattern: str) -> dict[str, float]:
    """The best of a pattern's times, under the name that the targets know; empty without one."""
    found = [value for name, value in values.items() if name.startswith(f"limit {pattern} ")]
    return {f"limit {pattern}": min(found)} if found else {}


ARITHMETIC = 2**30
"""Floating-point operations of the call of `arithmetic`."""


def arithmetic(folder: Path) -> dict[str, Call]:
    """Float32 without memory, on all threads: no product is quicker. Multiply-adds in registers and, with AMX, tiles of
    bfloat16 with their loads from the first cache, of which float32 products take six for their parts. Empty without
    the loops."""
    core = library(str(folder / "streams.so"))
    if core is None:
        return {}
    threads, result = torch.get_num_threads(), aligned(64)
    loops = {"multiply-adds": (core.multiply, core.turn()), "tiles": (core.multiply_tiles, core.tile_turn())}

    def call(loop: Callable[..., object], turn: int) -> Call:
        turns = round(ARITHMETIC / (turn * threads))
        return lambda: loop(turns, threads, result.data_ptr())  # which keeps the result's memory

    return {f"limit arithmetic {name}": call(loop, turn) for name, (loop, turn) in loops.items() if turn}


Product = tuple[int, int, int]
"""Rows, inner, columns."""
SQUARE: Product = (2048, 2048, 2048)
"""A product large and regular enough for the best rate of the machine."""


def products(shapes: list[Product], dtype: torch.dtype, *, packed: bool = False) -> dict[str, Call]:
    """Each distinct product by every way this torch has: as in `x @ w`, as a linear layer, and through oneDNN's. Not by
    ours, so that what these allow is what was there before.

    `packed` adds oneDNN's on a weight that was packed before, which a call at inference may use.
    """
    calls: dict[str, Call] = {}
    onednn: Any = torch.ops.mkldnn
    for rows, inner, columns in dict.fromkeys(shapes):
        x, w = torch.randn(rows, inner).to(dtype), torch.randn(inner, columns).to(dtype)
        turned = w.t().contiguous()
        ways: dict[str, Call] = {
            "mm": partial(torch.mm, x, w),
            "linear": partial(torch.nn.functional.linear, x, turned),
            "onednn": lambda x=x, turned=turned: onednn._linear_pointwise(x, turned, None, "none", [], ""),
        }
        if packed:
            ways["packed"] = _packed(x, turned)
        for way, call in ways.items():
            try:
                call()
            except (RuntimeError, AttributeError):
                continue  # a torch, or a processor, without it
            calls[f"limit matmul {rows}x{inner}x{columns} {way}"] = call
    return calls


def _packed(x: Tensor, weight: Tensor) -> Call:
    onednn: Any = torch.ops.mkldnn
    made: list[Tensor] = []

    def call() -> object:
        if not made:
            made.append(onednn._reorder_linear_weight(weight, x.shape[0]))
        return onednn._linear_pointwise(x, made[0], None, "none", [], "")

    return call


def matmul_bound(values: dict[str, float], shapes: list[Product]) -> float | None:
    """The time of all these products, each by its best measured way, nothing else counted; None if one is missing.

    A product counts as its transpose does, where that was measured too: either may be the quicker.
    """
    total = 0.0
    for rows, inner, columns in shapes:
        names = f"limit matmul {rows}x{inner}x{columns} ", f"limit matmul {columns}x{inner}x{rows} "
        ways = [value for key, value in values.items() if key.startswith(names)]
        if not ways:
            return None
        total += min(ways)
    return total


def moved_bytes(pattern: str, bytes_: int) -> dict[str, float]:
    """What a pattern reads and writes on arrays of `bytes_` each, under the name that tables know."""
    return {"work bytes": float(sum(PATTERNS[pattern]) * bytes_)}


def with_bounds(values: dict[str, float], shapes: list[Product]) -> dict[str, float]:
    """The times, the bound of the products, and what the square product's rate and plain multiply-adds would give.

    Single products stay under names of their own: they have rates, not shares.
    """
    single = "limit matmul "
    found = {
        f"product {name.removeprefix(single)}" if name.startswith(single) else name: value
        for name, value in values.items()
    }
    bound, square = matmul_bound(values, shapes), matmul_bound(values, [SQUARE])
    if bound is not None:
        found |= {"limit matmul": bound, "work flop": float(flop(shapes))}
    for name in [name for name in found if name.startswith("limit arithmetic ")]:
        found[name] *= flop(shapes) / ARITHMETIC
    found |= best(found, "arithmetic")
    if square is not None:
        found["limit square matmul"] = square * flop(shapes) / flop([SQUARE])
    return found


def flop(shapes: list[Product]) -> int:
    """Floating-point operations; a multiply-add is two."""
    return sum(2 * rows * inner * columns for rows, inner, columns in shapes)
