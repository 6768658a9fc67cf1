"""What a queue would do with service times that were measured: the server's own loop on a virtual clock.

Service times are drawn in stretches, as they came (the stationary bootstrap of Politis and Romano, 1994): where slow
calls come one after the other, because a neighbour took the processor for a while, a queue grows that independent draws
would never show. It guides the search for the highest rate, and says how slow queries clump. No claim rests on it.
"""

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from gatewise.core import GatewiseError

from ._clock import VirtualClock
from ._serve import Batching, Run, Traffic, open_loop

QUERIES = 20_000
STEPS = 10
STRETCH = 50
"""Calls that a stretch of service times has on average."""


@dataclass(frozen=True, kw_only=True)
class Queue:
    """A queue to try out: seconds per call by batch size, in the order measured, and the server's batching.

    `queries` is how many each simulated run has. A size that was never measured takes the times of the next larger one
    that was, else of the largest.
    """

    services_s: Mapping[int, Sequence[float]]
    batching: Batching
    limit_s: float
    seed: int = 0
    queries: int = QUERIES

    def __post_init__(self) -> None:
        if not any(self.services_s.values()):
            raise GatewiseError("a queue needs service times")

    @property
    def capacity(self) -> float:
        """Queries a second that a server never idle would answer at its best batch size."""
        return max(size * len(times) / sum(times) for size, times in self.services_s.items() if sum(times) > 0)

    def run(self, rate: float) -> Run:
        """One run on the virtual clock. The same seed gives the same arrivals and draws, whatever the rate."""
        clock, rng = VirtualClock(), random.Random(f"services {self.seed}")
        sizes = sorted(size for size, times in self.services_s.items() if times)
        nearest = {
            size: self.services_s[next((known for known in sizes if known >= size), sizes[-1])]
            for size in range(1, self.batching.max_batch + 1)
        }

        places: dict[int, int] = {}

        def call(numbers: list[int]) -> None:
            size = len(numbers)
            times = nearest[size]
            jump, to = rng.random() < 1 / STRETCH, rng.random()  # two draws a call, whatever becomes of them
            place = int(to * len(times)) if jump or size not in places else places[size] + 1
            places[size] = place % len(times)
            clock.advance(times[places[size]])

        traffic = Traffic(rate=rate, queries=self.queries, seed=self.seed)
        return open_loop(call, traffic, batching=self.batching, clock=clock, give_up_s=1000 * self.limit_s)

    def share_over(self, rate: float) -> float:
        """The share of queries over the limit; 1 where the queue ran full."""
        run = self.run(rate)
        return 1.0 if run.overloaded else sum(run.over(self.limit_s)) / len(run.latencies_s)

    def highest(self, good: Callable[[float], bool]) -> float | None:
        """The highest share over the limit that is `good`, as a rate; None where even an idle server's is not."""
        low, high = 1e-3 * self.capacity, self.capacity
        if not good(self.share_over(low)):
            return None
        for _ in range(STEPS):
            middle = (low + high) / 2
            low, high = (middle, high) if good(self.share_over(middle)) else (low, middle)
        return low
