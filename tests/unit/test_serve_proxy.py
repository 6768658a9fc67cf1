"""The middleware and the proxy: nothing of what passes is changed, and each watched request leaves its records."""

import asyncio
import gzip
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from gatewise.core import GatewiseError
from gatewise.monitor import Record
from gatewise.serve._json_numbers import at_pointer, numbers_of, predictions_of
from gatewise.serve._proxy import Proxy, Upstream
from gatewise.serve._watched import App, Message, Receive, Send, Watched, WatchedApp

httpx2 = pytest.importorskip("httpx2")
uvicorn = pytest.importorskip("uvicorn")

applications = pytest.importorskip("starlette.applications")
requests = pytest.importorskip("starlette.requests")
responses = pytest.importorskip("starlette.responses")
routing = pytest.importorskip("starlette.routing")

PLAN = Watched(model="ranker", version="v7", path="/score", prediction="/scores", confidence="/sure")


def scorer(factor: float, delay_s: float = 0.0) -> App:
    """A server that somebody else wrote: scores are the numbers sent, times a factor."""

    async def score(request: "requests.Request") -> "responses.Response":
        body = await request.body()
        try:
            values = json.loads(body)["values"]
        except ValueError:
            return responses.PlainTextResponse("no JSON", status_code=400)
        await asyncio.sleep(delay_s)
        answer = {"scores": [factor * value for value in values], "sure": [0.9 for _ in values]}
        return responses.JSONResponse(answer, headers={"x-made-by": "them", "x-query": str(request.url.query)})

    async def stream(request: "requests.Request") -> "responses.Response":
        async def parts():
            for number in range(3):
                yield f"part {number};".encode()

        return responses.StreamingResponse(parts())

    async def broken(request: "requests.Request") -> "responses.Response":
        raise RuntimeError("a fault of theirs")

    return applications.Starlette(
        routes=[
            routing.Route("/score", score, methods=["POST"]),
            routing.Route("/stream", stream),
            routing.Route("/broken", broken, methods=["POST"]),
        ]
    )


@contextmanager
def running(app: App) -> Iterator[str]:
    """The app on loopback; its URL."""
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="critical"))
    thread = threading.Thread(target=server.run)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started and time.monotonic() < deadline:
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(20)


def test_the_middleware_changes_nothing_and_records_what_passed() -> None:
    seen: list[Record] = []
    with running(WatchedApp(scorer(2.0), PLAN, seen.append)) as url, httpx2.Client(trust_env=False) as client:
        answer = client.post(f"{url}/score", json={"values": [1, 2]}, headers={"x-request-id": "r1"})
        bare = client.get(f"{url}/stream")
        wrong = client.post(f"{url}/score", content=b"{")
    assert answer.json() == {"scores": [2.0, 4.0], "sure": [0.9, 0.9]}
    assert answer.headers["x-made-by"] == "them"
    assert bare.text == "part 0;part 1;part 2;"
    assert wrong.status_code == 400
    good, bad = seen
    assert (good.request, good.model, good.version, good.role, good.status) == ("r1", "ranker", "v7", "live", "ok")
    assert good.predictions == (2.0, 4.0)
    assert good.confidences == (0.9, 0.9)
    assert good.features["values.mean"] == 1.5
    assert good.outputs["scores.mean"] == 3.0
    assert good.compute_s > 0
    assert good.content is None
    assert (bad.status, bad.reason) == ("refused", "HTTP 400")
    assert bad.request != ""


def test_watching_that_fails_leaves_the_answer_alone() -> None:
    def failing(record: Record) -> None:
        raise OSError("the disk is full")

    watched = WatchedApp(scorer(1.0), PLAN, failing)
    with running(watched) as url, httpx2.Client(trust_env=False) as client:
        assert client.post(f"{url}/score", json={"values": [1]}).status_code == 200
    assert watched.failures == 1


def test_the_proxy_makes_shadow_pairs_in_random_order() -> None:
    seen: list[Record] = []
    with running(scorer(2.0)) as live, running(scorer(3.0)) as shadow:
        upstream = Upstream(live=live, shadow=shadow, shadow_version="v8")
        proxy = Proxy(upstream, PLAN, seen.append, seed=5)
        with running(proxy) as url, httpx2.Client(trust_env=False) as client:
            for number in range(40):
                answer = client.post(
                    f"{url}/score?a=b", json={"values": [number]}, headers={"x-request-id": f"r{number}"}
                )
                assert answer.json()["scores"] == [2.0 * number]
                assert answer.headers["x-query"] == "a=b"
            assert client.get(f"{url}/stream").text == "part 0;part 1;part 2;"
    assert proxy.counts == {"pairs": 40, "left_out": 0, "shadow_failed": 0, "failures": 0}
    lives = {record.request: record for record in seen if record.role == "live"}
    shadows = {record.request: record for record in seen if record.role == "shadow"}
    assert set(lives) == set(shadows) == {f"r{number}" for number in range(40)}
    assert all(shadows[name].predictions == (1.5 * lives[name].predictions[0],) for name in lives)
    assert all(lives[name].first is not shadows[name].first for name in lives)
    assert {record.version for record in shadows.values()} == {"v8"}
    assert 5 < sum(bool(record.first) for record in lives.values()) < 35


def test_a_dead_or_slow_shadow_never_touches_the_answer() -> None:
    seen: list[Record] = []
    with running(scorer(2.0)) as live, running(scorer(3.0, delay_s=1.0)) as slow:
        for shadow in ("http://127.0.0.1:9", slow):
            proxy = Proxy(Upstream(live=live, shadow=shadow, timeout_s=0.2), PLAN, seen.append)
            with running(proxy) as url, httpx2.Client(trust_env=False) as client:
                assert client.post(f"{url}/score", json={"values": [1]}).json()["scores"] == [2.0]
            assert proxy.counts["shadow_failed"] == 1
    assert [record.status for record in seen if record.role == "live"] == ["ok", "ok"]
    assert sorted(record.status for record in seen if record.role == "shadow") == ["error", "expired"]


def test_a_server_that_is_not_there_or_too_slow_is_said_in_one_line() -> None:
    seen: list[Record] = []
    for live, status in (("http://127.0.0.1:9", 502), (None, 504)):
        with running(scorer(1.0, delay_s=1.0)) as slow:
            proxy = Proxy(Upstream(live=live or slow, timeout_s=0.2), PLAN, seen.append)
            with running(proxy) as url, httpx2.Client(trust_env=False) as client:
                answer = client.post(f"{url}/score", json={"values": [1]})
        assert answer.status_code == status
        assert "\n" not in answer.json()["error"]
    assert [record.status for record in seen] == ["error", "expired"]


def test_no_header_is_added_and_what_is_compressed_is_read() -> None:
    asked: list[list[tuple[bytes, bytes]]] = []
    zipped = gzip.compress(json.dumps({"scores": [7.0]}).encode())

    async def upstream(scope: Message, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            asked.append(list(scope["headers"]))
            await receive()
            headers = [(b"content-encoding", b"gzip"), (b"content-length", b"%d" % len(zipped))]
            await send({"type": "http.response.start", "status": 200, "headers": headers})
            await send({"type": "http.response.body", "body": zipped})

    seen: list[Record] = []
    with (
        running(upstream) as live,
        running(Proxy(Upstream(live=live), PLAN, seen.append)) as url,
        socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2]))) as link,
    ):
        body = gzip.compress(json.dumps({"values": [3]}).encode())
        head = f"POST /score HTTP/1.1\r\nHost: x\r\nContent-Encoding: gzip\r\nContent-Length: {len(body)}\r\n\r\n"
        link.sendall(head.encode() + body)
        answer = b""
        while not answer.endswith(zipped):
            answer += link.recv(65536)
    assert {key for key, _ in asked[0]} == {b"host", b"content-encoding", b"content-length"}
    (record,) = seen
    assert record.predictions == (7.0,)
    assert record.features["values.mean"] == 3.0


def test_their_fault_passes_as_it_is() -> None:
    seen: list[Record] = []
    plan = Watched(path="/broken")
    with running(scorer(1.0)) as live, running(Proxy(Upstream(live=live), plan, seen.append)) as url:
        assert httpx2.post(f"{url}/broken", json={}, trust_env=False).status_code == 500
    assert [(record.status, record.reason) for record in seen] == [("error", "HTTP 500")]


def test_a_body_that_is_too_long_is_refused() -> None:
    seen: list[Record] = []
    with running(scorer(1.0)) as live:
        upstream = Upstream(live=live, most_bytes=100)
        with running(Proxy(upstream, PLAN, seen.append)) as url:
            answer = httpx2.post(f"{url}/score", content=b"x" * 1000, trust_env=False)
    assert answer.status_code == 413


def test_numbers_of_bodies() -> None:
    tensor = {"inputs": [{"name": "x", "shape": [2, 2], "data": [[1, 2], [3, 4]]}, {"name": "s", "data": ["a"]}]}
    assert numbers_of(tensor) == {"x.size": 4.0, "x.mean": 2.5, "x.std": pytest.approx(1.118, abs=1e-3)}
    assert numbers_of({"age": 3, "text": "abc", "none": None, "flags": [True, False]}) == {
        "age": 3.0,
        "text.length": 3.0,
        "flags.size": 2.0,
        "flags.mean": 0.5,
        "flags.std": 0.5,
    }
    assert numbers_of([1, 2, 3])["body.mean"] == 2.0
    assert at_pointer({"a": [{"b/c": 7}]}, "/a/0/b~1c") == 7
    assert at_pointer({"a": [1]}, "/a/3") is None
    assert predictions_of({"p": 3}, "/p") == (3.0,)
    assert predictions_of({"p": ["x"]}, "/p") == ()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Watched(prediction="scores"),
        lambda: Watched(path="("),
        lambda: Upstream(live="ftp://x"),
        lambda: Upstream(live="http://x", share=2.0),
    ],
)
def test_bad_plans_are_refused_in_one_line(make) -> None:
    with pytest.raises(GatewiseError, match=r"^[^\n]+$"):
        make()
