"""The protocol's tensor types and numpy's. BF16, which numpy lacks, is float32 inside and two bytes on the wire."""

import struct
from collections.abc import Iterable

import numpy as np

from ._refusal import bad

DTYPES: dict[str, np.dtype] = {
    name: np.dtype(code)
    for name, code in {
        "BOOL": "?",
        "UINT8": "u1",
        "UINT16": "<u2",
        "UINT32": "<u4",
        "UINT64": "<u8",
        "INT8": "i1",
        "INT16": "<i2",
        "INT32": "<i4",
        "INT64": "<i8",
        "FP16": "<f2",
        "FP32": "<f4",
        "FP64": "<f8",
        "BF16": "<f4",
        "BYTES": "O",
    }.items()
}

_KINDS = {"b": "b", "i": "iu", "u": "iu", "f": "iuf"}
"""Which kinds of numbers may be given for a type: no fraction for an integer, no truth value for a number."""


def from_bytes(name: str, datatype: str, raw: memoryview, count: int) -> np.ndarray:
    """A flat array of `count` elements, with memory of its own."""
    if datatype == "BYTES":
        return _from_lengths(name, raw, count)
    size = 2 if datatype == "BF16" else DTYPES[datatype].itemsize
    if len(raw) != count * size:
        raise bad(f"input {name!r}: {count} elements of {datatype} are {count * size} bytes, not {len(raw)}")
    if datatype == "BF16":
        return (np.frombuffer(raw, "<u2").astype("<u4") << 16).view("<f4")
    if datatype == "BOOL":
        return np.frombuffer(raw, np.uint8) != 0
    return np.frombuffer(raw, DTYPES[datatype]).copy()


def _from_lengths(name: str, raw: memoryview, count: int) -> np.ndarray:
    if count * 4 > len(raw):
        raise bad(f"input {name!r}: {count} elements of BYTES are {count * 4} bytes at least, not {len(raw)}")
    values = np.empty(count, dtype=object)
    at = 0
    for index in range(count):
        if at + 4 > len(raw):
            raise bad(f"input {name!r}: the lengths of BYTES elements do not add up to {len(raw)} bytes")
        end = at + 4 + struct.unpack_from("<I", raw, at)[0]
        if end > len(raw):
            raise bad(f"input {name!r}: a BYTES element is longer than the {len(raw)} bytes that came")
        values[index] = bytes(raw[at + 4 : end])
        at = end
    if at != len(raw):
        raise bad(f"input {name!r}: {len(raw) - at} bytes are left over after {count} BYTES elements")
    return values


def from_json(name: str, datatype: str, data: object, shape: tuple[int, ...]) -> np.ndarray:
    """A flat array of what a JSON list says: nested as the shape is, or flat."""
    if not isinstance(data, list):
        raise bad(f"input {name!r}: data must be a list")
    dtype = DTYPES[datatype]
    try:
        found = np.array(data, dtype=object if datatype == "BYTES" else None)
    except (ValueError, OverflowError, TypeError, RecursionError):
        raise bad(f"input {name!r}: the lists of data do not form a tensor of numbers") from None
    if found.ndim != 1 and found.shape != shape:
        raise bad(f"input {name!r}: data has the shape {list(found.shape)}, not {list(shape)}")
    found = found.reshape(-1)
    if datatype == "BYTES":
        if not all(isinstance(each, str) for each in found):
            raise bad(f"input {name!r}: data of BYTES must be strings")
        found[:] = [each.encode("utf-8", "surrogatepass") for each in found]
        return found
    if found.dtype.kind not in _KINDS[dtype.kind] and found.size:
        raise bad(f"input {name!r}: data does not hold values of {datatype}")
    if dtype.kind in "iu" and found.size and found.dtype != dtype:
        limits = np.iinfo(dtype)
        if int(found.min()) < limits.min or int(found.max()) > limits.max:
            raise bad(f"input {name!r}: a value of data does not fit {datatype} ({limits.min} to {limits.max})")
    with np.errstate(over="ignore"):
        return found.astype(dtype)


def to_bytes(datatype: str, values: np.ndarray) -> bytes:
    """The elements in row-major order, as the binary extension lays them."""
    if datatype == "BYTES":
        return b"".join(struct.pack("<I", len(each)) + each for each in encoded(values))
    if datatype == "BF16":
        bits = np.ascontiguousarray(values, "<f4").view("<u4")
        rounded = ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")  # to nearest, ties to even
        return np.where(np.isnan(values), (bits >> 16) | 0x40, rounded).astype("<u2").tobytes()
    return values.astype(DTYPES[datatype], copy=False).tobytes()


def encoded(values: np.ndarray) -> Iterable[bytes]:
    """The elements of a text or bytes array as bytes."""
    for each in values.reshape(-1).tolist():
        yield each.encode() if isinstance(each, str) else bytes(each)
