"""What the Server scenario asks, and what it answers."""

import math
from dataclasses import dataclass, field
from typing import Literal

from gatewise.core import GatewiseError

from ._rule import Percentile, Tail, check_share
from ._serve import Batching

Verdict = Literal["holds", "fails", "undecided"]


@dataclass(frozen=True, kw_only=True)
class ServerGoal:
    """What is asked of a server.

    Attributes:
        limit_s: what the percentile of the latency may be at most.
        batching: what the server takes at once.
        budget_s: how long all runs together may take, about; `max_queries` bounds each run.
    """

    limit_s: float
    percentile: float = 0.99
    confidence: float = 0.95
    batching: Batching = field(default_factory=Batching)
    budget_s: float = 60.0
    max_queries: int = 200_000
    seed: int = 0

    def __post_init__(self) -> None:
        check_share("percentile", self.percentile)
        check_share("confidence", self.confidence)
        for name in ("limit_s", "budget_s"):
            value: float = getattr(self, name)
            if not 0 < value < math.inf:
                raise GatewiseError(f"{name} must be above 0 seconds, not {value!r}")
        if type(self.max_queries) is not int or self.max_queries < 1:
            raise GatewiseError(f"max_queries must be a whole number of 1 or more, not {self.max_queries!r}")


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """One run of the search at a rate, and what it showed."""

    purpose: Literal["explore", "confirm"]
    rate: float
    tail: Tail
    generator: str
    overloaded: bool
    lateness_p99_s: float | None
    invalid: str | None


@dataclass(frozen=True, kw_only=True)
class ServerRate:
    """The answer of the Server scenario.

    Attributes:
        verdict: `holds` (there is a confirmed rate), `fails` (not even a server without a queue meets the limit) or
            `undecided`.
        rate: the confirmed rate in queries a second; None unless it holds.
        rule: `clumps counted`, or `queries taken for independent` where the budget was too short for more.
        evidence: the confirmation's counts, or those that came nearest. `latency`: the percentile with its interval.
        full_queries: how many queries the rule with clumps counted takes at least; None where it was met.
        edge: the rate at which the simulated queue, with service times under load, meets the limit exactly. An
            estimate; no claim. `fails_at`: the lowest rate that was shown to fail.
        reason: why there is no rate; None where there is one.
    """

    verdict: Verdict
    rate: float | None
    rule: str | None
    evidence: Tail | None
    full_queries: int | None
    latency: Percentile | None
    edge: float | None
    fails_at: float | None
    attempts: tuple[Attempt, ...]
    goal: ServerGoal
    seconds: float
    reason: str | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """One try: how many queries, and whether clumps are counted."""

    queries: int
    clumping: float
    confidence: float
    clumped: bool


@dataclass(frozen=True, kw_only=True)
class Try:
    """What one try showed, by both rules. `sound`: nothing was late or given up."""

    rate: float
    counted: Tail
    plain: Tail
    latency: Percentile | None
    late: str | None
    services: tuple[tuple[int, float], ...]
    sound: bool
