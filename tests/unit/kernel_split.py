"""Calls the products in three parts where one number too many ends the process: matrices lie at pages nobody may touch.

    python kernel_split.py rounds  PATH NUM SEED   random sizes, layouts and edges
    python kernel_split.py overrun PATH KIND       one number too many, on purpose: KIND is read or write

Products are compared with float64, with the same row alone and with the other layout, to the bit; the gradients that
are made where the sums are with the functions' own kernels, to the bit.
"""

import sys

import numpy as np
import torch
from kernel_calls import GATES, NAMES, Numbers
from kernel_guards import Arena, Case, main
from torch import Tensor

from gatewise.kernels import _split
from gatewise.kernels._operators import register

register()
OPS = torch.ops.gatewise


class Memory:
    """Matrices of float32 at edges of arenas, a new arena for each."""

    def __init__(self, draw: np.random.Generator, arenas: list[Arena]) -> None:
        self.draw, self.arenas = draw, list(arenas)

    def flat(self, count: int) -> Numbers:
        return self.arenas.pop().at_edge(np.float32, count, last=bool(self.draw.random() < 0.7))

    def matrix(self, rows: int, cols: int, *, gap: int = 0, turned: bool = False, scale: float = 1.0) -> Tensor:
        """Of normal numbers; row by row with a gap between, or `turned`: column by column."""
        long, short = (cols, rows) if turned else (rows, cols)
        stride = short + gap
        flat = self.flat(max(0, (long - 1) * stride + short))
        flat[:] = (scale * self.draw.standard_normal(len(flat))).astype(np.float32)
        strides = (1, stride) if turned else (stride, 1)
        return torch.from_numpy(flat).as_strided((rows, cols), strides)


def product(draw: np.random.Generator, arenas: list[Arena], line: str) -> None:
    """out = a b, of any layouts."""
    rows, cols, outputs = (int(draw.choice([1, 2, 15, 16, 17, 31, 32, 33, draw.integers(1, 140)])) for _ in range(3))
    turned, gaps = draw.random(2) < 0.5, [int(draw.choice([0, 0, 1, 7])) for _ in range(3)]
    memory = Memory(draw, arenas)
    a = memory.matrix(rows, cols, gap=gaps[0], turned=bool(turned[0]))
    b = memory.matrix(cols, outputs, gap=gaps[1], turned=bool(turned[1]))
    out = memory.matrix(rows, outputs, gap=gaps[2])
    line = f"{line} product {tuple(a.shape)} {a.stride()} by {tuple(b.shape)} {b.stride()} to {out.stride()}"
    beside = torch.as_strided(out, (out.stride(0) * (rows - 1) + outputs,), (1,))
    before = beside.clone()
    none = torch.empty(0, 0)
    OPS.split_product_out(a, b, none, none, out)
    kept = torch.ones(len(beside), dtype=torch.bool)
    torch.as_strided(kept, out.shape, out.stride())[:] = False
    if not torch.equal(before[kept], beside[kept]):
        raise SystemExit(f"written between the rows: {line}")
    exact, size = a.double() @ b.double(), a.double().abs() @ b.double().abs()
    if not bool(((out - exact).abs() <= cols * 2.0**-24 * size + 2.0**-23 * size).all()):
        raise SystemExit(f"not the sums: {line}")
    i = int(draw.integers(rows))
    alone = OPS.split_product(a[i : i + 1].contiguous(), b.contiguous(), torch.empty(0))
    if not torch.equal(alone[0], out[i]):
        raise SystemExit(f"another sum alone: {line}, {i}")


def slopes(draw: np.random.Generator, arenas: list[Arena], line: str) -> None:
    """The gradients by the projections, in their place, and the hidden numbers."""
    name, high = str(draw.choice(NAMES)), bool(draw.random() < 0.5)
    rows, cols, hidden = (int(draw.choice([1, 2, 16, 17, 33, draw.integers(1, 90)])) for _ in range(3))
    memory = Memory(draw, arenas)
    grad = memory.matrix(rows, cols, gap=int(draw.choice([0, 3])))
    down = memory.matrix(cols, hidden, gap=int(draw.choice([0, 5])), turned=bool(draw.random() < 0.3))
    inputs = [memory.matrix(rows, hidden, scale=4.0) for _ in range(1 + GATES[name])]
    line = f"{line} slopes {name} {high} {tuple(grad.shape)} {grad.stride()} by {tuple(down.shape)} {down.stride()}"
    by_hidden = OPS.split_product(grad, down, torch.empty(0))
    want_hidden = getattr(OPS, name)(*inputs, high)
    want = getattr(OPS, f"{name}_backward")(by_hidden, *inputs, high)
    found = _split.slopes(grad, down, inputs, function=NAMES.index(name), high=high)
    if found is None:
        raise SystemExit(f"refused: {line}")
    wanted = [want_hidden, *(want if GATES[name] else [want])]
    for got, each in zip([found, *inputs], wanted, strict=True):
        if not torch.equal(got.view(torch.int32), each.view(torch.int32)):
            raise SystemExit(f"not what the kernels make of the sums: {line}")


def rounds(case: Case, num: int, seed: int) -> None:
    """Random calls; the draw of each follows from the seed and its number alone."""
    torch.set_num_threads(1)
    arenas = [Arena(30) for _ in range(4)]
    for i in range(num):
        line = case.says(f"seed {seed} round {i}:")
        (product if i % 2 else slopes)(np.random.default_rng((seed, i)), arenas, line)


def overrun(case: Case, kind: str) -> None:
    """A matrix that is read, or one that is written, one number beyond a buffer, which nobody survives."""
    case.says("overrun", kind)
    short = [Arena(2).at_edge(np.float32, 40 - (kind == which), last=True) for which in ("read", "write")]
    a, out = (torch.from_numpy(np.lib.stride_tricks.as_strided(each, (1, 40), (256, 4))) for each in short)
    OPS.split_product_out(a, torch.eye(40), torch.empty(0, 0), torch.empty(0, 0), out)


if __name__ == "__main__":
    main({"rounds": rounds, "overrun": overrun}, *sys.argv[1:])
