"""An inference request from its bytes: JSON, or JSON followed by raw tensors (the binary tensor extension)."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite, prod
from typing import Any

import numpy as np
import orjson

from ._datatypes import DTYPES, from_bytes, from_json
from ._refusal import bad
from ._servable import Port, Servable

REFUSED = ("shared_memory_region", "classification")
"""Parameters of other servers that would change what is answered; they are refused, not overlooked."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """An output that was asked for, and whether as raw bytes."""

    name: str
    binary: bool


@dataclass(frozen=True, slots=True)
class Inference:
    """What was asked. `wanted` is empty where every output is. `timeout_s` is None where none was stated.

    `key` says which requests may share a batch: those whose rows have the same types and sizes. It is None where
    the first dimension is not the batch.
    """

    id: str | None
    inputs: dict[str, np.ndarray]
    rows: int
    key: tuple[object, ...] | None
    wanted: tuple[Wanted, ...]
    binary: bool
    timeout_s: float | None


def decode(body: bytes, header_length: bytes | None, servable: Servable, *, max_rows: int, finite: bool) -> Inference:
    """Raises `Refusal` (400) with one line for whatever does not fit the servable's inputs."""
    head, raw = _cut(body, header_length)
    document = _document(head)
    parameters = _parameters(document, "the request")
    ports = {port.name: port for port in servable.inputs}
    given = document.get("inputs")
    if not isinstance(given, list) or not given:
        raise bad("the request needs inputs: a list of tensors")
    arrays: dict[str, np.ndarray] = {}
    at = 0
    for each in given:
        name, port = _port(each, ports)
        if name in arrays:
            raise bad(f"input {name!r} is given twice")
        shape = _shape(name, each.get("shape"), port)
        size = _parameters(each, f"input {name!r}").get("binary_data_size")
        if size is None:
            flat = from_json(name, port.datatype, each.get("data"), shape)
            if flat.size != prod(shape):
                raise bad(f"input {name!r}: the shape {list(shape)} has {prod(shape)} elements, data has {flat.size}")
        else:
            if "data" in each or type(size) is not int or not 0 <= size <= len(raw) - at:
                raise bad(f"input {name!r}: binary_data_size is {size!r}, but {len(raw) - at} raw bytes are there")
            flat = from_bytes(name, port.datatype, raw[at : at + size], prod(shape))
            at += size
        if finite and flat.dtype.kind == "f" and not _finite(flat):
            raise bad(f"input {name!r} holds NaN or infinity, or a value beyond {port.datatype}")
        arrays[name] = flat.reshape(shape)
    if at != len(raw):
        raise bad(f"{len(raw) - at} raw bytes are left over after the inputs")
    missing = [name for name in ports if name not in arrays]
    if missing:
        raise bad(f"input {missing[0]!r} is missing; the inputs are: {', '.join(ports)}")
    rows, key = _rows(arrays, ports, max_rows)
    wanted, binary = _wanted(document.get("outputs"), parameters, servable.outputs)
    return Inference(_id(document), arrays, rows, key, wanted, binary, _timeout(parameters))


def _cut(body: bytes, header_length: bytes | None) -> tuple[bytes | memoryview, memoryview]:
    if header_length is None:
        return body, memoryview(b"")
    text = header_length.strip()
    if not text.isdigit() or len(text) > 18 or not 0 < int(text) <= len(body):
        shown = header_length[:40].decode("latin-1")
        raise bad(f"Inference-Header-Content-Length is {shown!r}; it must be from 1 to the body's {len(body)} bytes")
    view = memoryview(body)
    return view[: int(text)], view[int(text) :]


def _document(head: bytes | memoryview) -> dict[str, Any]:
    try:
        document = orjson.loads(head)
    except orjson.JSONDecodeError as error:
        raise bad(f"the body is not JSON: {str(error)[:200]}") from None
    if not isinstance(document, dict):
        raise bad("the body must be a JSON object")
    return document


def _parameters(each: Mapping[str, Any], what: str) -> dict[str, Any]:
    found = each.get("parameters")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise bad(f"the parameters of {what} must be an object")
    for name in REFUSED:
        if name in found:
            raise bad(f"{what}: {name} is not supported")
    return found


def _id(document: Mapping[str, Any]) -> str | None:
    found = document.get("id")
    if found is not None and not isinstance(found, str):
        raise bad("id must be a string")
    if found is not None and len(found) > 512:
        raise bad(f"id has {len(found)} characters; 512 at most")
    return found or None


def _timeout(parameters: Mapping[str, Any]) -> float | None:
    found = parameters.get("timeout")
    if found is None:
        return None
    if type(found) is not int or found < 0:
        raise bad("timeout must be a whole number of microseconds")
    return found / 1e6 if found else None


def _port(each: object, ports: Mapping[str, Port]) -> tuple[str, Port]:
    if not isinstance(each, dict):
        raise bad("each input must be an object with name, shape, datatype and data")
    name = each.get("name")
    port = ports.get(name) if isinstance(name, str) else None
    if port is None:
        close = get_close_matches(str(name)[:80], ports, n=1)
        hint = f"; did you mean {close[0]!r}?" if close else ""
        raise bad(f"unknown input {str(name)[:80]!r}{hint}; the inputs are: {', '.join(ports)}")
    if each.get("datatype") != port.datatype:
        shown = str(each.get("datatype"))[:40]
        raise bad(f"input {name!r} has the datatype {port.datatype}, not {shown!r}")
    return port.name, port


def _shape(name: str, given: object, port: Port) -> tuple[int, ...]:
    if not isinstance(given, list) or not all(type(each) is int and 0 <= each < 1 << 48 for each in given):
        raise bad(f"input {name!r}: shape must be a list of whole numbers from 0 up")
    fits = len(given) == len(port.shape) and all(
        size in (-1, each) for size, each in zip(port.shape, given, strict=True)
    )
    if not fits:
        raise bad(f"input {name!r} has the shape {list(port.shape)}, -1 being any size; not {given[:16]!s}")
    if not all(given):
        raise bad(f"input {name!r}: a dimension is 0, so there is nothing to compute")
    return tuple(given)


def _finite(flat: np.ndarray) -> bool:
    if flat.dtype.itemsize < 4:
        return bool(np.isfinite(flat).all())
    with np.errstate(over="ignore", invalid="ignore"):
        return isfinite(np.add.reduce(flat)) or bool(np.isfinite(flat).all())


def _rows(
    arrays: Mapping[str, np.ndarray], ports: Mapping[str, Port], max_rows: int
) -> tuple[int, tuple[object, ...] | None]:
    batched = all(port.shape and port.shape[0] == -1 for port in ports.values())
    sizes = {name: each.shape[0] if each.ndim else 1 for name, each in arrays.items()}
    rows = next(iter(sizes.values()))
    if batched and any(each != rows for each in sizes.values()):
        said = ", ".join(f"{name} {each}" for name, each in sizes.items())
        raise bad(f"the inputs must have the same number of rows; given: {said}")
    if rows > max_rows:
        raise bad(f"a request may have {max_rows} rows at most, not {rows}; send it in parts")
    if not batched:
        return rows, None
    return rows, tuple(arrays[name].shape[1:] for name in ports)


def _wanted(given: object, parameters: Mapping[str, Any], outputs: Sequence[Port]) -> tuple[tuple[Wanted, ...], bool]:
    every = parameters.get("binary_data_output", False)
    if not isinstance(every, bool):
        raise bad("binary_data_output must be true or false")
    if given is None or given == []:
        return (), every
    if not isinstance(given, list):
        raise bad("outputs must be a list")
    names = {port.name for port in outputs}
    wanted: dict[str, Wanted] = {}
    for each in given:
        name = each.get("name") if isinstance(each, dict) else None
        if not isinstance(name, str) or name not in names:
            raise bad(f"unknown output {str(name)[:80]!r}; the outputs are: {', '.join(sorted(names))}")
        if name in wanted:
            raise bad(f"output {name!r} is asked for twice")
        binary = _parameters(each, f"output {name!r}").get("binary_data", every)
        if not isinstance(binary, bool):
            raise bad(f"output {name!r}: binary_data must be true or false")
        wanted[name] = Wanted(name, binary)
    return tuple(wanted.values()), every


def known(servable: Servable) -> list[str]:
    """The ports whose type this server cannot carry; empty where all is well."""
    return [port.name for port in (*servable.inputs, *servable.outputs) if port.datatype not in DTYPES]
