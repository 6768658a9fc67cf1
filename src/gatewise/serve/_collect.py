"""The HTTP link between edges and a central log: an ASGI application that takes batches, and the way to send them."""

import hmac
from collections.abc import Callable
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError, MissingExtraError

if TYPE_CHECKING:
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response

PATH = "/gatewise/v1/batches"
MOST_BYTES = 64 << 20


def collector(receive: Callable[[bytes], bytes], *, token: str = "", facts: Callable[[], object] = dict) -> "Starlette":
    """An ASGI application that hands each batch posted to `/gatewise/v1/batches` to `receive` (a `Receiver`'s).

    Args:
        token: what senders must show (`Authorization: Bearer ...`); empty lets everybody send who reaches the port.
        facts: what `GET /gatewise/v1/edges` answers: what is held of each edge.

    Raises:
        MissingExtraError: starlette is not installed.
    """
    try:
        from starlette.applications import Starlette
        from starlette.concurrency import run_in_threadpool
        from starlette.responses import JSONResponse, Response
        from starlette.routing import Route
    except ImportError:
        raise MissingExtraError("starlette", "serve") from None

    def allowed(request: "Request") -> bool:
        shown = request.headers.get("authorization", "").removeprefix("Bearer ")
        return not token or hmac.compare_digest(shown.encode(), token.encode())

    async def take(request: "Request") -> "Response":
        if not allowed(request):
            return JSONResponse({"error": "this collector wants a token"}, status_code=401)
        if int(request.headers.get("content-length") or 0) > MOST_BYTES:
            return JSONResponse({"error": f"a batch has {MOST_BYTES} bytes at most"}, status_code=413)
        data = bytearray()
        async for part in request.stream():
            data += part
            if len(data) > MOST_BYTES:
                return JSONResponse({"error": f"a batch has {MOST_BYTES} bytes at most"}, status_code=413)
        try:
            answer = await run_in_threadpool(receive, bytes(data))
        except GatewiseError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return Response(answer, media_type="application/octet-stream")

    async def edges(request: "Request") -> "Response":
        if not allowed(request):
            return JSONResponse({"error": "this collector wants a token"}, status_code=401)
        return JSONResponse(await run_in_threadpool(facts))

    return Starlette(routes=[Route(PATH, take, methods=["POST"]), Route("/gatewise/v1/edges", edges)])


class HttpLink:
    """A transport for a `Forwarder`: posts a batch to the collector at `url` and brings its answer. Close it at last.

    Raises:
        GatewiseError: `url` is none. When called: the collector refused. A link that is down raises httpx2's errors.
        MissingExtraError: httpx2 is not installed.
    """

    def __init__(self, url: str, *, token: str = "", timeout_s: float = 30.0) -> None:
        if not url.startswith(("http://", "https://")):
            raise GatewiseError(f"a collector is named by a URL such as http://central:8090, not {url!r}")
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("httpx2", "serve") from None
        self._url = url.rstrip("/")
        headers = {"authorization": f"Bearer {token}"} if token else {}
        self._client = httpx2.Client(timeout=timeout_s, trust_env=False, headers=headers)

    def __call__(self, data: bytes) -> bytes:
        """Send a batch."""
        answer = self._client.post(self._url + PATH, content=data)
        if answer.status_code != 200:
            raise GatewiseError(f"{self._url} answered {answer.status_code}: {answer.text[:200]}")
        return answer.content

    def close(self) -> None:
        """Let the connection go."""
        self._client.close()
