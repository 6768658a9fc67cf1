"""Calls the product of few rows where one number too many ends the process: buffers lie at pages nobody may touch.

    python kernel_products.py rounds  PATH NUM SEED   random sizes, strides, columns and edges
    python kernel_products.py overrun PATH KIND       one number too many, on purpose: KIND is read or write

The result is compared bit by bit with that of each row and column alone, and with the sums in float64.
"""

import sys
from ctypes import POINTER, Structure, byref, c_int, c_int64, c_void_p

import numpy as np
from kernel_calls import CORE, PRECISIONS, Numbers, bits, dtype_of, to_brain
from kernel_guards import Arena, Case, differ, main
from numpy.typing import NDArray


class Product(Structure):
    """`gatewise::Product` of csrc/core.h."""

    _fields_ = (
        ("rows", c_int64),
        ("cols", c_int64),
        ("x", c_void_p),
        ("w", c_void_p),
        ("y", c_void_p),
        ("x_stride", c_int64),
        ("w_stride", c_int64),
        ("y_stride", c_int64),
    )


CORE.gatewise_few_rows.argtypes = [c_int, POINTER(Product), c_int64, c_int64]
CORE.gatewise_few_rows.restype = None


def product(precision: str, x: Numbers, w: Numbers, y: Numbers, begin: int = 0, end: int | None = None) -> None:
    """y[:, begin:end] = x w[begin:end]^T, of matrices with rows anywhere."""
    strides = [each.strides[0] // each.itemsize for each in (x, w, y)]
    this = Product(*x.shape, *[each.ctypes.data for each in (x, w, y)], *strides)
    CORE.gatewise_few_rows(PRECISIONS.index(precision), byref(this), begin, len(w) if end is None else end)


def matrix(flat: Numbers, rows: int, cols: int, stride: int) -> Numbers:
    return np.lib.stride_tricks.as_strided(flat, (rows, cols), (stride * flat.itemsize, flat.itemsize))


def wide(x: Numbers) -> NDArray[np.float64]:
    exact = (x.astype(np.uint32) << 16).view(np.float32) if x.dtype == np.uint16 else x
    return exact.astype(np.float64)


def near(precision: str, x: Numbers, w: Numbers, y: Numbers) -> bool:
    """Is each sum within the rounding of its length and of its own number?"""
    exact, whole = wide(x) @ wide(w).T, np.abs(wide(x)) @ np.abs(wide(w)).T
    last = 2.0**-8 if precision == "bfloat16" else 2.0**-24
    return bool(np.all(np.abs(wide(y) - exact) <= x.shape[1] * 2.0**-24 * whole + last * np.abs(exact) + 1e-38))


def one(draw: np.random.Generator, arenas: list[Arena], case: Case, label: str) -> None:
    """One random product, of some of its columns."""
    precision = str(draw.choice(["bfloat16", "float32"]))
    kind = dtype_of(precision)
    rows, outputs = int(draw.integers(1, 36)), int(draw.integers(1, 24))
    cols = int(draw.integers(0, 20 if draw.random() < 0.4 else 150))
    shapes = ((rows, cols), (outputs, cols), (rows, outputs))
    strides = [size + int(draw.choice([0, 0, 1, 7])) for _, size in shapes]
    begin, end = sorted(draw.integers(0, outputs + 1, 2).tolist())
    line = case.says(label, precision, *shapes, strides, begin, end)
    flats = [
        arena.at_edge(kind, max(0, (shape[0] - 1) * stride + shape[1]), last=bool(draw.random() < 0.7))
        for arena, shape, stride in zip(arenas, shapes, strides, strict=True)
    ]
    for flat in flats:
        values = draw.standard_normal(len(flat)).astype(np.float32)
        flat[:] = to_brain(values) if kind is np.uint16 else values
    x, w, y = (matrix(flat, *shape, stride) for flat, shape, stride in zip(flats, shapes, strides, strict=True))
    before = flats[2].copy()
    product(precision, x, w, y, begin, end)
    got = y[:, begin:end].copy()
    if not near(precision, x, w[begin:end], got):
        raise SystemExit(f"not the sums: {line}")
    alone = np.empty((1, 1), kind)
    i = int(draw.integers(rows))
    for j in range(begin, end):
        product(precision, x[i : i + 1], w[j : j + 1], alone)
        if differ(alone, got[i : i + 1, j - begin : j - begin + 1]):
            raise SystemExit(f"another sum alone: {line}, {i}, {j}")
    matrix(before, *shapes[2], strides[2])[:, begin:end] = got
    if not np.array_equal(bits(before), bits(flats[2])):
        raise SystemExit(f"written beside: {line}")


def rounds(case: Case, num: int, seed: int) -> None:
    """Random products; the draw of each follows from the seed and its number alone."""
    arenas = [Arena() for _ in range(3)]
    for i in range(num):
        one(np.random.default_rng((seed, i)), arenas, case, f"seed {seed} round {i}:")


def overrun(case: Case, kind: str) -> None:
    """A product that reads or writes one number beyond a buffer, which nobody survives."""
    case.says("overrun", kind)
    small, large, other = (Arena(2).at_edge(np.float32, count, last=True) for count in (19, 20, 20))
    w = matrix(small if kind == "read" else large, 20, 1, 1)
    y = matrix(small if kind == "write" else other, 1, 20, 20)
    product("float32", np.ones((1, 1), np.float32), w, y)


if __name__ == "__main__":
    main({"rounds": rounds, "overrun": overrun}, *sys.argv[1:])
