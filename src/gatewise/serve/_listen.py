"""Listening: a socket as asyncio needs it, and serving an application that needs no lame-duck window."""

import signal
import socket
import threading
from collections.abc import Callable
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError

BACKLOG = 4096
"""Connections that wait to be accepted at most."""


def listen(application: Any, *, host: str, port: int, started: Callable[[str], object]) -> None:
    """Listen, tell `started` the address, and serve until SIGTERM or SIGINT; what is under way then is answered.

    Raises:
        GatewiseError: the address is taken. MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("uvicorn", "serve") from None
    config = uvicorn.Config(
        application,
        log_level="warning",
        access_log=False,
        server_header=False,
        date_header=False,
        lifespan="on",
        backlog=BACKLOG,
    )
    listening = bound(host, port)
    # uvicorn obeys a signal and then raises it once more; by then it must do nothing, or the caller could not close up.
    obeyed = (signal.SIGTERM, signal.SIGINT) if threading.current_thread() is threading.main_thread() else ()
    before = {each: signal.signal(each, lambda *_: None) for each in obeyed}
    try:
        started(address(host, listening))
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
        listening.close()


def address(host: str, listening: socket.socket) -> str:
    """The URL of a socket that listens."""
    shown = f"[{host}]" if ":" in host else host
    return f"http://{shown}:{listening.getsockname()[1]}"


def bound(host: str, port: int) -> socket.socket:
    """A socket that says it is TCP: where the protocol is left open, asyncio leaves Nagle's algorithm on (40 ms)."""
    if not 0 <= port <= 65_535:
        raise GatewiseError(f"a port is from 0 to 65535, not {port}")
    try:
        family, _, _, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        found = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
        try:
            found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            found.bind(address)
            found.listen(BACKLOG)  # before anybody is told the address
        except OSError:
            found.close()
            raise
    except OSError as error:
        raise GatewiseError(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    return found
