"""uvicorn's HTTP protocol with one write to the socket for each answer, where it makes one for head and body each."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.auto import AutoHTTPProtocol


class _Corked:
    """A transport whose writes of one turn of the event loop leave together. Everything else is the transport's."""

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._held: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        if not data:
            return
        if not self._held:
            self._loop.call_soon(self._flush)
        self._held.append(data)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, []
            self._transport.write(held[0] if len(held) == 1 else b"".join(held))


class CorkedProtocol(AutoHTTPProtocol):  # pyright: ignore[reportUntypedBaseClass, reportGeneralTypeIssues]  chosen at run time
    """For `uvicorn.Config(http=...)`."""

    def connection_made(self, transport: Any) -> None:
        """Called by the event loop for a new connection."""
        super().connection_made(_Corked(transport, asyncio.get_running_loop()))  # pyright: ignore[reportArgumentType]
