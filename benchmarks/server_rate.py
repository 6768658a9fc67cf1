"""Is the Server scenario's rate true? An open-loop generator that shares no code with gatewise looks for itself.

    python benchmarks/server_rate.py --p99 0.05 --budget 120 --seconds 60

First gatewise finds the highest rate that holds the limit for MiniLM. Then a generator in a process of its own (a few
lines of the standard library, over a socket) sends Poisson arrivals to the same model, one query at a time, first come,
first served, at shares of that rate; latency counts from the scheduled arrival. It prints each share's p99 and the rate
at which its p99 meets the limit, by interpolation. Nothing else should run on the machine.

A shared machine is another one a minute later: near its capacity 3 % of service time are 3 % of the rate and half of
the p99. So the median service time stands beside each line, and the last line also compares utilisations (rate x
service time). `--replayed` takes the machine out: the model's own times are measured for ten seconds, and from then on
every query, for both, lasts as long as one of these times drawn by chance, on the real clock.
"""

import argparse
import json
import random
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from itertools import pairwise
from statistics import median
from typing import Any

SHARES = (0.85, 0.95, 1.0, 1.05, 1.15, 1.25)

GENERATOR = """
import json, random, socket, sys, threading, time
port, rate, seconds, seed = int(sys.argv[1]), *map(float, sys.argv[2:5])
rng, at, due = random.Random(seed), 0.0, []
while at < seconds:
    at += rng.expovariate(rate)
    due.append(at)
link = socket.create_connection(("127.0.0.1", port))
link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
done, late = [0.0] * len(due), []
def receive():
    held = b""
    count = 0
    while count < len(due):
        held += link.recv(65536)
        now = time.perf_counter()
        while len(held) >= 4:
            done[int.from_bytes(held[:4], "big")] = now
            held, count = held[4:], count + 1
reader = threading.Thread(target=receive)
reader.start()
begin = time.perf_counter() + 0.2
for number, moment in enumerate(due):
    wait = begin + moment - time.perf_counter()
    if wait > 0:
        time.sleep(wait)
    late.append(time.perf_counter() - begin - moment)
    link.sendall(number.to_bytes(4, "big"))
reader.join()
link.close()
print(json.dumps({"latency": [end - begin - moment for end, moment in zip(done, due)], "late": late}))
"""


def percentile(values: list[float], share: float) -> float:
    """The smallest value that at least that share of all does not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def observed(serve: Callable[[], object], rate: float, seconds: float, seed: int) -> dict[str, Any]:
    """One run of the generator against `serve`, which answers one query a call."""
    server = socket.create_server(("127.0.0.1", 0))
    command = [sys.executable, "-c", GENERATOR, str(server.getsockname()[1]), str(rate), str(seconds), str(seed)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    found: list[str] = []
    reader = threading.Thread(target=lambda: found.append(child.stdout.read() if child.stdout else ""))
    reader.start()
    link, _ = server.accept()
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    waiting = b""
    while True:
        if len(waiting) < 4:
            more = link.recv(65536)
            if not more:
                break
            waiting += more
            continue
        serve()
        link.sendall(waiting[:4])
        waiting = waiting[4:]
    link.close()
    server.close()
    reader.join()
    if child.wait() != 0:
        raise SystemExit("the generator failed")
    return json.loads(found[0])


class Timed:
    """A call whose times are kept."""

    def __init__(self, call: Callable[[list[int]], object]) -> None:
        self._call = call
        self.took_s: list[float] = []

    def __call__(self, queries: list[int]) -> None:
        began = time.perf_counter()
        self._call(queries)
        self.took_s.append(time.perf_counter() - began)

    def middle_s(self) -> float:
        """The median since it was last asked for."""
        found, self.took_s = median(self.took_s), []
        return found


def replayed(call: Timed) -> Callable[[list[int]], object]:
    """A call that lasts as long as one of the first ten seconds' calls, drawn by chance."""
    until = time.perf_counter() + 10
    while time.perf_counter() < until:
        call([0])
    times, rng = call.took_s, random.Random(1)

    def serve(queries: list[int]) -> None:
        end = time.perf_counter() + sum(rng.choice(times) for _ in queries)
        time.sleep(max(0.0, end - time.perf_counter() - 0.0005))
        while time.perf_counter() < end:
            pass

    return serve


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="sentence-encoder")
    parser.add_argument("--runtime", default="openvino")
    parser.add_argument("--tokens", type=int, default=16)
    parser.add_argument("--p99", type=float, default=0.05, help="the limit in seconds")
    parser.add_argument("--budget", type=float, default=120.0, help="seconds that gatewise may search")
    parser.add_argument("--seconds", type=float, default=60.0, help="of each run of the generator")
    parser.add_argument("--replayed", action="store_true", help="let queries last as long as those measured first")
    asked = parser.parse_args()
    from gatewise import scenarios

    subject = scenarios.load_subject(
        scenarios.SubjectPlan(model=asked.model, runtime=asked.runtime, tokens=asked.tokens)
    )
    goal = scenarios.ServerGoal(limit_s=asked.p99, budget_s=asked.budget)
    call = Timed(subject.call)
    if asked.replayed:
        call = Timed(replayed(call))
    found = scenarios.highest_rate(call, goal)
    if found.rate is None or found.edge is None:
        raise SystemExit(f"gatewise: {found.verdict}: {found.reason}; there is no rate to confirm")
    own_s = call.middle_s()
    said = f"rate {found.rate:.1f}/s, edge {found.edge:.1f}/s, {found.rule}, service {own_s * 1e3:.2f} ms"
    print(f"gatewise: {found.verdict}, {said}", flush=True)
    rng = random.Random(0)
    seen: list[tuple[float, float]] = []
    services: list[float] = []
    for share in rng.sample(SHARES, len(SHARES)):
        rate = share * found.rate
        run = observed(lambda: call([rng.randrange(1000)]), rate, asked.seconds, rng.randrange(2**31))
        p99, late = percentile(run["latency"], 0.99), percentile(run["late"], 0.99)
        seen.append((rate, p99))
        services.append(call.middle_s())
        said = (
            f"p50 {median(run['latency']) * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms, "
            f"service {services[-1] * 1e3:.2f} ms, generator late by {late * 1e3:.2f} ms"
        )
        count = len(run["latency"])
        print(f"independent generator at {share:.2f} x: {rate:.1f}/s, {count} queries, {said}", flush=True)
        time.sleep(0.5)
    seen.sort()
    for (low, one), (high, other) in pairwise(seen):
        if one <= asked.p99 < other:
            edge = low + (high - low) * (asked.p99 - one) / (other - one)
            print(f"its own edge: {edge:.1f}/s; gatewise's rate is {found.rate / edge - 1:+.1%} of it, ", end="")
            print(f"its edge {found.edge / edge - 1:+.1%}; ", end="")
            print(f"in utilisation {found.rate * own_s / (edge * median(services)) - 1:+.1%}")
            return
    print("its p99 does not cross the limit within these shares")


if __name__ == "__main__":
    main()
