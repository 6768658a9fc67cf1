"""An ASGI middleware that watches a server which somebody else wrote: a record for each request, and nothing changed.

    app.add_middleware(WatchedApp, plan=Watched(model="ranker", version="v7", prediction="/scores"), watch=log.append)

It sees the whole of an answer's time, and not how much of it was waiting: `queue_s` is 0 and `compute_s` is all of it.
What goes wrong while watching never reaches the caller; `failures` counts it.
"""

import re
import time
import uuid
import zlib
from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from hashlib import blake2b
from typing import Any

from gatewise.core import GatewiseError
from gatewise.monitor import Record, Role, Status

from ._json_numbers import numbers_of, predictions_of

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Message, Receive, Send], Awaitable[None]]

UNAVAILABLE, EXPIRED = (429, 503), 504


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What to watch, and where its numbers stand.

    Attributes:
        model, version: what records say; an answer of the Open Inference Protocol names its own version.
        path: a regular expression; a request whose path it matches wholly is watched, others only pass.
        method: the method that is watched.
        prediction, confidence: JSON pointers into the answer, such as `/predictions`; empty: none is recorded.
        id_header: the header in which callers name a request, so that labels find it.
        most_bytes: of a body that are read for numbers; of a longer one only the hash is recorded.
        content: keep the bodies of requests in the records.
    """

    model: str = "model"
    version: str = "unnamed"
    path: str = ".*"
    method: str = "POST"
    prediction: str = ""
    confidence: str = ""
    id_header: str = "x-request-id"
    most_bytes: int = 1 << 20
    content: bool = False

    def __post_init__(self) -> None:
        for pointer in (self.prediction, self.confidence):
            if pointer and not pointer.startswith("/"):
                raise GatewiseError(f"a JSON pointer begins with /, such as /predictions; not {pointer!r}")
        try:
            re.compile(self.path)
        except re.error as error:
            raise GatewiseError(f"path {self.path!r} is no regular expression: {error}") from None

    def watches(self, scope: Message) -> bool:
        """Whether this request is recorded."""
        return bool(
            scope["type"] == "http" and scope["method"] == self.method and re.fullmatch(self.path, scope["path"])
        )


class Body:
    """A body as it passes: its hash, its size, and its bytes while they are few. `encoding`: its content coding."""

    def __init__(self, most_bytes: int) -> None:
        self._most, self._parts, self.size, self.encoding = most_bytes, list[bytes](), 0, ""
        self._hash = blake2b(digest_size=16)

    def take(self, part: bytes) -> None:
        """The next part."""
        self.size += len(part)
        self._hash.update(part)
        if self.size <= self._most:
            self._parts.append(part)
        else:
            self._parts.clear()

    @property
    def fingerprint(self) -> str:
        return self._hash.hexdigest()

    @property
    def content(self) -> bytes | None:
        """All of it, or None where it was too long."""
        return b"".join(self._parts) if self.size <= self._most else None

    def document(self) -> Any:
        """The body as JSON, or None: it is something else, too long, or in a coding other than gzip and deflate."""
        import orjson

        try:
            return orjson.loads(self._plain())
        except (orjson.JSONDecodeError, zlib.error):
            return None

    def _plain(self) -> bytes:
        content = self.content or b""
        if self.encoding.lower() in ("gzip", "x-gzip", "deflate"):
            return zlib.decompressobj(wbits=47).decompress(content, self._most)
        return content if self.encoding.lower() in ("", "identity") else b""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """One exchange: when it began, how long it took, its status and both bodies."""

    request: str
    at_ns: int
    seconds: float
    status: int
    asked: Body
    answered: Body
    role: Role = "live"
    first: bool | None = None


def record_of(plan: Watched, seen: Seen) -> Record:
    """The record of one exchange."""
    asked, answered = seen.asked.document(), seen.answered.document()
    told = answered if isinstance(answered, dict) else {}
    status: Status = "ok" if seen.status < 400 else "error"
    if seen.status in UNAVAILABLE or 400 <= seen.status < 500:
        status = "refused"
    elif seen.status == EXPIRED:
        status = "expired"
    predictions = predictions_of(answered, plan.prediction)
    return Record(
        request=seen.request,
        at_ns=seen.at_ns,
        model=plan.model,
        version=str(told.get("model_version") or plan.version),
        digest="",
        role=seen.role,
        first=seen.first,
        status=status,
        reason=None if status == "ok" else f"HTTP {seen.status}",
        compute_s=seen.seconds,
        rows=max(1, len(predictions)),
        batch_rows=max(1, len(predictions)),
        fingerprint=seen.asked.fingerprint,
        features=numbers_of(asked) if asked is not None else {},
        outputs=numbers_of(answered) if answered is not None else {},
        predictions=predictions,
        confidences=predictions_of(answered, plan.confidence),
        content=seen.asked.content if plan.content else None,
    )


def encoding_of(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """The content coding that headers name; empty for none."""
    return next((value.decode("latin-1") for key, value in headers if key.lower() == b"content-encoding"), "")


def request_id(headers: list[tuple[bytes, bytes]], name: str) -> str:
    """The caller's id of a request, or a new one."""
    wanted = name.lower().encode()
    given = next((value.decode("latin-1") for key, value in headers if key.lower() == wanted), "")
    return given or uuid.uuid4().hex


class WatchedApp:
    """The middleware: passes everything on as it is, and hands a record of each watched request to `watch`."""

    def __init__(self, app: App, plan: Watched, watch: Callable[[Record], object]) -> None:
        self.app, self.plan, self.watch = app, plan, watch
        self.failures = 0

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """One connection's exchange."""
        if not self.plan.watches(scope):
            await self.app(scope, receive, send)
            return
        asked, answered, status = Body(self.plan.most_bytes), Body(self.plan.most_bytes), [500]
        asked.encoding = encoding_of(scope["headers"])
        at_ns, begin = time.time_ns(), time.perf_counter()

        async def reading() -> Message:
            message = await receive()
            if message["type"] == "http.request":
                asked.take(message.get("body", b""))
            return message

        async def writing(message: Message) -> None:
            if message["type"] == "http.response.start":
                status[0] = message["status"]
                answered.encoding = encoding_of(message.get("headers", ()))
            elif message["type"] == "http.response.body":
                answered.take(message.get("body", b""))
            await send(message)

        try:
            await self.app(scope, reading, writing)
        finally:
            self._note(
                Seen(
                    request=request_id(scope["headers"], self.plan.id_header),
                    at_ns=at_ns,
                    seconds=time.perf_counter() - begin,
                    status=status[0],
                    asked=asked,
                    answered=answered,
                )
            )

    def _note(self, seen: Seen) -> None:
        try:
            self.watch(record_of(self.plan, seen))
        except Exception:  # noqa: BLE001  watching must not fail the watched
            self.failures += 1
