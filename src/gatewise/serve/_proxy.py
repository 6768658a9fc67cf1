"""A small proxy before a server that people already run: it passes everything on, and watches.

With a second server behind it (`shadow`), a stated share of the watched requests goes to both, in random order and at
the same moment; the caller gets the first server's answer, and the two make a shadow pair for the judge.
"""

import asyncio
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.monitor import Label, Record, Role

from ._late_labels import labels_of
from ._refusal import Refusal
from ._watched import Body, Message, Receive, Seen, Send, Watched, encoding_of, record_of, request_id

if TYPE_CHECKING:
    import httpx2

HOP = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
}
"""Headers that belong to one connection (RFC 9110, 7.6.1)."""
ANEW = {b"host", b"content-length"}
"""Headers of a request that are written anew for the server behind."""


LABELS = "/gatewise/v1/labels"
"""Where the proxy itself takes late labels, as `gatewise serve` does."""


@dataclass(frozen=True, kw_only=True)
class Upstream:
    """Servers behind the proxy.

    Attributes:
        live: the base URL of the server that answers. shadow: of one that gets copies; empty for none.
        shadow_version: what records call it where its answers do not say.
        share: of the watched requests that go to the shadow too.
        timeout_s: for an answer. most_shadows: copies under way at most; beyond, a pair is left out and counted.
        most_bytes: of a request's body (413 beyond).
    """

    live: str
    shadow: str = ""
    shadow_version: str = "shadow"
    share: float = 1.0
    timeout_s: float = 30.0
    most_shadows: int = 64
    most_bytes: int = 64 << 20

    def __post_init__(self) -> None:
        for url in (self.live, *([self.shadow] if self.shadow else [])):
            if not url.startswith(("http://", "https://")):
                raise GatewiseError(f"a server is named by a URL such as http://127.0.0.1:8000, not {url!r}")
        if not 0 <= self.share <= 1:
            raise GatewiseError(f"share must be from 0 to 1, not {self.share}")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """A request that was read whole. `first`: whether the live server is asked first; None without a shadow."""

    scope: Message
    body: bytes
    request: str
    at_ns: int
    first: bool | None


class Proxy:
    """The ASGI application. `counts`: pairs that were made, left out, and failed; records that could not be made."""

    def __init__(
        self,
        upstream: Upstream,
        plan: Watched,
        watch: Callable[[Record], object],
        *,
        label: Callable[[Label], object] | None = None,
        seed: int = 0,
    ) -> None:
        try:
            import httpx2
        except ImportError:
            raise MissingExtraError("httpx2", "serve") from None
        self.upstream, self.plan, self.watch, self.label = upstream, plan, watch, label
        self.counts = {"pairs": 0, "left_out": 0, "shadow_failed": 0, "failures": 0}
        self._random = random.Random(seed)
        self._under_way: set[asyncio.Task[None]] = set()
        limits = httpx2.Limits(max_connections=None, max_keepalive_connections=256)
        self._client = httpx2.AsyncClient(timeout=upstream.timeout_s, limits=limits, trust_env=False)
        self._made = httpx2.Request
        self._timeout = httpx2.Timeout(upstream.timeout_s).as_dict()
        self._lost = httpx2.TransportError
        self._slow = httpx2.TimeoutException

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One exchange, or the life of the server."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif scope["type"] == "http":
            await self._pass(scope, receive, send)
        else:
            raise GatewiseError("the proxy passes HTTP only")

    async def _live(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                await send({"type": "lifespan.startup.complete"})
            else:
                await asyncio.gather(*self._under_way, return_exceptions=True)
                await self._client.aclose()
                await send({"type": "lifespan.shutdown.complete"})
                return

    async def _pass(self, scope: Message, receive: Receive, send: Send) -> None:
        body = await self._body(receive)
        if body is None:
            await _say(send, 413, f"a request has {self.upstream.most_bytes} bytes at most here")
            return
        if self.label is not None and scope["method"] == "POST" and scope["path"] == LABELS:
            await self._labels(body, send)
            return
        first = self._drawn() if self.plan.watches(scope) else None
        name = request_id(scope["headers"], self.plan.id_header)
        asked = Asked(scope=scope, body=body, request=name, at_ns=time.time_ns(), first=first)
        if first is False:
            self._start_shadow(asked)
            await asyncio.sleep(0)  # the copy is on its way before ours
        answering = asyncio.ensure_future(self._ask(asked, "live", send))
        if first is True:
            await asyncio.sleep(0)
            self._start_shadow(asked)
        await answering

    async def _labels(self, body: bytes, send: Send) -> None:
        import orjson

        assert self.label is not None
        try:
            labels = labels_of(orjson.loads(body))
        except orjson.JSONDecodeError:
            await _say(send, 400, "the body is not JSON")
            return
        except Refusal as refusal:
            await _say(send, refusal.status, str(refusal))
            return
        for each in labels:
            self.label(each)
        await _say(send, 202, "", {"accepted": len(labels)})

    def _drawn(self) -> bool | None:
        """Whether the live server is asked first; None where this request gets no shadow."""
        if not self.upstream.shadow or self._random.random() >= self.upstream.share:
            return None
        if len(self._under_way) >= self.upstream.most_shadows:
            self.counts["left_out"] += 1
            return None
        return self._random.random() < 0.5

    async def _body(self, receive: Receive) -> bytes | None:
        """The whole body; None where it is too long. It is read to its end either way."""
        parts, size = list[bytes](), 0
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            part = message.get("body", b"")
            size += len(part)
            if size <= self.upstream.most_bytes:
                parts.append(part)
            if not message.get("more_body"):
                return b"".join(parts) if size <= self.upstream.most_bytes else None

    def _request(self, base: str, scope: Message, body: bytes) -> "httpx2.Request":
        query = scope.get("query_string", b"")
        path = (scope.get("raw_path") or scope["path"].encode()).decode("latin-1").partition("?")[0]
        url = base.rstrip("/") + path + (f"?{query.decode('latin-1')}" if query else "")
        headers = [(key, value) for key, value in scope["headers"] if key.lower() not in HOP | ANEW]
        # Made by hand: the client would add headers of its own, such as the encodings that it accepts.
        return self._made(scope["method"], url, headers=headers, content=body, extensions={"timeout": self._timeout})

    async def _exchange(self, base: str, asked: Asked, answered: Body, send: Send) -> int:
        """Ask a server and send its answer on as it comes; the status."""
        begun = False
        try:
            answer = await self._client.send(self._request(base, asked.scope, asked.body), stream=True)
            try:
                headers = [(key, value) for key, value in answer.headers.raw if key.lower() not in HOP]
                await send({"type": "http.response.start", "status": answer.status_code, "headers": headers})
                begun = True
                answered.encoding = answer.headers.get("content-encoding", "")
                async for part in answer.aiter_raw():
                    answered.take(part)
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b""})
            finally:
                await answer.aclose()
        except self._slow:
            if begun:
                raise
            return await _say(send, 504, f"no answer within {self.upstream.timeout_s:g} s")
        except self._lost as error:
            if begun:
                raise
            return await _say(send, 502, f"the server behind does not answer: {type(error).__name__}")
        return int(answer.status_code)

    def _start_shadow(self, asked: Asked) -> None:
        task = asyncio.ensure_future(self._shadow(asked))
        self._under_way.add(task)
        task.add_done_callback(self._under_way.discard)

    async def _shadow(self, asked: Asked) -> None:
        async def nowhere(message: Message) -> None:
            """A shadow's answer goes nowhere."""

        try:
            status = await self._ask(asked, "shadow", nowhere)
        except Exception:  # noqa: BLE001  a shadow's fault is never the caller's
            status = 502
        self.counts["pairs" if status < 500 else "shadow_failed"] += 1

    async def _ask(self, asked: Asked, role: Role, send: Send) -> int:
        """One server's exchange, timed in the same way for both, and its record."""
        is_live = role == "live"
        base = self.upstream.live if is_live else self.upstream.shadow
        answered, begin, status = Body(self.plan.most_bytes), time.perf_counter(), 502
        try:
            status = await self._exchange(base, asked, answered, send)
        finally:
            if self.plan.watches(asked.scope):
                held = Body(self.plan.most_bytes)
                held.take(asked.body)
                held.encoding = encoding_of(asked.scope["headers"])
                seen = Seen(
                    request=asked.request,
                    at_ns=asked.at_ns,
                    seconds=time.perf_counter() - begin,
                    status=status,
                    asked=held,
                    answered=answered,
                    role=role,
                    first=None if asked.first is None else asked.first == is_live,
                )
                self._note(seen)
        return status

    def _note(self, seen: Seen) -> None:
        plan = self.plan if seen.role == "live" else replace(self.plan, version=self.upstream.shadow_version)
        try:
            self.watch(record_of(plan, seen))
        except Exception:  # noqa: BLE001  watching must not fail the watched
            self.counts["failures"] += 1


async def _say(send: Send, status: int, error: str, told: dict[str, int] | None = None) -> int:
    import orjson

    body = orjson.dumps({"error": error} if told is None else told)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
    return status
