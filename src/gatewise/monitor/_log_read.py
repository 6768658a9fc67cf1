"""Reading a log, while it is written too: SQLite and Parquet files together, in the order of their numbers."""

import logging
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from heapq import merge
from pathlib import Path

from gatewise.core import GatewiseError, MissingExtraError

from ._log_rows import Entry, label_entry, record_entry
from ._log_segment import (
    firsts,
    last_number,
    open_for_reading,
    parquet_path,
    read_meta,
    read_rows,
    read_versions,
    segment_path,
)
from ._parquet import missing_pyarrow, parquet_meta, read_parquet
from ._record import Label, Record

_LOG = logging.getLogger("gatewise.monitor")
_PAGE = 512
_KINDS = ("records", "labels")

Damaged = Callable[[str], None]


def read_entries(
    folder: str | Path,
    *,
    after: int = 0,
    kinds: tuple[str, ...] = _KINDS,
    since_ns: int | None = None,
    until_ns: int | None = None,
    damaged: Damaged | None = None,
) -> Iterator[Entry]:
    """Records and labels in the order in which the log took them in, each once; as of now, with bounded memory.

    Arguments:
        after: only what has a larger number. `kinds`: `records`, `labels`, or both.
        since_ns, until_ns: only what happened at or after, and before that time (Unix time in nanoseconds).
        damaged: is told one line about each file that cannot be read (to its end); the others are read all the same.
            Without it the line goes to the logger `gatewise.monitor`, which prints it to stderr unless told otherwise.

    Raises:
        GatewiseError: there is no log in the folder, or a file was written by another version.
        MissingExtraError: a file is Parquet, and pyarrow is not installed.
    """
    folder, tell = Path(folder), damaged or _LOG.warning
    known = firsts(folder)
    if not known:
        raise GatewiseError(f"{folder}: there is no log here\na log is a folder with 'segments' in it")
    return _entries(folder, known, after, kinds, (since_ns, until_ns), tell)


def _entries(
    folder: Path,
    known: list[int],
    after: int,
    kinds: tuple[str, ...],
    times: tuple[int | None, int | None],
    tell: Damaged,
) -> Iterator[Entry]:
    since_ns, until_ns = times
    after = max(after, _deleted_until(folder, known))
    for at, first in enumerate(known):
        if at + 1 < len(known) and known[at + 1] <= after + 1:
            continue  # all of its numbers are behind us
        try:
            for entry in _file(folder, first, after, kinds, times):
                if entry.number <= after:
                    continue
                after = entry.number
                at_ns = entry.item.at_ns
                if (since_ns is None or at_ns >= since_ns) and (until_ns is None or at_ns < until_ns):
                    yield entry
        except (sqlite3.Error, ValueError, TypeError, KeyError, AttributeError, OSError) as error:
            path = segment_path(folder, first)
            name = path if path.exists() else parquet_path(folder, "records", first)
            why = str(error).partition("\n")[0] or repr(error)
            tell(f"{name} is damaged, what follows in it is left out: {why}")


def _deleted_until(folder: Path, known: list[int]) -> int:
    """What retention has deleted, as the newest readable file knows it."""
    for first in reversed(known):
        try:
            with open_for_reading(segment_path(folder, first)) as db:
                return int(read_meta(db)["deleted_until"])
        except (sqlite3.Error, OSError, KeyError, ValueError):
            continue
    return 0


def _file(
    folder: Path, first: int, after: int, kinds: tuple[str, ...], times: tuple[int | None, int | None]
) -> Iterator[Entry]:
    with ExitStack() as stack:
        try:
            db = stack.enter_context(open_for_reading(segment_path(folder, first)))
        except FileNotFoundError:
            yield from _parquet(folder, first, after, kinds, times)
            return
        until = last_number(db)  # what comes while we read is for the next reader: a label must not overtake a record
        versions = {row[0]: (row[1], row[2], row[3]) for row in read_versions(db)}

        def record(row: tuple[object, ...]) -> Entry:
            key = row[3]
            if key not in versions:  # registered since we opened the file
                versions.update({row[0]: (row[1], row[2], row[3]) for row in read_versions(db)})
            return record_entry(row, versions[key])  # pyright: ignore[reportArgumentType]

        sides: list[Iterator[Entry]] = []
        if "records" in kinds:
            sides.append(map(record, read_rows(db, "record_rows", after, until, _PAGE)))
        if "labels" in kinds:
            sides.append(map(label_entry, read_rows(db, "labels", after, until, _PAGE)))
        yield from merge(*sides, key=lambda entry: entry.number)


def _parquet(
    folder: Path, first: int, after: int, kinds: tuple[str, ...], times: tuple[int | None, int | None]
) -> Iterator[Entry]:
    paths = {kind: parquet_path(folder, kind, first) for kind in kinds}
    there = {kind: path for kind, path in paths.items() if path.exists()}
    if there and missing_pyarrow():
        raise MissingExtraError("pyarrow", "serve")
    yield from merge(
        *(read_parquet(path, kind, after, *times) for kind, path in there.items()), key=lambda entry: entry.number
    )


def read_records(
    folder: str | Path,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    model: str | None = None,
    after: int = 0,
    damaged: Damaged | None = None,
) -> Iterator[Record]:
    """The records of a log in the order in which it took them in; see `read_entries`. `model`: of this one only."""
    entries = read_entries(
        folder, after=after, kinds=("records",), since_ns=since_ns, until_ns=until_ns, damaged=damaged
    )
    for entry in entries:
        if isinstance(entry.item, Record) and (model is None or entry.item.model == model):
            yield entry.item


def read_labels(
    folder: str | Path,
    *,
    since_ns: int | None = None,
    until_ns: int | None = None,
    after: int = 0,
    damaged: Damaged | None = None,
) -> Iterator[Label]:
    """The labels of a log in the order in which it took them in; see `read_entries`."""
    entries = read_entries(
        folder, after=after, kinds=("labels",), since_ns=since_ns, until_ns=until_ns, damaged=damaged
    )
    for entry in entries:
        if isinstance(entry.item, Label):
            yield entry.item


def log_facts(folder: str | Path) -> dict[str, str]:
    """What a log knows of itself, read without its writer: `log` (its identity), `deleted_until`, `dropped`, ..."""
    folder = Path(folder)
    for first in reversed(firsts(folder)):
        try:
            path = segment_path(folder, first)
            if not path.exists():
                return parquet_meta(next(p for kind in _KINDS if (p := parquet_path(folder, kind, first)).exists()))
            with open_for_reading(path) as db:
                return read_meta(db)
        except (sqlite3.Error, OSError, ValueError):
            continue
    raise GatewiseError(f"{folder}: there is no log here\na log is a folder with 'segments' in it")
