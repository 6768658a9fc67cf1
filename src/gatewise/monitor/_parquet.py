"""Closed files as Parquet: written beside the SQLite file, which is deleted only when they are whole and on disk."""

import importlib.util
import json
import os
import sqlite3
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError

from ._log_rows import Entry, Row, label_entry, record_entry
from ._log_segment import (
    SCHEMA_VERSION,
    last_number,
    open_for_reading,
    parquet_path,
    read_meta,
    read_rows,
    read_versions,
    remove,
    segment_path,
    sync_folder,
)
from ._record import Label, Record

_KEY = b"gatewise.log"
_PAGE = 256  # rows decoded at once: a server's thread waits a few milliseconds at most
_GROUP = 8192  # rows of a Parquet row group
_REST = 1.0  # seconds of rest for each second of work: a server beside it keeps its core


@dataclass(frozen=True, kw_only=True)
class Closed:
    """What a closed file holds: how many records and labels, and when the last of them was written."""

    records: int
    labels: int
    written_ns: int


def missing_pyarrow() -> str | None:
    """Why closed files cannot become Parquet here; None where they can."""
    if importlib.util.find_spec("pyarrow") is None:
        return "pyarrow is not installed; closed files stay SQLite (it comes with: pip install 'gatewise[serve]')"
    return None


def _schemas() -> dict[str, Any]:
    import pyarrow as pa

    numbers, named = pa.list_(pa.float64()), pa.map_(pa.string(), pa.float64())
    integer, real, word = pa.int64(), pa.float64(), pa.string()
    source = [("source", word), ("source_number", integer)]
    record: list[tuple[str, Any]] = [
        *(("number", integer), ("request", word), ("at_ns", integer), ("model", word), ("version", word)),
        *(("digest", word), ("role", word), ("first", pa.bool_()), ("status", word), ("reason", word)),
        *(("queue_s", real), ("compute_s", real), ("beside_s", real), ("control", pa.bool_())),
        *(("rows", integer), ("batch_rows", integer), ("fingerprint", word)),
        *(("features", named), ("outputs", named), ("predictions", numbers), ("confidences", numbers)),
        *(("content", pa.binary()), *source),
    ]
    label: list[tuple[str, Any]] = [
        *(("number", integer), ("request", word), ("row", integer), ("value", real), ("at_ns", integer), *source),
    ]
    return {"records": pa.schema(record), "labels": pa.schema(label)}


def _flat(entry: Entry) -> dict[str, Any]:
    """An entry as a row of Parquet."""
    item = entry.item
    fields: dict[str, Any] = {name: getattr(item, name) for name in item.__slots__}
    for name in ("features", "outputs"):
        if name in fields:
            fields[name] = list(fields[name].items())
    return fields | {"number": entry.number, "source": entry.source, "source_number": entry.source_number}


def convert(folder: Path, first: int, stop: threading.Event) -> bool:
    """Turn a closed SQLite file into Parquet; a kill at any moment leaves one of the two whole. False: not now.

    Raises:
        GatewiseError: the SQLite file is damaged; it is left as it is.
        OSError: the disk is full or read-only.
    """
    path = segment_path(folder, first)
    drafts: list[tuple[Path, Path]] = []
    try:
        written_ns = _written_ns(path)
        with closing(sqlite3.connect(path, isolation_level=None, timeout=1.0)) as db:
            if db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]:
                return False  # somebody reads; a reader must not lose the WAL under its hands
            if (found := db.execute("PRAGMA quick_check(1)").fetchone()[0]) != "ok":
                raise GatewiseError(f"{path} is damaged ({found}); it stays as it is")
            versions = {row[0]: (row[1], row[2], row[3]) for row in read_versions(db)}
            facts = _facts(db, written_ns)
            for kind, table, decode in (
                ("records", "record_rows", lambda row: record_entry(row, versions[row[3]])),
                ("labels", "labels", label_entry),
            ):
                if getattr(facts, kind):
                    draft = _write(folder, first, kind, _entries(db, table, decode), (facts, read_meta(db)), stop)
                    if draft is None:
                        return False
                    drafts.append(draft)
        for draft, final in drafts:
            os.replace(draft, final)
            sync_folder(final.parent)
    except (sqlite3.Error, ValueError, TypeError, KeyError) as error:
        if isinstance(error, sqlite3.OperationalError):
            return False  # locked or out of space: the next time
        raise GatewiseError(f"{path} is damaged ({error}); it stays as it is") from error
    finally:
        remove(draft for draft, _ in drafts)
    remove([path, path.with_name(path.name + "-wal"), path.with_name(path.name + "-shm")])
    return True


def _entries(db: sqlite3.Connection, table: str, decode: Callable[[Row], Entry]) -> Iterator[dict[str, Any]]:
    return (_flat(decode(row)) for row in read_rows(db, table, -1, last_number(db), _PAGE))


def _facts(db: sqlite3.Connection, written_ns: int) -> Closed:
    records, labels = (db.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("record_rows", "labels"))
    return Closed(records=records, labels=labels, written_ns=written_ns)


def _written_ns(path: Path) -> int:
    wal = path.with_name(path.name + "-wal")  # a reader leaves an empty one, which tells nothing
    return max(file.stat().st_mtime_ns for file in (path, wal) if file == path or (wal.exists() and wal.stat().st_size))


def _write(
    folder: Path,
    first: int,
    kind: str,
    rows: Iterator[dict[str, Any]],
    known: tuple[Closed, dict[str, str]],
    stop: threading.Event,
) -> tuple[Path, Path] | None:
    """Write one Parquet file under a draft's name, to the disk; gives (draft, final), or None where stopped."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    facts, meta = known
    final = parquet_path(folder, kind, first)
    final.parent.mkdir(parents=True, exist_ok=True)
    draft = final.with_name(f".{final.name}.new")
    about = {
        "version": SCHEMA_VERSION,
        "records": facts.records,
        "labels": facts.labels,
        "written_ns": facts.written_ns,
        "meta": meta,
    }
    schema = _schemas()[kind].with_metadata({_KEY: json.dumps(about).encode()})
    whole = False
    try:
        with pq.ParquetWriter(draft, schema, compression="zstd", write_page_checksum=True) as writer:
            group: list[Any] = []
            while True:
                began = time.monotonic()
                page = list(islice(rows, _PAGE))
                if page:
                    group.append(pa.RecordBatch.from_pylist(page, schema=schema))
                if group and (not page or len(group) * _PAGE >= _GROUP):
                    writer.write_table(pa.Table.from_batches(group))
                    group = []
                if not page:
                    break
                if stop.wait(_REST * (time.monotonic() - began)):
                    return None
        if (found := pq.read_metadata(draft).num_rows) != getattr(facts, kind):
            raise GatewiseError(f"{draft}: {found} rows written of {getattr(facts, kind)}; the SQLite file stays")
        with draft.open("rb") as written:
            os.fsync(written.fileno())
        whole = True
        return draft, final
    finally:
        if not whole:
            with suppress(OSError):
                draft.unlink(missing_ok=True)


def _about(path: Path) -> dict[str, Any]:
    if missing_pyarrow():
        raise MissingExtraError("pyarrow", "serve")
    import pyarrow.parquet as pq

    try:
        found = (pq.read_schema(path).metadata or {}).get(_KEY)
        about = json.loads(found) if found else None
    except (ValueError, OSError) as error:  # pyarrow's own errors are ValueErrors
        raise ValueError(str(error)) from error
    if not isinstance(about, dict):
        raise ValueError("it is not a gatewise log's file")
    if about["version"] != SCHEMA_VERSION:
        age = "a newer" if about["version"] > SCHEMA_VERSION else "an older"
        raise GatewiseError(
            f"{path} was written by {age} gatewise (log version {about['version']}, this one reads {SCHEMA_VERSION})"
        )
    return about


def parquet_meta(path: Path) -> dict[str, str]:
    """The facts of the log when a file was closed. Raises `ValueError` where the file is damaged."""
    return _about(path)["meta"]


def closed_facts(folder: Path, first: int) -> Closed:
    """What a closed file holds; of a damaged one only its time on disk is known."""
    path = segment_path(folder, first)
    try:
        if path.exists():
            with open_for_reading(path) as db:
                return _facts(db, _written_ns(path))
        paths = [parquet_path(folder, kind, first) for kind in ("records", "labels")]
        path = next(path for path in paths if path.exists())
        about = _about(path)
        return Closed(records=about["records"], labels=about["labels"], written_ns=about["written_ns"])
    except (sqlite3.Error, ValueError, KeyError, GatewiseError):
        return Closed(records=0, labels=0, written_ns=path.stat().st_mtime_ns)


def read_parquet(path: Path, kind: str, after: int, since_ns: int | None, until_ns: int | None) -> Iterator[Entry]:
    """The entries of a file after a number, in order. Row groups wholly outside the times are stepped over.

    Raises:
        FileNotFoundError: it was deleted. ValueError, OSError: it is damaged. GatewiseError: another version's.
    """
    import pyarrow.parquet as pq

    if not path.exists():
        raise FileNotFoundError(path)
    _about(path)
    with pq.ParquetFile(path, page_checksum_verification=True) as file:
        names = file.schema_arrow.names
        number_at, time_at = names.index("number"), names.index("at_ns")
        for group in range(file.num_row_groups):
            facts = file.metadata.row_group(group)
            # The statistics of a map or list column come in several pieces; number and at_ns stand before them.
            numbers, times = facts.column(number_at).statistics, facts.column(time_at).statistics
            if numbers is not None and numbers.max <= after:
                continue
            if times is not None and (
                (since_ns is not None and times.max < since_ns) or (until_ns is not None and times.min >= until_ns)
            ):
                continue
            for batch in file.iter_batches(batch_size=1024, row_groups=[group]):
                if batch.column(number_at)[-1].as_py() <= after:
                    continue  # a forwarder comes back to the middle of a group
                for row in batch.to_pylist():
                    if row["number"] > after:
                        yield _entry(row, kind)


def _entry(row: dict[str, Any], kind: str) -> Entry:
    number, source, source_number = row.pop("number"), row.pop("source"), row.pop("source_number")
    if kind == "labels":
        return Entry(number=number, item=Label(**row), source=source, source_number=source_number)
    for name in ("features", "outputs"):
        row[name] = dict(row[name] or ())
    for name in ("predictions", "confidences"):
        row[name] = tuple(row[name] or ())
    return Entry(number=number, item=Record(**row), source=source, source_number=source_number)
