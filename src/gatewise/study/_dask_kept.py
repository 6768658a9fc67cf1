"""Processes that a Dask worker keeps from one cell to the next: torch is loaded once, as in a study without Dask."""

import threading
from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from ._workers import Worker

KEPT_S = 20.0
"""How long a process waits for the next cell of a study that says nothing, because it was killed, perhaps."""


@dataclass(kw_only=True)
class _Kept:
    worker: Worker
    kind: str
    timer: threading.Timer


_lock = threading.Lock()
_idle: list[_Kept] = []


@contextmanager
def kept_process(kind: str, *, cwd: str | None, memory_bytes: int | None) -> Generator[Worker]:
    """A process that waits, or a fresh one; it waits again afterwards unless an error comes.

    `kind` names everything that must be equal for a process to be used again.
    """
    worker = _take(kind) or Worker(recycled=True, cwd=cwd, memory_bytes=memory_bytes)
    try:
        yield worker
    except BaseException:
        worker.close()
        raise
    _give_back(kind, worker)


def _take(kind: str) -> Worker | None:
    with _lock:
        found = next((kept for kept in _idle if kept.kind == kind), None)
        if found is None:
            return None
        _idle.remove(found)
    found.timer.cancel()
    return found.worker


def _give_back(kind: str, worker: Worker) -> None:
    kept = _Kept(worker=worker, kind=kind, timer=threading.Timer(KEPT_S, lambda: _end(kept)))
    kept.timer.daemon = True
    with _lock:
        _idle.append(kept)
    kept.timer.start()


def _end(kept: _Kept) -> None:
    with _lock:
        if kept not in _idle:
            return  # it was taken just now
        _idle.remove(kept)
    kept.worker.close()


def let_go() -> None:
    """End every process that waits."""
    with _lock:
        waiting = list(_idle)
    for kept in waiting:
        kept.timer.cancel()
        _end(kept)
