"""The two doors of this package: `app` makes the ASGI application, `run` serves it until it is told to stop."""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from gatewise.core import MissingExtraError

from ._listen import BACKLOG, address, bound
from ._routes import Routes
from ._servable import Servable
from ._settings import ServeSettings
from ._summary import Summariser

if TYPE_CHECKING:
    from gatewise.monitor import Label, Record

    from ._app import App


_SWITCH_S = 5e-4
"""How long a thread may hold the interpreter while another waits. A model gives it back at each of its operations, and
with Python's 5 ms it waits that long for it each time while the event loop is busy."""


def app(
    models: Sequence[Servable | Routes],
    settings: ServeSettings | None = None,
    *,
    watch: Callable[[Record], object] | None = None,
    label: Callable[[Label], object] | None = None,
    metrics: Callable[[str], tuple[bytes, str]] | None = None,
    summarise: Summariser | None = None,
    refresh: Callable[[], object] | None = None,
) -> App:
    """An ASGI application that serves these models by the Open Inference Protocol v2.

    Args:
        models: a servable, or the routes of a model with canary and shadow.
        watch: gets a `Record` of each request and version, in the event loop's thread: it must only queue.
        label: gets late labels. metrics: the body of `/metrics` and its type, for an `Accept` header.
        refresh: looks for changed versions; called in a thread.
        summarise: what a record says of inputs and outputs; by default `Standard`.

    Raises:
        MissingExtraError: starlette or orjson is not installed.
    """
    try:
        from ._app import App
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    routes = [each if isinstance(each, Routes) else Routes(live=each) for each in models]
    return App(
        routes,
        settings or ServeSettings(),
        watch=watch,
        label=label,
        metrics=metrics,
        summarise=summarise,
        refresh=refresh,
    )


def run(
    application: App, *, host: str = "127.0.0.1", port: int = 8080, started: Callable[[str], object] | None = None
) -> None:
    """Serve until SIGTERM or SIGINT, drain and return.

    Args:
        port: 0 takes a free one. started: gets the server's address once it listens.
    """
    try:
        import uvicorn

        from ._lifecycle import GracefulServer
    except ModuleNotFoundError as error:
        raise _missing(error) from error
    config = uvicorn.Config(
        application,
        host=host,
        port=port,
        log_level="warning",
        access_log=False,
        server_header=False,
        http="auto",
        ws="none",
        lifespan="on",
        backlog=BACKLOG,
        timeout_keep_alive=75,
        timeout_graceful_shutdown=max(1, int(application.settings.drain_s)),
    )
    listening = bound(host, port)
    before_s = sys.getswitchinterval()
    sys.setswitchinterval(_SWITCH_S)
    gc.collect()
    gc.freeze()  # what is loaded by now stays: a full collection walks over all of it (40 ms of CPU), and requests wait
    try:
        if started is not None:
            started(address(host, listening))
        GracefulServer(config, application).run(sockets=[listening])
    finally:
        gc.unfreeze()
        sys.setswitchinterval(before_s)
        listening.close()


def _missing(error: ModuleNotFoundError) -> Exception:
    package = (error.name or "").partition(".")[0]
    return MissingExtraError(package, "serve") if package in ("starlette", "uvicorn", "orjson") else error
