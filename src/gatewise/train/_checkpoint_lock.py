"""One process trains in a folder of checkpoints: a lock that the system lets go when the process ends, however it ends.

A study that is resumed may meet the runs of the one that was killed: on a cluster they end only when it is noticed that
nobody wants them, and what they write and remove until then must not be read half-way.
"""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import BinaryIO

from gatewise.core import GatewiseError

from ._checkpoint import drop

LOCK = ".lock"
PATIENCE_S = 60.0
"""How long a run waits for another one in its folder to end."""

LOOK_S = 0.1


@contextmanager
def held(folder: Path, *, patience_s: float = PATIENCE_S) -> Generator[None]:
    """Be the only one that trains in a folder, which is made. Whoever holds it may take it away, all at once.

    Where the system or the file system cannot lock, nothing is held. Raises `GatewiseError` where another process still
    trains there after `patience_s`, or where the folder cannot be written.
    """
    until = time.monotonic() + patience_s
    while True:
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = (folder / LOCK).open("ab")
        except OSError as error:
            came_or_went = isinstance(error, (FileNotFoundError, FileExistsError))
            if not came_or_went or (folder.exists() and not folder.is_dir()):
                raise GatewiseError(f"cannot write a checkpoint to {folder}: {error.strerror or error}") from error
            file = nullcontext()  # the holder removes the folder just now
        with file as opened:
            if opened is not None and _locked(opened) and _stands(folder, opened):
                yield
                return
        if time.monotonic() > until:
            raise GatewiseError(f"another process trains in {folder}\nwait until it has ended, or give another folder")
        time.sleep(LOOK_S)


def _locked(file: BinaryIO) -> bool:
    try:
        import fcntl
    except ImportError:  # not on this system
        return True
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # a file system without locks
        return True
    return True


def _stands(folder: Path, file: BinaryIO) -> bool:
    """Whether the locked file is still the one of that name, and not one that went with its folder."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), (folder / LOCK).stat())
    except FileNotFoundError:
        return False


def forget(folder: Path) -> None:
    """Remove a run's checkpoints once no other process reads them; what cannot be removed stays.

    The folder goes as one, its lock with it: who waits for that makes a new one, and finds nothing half-removed.
    """
    if folder.is_dir():
        with held(folder), suppress(OSError):
            drop(folder)
