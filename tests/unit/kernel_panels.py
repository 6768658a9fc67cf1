"""Calls the products by panels where one number too many ends the process: buffers lie at pages nobody may touch.

    python kernel_panels.py rounds  PATH NUM SEED   random sizes, strides, panels and edges, of every precision there
    python kernel_panels.py overrun PATH KIND       one number too many, on purpose: KIND is read or write

Sums are compared with those in float64 and, bit by bit, with those of a row alone; hidden numbers with the function's
kernel on the very sums.
"""

import sys
from ctypes import POINTER, Structure, byref, c_bool, c_int, c_int64, c_void_p
from dataclasses import dataclass

import numpy as np
from kernel_calls import CORE, GATES, NAMES, PRECISIONS, Numbers, bits, dtype_of, fresh, to_brain
from kernel_guards import Arena, Case, differ, main
from kernel_products import matrix, near, wide
from numpy.typing import NDArray

Wide = NDArray[np.float64]


class Product(Structure):
    """`gatewise::PanelProduct` of csrc/core.h."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "cols", "outputs")),
        *((name, c_void_p) for name in ("x", "panels", "y")),
        ("y_stride", c_int64),
        ("add", c_bool),
        ("most", c_void_p),
        ("beside", c_void_p * 3),
        ("beside_stride", c_int64),
    )


class Rows(Structure):
    """`gatewise::PanelRows`."""

    _fields_ = (
        *((name, c_int64) for name in ("rows", "cols", "stride")),
        *((name, c_void_p) for name in ("x", "tiles")),
        ("turned", c_bool),
        ("most", c_void_p),
    )


class Weights(Structure):
    """`gatewise::PanelWeights`."""

    _fields_ = (
        ("outputs", c_int64),
        ("cols", c_int64),
        ("stride", c_int64 * 2),
        ("w", c_void_p * 2),
        ("bias", c_void_p * 2),
        ("num", c_int),
        ("panels", c_void_p),
        ("turned", c_bool),
        ("most", c_void_p),
    )


CORE.gatewise_panels.argtypes = [c_int, c_int64, *[POINTER(c_int64)] * 4]
CORE.gatewise_panels.restype = c_bool
for _name, _what in (("to_tiles", Rows), ("to_panels", Weights), ("panel_rows", Product)):
    getattr(CORE, f"gatewise_{_name}").argtypes = [c_int, POINTER(_what), c_int64, c_int64]
CORE.gatewise_panel_hidden.argtypes = [c_int, c_int, POINTER(Product), c_int64, c_int64]


@dataclass(frozen=True)
class Shape:
    """How products of a precision lie, of so many inputs."""

    precision: str
    cols: int
    outputs: int
    group: int
    tile: int
    size: int

    @staticmethod
    def of(precision: str, cols: int) -> "Shape | None":
        sizes = [c_int64() for _ in range(4)]
        there = CORE.gatewise_panels(PRECISIONS.index(precision), cols, *map(byref, sizes))
        return Shape(precision, cols, *[each.value for each in sizes]) if there else None

    def num_panels(self, outputs: int) -> int:
        return -(-outputs // self.outputs)

    def heights(self, rows: int) -> list[int]:
        """The rows of each tile; those of bfloat16 are made up to whole ones."""
        count = -(-rows // self.tile)
        if self.precision == "bfloat16":
            return [self.tile] * count
        return [rows // count + (tile < rows % count) for tile in range(count)]

    def numbers(self, rows: int, cols: int) -> int:
        """In the tiles of a matrix."""
        return sum(self.heights(rows)) * -(-cols // self.group) * self.group

    def untiled(self, tiles: Numbers, rows: int, cols: int) -> Numbers:
        """The matrix in these tiles."""
        groups, found, at = -(-cols // self.group), [], 0
        for height in self.heights(rows):
            size = height * groups * self.group
            part = tiles[at : at + size].reshape(groups, height, self.group)
            found.append(part.transpose(1, 0, 2).reshape(height, groups * self.group))
            at += size
        return np.concatenate(found)[:rows, :cols].copy()


def to_panels(shape: Shape, weights: list[Numbers], biases: list[Numbers | None], panels: Numbers) -> None:
    this = Weights(*weights[0].shape, num=len(weights), panels=panels.ctypes.data)
    for i, (w, bias) in enumerate(zip(weights, biases, strict=True)):
        this.w[i], this.stride[i] = w.ctypes.data, w.strides[0] // w.itemsize
        this.bias[i] = None if bias is None else bias.ctypes.data
    count = shape.num_panels(len(weights[0]) * len(weights))
    CORE.gatewise_to_panels(PRECISIONS.index(shape.precision), byref(this), 0, count)


def to_tiles(shape: Shape, x: Numbers, tiles: Numbers) -> None:
    this = Rows(*x.shape, x.strides[0] // x.itemsize, x.ctypes.data, tiles.ctypes.data)
    CORE.gatewise_to_tiles(PRECISIONS.index(shape.precision), byref(this), 0, len(shape.heights(len(x))))


def product(shape: Shape, rows: int, outputs: int, x: Numbers, panels: Numbers, y: Numbers) -> Product:
    stride = y.strides[0] // y.itemsize if y.ndim == 2 else 0
    return Product(rows, shape.cols, outputs, x.ctypes.data, panels.ctypes.data, y.ctypes.data, stride)


class Memory:
    """Buffers at edges, a new arena for each."""

    def __init__(
        self, draw: np.random.Generator, arenas: list[Arena], kind: type[np.uint16] | type[np.float32]
    ) -> None:
        self.draw, self.arenas, self.kind = draw, list(arenas), kind

    def flat(self, count: int) -> Numbers:
        return self.arenas.pop().at_edge(self.kind, count, last=bool(self.draw.random() < 0.7))

    def filled(self, rows: int, cols: int, stride: int, scale: float = 1.0) -> Numbers:
        flat = self.flat(max(0, (rows - 1) * stride + cols))
        values = (scale * self.draw.standard_normal(len(flat))).astype(np.float32)
        flat[:] = to_brain(values) if self.kind is np.uint16 else values
        return matrix(flat, rows, cols, stride)


def one(draw: np.random.Generator, arenas: list[Arena], case: Case, label: str) -> None:
    """One random product into rows, and a random function of the same and, if it is a gate, of another."""
    precision, name = str(draw.choice(["bfloat16", "float32", "float32_high"])), str(draw.choice(NAMES))
    rows, outputs = int(draw.integers(1, 80)), int(draw.integers(1, 80))
    cols = int(
        draw.integers(500, 1100) if draw.random() < 0.1 else draw.integers(0, 20 if draw.random() < 0.4 else 150)
    )
    if cols < 150 and draw.random() < 0.1:  # more than a block of rows
        rows = int(draw.integers(80, 600))
    shape = Shape.of(precision, cols)
    if shape is None:
        return
    num, strides = 1 + GATES[name], [size + int(draw.choice([0, 0, 1, 7])) for size in (cols, cols, cols, outputs)]
    with_bias = bool(draw.random() < 0.5)
    line = case.says(label, precision, name, rows, cols, outputs, strides, with_bias)
    memory = Memory(draw, arenas, dtype_of(precision))
    x = memory.filled(rows, cols, strides[0])
    weights = [memory.filled(outputs, cols, strides[1 + i], scale=(1 + cols) ** -0.5) for i in range(num)]
    biases: list[Numbers | None] = [memory.filled(1, outputs, outputs)[0] if with_bias else None for _ in range(num)]
    tiles = memory.flat(shape.numbers(rows, cols))
    to_tiles(shape, x, tiles)
    if differ(shape.untiled(tiles, rows, cols), x):
        raise SystemExit(f"other tiles: {line}")
    sums = [into_rows(shape, memory, x, tiles, w, b, strides[3], line) for w, b in zip(weights, biases, strict=True)]
    panels = memory.flat(shape.size * shape.num_panels(num * outputs))
    to_panels(shape, weights, biases, panels)
    hidden = memory.flat(shape.numbers(rows, outputs))
    this = product(shape, rows, outputs, tiles, panels, hidden)
    cut = int(draw.integers(0, shape.num_panels(num * outputs) + 1))
    for begin, end in ((0, cut), (cut, shape.num_panels(num * outputs))):
        CORE.gatewise_panel_hidden(NAMES.index(name), PRECISIONS.index(precision), byref(this), begin, end)
    got = shape.untiled(hidden, rows, outputs)
    if precision != "bfloat16":
        (want,) = fresh(name, False, precision, [np.ascontiguousarray(each) for each in sums])
        if differ(got, want):
            raise SystemExit(f"not what the kernel makes of the sums: {line}")
    else:
        finished(name, x, weights, biases, got, line)
        if np.any(np.delete(as_matrix(shape, hidden, rows, outputs), slice(outputs), axis=1)):
            raise SystemExit(f"not zeros beyond the last: {line}")


def as_matrix(shape: Shape, tiles: Numbers, rows: int, cols: int) -> Numbers:
    """With what makes up the last group."""
    return shape.untiled(tiles, rows, -(-cols // shape.group) * shape.group)


def into_rows(
    shape: Shape, memory: Memory, x: Numbers, tiles: Numbers, w: Numbers, bias: Numbers | None, *rest: object
) -> Numbers:
    """x W^T + b by panels, looked at from all sides."""
    (stride, line), (rows, outputs) = rest, (len(x), len(w))
    assert isinstance(stride, int)
    panels = np.empty(shape.size * shape.num_panels(outputs), memory.kind)
    to_panels(shape, [w], [bias], panels)
    flat = memory.flat(max(0, (rows - 1) * stride + outputs))
    flat[:] = 7
    y = matrix(flat, rows, outputs, stride)
    this = product(shape, rows, outputs, tiles, panels, y)
    begin, end = sorted(memory.draw.integers(0, shape.num_panels(outputs) + 1, 2).tolist())
    CORE.gatewise_panel_rows(PRECISIONS.index(shape.precision), byref(this), begin, end)
    written = slice(begin * shape.outputs, min(end * shape.outputs, outputs))
    left = np.delete(y, written, axis=1)
    if np.any(left != 7):
        raise SystemExit(f"written beside: {line}, panels {begin} to {end}")
    CORE.gatewise_panel_rows(PRECISIONS.index(shape.precision), byref(this), 0, shape.num_panels(outputs))
    last = flat.copy()
    matrix(last, rows, outputs, stride)[:] = 7
    if np.any(last != 7):
        raise SystemExit(f"written between the rows: {line}")
    ones = to_brain(np.ones((rows, 1), np.float32)) if memory.kind is np.uint16 else np.ones((rows, 1), np.float32)
    longer = x if bias is None else np.concatenate([x, ones], axis=1)
    if not near(shape.precision, longer, w if bias is None else np.concatenate([w, bias[:, None]], axis=1), y):
        raise SystemExit(f"not the sums: {line}")
    i = int(memory.draw.integers(rows))
    alone, tile = np.empty((1, outputs), memory.kind), np.empty(shape.numbers(1, shape.cols), memory.kind)
    to_tiles(shape, x[i : i + 1], tile)
    this = product(shape, 1, outputs, tile, panels, alone)
    CORE.gatewise_panel_rows(PRECISIONS.index(shape.precision), byref(this), 0, shape.num_panels(outputs))
    if not np.array_equal(bits(alone), bits(y[i : i + 1])):
        raise SystemExit(f"another sum alone: {line}, {i}")
    return y


def finished(
    name: str, x: Numbers, weights: list[Numbers], biases: list[Numbers | None], got: Numbers, line: str
) -> None:
    """Are these the function of the sums in float64, rounded once to bfloat16?"""
    exact = [wide(x) @ wide(w).T + (0 if b is None else wide(b)) for w, b in zip(weights, biases, strict=True)]
    size = [np.abs(wide(x)) @ np.abs(wide(w)).T + 4 for w in weights]
    off = [x.shape[1] * 2.0**-22 * each for each in size]  # of the sums
    (want,) = fresh(name, False, "float32", [each.astype(np.float32) for each in exact])
    others = np.abs(exact[1]) + 2 if len(exact) == 2 else 1.0
    more = off[1] * (np.abs(exact[0]) + 1) if len(exact) == 2 else 0.0
    bound = 2.0**-8 * np.abs(want) + 1.3 * off[0] * others + more + 1e-6 * others
    if not np.all(np.abs(wide(got) - want) <= bound):
        raise SystemExit(f"not the function of the sums: {line}")


def rounds(case: Case, num: int, seed: int) -> None:
    """Random products; the draw of each follows from the seed and its number alone."""
    arenas = [Arena(190) for _ in range(11)]
    for i in range(num):
        one(np.random.default_rng((seed, i)), arenas, case, f"seed {seed} round {i}:")


def overrun(case: Case, kind: str) -> None:
    """Tiles that are read, or rows that are written, one number beyond a buffer, which nobody survives."""
    case.says("overrun", kind)
    shape = Shape.of("float32", 20)
    assert shape is not None
    x = matrix(Arena(2).at_edge(np.float32, 20 - (kind == "read"), last=True), 1, 20, 20)
    tiles, panels = np.ones(shape.numbers(1, 20), np.float32), np.ones(shape.size * 20, np.float32)
    if kind == "read":
        to_tiles(shape, x, tiles)
    y = matrix(Arena(2).at_edge(np.float32, 19, last=True), 1, 20, 20)
    CORE.gatewise_panel_rows(1, byref(product(shape, 1, 20, tiles, panels, y)), 0, shape.num_panels(20))


if __name__ == "__main__":
    main({"rounds": rounds, "overrun": overrun}, *sys.argv[1:])
