"""Load from another process: queries come through a pipe at scheduled times, and the sender times the answers.

What the inline run leaves out is in here: a sender that does not know when the server is free, the way from process to
process, and the wake-up of a server that slept.
"""

import json
import os
import select
import subprocess
import sys
from collections import deque
from pathlib import Path

from gatewise.core import GatewiseError

from ._clock import MachineClock
from ._generator import ANSWER, END, QUERY
from ._serve import Batching, Call, Run, Traffic, serve

WAIT_S = 60.0
"""How long another process may take to start or to report before it is given up."""


class _Piped:
    """Queries as they come out of the pipe."""

    def __init__(self, descriptor: int) -> None:
        self.waiting: deque[tuple[int, float]] = deque()
        self.ended = False
        self._descriptor, self._unread = descriptor, bytearray()

    def poll(self, now_s: float) -> None:
        """Read what has come."""
        del now_s
        while not self.ended and select.select([self._descriptor], [], [], 0)[0]:
            self._read()

    def wait(self, until_s: float | None) -> bool:
        """Sleep until something can be read."""
        left = WAIT_S if until_s is None else until_s - MachineClock().now_s()
        if self.ended:
            if until_s is not None:
                MachineClock().wait_until(until_s)
            return until_s is not None
        came = left > 0 and bool(select.select([self._descriptor], [], [], left)[0])
        if came or until_s is not None:
            return True
        raise GatewiseError(f"the load generator sent nothing for {WAIT_S:g} s")

    def _read(self) -> None:
        chunk = os.read(self._descriptor, QUERY.size)
        if not chunk:
            raise GatewiseError("the load generator's process ended early")
        self._unread += chunk
        if len(self._unread) < QUERY.size:
            return
        number, arrival = QUERY.unpack(bytes(self._unread))
        self._unread.clear()
        if number == END:
            self.ended = True
        else:
            self.waiting.append((number, arrival))


def outside_loop(call: Call, traffic: Traffic, *, batching: Batching, give_up_s: float, spin: bool) -> Run:
    """Serve Poisson traffic that another process sends.

    Args:
        spin: the sender looks at the clock all the time shortly before a query is due. Only with a core to spare.

    Raises:
        GatewiseError: the other process ended or went silent.
    """
    asked = {"rate": traffic.rate, "queries": traffic.queries, "seed": traffic.seed, "spin": spin}
    script = Path(__file__).with_name("_generator.py")
    process = subprocess.Popen(
        [sys.executable, "-I", "-S", str(script), json.dumps(asked)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    to, source = process.stdin.fileno(), process.stdout.fileno()

    def answered(numbers: list[int]) -> None:
        os.write(to, b"".join(map(ANSWER.pack, numbers)))

    try:
        ready = _Piped(source)
        while not ready.ended:
            ready.wait(None)
            ready.poll(0.0)
        os.write(to, b"g")
        clock = MachineClock(spin_s=0.0)
        done, overloaded = serve(
            _Piped(source), call, batching=batching, clock=clock, give_up_s=give_up_s, answered=answered
        )
        os.write(to, ANSWER.pack(END))
        report = _report(source)
    except BrokenPipeError as error:
        raise GatewiseError("the load generator's process ended early") from error
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()
    return Run(
        rate=traffic.rate,
        scheduled_s=report["scheduled_s"],
        latencies_s=report["latencies_s"],
        lateness_s=report["lateness_s"],
        services=[(len(service.queries), service.end_s - service.start_s) for service in done],
        overloaded=overloaded,
        generator="process",
    )


def _report(descriptor: int) -> dict[str, list[float]]:
    """The generator's last line; queries that were on their way when the run was given up stand before it."""
    text = bytearray()
    while select.select([descriptor], [], [], WAIT_S)[0]:
        chunk = os.read(descriptor, 2**20)
        if not chunk:
            break
        text += chunk
    begin = text.rfind(b'\n{"scheduled_s"')
    if begin < 0:
        raise GatewiseError("the load generator's process ended without a report")
    return json.loads(text[begin:])
