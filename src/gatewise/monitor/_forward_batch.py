"""What an edge sends and what it hears back: a batch of entries and an acknowledgement, as compressed JSON."""

import base64
import binascii
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.core import GatewiseError

from ._log_rows import Entry, check_item, dumps, label_entry, label_row, loads, plain_number, record_entry, record_row
from ._record import Record

FORMAT = "gatewise.forward/3"
ACK_FORMAT = "gatewise.forward-ack/1"
MAX_BYTES = 128 << 20  # of one batch, unpacked

Range = tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Batch:
    """What an edge sends at once.

    Attributes:
        edge: the edge's name. `log`: the identity of its log; an edge that begins anew has another.
        after, until: it holds all that the edge still has with numbers above `after` and up to `until`.
        lost: numbers among them that the edge's retention has deleted unsent, as (first, last): at most these, since
            numbers have gaps.
        entries: the records and labels, by number.
    """

    edge: str
    log: str
    after: int
    until: int
    lost: tuple[Range, ...]
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Ack:
    """What the receiver holds of a log: all of its numbers up to `until`, for good."""

    edge: str
    log: str
    until: int


def pack_entry(entry: Entry) -> str:
    """One entry as JSON text."""
    item = entry.item
    if isinstance(item, Record):
        row, key = record_row(entry.number, item, 0, "full"), [item.model, item.version, item.digest]
    else:
        row, key = label_row(entry.number, item), None
    return dumps([key, [_plain(value) for value in row[:-2]]])


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return plain_number(value)
    return {"base64": base64.b64encode(value).decode()} if isinstance(value, bytes) else value


def pack(batch: Batch, entries: Sequence[str]) -> bytes:
    """The batch as bytes; its entries as `pack_entry` gives them."""
    head = {
        "format": FORMAT,
        "edge": batch.edge,
        "log": batch.log,
        "after": batch.after,
        "until": batch.until,
        "lost": batch.lost,
    }
    return zlib.compress(f'{json.dumps(head)[:-1]}, "entries": [{",".join(entries)}]}}'.encode(), 1)


def _unpack_entry(packed: Any) -> Entry:
    key, fields = packed
    values = [base64.b64decode(value["base64"]) if isinstance(value, dict) else value for value in fields]
    if key is None:
        number, request, row, value, at_ns = values
        entry = label_entry((number, request, row, float(value), at_ns, None, 0))
    else:
        values[8], values[9] = float(values[8]), float(values[9])
        values[10] = None if values[10] is None else float(values[10])
        entry = record_entry((*values, None, 0), (str(key[0]), str(key[1]), str(key[2])))
    check_item(entry.item)
    return entry


def _document(data: bytes, form: str) -> dict[str, Any]:
    try:
        unpacker = zlib.decompressobj()
        plain = unpacker.decompress(data, MAX_BYTES)
        if not unpacker.eof or unpacker.unconsumed_tail:
            raise ValueError(f"it is cut off or larger than {MAX_BYTES} bytes")
        found = loads(plain)
    except (ValueError, zlib.error) as error:
        raise GatewiseError(f"this is not what an edge sends: {error}") from error
    if not isinstance(found, dict) or found.get("format") != form:
        raise GatewiseError(f"this is not what an edge sends: its format is not {form}")
    return found


def _whole(value: Any) -> int:
    if type(value) is not int or not 0 <= value < 1 << 62:
        raise ValueError(f"{value!r} is not a number of an entry")
    return value


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 200:
        raise ValueError("an edge's name is text of at most 200 characters")
    return value


def unpack(data: bytes) -> Batch:
    """The batch of bytes. Raises `GatewiseError` for anything else."""
    found = _document(data, FORMAT)
    try:
        batch = Batch(
            edge=_name(found["edge"]),
            log=_name(found["log"]),
            after=_whole(found["after"]),
            until=_whole(found["until"]),
            lost=tuple((_whole(first), _whole(last)) for first, last in found["lost"]),
            entries=tuple(map(_unpack_entry, found["entries"])),
        )
        numbers = [batch.after, *(_whole(entry.number) for entry in batch.entries)]
        if numbers != sorted(set(numbers)) or numbers[-1] > batch.until:
            raise ValueError("its numbers are not in order")
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, binascii.Error) as error:
        raise GatewiseError(f"this is not what an edge sends: {error!r}") from error
    return batch


def pack_ack(ack: Ack) -> bytes:
    """The acknowledgement as bytes."""
    found = {"format": ACK_FORMAT, "edge": ack.edge, "log": ack.log, "until": ack.until}
    return zlib.compress(json.dumps(found).encode())


def unpack_ack(data: bytes) -> Ack:
    """The acknowledgement of bytes. Raises `GatewiseError` for anything else."""
    found = _document(data, ACK_FORMAT)
    try:
        return Ack(edge=_name(found["edge"]), log=_name(found["log"]), until=_whole(found["until"]))
    except (ValueError, KeyError) as error:
        raise GatewiseError(f"this is not an acknowledgement: {error!r}") from error
