"""A small load generator for HTTP/1.1, in a process of its own: prints one JSON line.

Open loop: requests leave at the times of a seeded Poisson process, whether or not earlier ones were answered, and a
latency counts from the time at which the request should have left. Closed loop: `--callers` send one after another.
"""

import argparse
import asyncio
import json
import random
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit


class Connection(asyncio.Protocol):
    """One keep-alive connection; one request at a time."""

    def __init__(self) -> None:
        self.buffer = b""
        self.waiter: asyncio.Future | None = None
        self.open = True
        self.transport: asyncio.Transport

    def connection_made(self, transport) -> None:
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head, found, rest = self.buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lowered = head.lower()
        length = int(lowered.partition(b"content-length:")[2].split(b"\r\n")[0])
        if len(rest) < length:
            return
        self.buffer = b""
        if b"connection: close" in lowered:
            self.open = False
            self.transport.close()
        waiter, self.waiter = self.waiter, None
        if waiter is not None and not waiter.done():
            waiter.set_result((int(head[9:12]), rest))

    def connection_lost(self, error: Exception | None) -> None:
        self.open = False
        if self.waiter is not None and not self.waiter.done():
            self.waiter.set_result((0, b""))


class Load:
    """Sends the same request again and again and keeps what came of it."""

    def __init__(self, url: str, body: bytes) -> None:
        parts = urlsplit(url)
        self.host, self.port = parts.hostname, parts.port
        head = f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        self.request = f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body
        self.free: list[Connection] = []
        self.seen: list[tuple[float, float, int]] = []
        self.versions: Counter[str] = Counter()
        self.refused_connections = 0

    async def one(self, due_s: float) -> int:
        while self.free and not self.free[-1].open:
            self.free.pop()
        if self.free:
            connection = self.free.pop()
        else:
            try:
                _, connection = await asyncio.get_running_loop().create_connection(Connection, self.host, self.port)
            except OSError:
                self.refused_connections += 1
                return -1
        connection.waiter = asyncio.get_running_loop().create_future()
        waiter = connection.waiter
        connection.transport.write(self.request)
        status, content = await waiter
        self.seen.append((due_s, time.perf_counter() - due_s, status))
        if status == 200:
            self.versions[content.partition(b'"model_version":"')[2].partition(b'"')[0].decode()] += 1
        if connection.open:
            self.free.append(connection)
        return status

    async def open_loop(self, rate: float, seconds: float, seed: int) -> None:
        chance, tasks = random.Random(seed), set()
        start = due = time.perf_counter()
        while due < start + seconds:
            due += chance.expovariate(rate)
            wait = due - time.perf_counter()
            if wait > 0:
                await asyncio.sleep(wait)
            task = asyncio.create_task(self.one(due))
            tasks.add(task)
            task.add_done_callback(tasks.discard)
        if tasks:
            await asyncio.wait(tasks, timeout=60)

    async def closed_loop(self, callers: int, seconds: float) -> None:
        until = time.perf_counter() + seconds

        async def call() -> None:
            while time.perf_counter() < until:
                if await self.one(time.perf_counter()) < 0:
                    return

        await asyncio.gather(*(call() for _ in range(callers)))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("url")
    parser.add_argument("--body", required=True, type=Path)
    parser.add_argument("--rate", type=float)
    parser.add_argument("--callers", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=5)
    parser.add_argument("--seed", type=int, default=0)
    asked = parser.parse_args()
    load = Load(asked.url, asked.body.read_bytes())
    start = time.perf_counter()
    if asked.rate:
        asyncio.run(load.open_loop(asked.rate, asked.seconds, asked.seed))
    else:
        asyncio.run(load.closed_loop(asked.callers, asked.seconds))
    print(
        json.dumps(
            {
                "seconds": time.perf_counter() - start,
                "seen": [(round(due - start, 6), round(took, 6), status) for due, took, status in load.seen],
                "versions": load.versions,
                "refused_connections": load.refused_connections,
            }
        )
    )


if __name__ == "__main__":
    main()
