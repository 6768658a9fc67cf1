"""Serve an ASGI application that needs no lame-duck window, until SIGTERM or SIGINT."""

from collections.abc import Callable
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError


def listen(application: Any, *, host: str, port: int, started: Callable[[str], object]) -> None:
    """Listen, tell `started` the address, and serve; what is under way at a signal is answered.

    Raises:
        GatewiseError: the address is taken. MissingExtraError: uvicorn is not installed.
    """
    try:
        import uvicorn
    except ImportError:
        raise MissingExtraError("uvicorn", "serve") from None
    config = uvicorn.Config(application, host=host, port=port, log_level="warning", access_log=False, lifespan="on")
    try:
        listening = config.bind_socket()
    except SystemExit:
        raise GatewiseError(f"cannot listen on {host}:{port}: it is taken, or not an address of this machine") from None
    try:
        shown = f"[{host}]" if ":" in host else host
        started(f"http://{shown}:{listening.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listening])
    finally:
        listening.close()
