"""Time of many candidates in one process: random interleaved order, loops long enough for the clock, medians."""

import resource
import time
from collections.abc import Callable, Mapping
from itertools import repeat
from statistics import median

from gatewise.measure import Effort, interleave

Call = Callable[[], object]
LOOP_S = 3e-4
"""A timed value is a loop of calls about this long, so that the clock's own cost is below 0.1 %."""


def looped(call: Call, times: int) -> Call:
    """A call that calls so many times."""

    def loop() -> None:
        for _ in repeat(None, times):
            call()

    return loop


IN_A_ROW = 4
"""At least so many calls make a loop where figures are of data in cache. A single call after another candidate's finds
the other's arrays there, and tells what fetching its own costs, which a quick candidate's loop spreads over more calls.
(The largest size of the sweep is in no cache anyway.)"""


def loop_length(call: Call, in_a_row: int = 1) -> int:
    """How many calls make a loop of `LOOP_S`, and at least `in_a_row`."""
    call()
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
        if best > LOOP_S:
            break
    return max(in_a_row, min(2000, int(LOOP_S / max(best, 1e-7))))


def medians(
    calls: Mapping[str, Call], *, seconds: float, seed: int, fewest: int = 3, long: bool = False, in_a_row: int = 1
) -> dict[str, float]:
    """Seconds a call, the median over random interleaved rounds of two calls each.

    `long` is for calls of a tenth of a second and more: a value is one call, after one that does not count, and a
    single round may do. `in_a_row`: see `IN_A_ROW`.
    """
    lengths = {name: 1 if long else loop_length(call, in_a_row) for name, call in calls.items()}
    effort = Effort(seconds=seconds, fewest=1 if long else fewest, most=400, warmup=1)
    loops = {name: looped(call, lengths[name]) for name, call in calls.items()}
    values = interleave(loops, effort=effort, seed=seed).values_s
    return {name: median(found) / lengths[name] for name, found in values.items()}


def after(other: Call, call: Call, *, seconds: float) -> float:
    """Seconds of one call, the median, each after one of `other`, untimed: with the caches that it leaves."""
    found: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(found) < 10:
        other()
        start = time.perf_counter()
        call()
        found.append(time.perf_counter() - start)
    return median(found)


def faults(call: Call, calls: int = 3) -> float:
    """Page faults of one call: what fresh memory costs."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(calls):
        call()
    return (resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before) / calls
