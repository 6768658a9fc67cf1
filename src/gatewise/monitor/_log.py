"""The durable record of what was served: an append that only queues, a thread that commits in groups."""

import atexit
import sqlite3
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any

from gatewise.core import GatewiseError

from ._log_lock import FolderLock
from ._log_settings import LogSettings
from ._log_writer import Waiting, Writer
from ._record import Label, Record
from ._retention import Keeper


@dataclass(frozen=True, kw_only=True)
class LogState:
    """How a log is doing.

    Attributes:
        problem: why nothing can be written at the moment, in one line; None where all is well.
        durable: all numbers up to it survive a kill and a power loss.
        waiting: entries that are queued and not yet durable.
        dropped: entries that were not kept, ever: no room in the queue, or a field that no file can hold.
        deleted_until, deleted_records, deleted_labels: what retention has deleted: all numbers up to it.
        size_bytes: all files together, when they were last counted.
        parquet: why closed files stay SQLite files; None where they become Parquet.
    """

    problem: str | None
    durable: int
    waiting: int
    dropped: int
    deleted_until: int
    deleted_records: int
    deleted_labels: int
    size_bytes: int
    parquet: str | None

    @property
    def healthy(self) -> bool:
        """Whether entries can be written at the moment."""
        return self.problem is None


class Log:
    """A folder of records and labels that survive a kill and a power loss once they are durable.

    `append` only puts the record into a queue: the caller must not change its mappings afterwards. When the queue is
    full it waits `block_s` (0: not at all), then drops the record, counts it and gives 0. A disk that refuses does not
    stop the caller: what is queued is tried again, `state().problem` says why, and what finds no room is counted.

    Raises:
        GatewiseError: another writer has this log open, another version wrote it, the folder cannot be written.
    """

    def __init__(self, folder: str | Path, settings: LogSettings | None = None) -> None:
        self.folder = Path(folder)
        self.settings = settings or LogSettings()
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)
        self._wake = threading.Event()  # something is queued
        self._hurry = threading.Event()  # somebody waits: do not wait for company
        self._queue: list[Waiting] = []
        self._taken = 0  # how many the writer's thread holds
        self._bytes = 0  # of content, queued or taken
        self._capacity = self.settings.queue
        self._closing = self._closed = False
        self._idle = True  # the thread sleeps until it is woken; under traffic it looks by itself
        self._bad: set[int] = set()
        self._problem: str | None = None
        self._folder_lock = FolderLock(self.folder)
        try:
            self._keeper = Keeper(self.folder, self.settings, self._remember)
            self._writer = Writer(self.folder, self.settings, self._keeper.wake)
        except (sqlite3.Error, OSError) as error:
            self._folder_lock.release()
            raise GatewiseError(f"cannot write a log in {self.folder}: {_why(error)}") from error
        except BaseException:
            self._folder_lock.release()
            raise
        self._next = self._writer.next_number
        self._limit = self._writer.limit
        self._durable = self._next - 1
        self._dropped = self._dropped_stored = int(self._writer.meta["dropped"])
        self._thread = threading.Thread(target=self._run, name="gatewise-log", daemon=True)
        self._thread.start()
        self._keeper.start(self._writer)
        atexit.register(self.close)

    def append(self, record: Record) -> int:
        """Queue a record; gives its number, or 0 where there was no room and it was dropped."""
        cost = 0
        if record.content is not None:
            if self.settings.content == "full":
                cost = len(record.content)
            else:
                record = replace(record, content=None)  # not even in the queue
        with self._lock:
            if len(self._queue) + self._taken < self._capacity and not cost and not self._closing:
                number = self._next
                if number <= self._limit:
                    self._next = number + 1
                    self._queue.append((number, record, None, 0))
                    if self._idle:
                        self._idle = False
                        self._wake.set()
                    return number
        return self._put([(0, record, None, 0)], cost, {})

    def label(self, label: Label) -> int:
        """Queue a label; gives its number, or 0 where there was no room and it was dropped."""
        return self._put([(0, label, None, 0)], 0, {})

    def append_group(self, entries: Sequence[tuple[Record | Label, str, int]], facts: dict[str, str]) -> int:
        """Queue forwarded entries (item, source, its number there) and facts that are stored with them, all or none.

        Gives the last of their numbers, or 0 where there was no room. The facts are part of the log's own (`fact`).
        """
        group: list[Waiting] = [(0, item, source, number) for item, source, number in entries]
        cost = sum(len(item.content or b"") for item, *_ in entries if isinstance(item, Record))
        return self._put(group, cost, facts)

    def fact(self, name: str) -> str | None:
        """A fact stored with `append_group`, as it is on disk."""
        return self._writer.meta.get(name)

    def facts(self) -> dict[str, str]:
        """All facts of the log, as they are on disk."""
        return dict(self._writer.meta)

    def _put(self, group: list[Waiting], cost: int, facts: dict[str, str]) -> int:
        deadline = time.monotonic() + self.settings.block_s
        with self._changed:
            while not self._room(len(group), cost):
                left = deadline - time.monotonic()
                if left <= 0 or self._closing:
                    if self._closed:
                        raise GatewiseError(f"{self.folder}: this log is closed")
                    self._dropped += len(group)
                    return 0
                self._hurry.set()
                self._changed.wait(left)
            for _, item, source, source_number in group:
                self._queue.append((self._next, item, source, source_number))
                self._next += 1
            self._bytes += cost
            if facts:
                self._queue.append((0, facts, None, 0))
            self._idle = False
            self._wake.set()
            return self._next - 1

    def _room(self, count: int, cost: int) -> bool:
        if self._closing or self._next + count - 1 > self._limit:
            return False
        held = len(self._queue) + self._taken
        fits = held + count <= self._capacity and self._bytes + cost <= self.settings.queue_bytes
        return fits or held == 0  # what is larger than the queue goes alone

    def _remember(self, facts: dict[str, str], timeout_s: float) -> bool:
        """Store facts and wait until they are durable (for the keeper's thread)."""
        done = threading.Event()
        with self._lock:
            if self._closing:
                return False
            self._queue.append((0, facts, None, 0))
            self._idle = False
            self._wake.set()
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline and not self._closing:
            if all(self._writer.meta.get(name) == value for name, value in facts.items()):
                return True
            done.wait(0.02)
        return False

    @property
    def durable(self) -> int:
        """All numbers up to it survive a kill and a power loss."""
        return self._durable

    def wait(self, number: int, timeout_s: float) -> bool:
        """Wait until a number is durable; False where that takes longer, or where its record was dropped."""
        deadline = time.monotonic() + timeout_s
        with self._changed:
            while self._durable < number:
                left = deadline - time.monotonic()
                if left <= 0 or self._closed:
                    return False
                self._hurry.set()
                self._changed.wait(left)
            return number > 0 and number not in self._bad

    def flush(self, timeout_s: float = 30.0) -> bool:
        """Wait until all that was queued before is durable."""
        with self._lock:
            last = self._next - 1
        return last == 0 or self._durable >= last or self.wait(last, timeout_s) or last in self._bad

    def state(self) -> LogState:
        """How the log is doing."""
        meta = self._writer.meta
        return LogState(
            problem=self._problem,
            durable=self._durable,
            waiting=len(self._queue) + self._taken,
            dropped=self._dropped,
            deleted_until=int(meta["deleted_until"]),
            deleted_records=int(meta["deleted_records"]),
            deleted_labels=int(meta["deleted_labels"]),
            size_bytes=self._keeper.size_bytes,
            parquet=self._keeper.no_parquet,
        )

    @property
    def healthy(self) -> bool:
        """Whether entries can be written at the moment; `state().problem` says why not."""
        return self._problem is None

    def _run(self) -> None:
        settings, waiting, empty = self.settings, list[Waiting](), 0
        while True:
            if self._idle:
                self._wake.wait(min(1.0, settings.segment_s))
            if not self._closing:
                self._hurry.wait(settings.commit_s)
            with self._lock:
                self._hurry.clear()
                self._wake.clear()
                waiting += self._queue
                self._queue = []
                self._taken = len(waiting)
                closing = self._closing
                empty = 0 if waiting else empty + 1
                self._idle = empty * settings.commit_s > 0.25 or (settings.commit_s == 0 and empty > 0)
            if self._write(waiting):
                waiting.clear()
                if closing:
                    return
            elif closing:
                return
            else:
                self._stop_or_wait(settings.retry_s)

    def _stop_or_wait(self, seconds: float) -> None:
        with self._changed:
            if not self._closing:
                self._changed.wait_for(lambda: self._closing, seconds)
            self._wake.set()

    def _write(self, waiting: list[Waiting]) -> bool:
        dropped = self._dropped
        facts = {} if dropped == self._dropped_stored else {"dropped": str(dropped)}
        bad: list[int] = []
        try:
            if waiting or facts:
                bad = self._writer.write(waiting, facts)
                self._dropped_stored = dropped
            self._writer.rotate_if_due()
            problem = None
        except (sqlite3.Error, OSError) as error:
            problem = _why(error)
        with self._changed:
            self._problem = problem
            self._limit = self._writer.limit
            stored = not waiting or self._writer.last >= max(number for number, *_ in waiting)
            if stored:
                self._durable = max(self._durable, self._writer.last)
                self._dropped += len(bad)
                self._bad.update(bad[:1000])
                self._taken = 0
                self._bytes = self._bytes and sum(
                    len(i[1].content or b"") for i in self._queue if isinstance(i[1], Record)
                )
            self._changed.notify_all()
        return stored

    def close(self) -> None:
        """Write what is queued and close. Raises `GatewiseError` where the disk refuses: how many are lost, and why."""
        with self._changed:
            if self._closing:
                return
            self._closing = True
            self._wake.set()
            self._hurry.set()
            self._changed.notify_all()
        self._thread.join()
        self._keeper.stop()
        lost = self._taken + len(self._queue)
        try:
            self._writer.close({"dropped": str(self._dropped + lost)})
        except (sqlite3.Error, OSError) as error:
            self._problem = _why(error)
        finally:
            with self._changed:
                self._closed = True
                self._dropped += lost
                self._changed.notify_all()
            self._folder_lock.release()
            atexit.unregister(self.close)
        if lost:
            raise GatewiseError(f"{self.folder}: {lost} entries could not be written: {self._problem}")

    def __enter__(self) -> "Log":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.close()
        except GatewiseError:
            if kind is None:
                raise


def _why(error: Exception) -> str:
    text: Any = str(error)
    if "full" in text or getattr(error, "errno", None) == 28:
        return "the disk is full; what was stored before is safe"
    if "readonly" in text or "read-only" in text.lower():
        return "the folder or the disk is read-only"
    return str(text)
