"""The timing loop: all arms in one process, called in random interleaved blocks, raw values kept with their pair."""

import gc
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Call = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Timings:
    """Raw call times of one process.

    Attributes:
        values_s: per arm, seconds per call in the order they were taken; two per pair.
        pairs: the pair of each value; equal for all arms.
        overhead_s: the loop's own cost per call, from calls of nothing, in seconds.
    """

    values_s: dict[str, list[float]]
    pairs: list[int]
    overhead_s: float


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to go on: for `seconds`, at least `fewest` and at most `most` pairs, after `warmup` calls an arm."""

    seconds: float
    fewest: int = 2
    most: int = 60
    warmup: int = 2


def slowed(call: Call, fraction: float) -> Call:
    """The call made slower by a known fraction of its own time: a planted effect that a sound study must find.

    Planting costs about a microsecond itself. Where one arm is slowed, wrap all, with 0 where nothing is planted.
    """

    def planted() -> object:
        start = time.perf_counter_ns()
        result = call()
        end = time.perf_counter_ns()
        until = end + (end - start) * fraction
        while time.perf_counter_ns() < until:
            pass
        return result

    return planted


def _timed(call: Call, synchronise: Call | None) -> float:
    start = time.perf_counter_ns()
    call()
    if synchronise is not None:
        synchronise()
    return (time.perf_counter_ns() - start) * 1e-9


def interleave(calls: Mapping[str, Call], *, effort: Effort, seed: int, synchronise: Call | None = None) -> Timings:
    """Time every call in palindromic rounds (A C B B C A), the order of each round drawn anew.

    In a round every arm is called twice, so that a drift that is linear over the round cancels; a round is one pair for
    every two arms. The collector is off while a round runs. `synchronise` waits for an accelerator, inside the timing.
    """
    rng = random.Random(seed)
    names = sorted(calls)
    for _ in range(effort.warmup):
        for name in rng.sample(names, len(names)):
            _timed(calls[name], synchronise)
    values: dict[str, list[float]] = {name: [] for name in names}
    pairs: list[int] = []
    collecting = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        start = time.perf_counter()
        for pair in range(effort.most):
            if pair >= effort.fewest and time.perf_counter() - start >= effort.seconds:
                break
            order = rng.sample(names, len(names))
            for name in (*order, *reversed(order)):
                values[name].append(_timed(calls[name], synchronise))
            pairs += [pair, pair]
        overhead = sorted(_timed(_nothing, synchronise) for _ in range(101))[50]
    finally:
        if collecting:
            gc.enable()
    return Timings(values_s=values, pairs=pairs, overhead_s=overhead)


def _nothing() -> None:
    """What the loop's own cost is measured with."""
