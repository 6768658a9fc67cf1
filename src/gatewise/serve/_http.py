"""The little of ASGI that the hot path needs: headers, a body of limited size, an answer."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any
from urllib.parse import unquote

from ._encode import JSON_TYPE, Headers, dumps
from ._refusal import Refusal

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

CLOSE = (b"connection", b"close")

_TYPES = (b"application/json", b"application/octet-stream")


class Gone(Exception):  # noqa: N818  nobody is there to be answered
    """The client went away before its request was complete."""


def segments(scope: Scope) -> list[str]:
    """The path in parts, each decoded on its own, so that a name may hold an encoded slash."""
    raw = scope.get("raw_path")
    path: str = raw.decode("latin-1") if raw else scope["path"]
    root = scope.get("root_path") or ""
    parts = path.removeprefix(root).partition("?")[0].split("/")[1:]
    return [unquote(each) for each in parts] if raw and "%" in path else parts


async def body(receive: Receive, headers: Mapping[bytes, bytes], limit: int, left_s: float) -> bytes:
    """The whole body. Raises `Refusal` where it is larger than `limit`, or takes longer than `left_s`."""
    stated = headers.get(b"content-length", b"")
    if stated.isdigit() and (len(stated) > 18 or int(stated) > limit):
        raise Refusal("size", f"the body has {stated[:20].decode()} bytes; this server takes {limit}")
    first = await receive()
    if first["type"] == "http.disconnect":
        raise Gone
    found = first.get("body", b"")
    if not first.get("more_body"):
        if len(found) > limit:
            raise Refusal("size", f"the body is larger than {limit} bytes")
        return found
    parts, size = [found], len(found)
    try:
        async with asyncio.timeout(left_s):
            while True:
                if size > limit:
                    raise Refusal("size", f"the body is larger than {limit} bytes")
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise Gone
                parts.append(message.get("body", b""))
                size += len(parts[-1])
                if not message.get("more_body"):
                    break
    except TimeoutError:
        raise Refusal("expired", "the body did not come in time") from None
    if size > limit:
        raise Refusal("size", f"the body is larger than {limit} bytes")
    return b"".join(parts)


def check_type(headers: Mapping[bytes, bytes]) -> None:
    """415 for what a browser's form could send without asking, and for anything else that is not ours."""
    stated = headers.get(b"content-type")
    if stated is None:
        return
    name = stated.partition(b";")[0].strip().lower()
    if name and name not in _TYPES and not (name.startswith(b"application/") and name.endswith(b"+json")):
        shown = name[:60].decode("latin-1")
        raise Refusal("type", f"Content-Type {shown!r} is not supported; application/json and octet-stream are")


async def reply(send: Send, status: int, headers: Headers, content: bytes) -> None:
    """Send a whole answer."""
    headers.append((b"content-length", b"%d" % len(content)))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": content})


def refused(refusal: Refusal) -> tuple[int, Headers, bytes]:
    """The protocol's answer for a refusal. After a body that was not read the connection is closed."""
    headers = [JSON_TYPE, *refusal.headers]
    if refusal.cause == "size" or (refusal.cause == "expired" and "body" in str(refusal)):
        headers.append(CLOSE)
    return refusal.status, headers, dumps({"error": str(refusal)})
