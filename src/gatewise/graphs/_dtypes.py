"""Numbers as model files store them: names of dtypes, their sizes, and the values behind raw bytes."""

from typing import Any

import numpy as np
from numpy.typing import NDArray

BITS: dict[str, int] = {
    "bool": 8,
    "bfloat16": 16,
    "complex128": 128,
    "complex64": 64,
    "float16": 16,
    "float32": 32,
    "float64": 64,
    "float4e2m1": 4,
    "float8e4m3fn": 8,
    "float8e4m3fnuz": 8,
    "float8e5m2": 8,
    "float8e5m2fnuz": 8,
    "float8e8m0": 8,
    "int16": 16,
    "int2": 2,
    "int32": 32,
    "int4": 4,
    "int64": 64,
    "int8": 8,
    "nf4": 4,
    "uint1": 1,
    "uint16": 16,
    "uint2": 2,
    "uint32": 32,
    "uint4": 4,
    "uint64": 64,
    "uint8": 8,
}
"""Bits of one stored value."""


def num_bytes(dtype: str, size: int) -> int:
    """Bytes of that many values as stored, the last byte filled up; 0 where the dtype has no fixed size (text)."""
    return (BITS.get(dtype, 0) * size + 7) // 8


def is_float(dtype: str) -> bool:
    """Whether it is a floating dtype, of any width."""
    return dtype.startswith(("float", "bfloat", "nf"))


def is_whole(dtype: str) -> bool:
    """Whether it is a dtype of whole numbers, signed or not."""
    return dtype.startswith(("int", "uint"))


def numpy_dtype(dtype: str) -> np.dtype[Any]:
    """NumPy's dtype for such values in memory: float32 for floats that it lacks, int8 or uint8 for narrow numbers."""
    if is_float(dtype) and dtype not in ("float16", "float32", "float64"):
        return np.dtype(np.float32)
    if is_whole(dtype) and BITS.get(dtype, 0) < 8:
        return np.dtype(np.int8 if dtype.startswith("int") else np.uint8)
    return np.dtype(dtype)


def values(raw: bytes, dtype: str, shape: tuple[int, ...]) -> NDArray[Any]:
    """The little-endian values of a file, in the dtype that `numpy_dtype` names.

    Raises ValueError where a dtype has no plain numbers.
    """
    size = int(np.prod(shape, dtype=np.int64))
    data = np.frombuffer(raw, dtype=np.uint8, count=num_bytes(dtype, size))
    if dtype == "bfloat16":
        wide = data.view("<u2").astype(np.uint32) << 16
        return wide.view(np.float32).reshape(shape)
    if dtype in ("int4", "uint4", "int2", "uint2", "uint1"):
        return _narrow(data, BITS[dtype], size, signed=dtype.startswith("int")).reshape(shape)
    if dtype in ("float8e4m3fn", "float8e5m2"):
        table = _eight_bits(exponent=4 if "e4" in dtype else 5)
        return table[data].reshape(shape)
    if dtype == "bool":
        return (data != 0).reshape(shape)
    if dtype not in BITS or not hasattr(np, dtype):
        raise ValueError(f"no plain numbers in a tensor of {dtype}")
    return data.view(np.dtype(dtype).newbyteorder("<")).reshape(shape)


def _narrow(data: NDArray[np.uint8], bits: int, size: int, *, signed: bool) -> NDArray[Any]:
    """Several values in a byte, the first in the lowest bits."""
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    flat = ((data[:, None] >> shifts) & (2**bits - 1)).reshape(-1)[:size]
    if not signed:
        return flat
    return np.where(flat >= 2 ** (bits - 1), flat.astype(np.int16) - 2**bits, flat).astype(np.int8)


def _eight_bits(exponent: int) -> NDArray[np.float32]:
    """What each byte stands for: e4m3fn (no infinity; all ones is NaN) or e5m2 (as IEEE)."""
    mantissa, bias = 7 - exponent, 2 ** (exponent - 1) - 1
    code = np.arange(256)
    power, fraction = (code & 127) >> mantissa, (code & (2**mantissa - 1)) / 2**mantissa
    size = np.where(power == 0, fraction * 2.0 ** (1 - bias), (1 + fraction) * 2.0 ** (power - bias))
    if exponent == 4:
        size[(code & 127) == 127] = np.nan
    else:
        size[power == 31] = np.where(fraction[power == 31] == 0, np.inf, np.nan)
    return np.where(code & 128, -size, size).astype(np.float32)
