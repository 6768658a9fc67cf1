"""A record or a label as a row, and back: what SQLite, Parquet and a forwarded batch have in common.

Floats are written so that they come back bit for bit; NaN and the infinities too, as the strings "NaN", "Infinity" and
"-Infinity" inside JSON, which has no numbers for them.
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gatewise.core import GatewiseError

from ._log_settings import Content
from ._record import ROLES, STATUSES, Label, Record

# The columns of a record and of a label, in the order of a row. `source`, `source_number`: the log it came from.
RECORD_COLUMNS = (
    *("number", "request", "at_ns", "version_id", "role", "first", "status", "reason", "queue_s", "compute_s"),
    *("beside_s", "control", "rows", "batch_rows", "fingerprint", "features", "outputs", "predictions", "confidences"),
    *("content", "source", "source_number"),
)
LABEL_COLUMNS = ("number", "request", "row", "value", "at_ns", "source", "source_number")

_LIMIT = 1 << 63

Row = tuple[Any, ...]
VersionKey = tuple[str, str, str]  # model, version, digest


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One line of a log.

    Attributes:
        number: its number in this log; numbers only grow and are never used twice.
        item: the record or the label.
        source, source_number: the log that it was forwarded from and its number there; None and 0 where it is our own.
    """

    number: int
    item: Record | Label
    source: str | None = None
    source_number: int = 0


def _dumper() -> Callable[[Any], str]:
    try:
        import orjson
    except ImportError:
        return lambda value: json.dumps(value, default=float, separators=(",", ":"))
    dump = orjson.dumps
    return lambda value: dump(value, float).decode()


def _loader() -> Callable[[Any], Any]:
    try:
        import orjson
    except ImportError:
        return json.loads
    return orjson.loads


dumps = _dumper()
loads = _loader()


def plain_number(value: Any) -> float | str:
    """A float as JSON can hold it: a finite one as it is, the others by name."""
    number = float(value)
    if math.isfinite(number):
        return number
    return "NaN" if number != number else ("Infinity" if number > 0 else "-Infinity")


def text(value: str) -> str:
    """The text as UTF-8 can hold it: a lone surrogate is written as its escape, and the same way in a label."""
    if value.isascii():
        return value
    return value.encode("utf-8", "backslashreplace").decode()


def _numbers(values: Mapping[str, float] | Sequence[float]) -> str | None:
    """The numbers as JSON text; None for none."""
    if not values:
        return None
    try:
        if math.isfinite(sum(values.values() if isinstance(values, Mapping) else values)):
            return dumps(values)  # every value is a finite number
    except (TypeError, ValueError):
        pass
    if isinstance(values, Mapping):
        return dumps({text(str(name)): plain_number(value) for name, value in values.items()})
    return dumps([plain_number(value) for value in values])


def record_row(number: int, record: Record, version_id: int, content: Content) -> Row:
    """The row of our own record; what `content` forbids is left out.

    Raises:
        TypeError, ValueError, AttributeError: a field holds something else than a `Record` may.
    """
    some, first, control = content != "none", record.first, record.control
    stored: Any = record.content if content == "full" else None
    at_ns, rows, batch_rows = int(record.at_ns), int(record.rows), int(record.batch_rows)
    if not (-_LIMIT <= at_ns < _LIMIT and -_LIMIT <= rows < _LIMIT and -_LIMIT <= batch_rows < _LIMIT):
        raise OverflowError("an integer has more than 64 bits")
    if stored is not None and not isinstance(stored, bytes):
        raise TypeError(f"the content is a {type(stored).__name__}, not bytes")
    return (
        number,
        text(record.request),
        at_ns,
        version_id,
        text(record.role),
        None if first is None else int(first),
        text(record.status),
        text(record.reason) if some and record.reason is not None else None,
        float(record.queue_s),
        float(record.compute_s),
        None if record.beside_s is None else float(record.beside_s),
        None if control is None else int(control),
        rows,
        batch_rows,
        text(record.fingerprint) if some else "",
        _numbers(record.features) if some else None,
        _numbers(record.outputs),
        _numbers(record.predictions),
        _numbers(record.confidences),
        stored,
        None,
        0,
    )


def label_row(number: int, label: Label) -> Row:
    """The row of our own label."""
    at_ns, row = int(label.at_ns), int(label.row)
    if not (-_LIMIT <= at_ns < _LIMIT and -_LIMIT <= row < _LIMIT):
        raise OverflowError("an integer has more than 64 bits")
    return (number, text(label.request), row, float(label.value), at_ns, None, 0)


def _float(value: float | None) -> float:
    return math.nan if value is None else value  # SQLite keeps NaN as NULL


def _mapping(encoded: str | None) -> dict[str, float]:
    return {name: float(value) for name, value in loads(encoded).items()} if encoded else {}


def _tuple(encoded: str | None) -> tuple[float, ...]:
    return tuple(map(float, loads(encoded))) if encoded else ()


def record_entry(row: Row, key: VersionKey) -> Entry:
    """The record of a row. Raises `ValueError`, `TypeError` or `AttributeError` where the row is damaged."""
    number, request, at_ns, _, role, first, status, reason, queue_s, compute_s, beside_s, control = row[:12]
    rows, batch_rows, fingerprint, features, outputs, predictions, confidences, content, *forwarded = row[12:]
    source, source_number = forwarded
    record = Record(
        request=request,
        at_ns=at_ns,
        model=key[0],
        version=key[1],
        digest=key[2],
        role=role,
        first=None if first is None else bool(first),
        status=status,
        reason=reason,
        queue_s=_float(queue_s),
        compute_s=_float(compute_s),
        beside_s=beside_s,
        control=None if control is None else bool(control),
        rows=rows,
        batch_rows=batch_rows,
        fingerprint=fingerprint,
        features=_mapping(features),
        outputs=_mapping(outputs),
        predictions=_tuple(predictions),
        confidences=_tuple(confidences),
        content=content,
    )
    return Entry(number=number, item=record, source=source, source_number=source_number)


def label_entry(row: Row) -> Entry:
    """The label of a row."""
    number, request, index, value, at_ns, source, source_number = row
    label = Label(request=request, row=index, value=_float(value), at_ns=at_ns)
    return Entry(number=number, item=label, source=source, source_number=source_number)


def check_item(item: Record | Label) -> None:
    """Refuse a record or a label that came from elsewhere and is not what it says it is."""
    try:
        if isinstance(item, Record):
            record_row(0, item, 0, "full")
            if item.role not in ROLES or item.status not in STATUSES:
                raise ValueError("its role or status is unknown")
            for value in (item.model, item.version, item.digest):
                text(value)
        else:
            label_row(0, item)
    except (TypeError, ValueError, OverflowError, AttributeError) as error:
        raise GatewiseError(f"a forwarded entry is not a record: {error}") from error
