"""A uvicorn server that stops gracefully: a lame-duck window, then drain, then exit 0."""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import threading
import time
from collections.abc import Generator
from types import FrameType
from typing import TYPE_CHECKING

import uvicorn

from ._listen import begin_no_more

if TYPE_CHECKING:
    from ._app import App

_SIGNALS = (signal.SIGTERM, signal.SIGINT)

_QUIET_S = 0.25
"""A connection that was silent for so long after the window has nothing under way."""


class GracefulServer(uvicorn.Server):
    """SIGTERM or SIGINT begins the window; a second SIGINT ends it at once.

    In the window readiness says 503, so that balancers turn away, while every request is still answered, with
    `Connection: close`, so that clients connect anew elsewhere. After it no connection is accepted; what came before
    is answered, and only then are connections closed. The process ends with 0.
    """

    def __init__(self, config: uvicorn.Config, app: App) -> None:
        super().__init__(config)
        self._app = app
        self._stop_at_s: float | None = None

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Called by the signal; a plain flag, looked at ten times a second."""
        if self._stop_at_s is not None and sig == signal.SIGINT:
            self.force_exit = self.should_exit = True
            return
        self._app.stop()
        if self._stop_at_s is None:
            self._stop_at_s = time.monotonic() + self._app.settings.lame_duck_s

    async def on_tick(self, counter: int) -> bool:
        """End the window when its time has come."""
        if self._stop_at_s is not None and time.monotonic() >= self._stop_at_s:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take what waits to be accepted, stop accepting, answer all that came, and only then close."""
        self._app.stop()
        if not self.force_exit:
            for each in sockets or ():
                begin_no_more(each)
            await asyncio.sleep(0.05)  # what connected in the window is in the queue of the socket: let it in
            for server in self.servers:
                server.close()
            await self._quiet(time.monotonic() + self._app.settings.drain_s)
        await super().shutdown(sockets)

    async def _quiet(self, until_s: float) -> None:
        """Wait until no request was under way, nor came, for a moment. A connection may carry one any time."""
        since_s, seen = time.monotonic(), self.server_state.total_requests
        while (now_s := time.monotonic()) < until_s and not self.force_exit:
            if self.server_state.tasks or self.server_state.total_requests != seen:
                since_s, seen = now_s, self.server_state.total_requests
            if not self.server_state.connections or now_s - since_s > _QUIET_S:
                return
            await asyncio.sleep(0.02)

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None, None, None]:
        """As uvicorn's, but a signal that was obeyed is not raised once more at the end: the exit code is 0."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {each: signal.signal(each, self.handle_exit) for each in _SIGNALS}
        try:
            yield
        finally:
            for each, handler in before.items():
                signal.signal(each, handler)
