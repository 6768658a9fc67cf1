"""The native core through ctypes, without torch: arrays of float32, or of uint16 that hold the bits of bfloat16."""

import ctypes
from ctypes import POINTER, Structure, byref, c_bool, c_int, c_int64, c_void_p

import numpy as np
from numpy.typing import NDArray

from gatewise.kernels._library import functions, load

Numbers = NDArray[np.float32] | NDArray[np.uint16]
PRECISIONS = ("bfloat16", "float32", "float32_high")  # in the order of csrc/core.h
PATHS = ("avx512", "avx2", "plain")
LONG = 32768
"""From this many numbers on a call in bfloat16 reads a table; see `worth_a_table` in csrc/loops.h."""


class Call(Structure):
    """`gatewise::Call` of csrc/core.h."""

    _fields_ = (
        ("cols", c_int64),
        ("inputs", c_void_p * 3),
        ("in_stride", c_int64 * 3),
        ("outputs", c_void_p * 2),
        ("out_stride", c_int64 * 2),
        ("stream", c_bool),
    )


def core() -> ctypes.CDLL:
    """The library that is loaded."""
    library, status = load()
    if library is None:
        raise RuntimeError(str(status))
    library.gatewise_run.argtypes = [c_int, c_int, c_int, POINTER(Call), c_int64, c_int64]
    library.gatewise_run.restype = None
    return library


CORE = core()
GATES = functions(CORE)
NAMES = tuple(GATES)


def use(path: str) -> bool:
    """Switch the whole process to that instruction set; False where the machine has none."""
    return bool(CORE.gatewise_use_isa(path.encode()))


def dtype_of(precision: str) -> type[np.uint16] | type[np.float32]:
    return np.uint16 if precision == "bfloat16" else np.float32


def counts(name: str, backward: bool) -> tuple[int, int]:
    """How many inputs and outputs a kernel has."""
    gate = GATES[name]
    return 1 + gate + backward, 2 if gate and backward else 1


def to_brain(x: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The bits of bfloat16, ties to even; NaN stays one."""
    u = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
    rounded = ((u + 0x7FFF + ((u >> 16) & 1)) >> 16).astype(np.uint16)
    return np.where(np.isnan(x), np.uint16(0x7FC0), rounded)


def bits(x: Numbers) -> NDArray[np.uint32]:
    """The bits, with one pattern for every NaN."""
    if x.dtype == np.uint16:
        return np.where((x & 0x7FFF) > 0x7F80, np.uint32(0x7FC0), x.astype(np.uint32))
    return np.where(np.isnan(x), np.uint32(0x7FC00000), np.ascontiguousarray(x).view(np.uint32))


def call(name: str, backward: bool, precision: str, inputs: list[Numbers], outputs: list[Numbers], **how: int) -> None:
    """Run one kernel on arrays of one or two dimensions, whose rows may lie anywhere and are contiguous themselves.

    `how`: `stream`, and `begin` and `end`, counted along the rows.
    """
    this = Call(cols=inputs[0].shape[-1], stream=bool(how.get("stream")))
    for i, x in enumerate(inputs):
        this.inputs[i], this.in_stride[i] = x.ctypes.data, x.strides[0] // x.itemsize if x.ndim == 2 else x.size
    for i, x in enumerate(outputs):
        this.outputs[i], this.out_stride[i] = x.ctypes.data, x.strides[0] // x.itemsize if x.ndim == 2 else x.size
    end = how.get("end", inputs[0].size)
    index = NAMES.index(name)
    CORE.gatewise_run(index, int(backward), PRECISIONS.index(precision), byref(this), how.get("begin", 0), end)


def fresh(name: str, backward: bool, precision: str, inputs: list[Numbers], **how: int) -> list[Numbers]:
    """The outputs of one call, in new arrays that held NaN before."""
    nan = np.uint16(0x7FC1) if precision == "bfloat16" else np.float32(np.nan)
    outputs: list[Numbers] = [np.full_like(inputs[0], nan) for _ in range(counts(name, backward)[1])]
    call(name, backward, precision, inputs, outputs, **how)
    return outputs


def by_formula(name: str, backward: bool, precision: str, inputs: list[Numbers]) -> list[Numbers]:
    """The same by calls that are all shorter than `LONG`."""
    nan = np.uint16(0x7FC1) if precision == "bfloat16" else np.float32(np.nan)
    outputs: list[Numbers] = [np.full_like(inputs[0], nan) for _ in range(counts(name, backward)[1])]
    step, count = LONG - 1, inputs[0].size
    for begin in range(0, count, step):
        call(name, backward, precision, inputs, outputs, begin=begin, end=min(begin + step, count))
    return outputs
