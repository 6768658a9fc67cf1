"""The ASGI application: inference by a short way of its own, everything else through Starlette."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from starlette.applications import Starlette

from gatewise.core import GatewiseError

from ._deployment import Deployment
from ._http import Receive, Scope, Send, segments
from ._inference import Inferences
from ._recorder import Recorder, Watch
from ._routes import Routes
from ._settings import ServeSettings
from ._side import Side
from ._summary import Standard, Summariser

if TYPE_CHECKING:
    from gatewise.monitor import Label

    from ._executor import Ticket


class App:
    """Serves models. It is an ASGI application; `gatewise.serve.app` makes one.

    Attributes:
        deployments: by model name. inferences: the hot path, with its counters.
        stopping: readiness is false and connections are closed after their answer; requests are still answered.
    """

    def __init__(
        self,
        models: Sequence[Routes],
        settings: ServeSettings,
        *,
        watch: Watch | None = None,
        label: Callable[[Label], object] | None = None,
        metrics: Callable[[str], tuple[bytes, str]] | None = None,
        summarise: Summariser | None = None,
        refresh: Callable[[], object] | None = None,
    ) -> None:
        if not models:
            raise GatewiseError("there is no model to serve")
        names = Counter(each.live.model for each in models)
        twice = [name for name, count in names.items() if count > 1]
        if twice:
            raise GatewiseError(f"the model {twice[0]!r} is given twice")
        self.settings = settings
        self._loop: asyncio.AbstractEventLoop | None = None
        self.deployments: Mapping[str, Deployment] = {
            each.live.model: Deployment(each, settings, self._post) for each in models
        }
        self.recorder = Recorder(watch, summarise or Standard(settings.features_share))
        self.inferences = Inferences(self.deployments, settings, self.recorder)
        self._side = Side(self, label=label, metrics=metrics, refresh=refresh)
        self._others = Starlette(
            routes=self._side.routes(), exception_handlers=self._side.handlers(), lifespan=self._lifespan
        )

    @property
    def stopping(self) -> bool:
        return self.inferences.stopping

    def stop(self) -> None:
        """Begin the lame-duck window."""
        self.inferences.stopping = True

    def route(self, routes: Routes) -> None:
        """Swap the versions of a model at once; from any thread once the server runs, else from the caller's."""
        deployment = self.deployments.get(routes.live.model)
        if deployment is None:
            raise GatewiseError(f"{routes.live.model!r} is not served here; served: {', '.join(self.deployments)}")
        loop = self._loop
        if loop is None or not loop.is_running() or loop is _running():
            deployment.route(routes)
            return
        over = asyncio.run_coroutine_threadsafe(_call(lambda: deployment.route(routes)), loop)
        over.result(timeout=30)

    def stats(self) -> dict[str, Any]:
        """Counters of the whole server."""
        return {
            "stopping": self.stopping,
            "answers": {str(status): count for status, count in sorted(self.inferences.answers.items())},
            "records_failed": self.recorder.num_failed,
            "models": [each.stats() for each in self.deployments.values()],
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if self._loop is None:
            self._loop = asyncio.get_running_loop()
        if scope["type"] == "http" and scope["method"] == "POST":
            parts = segments(scope)
            if parts[-1] == "infer" and parts[:2] == ["v2", "models"]:
                if len(parts) == 4:
                    return await self.inferences.answer(scope, receive, send, parts[2], None)
                if len(parts) == 6 and parts[3] == "versions":
                    return await self.inferences.answer(scope, receive, send, parts[2], parts[4])
        return await self._others(scope, receive, send)

    @contextlib.asynccontextmanager
    async def _lifespan(self, _: Starlette) -> AsyncGenerator[None]:
        self._loop = asyncio.get_running_loop()
        yield
        self.stop()
        for each in self.deployments.values():
            each.close()
        until_s = time.monotonic() + self.settings.drain_s
        while any(each.under_way for each in self.deployments.values()) and time.monotonic() < until_s:
            await asyncio.sleep(0.01)  # the shadows' share: nobody waits for their answers, but their records count
        await asyncio.sleep(0)
        self.recorder.flush()

    def _post(self, tickets: list[Ticket]) -> None:
        loop = self._loop
        assert loop is not None  # nothing is submitted before the first request
        with contextlib.suppress(RuntimeError):  # the loop is closed: nobody is left who could be told
            loop.call_soon_threadsafe(self.inferences.finished, tickets)


def _running() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


async def _call(what: Callable[[], None]) -> None:
    what()
