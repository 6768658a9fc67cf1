"""One server with one queue: who is served when. The same loop runs on the machine's clock and on a virtual one.

First come, first served; one call at a time. A free server takes what waits once it is `max_batch` queries, or once
the oldest has waited `max_wait_s` since its scheduled arrival; it takes at most `max_batch`. A query's latency runs
from its *scheduled* arrival to the end of its call, whoever was late in between (no coordinated omission).
"""

import random
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate, chain
from typing import Protocol

from gatewise.core import GatewiseError

from ._clock import Clock
from ._rule import clumping, percentile_of

Call = Callable[[list[int]], object]
"""Serves one batch of queries, given by number; what it returns is dropped."""

LATE_SHARE = 0.1
"""A run is invalid where the p99 of its own lateness is more than this share of the limit."""


@dataclass(frozen=True, kw_only=True)
class Batching:
    """What a server takes at once: up to `max_batch` queries; the oldest waits at most `max_wait_s` for company."""

    max_batch: int = 1
    max_wait_s: float = 0.0

    def __post_init__(self) -> None:
        if type(self.max_batch) is not int or self.max_batch < 1:
            raise GatewiseError(f"max_batch must be a whole number of 1 or more, not {self.max_batch!r}")
        if not 0 <= self.max_wait_s < float("inf"):
            raise GatewiseError(f"max_wait_s must be 0 or more seconds, not {self.max_wait_s!r}")


@dataclass(frozen=True, kw_only=True)
class Run:
    """What became of the queries of one open-loop run, in order of their arrival.

    Attributes:
        rate: the target, queries a second. `scheduled_s`: when each query was to arrive, from the start of the run.
        latencies_s: from the scheduled arrival to the answer.
        lateness_s: how late the generator itself was, per query sent or call begun.
        services: size and seconds of each call.
        overloaded: the run was given up because queries waited longer than it allows; the rest was never served.
        generator: `inline` (the serving thread reads the schedule) or `process` (another process sent the queries).
    """

    rate: float
    scheduled_s: Sequence[float]
    latencies_s: Sequence[float]
    lateness_s: Sequence[float]
    services: Sequence[tuple[int, float]]
    overloaded: bool
    generator: str

    def over(self, limit_s: float) -> list[bool]:
        """Per query whether it took longer than the limit."""
        return [latency > limit_s for latency in self.latencies_s]

    def clumping(self, limit_s: float) -> float:
        """By how much slow queries come together: see `clumping`."""
        busy_until, first = -1.0, list[bool]()
        for arrival, latency in zip(self.scheduled_s, self.latencies_s, strict=False):
            first.append(arrival >= busy_until)
            busy_until = max(busy_until, arrival + latency)
        return clumping(self.over(limit_s), first)

    def late(self, limit_s: float) -> str | None:
        """Why the run is no evidence: its generator could not keep the schedule. None where it could."""
        if not self.lateness_s:
            return "no query was sent"
        worst = percentile_of(self.lateness_s, 0.99).value_s
        if worst <= LATE_SHARE * limit_s:
            return None
        return (
            f"the generator was late: p99 {1e3 * worst:.3g} ms, more than "
            f"{100 * LATE_SHARE:g} % of the limit of {1e3 * limit_s:.3g} ms"
        )


class Arrivals(Protocol):
    """Where queries come from."""

    waiting: deque[tuple[int, float]]
    """Number and scheduled arrival of what has come and is not served."""

    def poll(self, now_s: float) -> None:
        """Take into `waiting` what has come by now."""
        ...

    def wait(self, until_s: float | None) -> bool:
        """Sleep until the next query comes, at most until `until_s`. False where nothing will come any more."""
        ...


class Scheduled:
    """Queries that come by a schedule which the serving thread itself reads: there is no generator to be late."""

    def __init__(self, arrivals_s: Sequence[float], clock: Clock) -> None:
        self.waiting: deque[tuple[int, float]] = deque()
        self._arrivals, self._clock, self._next = arrivals_s, clock, 0

    def poll(self, now_s: float) -> None:
        """Take what is due."""
        while self._next < len(self._arrivals) and self._arrivals[self._next] <= now_s:
            self.waiting.append((self._next, self._arrivals[self._next]))
            self._next += 1

    def wait(self, until_s: float | None) -> bool:
        """Wait for the next one."""
        left = self._next < len(self._arrivals)
        if left and (until_s is None or self._arrivals[self._next] < until_s):
            self._clock.wait_until(self._arrivals[self._next])
        elif until_s is not None:
            self._clock.wait_until(until_s)
        return left or until_s is not None


@dataclass(frozen=True, kw_only=True)
class Service:
    """One call: the queries it served, when it was due, when it began and when it ended."""

    queries: tuple[int, ...]
    due_s: float
    start_s: float
    end_s: float


def serve(
    arrivals: Arrivals,
    call: Call,
    *,
    batching: Batching,
    clock: Clock,
    give_up_s: float = float("inf"),
    answered: Callable[[list[int]], None] | None = None,
) -> tuple[list[Service], bool]:
    """Serve all that comes; the calls, and whether it gave up because a query had waited longer than `give_up_s`."""
    waiting, done, free_s = arrivals.waiting, list[Service](), float("-inf")
    while True:
        now = clock.now_s()
        arrivals.poll(now)
        if not waiting:
            if not arrivals.wait(None):
                return done, False
            continue
        oldest = waiting[0][1]
        if now - oldest > give_up_s:
            return done, True
        full = len(waiting) >= batching.max_batch
        if not full and now < oldest + batching.max_wait_s:
            arrivals.wait(oldest + batching.max_wait_s)
            continue
        ready = oldest + batching.max_wait_s
        if full:
            ready = min(ready, waiting[batching.max_batch - 1][1])
        queries = [waiting.popleft()[0] for _ in range(min(len(waiting), batching.max_batch))]
        start = clock.now_s()
        call(queries)
        end = clock.now_s()
        if answered is not None:
            answered(queries)
        done.append(Service(queries=tuple(queries), due_s=max(free_s, ready), start_s=start, end_s=end))
        free_s = end


def poisson(rate: float, queries: int, seed: int) -> list[float]:
    """Arrival times of a Poisson process from 0 on. The same seed gives the same times, scaled by the rate."""
    if not 0 < rate < float("inf"):
        raise GatewiseError(f"a rate must be above 0 queries a second, not {rate!r}")
    rng = random.Random(f"arrivals {seed}")
    return [moment / rate for moment in accumulate(rng.expovariate(1.0) for _ in range(queries))]


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """One open-loop run: queries a second, how many of them, and the seed of their arrivals."""

    rate: float
    queries: int
    seed: int


def open_loop(call: Call, traffic: Traffic, *, batching: Batching, clock: Clock, give_up_s: float) -> Run:
    """Serve Poisson traffic that the serving thread reads from its schedule."""
    begin = clock.now_s()
    schedule = poisson(traffic.rate, traffic.queries, traffic.seed)
    done, overloaded = serve(
        Scheduled([begin + moment for moment in schedule], clock),
        call,
        batching=batching,
        clock=clock,
        give_up_s=give_up_s,
    )
    ends = chain.from_iterable([service.end_s] * len(service.queries) for service in done)
    latencies = [end - begin - moment for end, moment in zip(ends, schedule, strict=False)]
    return Run(
        rate=traffic.rate,
        scheduled_s=schedule,
        latencies_s=latencies,
        lateness_s=[max(0.0, service.start_s - service.due_s) for service in done],
        services=[(len(service.queries), service.end_s - service.start_s) for service in done],
        overloaded=overloaded,
        generator="inline",
    )
