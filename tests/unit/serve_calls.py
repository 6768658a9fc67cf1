"""Calls an ASGI application in this process, request by request, without a socket."""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from gatewise import serve
from gatewise.monitor import Record


@dataclass(frozen=True)
class Answer:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Keeps every record that the application makes."""

    def __init__(self, models: Any, settings: serve.ServeSettings | None = None, **options: Any) -> None:
        self.records: list[Record] = []
        self.app = serve.app(models, settings, watch=self.records.append, **options)

    async def call(
        self, method: str, path: str, body: bytes = b"", headers: Mapping[str, str] | None = None, cut: int = 1
    ) -> Answer:
        """`cut`: the body comes in so many pieces."""
        size = max(1, -(-len(body) // cut))
        pieces = [body[at : at + size] for at in range(0, len(body), size)] or [b""]
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": pieces.pop(0), "more_body": bool(pieces)}

        async def send(message: Any) -> None:
            sent.append(message)

        given = {"content-type": "application/json", "content-length": str(len(body)), **(headers or {})}
        scope = {
            "type": "http",
            "asgi": {"version": "3.0"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "root_path": "",
            "scheme": "http",
            "server": ("127.0.0.1", 80),
            "client": ("127.0.0.1", 5000),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in given.items()],
        }
        await self.app(scope, receive, send)
        self.app.recorder.flush()
        start, *rest = sent
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        return Answer(start["status"], found, b"".join(each.get("body", b"") for each in rest))

    async def infer(self, document: Any, headers: Mapping[str, str] | None = None, path: str = "echo") -> Answer:
        body = document if isinstance(document, bytes) else json.dumps(document).encode()
        return await self.call("POST", f"/v2/models/{path}/infer", body, headers)

    def close(self) -> None:
        for each in self.app.deployments.values():
            each.close()


def run(use: Callable[[], Awaitable[Any]]) -> Any:
    """Runs an asynchronous test, for at most 20 seconds."""

    async def bounded() -> Any:
        async with asyncio.timeout(20):
            return await use()

    return asyncio.run(bounded())


def tensor(values: Any, datatype: str = "FP32", name: str = "x") -> dict[str, Any]:
    found = np.asarray(values)
    return {"name": name, "datatype": datatype, "shape": list(found.shape), "data": found.reshape(-1).tolist()}


def request(values: Any, **more: Any) -> dict[str, Any]:
    return {"inputs": [tensor(values)], **more}


def function(call: Callable[[Any], Any], version: str = "1", model: str = "echo", width: int = -1) -> serve.Function:
    """`call` on the array `x` gives the array `y`."""
    return serve.Function(
        function=lambda inputs: {"y": call(inputs["x"])},
        inputs=[serve.Tensor("x", "FP32", (-1, width))],
        outputs=[serve.Tensor("y", "FP32", (-1, width))],
        model=model,
        version=version,
    )
