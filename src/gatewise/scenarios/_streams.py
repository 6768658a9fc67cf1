"""The scenarios without arrivals: SingleStream, MultiStream and Offline. Each is bounded in queries and in seconds."""

import math
from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._clock import Clock, MachineClock
from ._rule import Percentile, fewest_queries, percentile_of
from ._serve import Call

PERCENTILES = (0.5, 0.9, 0.99)


@dataclass(frozen=True, kw_only=True)
class Effort:
    """How long to go on: at most `most` queries and about `seconds`, after `warmup` queries that nobody counts."""

    seconds: float = 10.0
    most: int = 100_000
    warmup: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.seconds < math.inf or self.most < 1 or self.warmup < 0:
            raise GatewiseError("an effort needs seconds above 0, at least one query, and a warm-up of 0 or more")


@dataclass(frozen=True, kw_only=True)
class StreamLatency:
    """Latency of queries sent one after the other; `samples` in each (1 in SingleStream).

    Attributes:
        percentiles: p50, p90 and p99 with order-statistic intervals.
        too_few: the percentiles whose interval is open, with how many queries they take.
    """

    scenario: str
    samples: int
    queries: int
    percentiles: tuple[Percentile, ...]
    too_few: dict[float, int]
    seconds: float


@dataclass(frozen=True, kw_only=True)
class Throughput:
    """Samples a second of the Offline scenario.

    Attributes:
        samples_per_s: the mean over the repetitions. `interval`: Student's t over them; None below three.
        values: each repetition's own. `batch`: samples in a call.
        reason: why there is no interval.
    """

    samples_per_s: float
    interval: tuple[float, float] | None
    values: tuple[float, ...]
    batch: int
    confidence: float
    reason: str | None


def _numbers(first: int, count: int) -> list[int]:
    return list(range(first, first + count))


def _stream(scenario: str, call: Call, samples: int, effort: Effort, confidence: float, clock: Clock) -> StreamLatency:
    for query in range(effort.warmup):
        call(_numbers(query * samples, samples))
    begin, times = clock.now_s(), list[float]()
    while not times or (len(times) < effort.most and clock.now_s() - begin < effort.seconds):
        numbers = _numbers(len(times) * samples, samples)
        start = clock.now_s()
        call(numbers)
        times.append(clock.now_s() - start)
    found = tuple(percentile_of(times, percentile, confidence) for percentile in PERCENTILES)
    return StreamLatency(
        scenario=scenario,
        samples=samples,
        queries=len(times),
        percentiles=found,
        too_few={each.percentile: each.needs for each in found if each.needs is not None},
        seconds=clock.now_s() - begin,
    )


def single_stream(
    call: Call, *, effort: Effort | None = None, confidence: float = 0.95, clock: Clock | None = None
) -> StreamLatency:
    """One query after the other, one sample each: the next begins when the last has ended."""
    return _stream("SingleStream", call, 1, effort or Effort(), confidence, clock or MachineClock())


def multi_stream(
    call: Call,
    *,
    samples: int = 8,
    effort: Effort | None = None,
    confidence: float = 0.95,
    clock: Clock | None = None,
) -> StreamLatency:
    """One query after the other, `samples` samples each; the latency is the whole query's, and p99 is what counts."""
    if type(samples) is not int or samples < 1:
        raise GatewiseError(f"samples must be a whole number of 1 or more, not {samples!r}")
    return _stream("MultiStream", call, samples, effort or Effort(), confidence, clock or MachineClock())


def offline(
    call: Call,
    *,
    batch: int,
    repetitions: int = 7,
    effort: Effort | None = None,
    confidence: float = 0.95,
    clock: Clock | None = None,
) -> Throughput:
    """All samples are there from the start: samples a second in calls of `batch`, with an interval over repetitions.

    Each repetition lasts its share of the effort's seconds and at least one call; its calls share one value.
    """
    if type(batch) is not int or batch < 1 or type(repetitions) is not int or repetitions < 1:
        raise GatewiseError(f"batch and repetitions must be 1 or more, not {batch!r} and {repetitions!r}")
    effort, clock = effort or Effort(), clock or MachineClock()
    for _ in range(effort.warmup):
        call(_numbers(0, batch))
    values: list[float] = []
    most = max(1, effort.most // (batch * repetitions))
    for _ in range(repetitions):
        begin, calls = clock.now_s(), 0
        while calls == 0 or (calls < most and clock.now_s() - begin < effort.seconds / repetitions):
            call(_numbers(calls * batch, batch))
            calls += 1
        seconds = clock.now_s() - begin
        if seconds <= 0:
            raise GatewiseError("a call that takes no time has no throughput")
        values.append(calls * batch / seconds)
    mean, interval, reason = mean_interval(values, confidence)
    return Throughput(
        samples_per_s=mean, interval=interval, values=tuple(values), batch=batch, confidence=confidence, reason=reason
    )


def mean_interval(values: list[float], confidence: float) -> tuple[float, tuple[float, float] | None, str | None]:
    """Mean and Student's t interval; no interval, and why, below three values or without a spread."""
    from scipy.special import stdtrit

    n = len(values)
    mean = math.fsum(values) / n
    if n < 3:
        return mean, None, f"n = {n}: an interval takes at least three repetitions"
    error = math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (n - 1) / n)
    if error <= 1e-15 * abs(mean):
        return mean, None, "all repetitions are identical: a spread of zero is no evidence of precision"
    half = float(stdtrit(n - 1, (1 + confidence) / 2)) * error
    return mean, (mean - half, mean + half), None


def best_batch(
    call: Call,
    sizes: tuple[int, ...],
    *,
    limit_s: float,
    effort: Effort | None = None,
    confidence: float = 0.95,
    clock: Clock | None = None,
) -> "BatchChoice":
    """The cloud profile's batch: the highest throughput among sizes whose calls keep a p99 limit.

    The effort's seconds are shared among the sizes. A size keeps the limit where the upper end of its p99 interval, or
    with too few calls the slowest call, does; only the first is a claim, and `BatchTrial.shown` tells which it was.
    """
    if not sizes or any(type(size) is not int or size < 1 for size in sizes):
        raise GatewiseError(f"sizes must be whole numbers of 1 or more, not {sizes!r}")
    effort, trials = effort or Effort(), list[BatchTrial]()
    share = Effort(seconds=effort.seconds / len(sizes), most=effort.most, warmup=effort.warmup)
    for size in sorted(set(sizes)):
        found = multi_stream(call, samples=size, effort=share, confidence=confidence, clock=clock)
        p99 = found.percentiles[-1]
        trials.append(
            BatchTrial(
                batch=size,
                samples_per_s=found.queries * size / found.seconds if found.seconds > 0 else math.inf,
                p99=p99,
                keeps=(p99.value_s if p99.high_s is None else p99.high_s) <= limit_s,
                shown=p99.high_s is not None,
            )
        )
    kept = [trial for trial in trials if trial.keeps]
    best = max(kept, key=lambda trial: (trial.samples_per_s, -trial.batch)) if kept else None
    return BatchChoice(best=best, trials=tuple(trials), limit_s=limit_s, needs=fewest_queries(0.99, confidence))


@dataclass(frozen=True, kw_only=True)
class BatchTrial:
    """One batch size: its throughput, its p99, and whether that keeps the limit. `shown`: its interval is closed."""

    batch: int
    samples_per_s: float
    p99: Percentile
    keeps: bool
    shown: bool


@dataclass(frozen=True, kw_only=True)
class BatchChoice:
    """The batch with the highest throughput under the limit; None where no size keeps it."""

    best: BatchTrial | None
    trials: tuple[BatchTrial, ...]
    limit_s: float
    needs: int
