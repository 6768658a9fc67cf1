"""Listening: a socket as asyncio needs it, and serving an application that needs no lame-duck window."""

import ctypes
import signal
import socket
import struct
import sys
import threading
from collections.abc import Callable
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError

BACKLOG = 4096
"""Connections that wait to be accepted at most."""

_SO_ATTACH_FILTER = 26
_FLAGS_AT, _SYN = 13, 0x02
_NO_SYN = (  # classic BPF (code, jump if true, jump if false, k) on a TCP header; returns how much of a packet is kept
    (0x30, 0, 0, _FLAGS_AT),  # load the byte of the flags
    (0x45, 0, 1, _SYN),  # is SYN set?
    (0x06, 0, 0, 0),  # drop it
    (0x06, 0, 0, 0xFFFF_FFFF),  # keep it
)


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


def begin_no_more(listening: socket.socket) -> bool:
    """Let no new connection begin, while those that have begun may still be accepted; whether that was possible.

    A connection that the kernel has completed and nobody has accepted is reset when its socket closes, and the request
    in it is lost. Where new ones cannot begin (Linux: a filter drops what asks for one), the queue runs empty first;
    who asked meanwhile asks again a second later, and is refused by then instead of lost.
    """
    if not sys.platform.startswith("linux"):
        return False
    code = ctypes.create_string_buffer(b"".join(struct.pack("=HBBI", *line) for line in _NO_SYN))
    program = struct.pack("@HP", len(_NO_SYN), ctypes.addressof(code))
    try:
        listening.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, program)
    except OSError:  # forbidden here
        return False
    return True
