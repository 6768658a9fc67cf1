"""A server as a process: it listens, it stops gracefully under load, it exits with 0."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import closing

import pytest
from serve_calls import request

WINDOW_S = 0.8
PROGRAM = f"""
from gatewise import serve
app = serve.app([serve.echo()], serve.ServeSettings(lame_duck_s={WINDOW_S}))
serve.run(app, port=0, started=lambda address: print(address, flush=True))
print("drained", app.stats()["answers"], flush=True)
"""
BODY = json.dumps(request([[1.0, 2.0]])).encode()
HEADERS = {"Content-Type": "application/json"}


@pytest.fixture
def server() -> Iterator[tuple[subprocess.Popen[str], int]]:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            yield process, int(process.stdout.readline().rsplit(":", 1)[1])
        finally:
            process.kill()


def test_sigterm_under_keep_alive_load_loses_nothing(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    told, began = threading.Event(), time.monotonic()
    problems: list[str] = []
    answered = [0, 0]  # before the signal, and after

    def caller() -> None:
        link = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        until = None
        while until is None or time.monotonic() < until:
            if told.is_set() and until is None:
                until = time.monotonic() + WINDOW_S / 2
            after = told.is_set()
            try:
                link.request("POST", "/v2/models/echo/infer", BODY, HEADERS)
                answer = link.getresponse()
                answer.read()
                answered[after] += 1
                if answer.status != 200:
                    problems.append(f"status {answer.status}")
            except (OSError, http.client.HTTPException) as error:
                problems.append(f"{time.monotonic() - began:.3f} {error!r}")
                link.close()
        link.close()

    callers = [threading.Thread(target=caller) for _ in range(4)]
    for each in callers:
        each.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    told.set()
    time.sleep(0.1)
    for path, method, status in (("/v2/health/ready", "GET", 503), ("/v2/models/echo/infer", "POST", 200)):
        with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=10)) as look:
            look.request(method, path, BODY if method == "POST" else None, HEADERS)
            answer = look.getresponse()
            assert (answer.status, answer.getheader("connection")) == (status, "close")
            answer.read()
    for each in callers:
        each.join(20)
    assert problems == []
    assert min(answered) > 0
    out, _ = process.communicate(timeout=20)
    assert process.returncode == 0
    assert "drained" in out


def test_whoever_could_connect_is_answered_to_the_very_end(server: tuple[subprocess.Popen[str], int]) -> None:
    process, port = server
    problems: list[str] = []
    answered = [0] * 8

    def caller(number: int) -> None:
        while True:
            try:
                link = socket.create_connection(("127.0.0.1", port), timeout=10)
            except ConnectionRefusedError:
                return
            with link:
                head = f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n"
                try:
                    link.sendall(head.encode() + BODY)
                    if not link.recv(65536).startswith(b"HTTP/1.1 200"):
                        problems.append("no answer")
                except OSError as error:
                    problems.append(repr(error))
            answered[number] += 1

    callers = [threading.Thread(target=caller, args=(number,)) for number in range(len(answered))]
    for each in callers:
        each.start()
    time.sleep(0.3)
    process.send_signal(signal.SIGTERM)
    for each in callers:
        each.join(20)
    assert problems == []
    assert min(answered) > 0
    process.communicate(timeout=20)
    assert process.returncode == 0


def test_answers_leave_at_once_and_broken_http_is_survived(server: tuple[subprocess.Popen[str], int]) -> None:
    _, port = server
    for rubbish in (
        b"\0\1\2\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"POST /v2/models/echo/infer HTTP/1.1\r\n",
        b"\r\n" * 9,
    ):
        with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
            link.sendall(rubbish)
    with socket.create_connection(("127.0.0.1", port), timeout=10) as link:
        head = f"POST /v2/models/echo/infer HTTP/1.1\r\nHost: x\r\nContent-Length: {len(BODY)}\r\n\r\n".encode()
        link.sendall(2 * (head + BODY))  # two requests at once on one connection
        found = b""
        while found.count(b"HTTP/1.1 200") < 2 or not found.endswith(b"}"):
            found += link.recv(65536)
    assert found.count(b'"data":[1.0,2.0]') == 2
