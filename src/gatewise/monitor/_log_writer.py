"""The writing side of a log: which file, which number comes next, and one transaction for a group of entries."""

import sqlite3
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from ._log_rows import Row, label_row, record_row
from ._log_segment import (
    Segment,
    firsts,
    new_meta,
    open_for_reading,
    parquet_path,
    read_meta,
    segment_path,
)
from ._log_settings import LogSettings
from ._record import Label, Record

_LEAP = 1 << 32  # over the numbers of a file that cannot be read; no file holds as many

# What waits to be written: its number, the item, and where it came from (None and 0: our own). Facts have the number 0.
Waiting = tuple[int, Record | Label | dict[str, str], str | None, int]
BadEntry = (TypeError, ValueError, OverflowError, AttributeError)


def newest(folder: Path) -> tuple[Segment | None, dict[str, str], int]:
    """The file to go on with (None: begin one), the log's facts, and a number that no entry has reached."""
    known, unread = firsts(folder), 0
    for first in reversed(known):
        path = segment_path(folder, first)
        try:
            meta = _meta(folder, first)
            if unread:  # what came later cannot be read: step over its numbers, go on in a file of our own
                return None, meta, unread + _LEAP
            if not path.exists():
                return None, meta, max(int(meta["reserved"]), first) + 1
            segment = Segment(path)
            return segment, meta, max(segment.last(), int(meta["reserved"])) + 1
        except (sqlite3.DatabaseError, ValueError) as error:
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, read-only, full: not the file's fault
            unread = max(unread, first)
    return None, new_meta(), unread + _LEAP if unread else 1


def _meta(folder: Path, first: int) -> dict[str, str]:
    path = segment_path(folder, first)
    if path.exists():
        with open_for_reading(path) as db:
            return read_meta(db)
    from ._parquet import parquet_meta

    paths = (parquet_path(folder, kind, first) for kind in ("records", "labels"))
    return parquet_meta(next(path for path in paths if path.exists()))


class Writer:
    """Stores groups of entries. It lives on the log's thread; only its start is on the caller's.

    Attributes:
        next_number: where numbers begin in this run.
        limit: numbers up to it are reserved on disk: none of them is handed out again after a kill.
        meta: the facts of the log as they are on disk.
    """

    def __init__(self, folder: Path, settings: LogSettings, full: Callable[[], None]) -> None:
        self._folder, self._settings, self._on_close = folder, settings, full
        found, self.meta, self.next_number = newest(folder)
        self._reserve = 4 * settings.queue + 1024
        self.limit = self.next_number - 1 + self._reserve
        self.last = self.next_number - 1
        if found is None:
            found = Segment.create(folder, self.next_number, self.meta)
        self._segment: Segment | None = found
        self._path = found.path
        self._opened = time.monotonic() - max(0.0, (time.time_ns() - found.begun_ns) * 1e-9)
        self.entries = found.last() - found.first + 1
        self._store([], [], {"reserved": str(self.limit)})

    @property
    def current(self) -> int:
        """The first number of the open file."""
        return int(self._path.stem)

    def write(self, waiting: Sequence[Waiting], facts: dict[str, str]) -> list[int]:
        """Store a group, all or none; gives the numbers of entries that no file could hold.

        Raises:
            sqlite3.Error, OSError: the disk refused. The group may be given again: what is stored is stepped over.
        """
        segment = self._segment or self._again()
        records: list[Row] = []
        labels: list[Row] = []
        bad: list[int] = []
        changed = dict(facts)
        content = self._settings.content
        for number, item, source, source_number in waiting:
            if number <= self.last:
                if number == 0 and isinstance(item, dict):
                    changed.update(item)
                continue
            try:
                if isinstance(item, Record):
                    version_id = segment.version_id((item.model, item.version, item.digest))
                    row, kind = record_row(number, item, version_id, content), records
                elif isinstance(item, Label):
                    row, kind = label_row(number, item), labels
                else:
                    raise TypeError("neither a record nor a label")
            except BadEntry:
                bad.append(number)
                continue
            kind.append(row if source is None else (*row[:-2], source, source_number))
        last = max((number for number, *_ in waiting), default=0)
        if last + self._reserve // 2 > self.limit:
            changed["reserved"] = str(last + self._reserve)
        self._store(records, labels, changed)
        self.last = max(self.last, last)
        self.entries += len(records) + len(labels)
        return bad

    def _store(self, records: Sequence[Row], labels: Sequence[Row], changed: dict[str, str]) -> None:
        assert self._segment is not None
        try:
            self._segment.write(records, labels, changed)
        except (sqlite3.Error, OSError):
            broken, self._segment = self._segment, None
            broken.close()
            raise
        self.meta.update(changed)
        self.limit = int(self.meta["reserved"])

    def _again(self) -> Segment:
        """Open the file again after the disk refused: what it holds decides what was stored."""
        try:
            self._segment = Segment(self._path)
            self.last = max(self.last, self._segment.last())
        except sqlite3.DatabaseError as error:
            self._segment = None
            if isinstance(error, sqlite3.OperationalError):
                raise  # locked, full, I/O
            self._segment = Segment.create(
                self._folder, self.last + 1, self.meta
            )  # damaged: leave it, go on in another
            self._path = self._segment.path
        return self._segment

    def rotate_if_due(self) -> bool:
        """Close the open file and begin the next where it is large or old enough."""
        segment = self._segment
        if segment is None or not self.entries:
            return False
        old = time.monotonic() - self._opened >= self._settings.segment_s
        if not old and segment.size_bytes() < self._settings.segment_bytes:
            return False
        following, path = None, segment_path(self._folder, self.last + 1)
        try:
            following = Segment.create(self._folder, self.last + 1, self.meta)
        finally:
            if path.exists():  # from here on readers take it for the next file, even where opening it failed
                segment.close()
                self._segment, self._path, self._opened, self.entries = following, path, time.monotonic(), 0
        self._on_close()
        return True

    def close(self, facts: dict[str, str]) -> None:
        """Give the reserved numbers back and close the file."""
        if self._segment is not None:
            self._store([], [], {**facts, "reserved": str(self.last)})
            self._segment.close()
