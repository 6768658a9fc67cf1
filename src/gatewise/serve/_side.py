"""Everything but inference: health, metadata, labels, counters. Rare, so Starlette routes it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from gatewise import __version__
from gatewise.core import GatewiseError

from ._encode import dumps
from ._http import body, check_type
from ._late_labels import labels_of
from ._refusal import Refusal, bad
from ._servable import Port

if TYPE_CHECKING:
    from gatewise.monitor import Label

    from ._deployment import Deployment
    from ._inference import Inferences
    from ._settings import ServeSettings

Endpoint = Callable[[Request], Awaitable[Response]]
Handler = Callable[[Request, Exception], Awaitable[Response]]

EXTENSIONS = ["binary_tensor_data", "model_repository", "gatewise_labels", "gatewise_stats"]
LOOPBACK = ("127.0.0.1", "::1", "localhost", "testclient")


class Serving(Protocol):
    """What the endpoints look at; `App` is one."""

    settings: ServeSettings
    deployments: Mapping[str, Deployment]
    inferences: Inferences

    @property
    def stopping(self) -> bool: ...
    def stats(self) -> dict[str, Any]: ...


class Side:
    """The endpoints beside inference."""

    def __init__(
        self,
        app: Serving,
        *,
        label: Callable[[Label], object] | None,
        metrics: Callable[[str], tuple[bytes, str]] | None,
        refresh: Callable[[], object] | None,
    ) -> None:
        self._app = app
        self._label = label
        self._metrics = metrics
        self._refresh = refresh

    def routes(self) -> list[Route]:
        """All of them; a model's also below `/versions/{version}`."""
        found: list[Route] = []
        for path, endpoint in (
            ("/v2", self._server),
            ("/v2/", self._server),
            ("/v2/health/live", self._live),
            ("/v2/health/ready", self._ready),
            ("/metrics", self._text),
            ("/gatewise/v1/stats", self._stats),
        ):
            found.append(Route(path, endpoint, methods=["GET"]))
        for prefix in ("/v2/models/{model}", "/v2/models/{model}/versions/{version}"):
            found.append(Route(prefix, self._model, methods=["GET"]))
            found.append(Route(f"{prefix}/ready", self._model_ready, methods=["GET"]))
            found.append(Route(f"{prefix}/stats", self._model_stats, methods=["GET"]))
            found.append(Route(f"{prefix}/infer", self._never, methods=["POST"]))  # for the 405 of other methods
        found.append(Route("/v2/models/{model}/labels", self._labels, methods=["POST"]))
        found.append(Route("/v2/repository/index", self._index, methods=["POST"]))
        found.append(Route("/gatewise/v1/refresh", self._reload, methods=["POST"]))
        return found

    def handlers(self) -> Mapping[Any, Handler]:
        """Every error in the protocol's words."""
        return {Refusal: self._refusal, HTTPException: self._http_error, GatewiseError: self._bad}

    async def _refusal(self, _: Request, error: Exception) -> Response:
        assert isinstance(error, Refusal)
        answer = self._json({"error": str(error)}, error.status)
        for name, value in error.headers:
            answer.headers[name.decode()] = value.decode()
        return answer

    async def _http_error(self, request: Request, error: Exception) -> Response:
        assert isinstance(error, HTTPException)
        path = request.url.path[:120]
        said = {404: f"there is nothing at {path!r}", 405: f"{request.method[:20]} is not possible at {path!r}"}
        answer = self._json({"error": said.get(error.status_code, error.detail)}, error.status_code)
        answer.headers.update(error.headers or {})
        return answer

    async def _bad(self, _: Request, error: Exception) -> Response:
        return self._json({"error": str(error)}, 400)

    def _json(self, value: object, status: int = 200) -> Response:
        answer = Response(dumps(value), status, media_type="application/json")
        if self._app.stopping:
            answer.headers["connection"] = "close"
        return answer

    def _deployment(self, request: Request) -> tuple[Deployment, str | None]:
        deployment = self._app.inferences.deployment(request.path_params["model"])
        version = request.path_params.get("version")
        if version is not None:
            deployment.named(version)  # refuses one that is not there
        return deployment, version

    async def _server(self, _: Request) -> Response:
        return self._json({"name": "gatewise", "version": __version__, "extensions": EXTENSIONS})

    async def _live(self, _: Request) -> Response:
        return self._json({"live": True})

    async def _ready(self, _: Request) -> Response:
        ready = not self._app.stopping
        return self._json({"live": True, "ready": ready}, 200 if ready else 503)

    async def _model(self, request: Request) -> Response:
        deployment, version = self._deployment(request)
        servable = deployment.routes.live if version is None else deployment.named(version)[0].servable
        return self._json(
            {
                "name": servable.model,
                "versions": [each.version for each in deployment.versions()],
                "platform": servable.platform,
                "inputs": [_tensor(each) for each in servable.inputs],
                "outputs": [_tensor(each) for each in servable.outputs],
                "properties": {"digest": servable.digest, "version": servable.version},
            }
        )

    async def _model_ready(self, request: Request) -> Response:
        deployment, _ = self._deployment(request)
        ready = not self._app.stopping
        return self._json({"name": deployment.model, "ready": ready}, 200 if ready else 503)

    async def _model_stats(self, request: Request) -> Response:
        deployment, _ = self._deployment(request)
        return self._json(deployment.stats())

    async def _stats(self, _: Request) -> Response:
        return self._json(self._app.stats())

    async def _index(self, _: Request) -> Response:
        return self._json(
            [
                {"name": each.model, "version": version.version, "state": "READY", "reason": ""}
                for each in self._app.deployments.values()
                for version in each.versions()
            ]
        )

    async def _never(self, _: Request) -> Response:
        raise HTTPException(404)

    async def _text(self, request: Request) -> Response:
        if self._metrics is None:
            raise Refusal("unknown", "this server keeps no metrics")
        content, kind = self._metrics(request.headers.get("accept", ""))
        return Response(content, headers={"content-type": kind})

    async def _document(self, request: Request) -> Any:
        headers = dict(request.scope["headers"])
        check_type(headers)
        settings = self._app.settings
        content = await body(request.receive, headers, min(settings.max_body_bytes, 1 << 20), settings.deadline_s)
        try:
            return orjson.loads(content)
        except orjson.JSONDecodeError as error:
            raise bad(f"the body is not JSON: {str(error)[:200]}") from None

    async def _labels(self, request: Request) -> Response:
        """Late labels: `{"labels": [{"request": ..., "row": 0, "value": 1}]}`, all of them or none."""
        self._deployment(request)
        if self._label is None:
            raise Refusal("unknown", "this server keeps no labels")
        document = await self._document(request)
        labels = labels_of(document)
        for each in labels:
            self._label(each)
        return self._json({"accepted": len(labels)}, 202)

    async def _reload(self, request: Request) -> Response:
        """Look at the registry now. From this machine only: whoever may do it decides what is served."""
        if request.client is None or request.client.host not in LOOPBACK:
            raise HTTPException(404)
        if self._refresh is None:
            raise Refusal("unknown", "this server has no registry to look at")
        check_type({b"content-type": b"", **dict(request.scope["headers"])})
        return self._json({"changed": bool(await run_in_threadpool(self._refresh))})


def _tensor(port: Port) -> dict[str, Any]:
    return {"name": port.name, "datatype": port.datatype, "shape": list(port.shape)}
