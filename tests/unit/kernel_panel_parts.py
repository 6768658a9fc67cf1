"""Calls parts of the products by panels between pages nobody may touch, and looks at every number beside theirs.

    python kernel_panel_parts.py rounds  PATH NUM SEED   random parts of tiles, panels, rows and hidden numbers
    python kernel_panel_parts.py overrun PATH KIND       one number too many, on purpose: KIND is read or write

A part may change its own numbers and no other byte of its arena. x has numbers of any size and rows with special ones;
between its rows, and in float32 in what makes up its tiles, there is NaN, which nobody may take up.
"""

import sys
from collections.abc import Callable
from ctypes import byref
from itertools import pairwise

import numpy as np
from kernel_calls import CORE, GATES, NAMES, PRECISIONS, Numbers, bits, dtype_of, fresh, to_brain
from kernel_guards import Arena, Case, differ, main
from kernel_panels import Rows, Shape, Weights, finished, product, to_panels, to_tiles
from kernel_products import matrix
from numpy.typing import NDArray

Part = Callable[[int, int], None]
Mask = NDArray[np.bool_]
PATTERN = 0xA5
SPECIAL = np.array([0, -0.0, np.inf, -np.inf, np.nan, 1e-45, -1e-39, 3e38, -3e38, -7.5, 5.3], np.float32)
SCALES = {"bfloat16": (0.1, 1, 4), "float32": (1e-38, 0.1, 1, 4, 30, 1e20), "float32_high": (1e-38, 1, 4, 30, 1e20)}


class Buffer:
    """Numbers at either edge of an arena that is a pattern otherwise."""

    def __init__(self, draw: np.random.Generator, arenas: list[Arena], kind: type, count: int) -> None:
        self.arena, last = arenas.pop(), bool(draw.random() < 0.6)
        self.arena.bytes[:] = PATTERN
        self.flat = self.arena.at_edge(kind, count, last=last)
        self.start = len(self.arena.bytes) - self.flat.nbytes if last else 0

    def changes(self, call: Callable[[], None]) -> tuple[Mask, bool]:
        """Which numbers a call changes; and does it change a byte beside them?"""
        before = self.arena.bytes.copy()
        call()
        changed = before != self.arena.bytes
        inside = slice(self.start, self.start + self.flat.nbytes)
        own = changed[inside].reshape(-1, self.flat.itemsize).any(1)
        changed[inside] = False
        return own, bool(changed.any())


def in_parts(draw: np.random.Generator, buffer: Buffer, own: list[NDArray[np.int64]], call: Part, line: str) -> None:
    """All units in up to three parts, in any order. `own` are the places of each unit's numbers."""
    cuts = sorted({0, len(own), *draw.integers(0, len(own) + 1, 2).tolist()})
    parts = list(pairwise(cuts))
    for i in draw.permutation(len(parts)):
        begin, end = parts[i]
        changed, beside = buffer.changes(lambda begin=begin, end=end: call(begin, end))
        for each in own[begin:end]:
            changed[each] = False
        if beside or changed.any():
            raise SystemExit(f"written beside: {line}, {begin} to {end} of {len(own)}")


class Round:
    """One random product: its numbers, and what is made of them part by part."""

    def __init__(self, draw: np.random.Generator, arenas: list[Arena], case: Case, label: str) -> None:
        self.draw, self.arenas = draw, list(arenas)
        self.precision, self.name = str(draw.choice(PRECISIONS)), str(draw.choice(NAMES))
        self.kind, self.index = dtype_of(self.precision), PRECISIONS.index(self.precision)
        self.rows, self.outputs = int(draw.integers(1, 81)), int(draw.integers(1, 81))
        few, many = int(draw.integers(20)), int(draw.integers(150))
        self.cols = int(draw.choice([few, many, many, many, draw.integers(500, 1101)], p=[0.3, 0.2, 0.2, 0.2, 0.1]))
        self.scale = float(draw.choice(SCALES[self.precision]))
        self.line = case.says(label, self.precision, self.name, self.rows, self.cols, self.outputs, self.scale)

    def new(self, count: int) -> Buffer:
        return Buffer(self.draw, self.arenas, self.kind, count)

    def brain(self, values: NDArray[np.float32]) -> Numbers:
        return to_brain(values) if self.kind is np.uint16 else values

    def filled(self, rows: int, cols: int, scale: float) -> Numbers:
        """Normal numbers at a random stride, with NaN between the rows."""
        stride = cols + int(self.draw.choice([0, 0, 1, 9]))
        flat = self.new(max(0, (rows - 1) * stride + cols)).flat
        flat[:] = self.brain(np.full(len(flat), np.nan, np.float32))
        found = matrix(flat, rows, cols, stride)
        found[:] = self.brain((scale * self.draw.standard_normal((rows, cols))).astype(np.float32))
        return found

    def fail(self, what: str) -> None:
        raise SystemExit(f"{what}: {self.line}")

    def run(self, shape: Shape) -> None:
        gate = GATES[self.name]
        x = self.filled(self.rows, self.cols, self.scale)
        special = self.draw.random(self.rows) < 0.15 if self.cols else np.zeros(self.rows, np.bool_)
        for i in np.flatnonzero(special):
            x[i, self.draw.integers(self.cols)] = self.brain(self.draw.choice(SPECIAL, 1))[0]
        weights = [self.filled(self.outputs, self.cols, (1 + self.cols) ** -0.5) for _ in range(1 + gate)]
        biases = [self.filled(1, self.outputs, 1.0)[0] if self.draw.random() < 0.5 else None for _ in weights]
        tiles = self.tiled(shape, x)
        sums = [self.summed(shape, x, tiles, w, bias) for w, bias in zip(weights, biases, strict=True)]
        hidden = self.hidden(shape, x, tiles, weights, biases)
        if self.precision == "bfloat16":
            finished(self.name, x[~special], weights, biases, hidden[~special], self.line)
            return
        (want,) = fresh(self.name, False, self.precision, [np.ascontiguousarray(each) for each in sums])
        if differ(hidden, want):
            self.fail("not what the kernel makes of the sums")

    def tiled(self, shape: Shape, x: Numbers) -> Numbers:
        """x in tiles, with NaN beside them where that must not matter."""
        heights, row = shape.heights(self.rows), shape.numbers(1, self.cols) // shape.heights(1)[0]
        ends = np.cumsum([0, *heights]) * row
        buffer = self.new(shape.numbers(self.rows, self.cols))
        this = Rows(*x.shape, x.strides[0] // x.itemsize, x.ctypes.data, buffer.flat.ctypes.data)
        own = [np.arange(begin, end) for begin, end in pairwise(ends)]
        in_parts(
            self.draw, buffer, own, lambda *part: CORE.gatewise_to_tiles(self.index, byref(this), *part), self.line
        )
        if differ(shape.untiled(buffer.flat, self.rows, self.cols), x):
            self.fail("other tiles")
        made_up = np.ones(len(buffer.flat), np.bool_)
        made_up[self.places(shape, self.cols)[: self.rows, : self.cols]] = False
        if self.kind is np.float32:
            buffer.flat[made_up] = np.nan
        elif buffer.flat[made_up].any():
            self.fail("tiles not made up with zeros")
        return buffer.flat

    def places(self, shape: Shape, cols: int) -> NDArray[np.int64]:
        """Where in tiles of these rows each number stands, with all that makes them up."""
        count = shape.numbers(self.rows, cols)
        rows = sum(shape.heights(self.rows))
        indices = np.arange(count)
        return shape.untiled(indices, rows, count // rows)  # type: ignore[arg-type,return-value]

    def panels(self, shape: Shape, weights: list[Numbers], biases: list[Numbers | None]) -> Numbers:
        count = shape.num_panels(len(weights) * self.outputs)
        buffer, whole = self.new(shape.size * count), np.zeros(shape.size * count, self.kind)
        this = Weights(*weights[0].shape, num=len(weights), panels=buffer.flat.ctypes.data)
        for i, (w, bias) in enumerate(zip(weights, biases, strict=True)):
            this.w[i], this.stride[i] = w.ctypes.data, w.strides[0] // w.itemsize
            this.bias[i] = None if bias is None else bias.ctypes.data
        own = [np.arange(i * shape.size, (i + 1) * shape.size) for i in range(count)]
        in_parts(
            self.draw, buffer, own, lambda *part: CORE.gatewise_to_panels(self.index, byref(this), *part), self.line
        )
        to_panels(shape, weights, biases, whole)
        if not np.array_equal(whole.view(np.uint8), buffer.flat.view(np.uint8)):
            self.fail("other panels in parts")
        return buffer.flat

    def some(self, shape: Shape, x: Numbers) -> tuple[slice, Numbers]:
        """Some neighbouring rows in tiles of their own."""
        begin = int(self.draw.integers(self.rows))
        found = slice(begin, int(self.draw.integers(begin, self.rows)) + 1)
        tiles = np.zeros(shape.numbers(found.stop - begin, self.cols), self.kind)
        to_tiles(shape, x[found], tiles)
        return found, tiles

    def summed(self, shape: Shape, x: Numbers, tiles: Numbers, w: Numbers, bias: Numbers | None) -> Numbers:
        """x W^T + b in rows; the same bits for some of them alone."""
        stride, panels = self.outputs + int(self.draw.choice([0, 1, 5])), self.panels(shape, [w], [bias])
        buffer = self.new((self.rows - 1) * stride + self.outputs)
        y, places = (
            matrix(each, self.rows, self.outputs, stride) for each in (buffer.flat, np.arange(len(buffer.flat)))
        )
        this = product(shape, self.rows, self.outputs, tiles, panels, y)
        own = [places[:, i : i + shape.outputs] for i in range(0, self.outputs, shape.outputs)]
        in_parts(
            self.draw, buffer, own, lambda *part: CORE.gatewise_panel_rows(self.index, byref(this), *part), self.line
        )
        some, its = self.some(shape, x)
        alone = np.empty((some.stop - some.start, self.outputs), self.kind)
        this = product(shape, len(alone), self.outputs, its, panels, alone)
        CORE.gatewise_panel_rows(self.index, byref(this), 0, len(own))
        if not np.array_equal(bits(alone), bits(y[some])):
            self.fail(f"other sums alone, rows {some}")
        return y

    def hidden(
        self, shape: Shape, x: Numbers, tiles: Numbers, weights: list[Numbers], biases: list[Numbers | None]
    ) -> Numbers:
        """The function of the sums, out of its tiles; the same bits for some rows alone."""
        panels, buffer = self.panels(shape, weights, biases), self.new(shape.numbers(self.rows, self.outputs))
        this = product(shape, self.rows, self.outputs, tiles, panels, buffer.flat)
        places, step = self.places(shape, self.outputs), shape.outputs // len(weights)
        own = [places[:, i : i + step] for i in range(0, self.outputs, step)]
        own[-1] = places[:, (len(own) - 1) * step :]  # and what makes up the last group
        place = NAMES.index(self.name)
        in_parts(
            self.draw,
            buffer,
            own,
            lambda *part: CORE.gatewise_panel_hidden(place, self.index, byref(this), *part),
            self.line,
        )
        found = shape.untiled(buffer.flat, self.rows, self.outputs)
        if self.precision == "bfloat16" and buffer.flat[places[: self.rows, self.outputs :]].any():
            self.fail("hidden numbers not made up with zeros")
        some, its = self.some(shape, x)
        alone = np.empty(shape.numbers(some.stop - some.start, self.outputs), self.kind)
        this = product(shape, some.stop - some.start, self.outputs, its, panels, alone)
        CORE.gatewise_panel_hidden(place, self.index, byref(this), 0, len(own))
        if not np.array_equal(bits(shape.untiled(alone, some.stop - some.start, self.outputs)), bits(found[some])):
            self.fail(f"other hidden numbers alone, rows {some}")
        return found


def rounds(case: Case, num: int, seed: int) -> None:
    """Random products; the draw of each follows from the seed and its number alone."""
    arenas = [Arena(190) for _ in range(12)]
    for i in range(num):
        this = Round(np.random.default_rng((seed, i)), arenas, case, f"seed {seed} round {i}:")
        shape = Shape.of(this.precision, this.cols)
        if shape is not None:
            this.run(shape)


def overrun(case: Case, kind: str) -> None:
    """Panels that are read, or hidden tiles that are written, one number beyond a buffer, which nobody survives."""
    case.says("overrun", kind)
    shape = Shape.of("float32", 20)
    assert shape is not None
    tiles, sizes = np.ones(shape.numbers(1, 20), np.float32), (shape.size * shape.num_panels(20), shape.numbers(1, 20))
    panels, hidden = (
        Arena(4).at_edge(np.float32, size - (kind == what), last=True)
        for size, what in zip(sizes, ("read", "write"), strict=True)
    )
    panels[:] = 1
    this = product(shape, 1, 20, tiles, panels, hidden)
    CORE.gatewise_panel_hidden(NAMES.index("gelu"), 1, byref(this), 0, shape.num_panels(20))


if __name__ == "__main__":
    main({"rounds": rounds, "overrun": overrun}, *sys.argv[1:])
