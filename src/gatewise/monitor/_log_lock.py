"""One process writes a log: the lock on its folder, which the system lets go when the process ends, however it ends."""

import os
from contextlib import suppress
from pathlib import Path

from gatewise.core import GatewiseError


def _hold(handle: int) -> None:
    if os.name == "nt":
        import msvcrt

        msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
    else:
        import fcntl

        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FolderLock:
    """The right to write a log.

    Raises:
        GatewiseError: another writer holds it (in this process or another), or the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        path = folder / "log.lock"
        try:
            folder.mkdir(parents=True, exist_ok=True)
            self._handle = os.open(path, os.O_RDWR | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
        except OSError as error:
            raise GatewiseError(f"cannot write a log in {folder}: {error.strerror}") from error
        try:
            _hold(self._handle)
        except OSError as error:
            holder = os.pread(self._handle, 32, 16).decode(errors="replace").strip() if os.name != "nt" else ""
            os.close(self._handle)
            who = f" (process {holder})" if holder else ""
            raise GatewiseError(
                f"{folder}: another writer has this log open{who}"
                "\none process writes a log, any number may read it; give another folder"
            ) from error
        if os.name != "nt":  # behind the locked bytes: who holds it
            with suppress(OSError):  # a full disk
                os.pwrite(self._handle, f"{os.getpid():<32}".encode(), 16)

    def release(self) -> None:
        """Let the next writer in."""
        os.close(self._handle)
