"""Checks of a safetensors file before anything reads its tensors. Nothing in such a file is executed."""

import json
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

_MAX_HEADER = 100_000_000  # the format's own limit, in bytes
# Bits of one number of each dtype; the others cannot be checked against their offsets and are left to the library.
_BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E4M3", "F8_E5M2", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ"), 8),
    **dict.fromkeys(("I16", "U16", "F16", "BF16"), 16),
    **dict.fromkeys(("I32", "U32", "F32"), 32),
    **dict.fromkeys(("I64", "U64", "F64", "C64"), 64),
}


def lint(path: Path) -> dict[str, dict[str, Any]]:
    """The tensors that a safetensors file declares: name to `dtype`, `shape`, `data_offsets`.

    Raises `GatewiseError` when the file is missing or truncated, or the header is no JSON object, names a tensor
    twice, or has offsets that overlap, leave a hole, do not fit the shape, or do not end where the file ends.
    """
    header, num_bytes = _read_header(path)
    entries: list[tuple[int, int, str]] = []
    for name, entry in header.items():
        try:
            begin, end = entry["data_offsets"]
            numbers = 1
            for size in entry["shape"]:
                _whole(size)
                numbers *= size
            _whole(begin)
            _whole(end)
            bits = _BITS.get(entry["dtype"])
        except (KeyError, TypeError, ValueError) as error:
            raise GatewiseError(f"{path.name}: the header entry of {name!r} is broken") from error
        if end < begin or (bits is not None and (end - begin) * 8 != numbers * bits):
            raise GatewiseError(f"{path.name}: the offsets of {name!r} do not fit its shape")
        entries.append((begin, end, name))
    _check_offsets(path, sorted(entries), num_bytes)
    return header


def _check_offsets(path: Path, entries: list[tuple[int, int, str]], num_bytes: int) -> None:
    position = 0
    empty_at: dict[int, str] = {}
    for begin, end, name in entries:
        if begin == end and begin in empty_at:
            raise GatewiseError(f"{path.name}: {name!r} and {empty_at[begin]!r} are empty and stand at one offset")
        if begin < position:
            raise GatewiseError(f"{path.name}: the bytes of {name!r} overlap those of another tensor")
        if begin > position:
            raise GatewiseError(f"{path.name}: there are bytes before {name!r} that belong to no tensor")
        if begin == end:
            empty_at[begin] = name
        position = end
    if position > num_bytes:
        raise GatewiseError(f"{path.name} is truncated: {num_bytes} bytes of tensors, {position} declared")
    if position < num_bytes:
        raise GatewiseError(f"{path.name}: {num_bytes - position} bytes at its end belong to no tensor")


def _read_header(path: Path) -> tuple[dict[str, dict[str, Any]], int]:
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if size < 8 or length > size - 8:
                raise GatewiseError(f"{path.name} is truncated or no safetensors file ({size} bytes)")
            if length > _MAX_HEADER:
                raise GatewiseError(f"{path.name}: a header of {length} bytes is larger than the format allows")
            raw = file.read(length)
    except OSError as error:
        raise GatewiseError(f"cannot read the weights {path}: {error.strerror or error}") from error
    try:
        header = json.loads(raw.decode("utf-8"), object_pairs_hook=_no_duplicates)
    except (UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GatewiseError(f"{path.name}: the header is no valid JSON ({error})") from error
    if not isinstance(header, dict):
        raise GatewiseError(f"{path.name}: the header is no JSON object")
    tensors: dict[str, dict[str, Any]] = {name: entry for name, entry in header.items() if name != "__metadata__"}
    return tensors, size - 8 - length


def _no_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    keys = [key for key, _ in pairs]
    if len(set(keys)) != len(keys):
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice")
    return dict(pairs)


def _whole(value: object) -> None:
    if type(value) is not int or value < 0:
        raise ValueError("not a whole number")
