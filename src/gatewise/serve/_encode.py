"""An inference response as bytes: JSON, or JSON followed by raw tensors."""

import re
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from ._datatypes import DTYPES, encoded, to_bytes
from ._decode import Inference, Wanted
from ._refusal import Refusal
from ._servable import Servable

Headers = list[tuple[bytes, bytes]]

JSON_TYPE = (b"content-type", b"application/json")
BINARY_TYPE = (b"content-type", b"application/octet-stream")

_ZERO = re.compile(rb"q=0(\.0*)?")

_WORTH_BYTES = 1024
"""What is smaller is not compressed for a client that only says that it could read it."""


def dumps(value: object) -> bytes:
    """JSON; NaN and infinity become null."""
    return orjson.dumps(value, option=orjson.OPT_SERIALIZE_NUMPY)


def encode(
    asked: Inference, servable: Servable, outputs: Mapping[str, np.ndarray], request: str
) -> tuple[Headers, bytes]:
    """The outputs that were asked for, in that order; all where none was named. NaN is null in JSON."""
    wanted = asked.wanted or tuple(Wanted(port.name, asked.binary) for port in servable.outputs)
    datatypes = {port.name: port.datatype for port in servable.outputs}
    tensors: list[dict[str, Any]] = []
    raw: list[bytes] = []
    for each in wanted:
        values, datatype = outputs[each.name], datatypes[each.name]
        tensor: dict[str, Any] = {"name": each.name, "datatype": datatype, "shape": values.shape}
        if each.binary:
            raw.append(to_bytes(datatype, values))
            tensor["parameters"] = {"binary_data_size": len(raw[-1])}
        else:
            tensor["data"] = _data(datatype, values)
        tensors.append(tensor)
    head = dumps({"model_name": servable.model, "model_version": servable.version, "id": request, "outputs": tensors})
    if not raw:
        return [JSON_TYPE], head
    return [BINARY_TYPE, (b"inference-header-content-length", b"%d" % len(head))], b"".join((head, *raw))


def _data(datatype: str, values: np.ndarray) -> Any:
    flat = values.reshape(-1)
    if datatype == "BYTES":
        try:
            return [each.decode() for each in encoded(values)]
        except UnicodeDecodeError:
            raise Refusal("input", "the output is not text; ask for it with binary_data") from None
    return flat if flat.dtype.kind == "f" and flat.itemsize > 2 and flat.flags.c_contiguous else flat.tolist()


def check(servable: Servable, outputs: Mapping[str, np.ndarray], rows: int | None) -> str | None:
    """What is wrong with what a servable gave back, in one line; None where nothing is."""
    for port in servable.outputs:
        found = outputs.get(port.name)
        if not isinstance(found, np.ndarray):
            return f"it gave no array for its output {port.name!r}"
        if rows is not None and (not found.ndim or found.shape[0] != rows):
            return f"its output {port.name!r} has the shape {list(found.shape)} for {rows} rows"
        if not np.can_cast(found.dtype, DTYPES[port.datatype], "same_kind"):
            return f"its output {port.name!r} is {found.dtype}, not {port.datatype}"
    return None


def decompress(body: bytes, encoding: bytes, limit: int) -> bytes:
    """A gzip or deflate body of at most `limit` bytes when unpacked."""
    name = encoding.strip().lower()
    if name in (b"", b"identity"):
        return body
    if name not in (b"gzip", b"x-gzip", b"deflate"):
        shown = name[:40].decode("latin-1")
        raise Refusal("type", f"Content-Encoding {shown!r} is not supported; gzip and deflate are")
    kinds = (zlib.MAX_WBITS | 16,) if name != b"deflate" else (zlib.MAX_WBITS, -zlib.MAX_WBITS)
    for kind in kinds:
        unpack = zlib.decompressobj(kind)
        try:
            found = unpack.decompress(body, limit + 1)
        except zlib.error:
            continue
        if len(found) > limit:
            raise Refusal("size", f"the body is larger than {limit} bytes when unpacked")
        if unpack.eof and not unpack.unused_data:
            return found
    raise Refusal("input", f"the body is not {name.decode('latin-1')}, or it is cut off")


def compress(body: bytes, accepted: bytes) -> tuple[Headers, bytes]:
    """Compressed where the client asks for exactly one way, or could read one and it is worth it."""
    names = [
        name.strip().lower()
        for name, _, weight in (each.partition(b";") for each in accepted.split(b","))
        if not _ZERO.fullmatch(weight.strip())
    ]
    kind = next((each for each in names if each in (b"gzip", b"deflate")), None)
    if kind is None or (len(names) > 1 and len(body) < _WORTH_BYTES):
        return [], body
    packer = zlib.compressobj(1, zlib.DEFLATED, zlib.MAX_WBITS | 16 if kind == b"gzip" else zlib.MAX_WBITS)
    return [(b"content-encoding", kind)], packer.compress(body) + packer.flush()
