"""What happens to closed files: they become Parquet, and the oldest are deleted when there is too much or too old."""

import logging
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from gatewise.core import GatewiseError

from ._log_segment import firsts, parquet_path, segment_path
from ._log_settings import LogSettings
from ._parquet import Closed, closed_facts, convert, missing_pyarrow

_LOG = logging.getLogger("gatewise.monitor")


class _Writer(Protocol):
    @property
    def current(self) -> int: ...
    @property
    def meta(self) -> dict[str, str]: ...


class Keeper:
    """The log's second thread. It touches closed files only; what it deletes is written down before it is gone.

    Attributes:
        size_bytes: all files together, when they were last counted.
        no_parquet: why closed files stay SQLite files; None where they become Parquet.
    """

    def __init__(
        self,
        folder: Path,
        settings: LogSettings,
        remember: Callable[[dict[str, str], float], bool],
        period_s: float = 5.0,
    ) -> None:
        self._folder, self._settings, self._remember, self._period_s = folder, settings, remember, period_s
        self._wake, self._stopping = threading.Event(), threading.Event()
        self._facts: dict[int, Closed] = {}
        self._damaged: set[int] = set()
        self.size_bytes = 0
        self.no_parquet = "switched off" if not settings.parquet else missing_pyarrow()

    def start(self, writer: _Writer) -> None:
        """Begin; the writer knows which file is open."""
        self._writer = writer
        self._thread = threading.Thread(target=self._run, name="gatewise-log-keeper", daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """A file was closed."""
        self._wake.set()

    def stop(self) -> None:
        """End; a conversion under way is left for the next time."""
        self._stopping.set()
        self._wake.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self.step()
            except OSError as error:  # a full disk: closed files stay what they are
                _LOG.warning("%s: closed files wait: %s", self._folder, error)
            self._wake.wait(self._period_s)
            self._wake.clear()

    def step(self) -> None:
        """Do once what is due."""
        self._delete_leftovers()
        closed = [first for first in firsts(self._folder) if first < self._writer.current]
        if self.no_parquet is None:
            for first in closed:
                if self._stopping.is_set():
                    return
                self._convert(first)
        self._retain(closed)

    def _convert(self, first: int) -> None:
        path = segment_path(self._folder, first)
        if first in self._damaged or not path.exists():
            return
        try:
            convert(self._folder, first, self._stopping)
        except GatewiseError as error:  # damaged: it stays as it is, readers say so too
            self._damaged.add(first)
            _LOG.warning("%s", error)

    def _files(self, first: int) -> list[Path]:
        path = segment_path(self._folder, first)
        beside = [path.with_name(path.name + end) for end in ("-wal", "-shm")]
        kinds = [parquet_path(self._folder, kind, first) for kind in ("records", "labels")]
        return [file for file in (path, *beside, *kinds) if file.exists()]

    def _delete_leftovers(self) -> None:
        until = int(self._writer.meta["deleted_until"])
        for first in firsts(self._folder):
            if first <= until and first != self._writer.current:
                for file in self._files(first):
                    file.unlink(missing_ok=True)
        for orphan in self._folder.glob("segments/*.sqlite-*"):
            if not orphan.with_name(orphan.name.rpartition("-")[0]).exists():
                orphan.unlink(missing_ok=True)

    def _retain(self, closed: list[int]) -> None:
        """Delete the oldest files where there is too much; a file goes as a whole."""
        settings, now_ns = self._settings, time.time_ns()
        current = self._writer.current
        sizes = {first: sum(_size(file) for file in self._files(first)) for first in (*closed, current)}
        total = sum(sizes.values())
        for at, first in enumerate(closed):
            following = closed[at + 1] if at + 1 < len(closed) else current
            facts = self._facts.get(first)
            if facts is None:
                facts = self._facts[first] = closed_facts(self._folder, first)
            too_old = facts.written_ns < now_ns - settings.keep_s * 1e9
            if total <= settings.keep_bytes and not too_old:
                break
            meta = self._writer.meta
            gone = {
                "deleted_until": str(following - 1),
                "deleted_records": str(int(meta["deleted_records"]) + facts.records),
                "deleted_labels": str(int(meta["deleted_labels"]) + facts.labels),
            }
            if not self._remember(gone, 30.0):
                break
            for file in self._files(first):
                file.unlink(missing_ok=True)
            total -= sizes[first]
            self._facts.pop(first)
        self.size_bytes = total


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0
