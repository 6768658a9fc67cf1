"""Weights saved as safetensors, by their headers alone: names, shapes, dtypes, places. Needs no framework."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.core import GatewiseError

from ._dtypes import num_bytes, values

_LONGEST = 100_000_000
_DTYPES = {
    "BOOL": "bool",
    "BF16": "bfloat16",
    "C64": "complex64",
    "F4": "float4e2m1",
    "F8_E4M3": "float8e4m3fn",
    "F8_E4M3FNUZ": "float8e4m3fnuz",
    "F8_E5M2": "float8e5m2",
    "F8_E5M2FNUZ": "float8e5m2fnuz",
    "F8_E8M0": "float8e8m0",
    **{f"F{bits}": f"float{bits}" for bits in (16, 32, 64)},
    **{f"I{bits}": f"int{bits}" for bits in (8, 16, 32, 64)},
    **{f"U{bits}": f"uint{bits}" for bits in (8, 16, 32, 64)},
}


@dataclass(frozen=True, kw_only=True)
class StoredTensor:
    """One tensor of a safetensors file.

    Attributes:
        dtype: such as "float16".
        file: the file it is in.
        offset, num_bytes: its place in that file, counted from the file's start.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    file: Path
    offset: int
    num_bytes: int

    @property
    def size(self) -> int:
        """The number of values."""
        return int(np.prod(self.shape, dtype=np.int64))

    def raw(self) -> bytes:
        """The bytes as stored."""
        with self.file.open("rb") as stream:
            stream.seek(self.offset)
            found = stream.read(self.num_bytes)
        if len(found) != self.num_bytes:
            raise GatewiseError(f"{self.file} became shorter while it was read")
        return found

    def load(self) -> NDArray[Any]:
        """The values; bfloat16 as float32. Raises `GatewiseError` for a dtype without plain numbers."""
        try:
            return values(self.raw(), self.dtype, self.shape)
        except ValueError as error:
            raise GatewiseError(f"{self.file}: {self.name!r}: {error}") from None

    def sha256(self) -> str:
        """The hash of the bytes as stored, in hexadecimal."""
        return sha256(self.raw()).hexdigest()


def read_safetensors_header(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of a safetensors file, in the order of their bytes; the header alone is read.

    Raises `GatewiseError` where the file is no whole safetensors file: a name twice, tensors that overlap, leave a gap
    or end beyond the file, or a size that does not fit the shape.
    """
    header, start, end = _header(path)
    found = [_tensor(path, name, entry, start) for name, entry in header.items() if name != "__metadata__"]
    found.sort(key=lambda tensor: (tensor.offset, tensor.num_bytes, tensor.name))
    place = start
    for tensor in found:
        if tensor.offset != place:
            raise GatewiseError(f"{path}: {tensor.name!r} does not start where the tensor before it ends")
        place += tensor.num_bytes
    if place != end:
        what = "cut off" if place > end else "followed by bytes that belong to no tensor"
        raise GatewiseError(f"{path} has {end:,} bytes and its tensors end at byte {place:,}: it is {what}")
    return tuple(found)


def _header(path: Path) -> tuple[dict[str, Any], int, int]:
    """The header, where the tensors begin, and the file's size."""
    try:
        size = path.stat().st_size
        with path.open("rb") as stream:
            length = int.from_bytes(stream.read(8), "little")
            if size < 10 or length > min(size - 8, _LONGEST):
                raise GatewiseError(f"{path} is not a whole safetensors file: it is cut off or is another kind of file")
            raw = stream.read(length)
    except FileNotFoundError:
        raise GatewiseError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise GatewiseError(f"{path} is a folder; give the safetensors file in it") from None
    except OSError as error:
        raise GatewiseError(f"{path} cannot be read: {error.strerror or error}") from None
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise GatewiseError(f"{path}: the header is not valid: {str(error)[:200]}") from None
    if not raw.startswith(b"{") or not isinstance(header, dict):
        raise GatewiseError(f"{path}: the header is not a JSON object")
    return header, 8 + length, size


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"{next(name for name in names if names.count(name) > 1)!r} stands in it twice")
    return found


def _tensor(path: Path, name: str, entry: Any, start: int) -> StoredTensor:
    wanted = {"dtype", "shape", "data_offsets"}
    if not isinstance(entry, dict) or set(entry) != wanted:
        raise GatewiseError(f"{path}: {name!r} has no dtype, shape and data_offsets")
    shape, places = entry["shape"], entry["data_offsets"]
    if not _naturals(shape) or not _naturals(places) or len(places) != 2:
        raise GatewiseError(f"{path}: the shape or the offsets of {name!r} are not whole numbers")
    dtype = _DTYPES.get(entry["dtype"]) if isinstance(entry["dtype"], str) else None
    if dtype is None:
        raise GatewiseError(f"{path}: {name!r} has a dtype that is not known: {entry['dtype']!r}")
    size = 1
    for dim in shape:
        size *= dim
    wanted_bytes, held = num_bytes(dtype, size), places[1] - places[0]
    if wanted_bytes != held:
        raise GatewiseError(f"{path}: {name!r} needs {wanted_bytes:,} bytes and has {held:,}")
    return StoredTensor(
        name=name,
        shape=tuple(shape),
        dtype=dtype,
        file=path,
        offset=start + places[0],
        num_bytes=places[1] - places[0],
    )


def _naturals(found: Any) -> bool:
    return isinstance(found, list) and all(type(number) is int and 0 <= number < 2**63 for number in found)


def read_weights(path: Path) -> tuple[StoredTensor, ...]:
    """The tensors of a safetensors file or a model's folder, by name: gatewise's own or Hugging Face's, also in shards.

    Raises `GatewiseError` where there is no such file, a shard is missing or a name stands in two of them.
    """
    if not path.is_dir():
        files: Sequence[Path] = [path]
    elif (index := path / "model.safetensors.index.json").is_file():
        files = [path / name for name in _shards(index)]
    elif (path / "model.safetensors").is_file():
        files = [path / "model.safetensors"]
    else:
        files = sorted(path.glob("*.safetensors"))
    if not files:
        raise GatewiseError(f"no .safetensors file in {path}")
    found: dict[str, StoredTensor] = {}
    for file in files:
        for tensor in read_safetensors_header(file):
            if tensor.name in found:
                raise GatewiseError(f"{tensor.name!r} is both in {found[tensor.name].file.name} and in {file.name}")
            found[tensor.name] = tensor
    return tuple(found[name] for name in sorted(found))


def _shards(index: Path) -> list[str]:
    try:
        listed = json.loads(index.read_text("utf-8"))["weight_map"].values()
        names = sorted({str(name) for name in listed})
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise GatewiseError(f"{index} is not a valid index of shards") from None
    outside = [name for name in names if Path(name).name != name]
    if outside:
        raise GatewiseError(f"{index} names {outside[0]!r}, outside the model's folder; that is not followed")
    return names


def content_hash(tensors: Sequence[StoredTensor]) -> str:
    """One hash of names, dtypes, shapes and values, equal for the same weights in other files or another order."""
    total = sha256()
    for tensor in sorted(tensors, key=lambda tensor: tensor.name):
        line = json.dumps([tensor.name, tensor.dtype, list(tensor.shape), tensor.sha256()])
        total.update(line.encode())
    return total.hexdigest()
