"""Joins a server to what watches it: the log gets every record at once, the judges in a thread of their own."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Sequence
from queue import Empty, Full, Queue
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from gatewise.monitor import Alarm, Label, Record


class Journal(Protocol):
    """Keeps records and labels; both calls only queue. `gatewise.monitor.Log` is one."""

    def append(self, record: Record) -> int: ...
    def label(self, label: Label) -> int: ...


class Judge(Protocol):
    """Sees records and labels in the order they came and raises alarms. `gatewise.monitor.LiveJudge` is one."""

    def add(self, record: Record) -> list[Alarm]: ...
    def label(self, label: Label) -> list[Alarm]: ...


class Watching:
    """`watch` and `label` of a server.

    Args:
        journal: gets everything first. counted: is called with each record, in microseconds (metrics).
        judges: run in one thread. A record that finds `most` waiting is left out of judging and counted in
            `num_skipped`: it is in the journal, and judging the journal again tells what was missed.
        alarmed: gets each alarm, in the judges' thread.
    """

    def __init__(
        self,
        *,
        journal: Journal | None = None,
        counted: Callable[[Record], object] | None = None,
        judges: Sequence[Judge] = (),
        alarmed: Callable[[Alarm], object] | None = None,
        most: int = 50_000,
    ) -> None:
        self._journal = journal
        self._counted = counted
        self._judges = list(judges)
        self._alarmed = alarmed
        self._queue: Queue[tuple[bool, Record | Label] | None] = Queue(most)
        self._held = threading.Lock()
        self.num_skipped = 0
        self.num_failed = 0
        self._thread = threading.Thread(target=self._work, name="gatewise-judges", daemon=True)
        if self._judges:
            self._thread.start()

    def watch(self, record: Record) -> None:
        """A record, from the event loop."""
        if self._journal is not None:
            self._journal.append(record)
        if self._counted is not None:
            self._counted(record)
        self._hand_on((True, record))

    def label(self, label: Label) -> None:
        """A label, from the event loop."""
        if self._journal is not None:
            self._journal.label(label)
        self._hand_on((False, label))

    def _hand_on(self, item: tuple[bool, Record | Label]) -> None:
        if not self._judges:
            return
        try:
            self._queue.put_nowait(item)
        except Full:
            self.num_skipped += 1

    def look(self, at: Callable[[], object]) -> object:
        """Look at a judge's state while no record is being judged."""
        with self._held:
            return at()

    def close(self, timeout_s: float = 10.0) -> bool:
        """Judge what waits, for at most `timeout_s`; whether all of it was."""
        if not self._thread.is_alive():
            return True
        try:
            self._queue.put(None, timeout=timeout_s)
        except Full:
            return False
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _work(self) -> None:
        while True:
            try:
                item = self._queue.get(timeout=60)
            except Empty:
                continue
            if item is None:
                return
            is_record, what = item
            for judge in self._judges:
                try:
                    with self._held:
                        alarms = judge.add(what) if is_record else judge.label(what)  # pyright: ignore[reportArgumentType]
                    for alarm in alarms:
                        if self._alarmed is not None:
                            self._alarmed(alarm)
                except Exception as error:  # noqa: BLE001  one bad record must not end the watch over all others
                    self.num_failed += 1
                    if self.num_failed == 1:
                        print(f"gatewise: judging failed: {type(error).__name__}: {error}", file=sys.stderr)
