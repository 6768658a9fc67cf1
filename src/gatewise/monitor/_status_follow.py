"""Looks at a folder again and again, and reads only what has come since."""

import sys
import threading
import time
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._status import StatusReader, StatusSettings
from ._status_sources import check_folder


class Follower:
    """A status that goes on. Safe to ask from several threads.

    Args:
        folder: the records'. `settings`: what is looked at; `until_ns` has no place here.

    Raises:
        GatewiseError: no such folder.
    """

    def __init__(self, folder: Path, settings: StatusSettings) -> None:
        check_folder(folder)
        if settings.until_ns is not None:
            raise GatewiseError("until belongs to a look back, not to one that goes on")
        self._folder = folder
        self._reader = StatusReader(settings, folder=str(folder))
        self._number = 0
        self._damaged: dict[str, None] = {}
        self._lock = threading.Lock()

    def document(self) -> dict[str, Any]:
        """The status now."""
        from ._log_read import read_entries

        with self._lock:
            try:
                entries = read_entries(self._folder, after=self._number, damaged=self._damage)
            except GatewiseError:
                if self._number:
                    raise
                entries = iter(())  # the server has not written anything yet
            for entry in entries:
                self._reader.add(entry.item)
                self._number = entry.number
            return self._reader.document(list(self._damaged))

    def _damage(self, line: str) -> None:
        self._damaged[line] = None


def follow(folder: Path, settings: StatusSettings, *, every_s: float = 2.0) -> int:
    """Show the status in the terminal and renew it until Ctrl-C; 0 then. Where nobody looks on, it is printed anew."""
    from rich.console import Console

    from ._terminal import status_terminal

    follower = Follower(folder, settings)
    console = Console(file=sys.stdout, highlight=False)
    try:
        while True:
            document = follower.document()
            if console.is_terminal:
                console.clear()
            status_terminal(document, console)
            console.print(f"\nevery {every_s:g} s; Ctrl-C ends it", style="dim", highlight=False)
            time.sleep(every_s)
    except KeyboardInterrupt:
        return 0
