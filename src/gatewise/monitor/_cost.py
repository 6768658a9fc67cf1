"""What each version costs: the machine's time in a window, split until nothing is left over.

    meter             = wall time x cores, in whole core-nanoseconds
    a record's share  = its batch's computation inside the window x the version's threads x rows / rows of the batch
                        (+ for a shadow, that of live's copy beside it, whole, in the record that carries it)
    idle              = meter - all shares

Shadow work is counted to the version under test, work that ended without an answer to the version that did it. Idle
time is split by a rule that is stated. All of it adds up to the meter exactly: what a record's share loses by being
rounded down to a whole nanosecond is idle time. A price turns shares of the meter into money; the utilisation that it
rests on is the measured one, and stands beside every amount.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, get_args

from gatewise.core import GatewiseError, unknown_name

from ._record import Record, Role

Idle = Literal["reserved", "use", "apart"]
"""Who pays for idle time: the version that its threads were reserved for (cores that nobody reserved are a line of
their own), all versions in proportion to what they computed, or nobody (one line)."""

Key = tuple[str, str]
"""A model and a version of it."""

HOURS_A_MONTH = 730.0
"""8,760 hours of a year / 12."""


@dataclass(frozen=True, kw_only=True)
class Machine:
    """What the meter runs on.

    Attributes:
        cores: that are paid for.
        threads: that a version's batch computes on, by `version` or `model/version`; 1 where it is not named.
        price_per_hour: of the whole machine, in `currency`; None for machine time alone.
        idle: who pays for idle time.
    """

    cores: int
    threads: Mapping[str, int] = field(default_factory=dict[str, int])
    price_per_hour: float | None = None
    currency: str = "USD"
    idle: Idle = "reserved"

    def __post_init__(self) -> None:
        for name, value in (("cores", self.cores), *((f"threads of {key}", n) for key, n in self.threads.items())):
            if type(value) is not int or value < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {value!r}")
        price = self.price_per_hour
        if price is not None and (isinstance(price, bool) or not 0 < price < math.inf):
            raise GatewiseError(f"price_per_hour must be above 0 {self.currency}, not {price!r}")
        if self.idle not in get_args(Idle):
            raise unknown_name("rule for idle time", self.idle, get_args(Idle))

    def threads_of(self, key: Key) -> int:
        """The threads that a version computes on."""
        return self.threads.get("/".join(key), self.threads.get(key[1], 1))


@dataclass(frozen=True, kw_only=True)
class Share:
    """One version's part of the meter, in core-nanoseconds.

    Attributes:
        live_ns, canary_ns, shadow_ns: computation that ended in an answer, by role.
        wasted_ns: computation without an answer: errors, and requests that expired.
        idle_ns: its part of the idle time, by the rule.
        answers: requests that it answered as live or canary. `shadow_runs`: those that it ran as shadow.
        unanswered: requests that were refused, expired or failed.
        utilisation: computation / (its threads x the window).
    """

    model: str
    version: str
    threads: int
    live_ns: int
    canary_ns: int
    shadow_ns: int
    wasted_ns: int
    idle_ns: int
    answers: int
    shadow_runs: int
    unanswered: int
    utilisation: float

    @property
    def busy_ns(self) -> int:
        """Computation, whatever came of it."""
        return self.live_ns + self.canary_ns + self.shadow_ns + self.wasted_ns

    @property
    def total_ns(self) -> int:
        """All that the version is charged with."""
        return self.busy_ns + self.idle_ns


@dataclass(frozen=True, kw_only=True)
class Bill:
    """The meter of a window, and who ran it up.

    Attributes:
        meter_ns: wall time x cores; `shares` and `unassigned_ns` add up to it.
        unassigned_ns: idle time that no version pays for.
        claimed_ns: computation as it was recorded. More than the meter where more threads ran than there are cores;
            the shares are then scaled down in proportion.
        utilisation: computation / meter, as measured.
    """

    machine: Machine
    start_ns: int
    end_ns: int
    meter_ns: int
    shares: tuple[Share, ...]
    unassigned_ns: int
    claimed_ns: int
    utilisation: float

    @property
    def oversubscribed(self) -> bool:
        """Whether more computation was recorded than the cores can have done."""
        return self.claimed_ns > self.meter_ns


@dataclass(slots=True)
class _Tally:
    """What a version did: core-nanoseconds and requests by kind of work."""

    live: int = 0
    canary: int = 0
    shadow: int = 0
    wasted: int = 0
    answers: int = 0
    shadow_runs: int = 0
    unanswered: int = 0

    def add(self, role: Role, answered: bool, share_ns: int) -> None:
        if not answered:
            self.wasted += share_ns
            self.unanswered += 1
            return
        setattr(self, role, getattr(self, role) + share_ns)
        if role == "shadow":
            self.shadow_runs += 1
        else:
            self.answers += 1

    @property
    def work(self) -> tuple[int, int, int, int]:
        return self.live, self.canary, self.shadow, self.wasted


class Meter:
    """Splits the machine time of a window, one record at a time, in any order.

    Args:
        machine: what runs.
        start_ns, end_ns: the window, Unix time; computation outside of it belongs to another bill.
    """

    def __init__(self, machine: Machine, *, start_ns: int, end_ns: int) -> None:
        if not end_ns > start_ns:
            raise GatewiseError(f"a bill needs a window that ends after it starts, not {start_ns} to {end_ns}")
        self.machine, self.start_ns, self.end_ns = machine, start_ns, end_ns
        self._tallies: dict[Key, _Tally] = {}

    def add(self, record: Record) -> None:
        """Count a record. Its request is counted where it arrived in the window, its computation where that ran."""
        key = (record.model, record.version)
        began = record.at_ns + round(record.queue_s * 1e9)
        ended = began + round(record.compute_s * 1e9)
        inside = max(0, min(ended, self.end_ns) - max(began, self.start_ns))
        until = ended + round((record.beside_s or 0.0) * 1e9)
        beside = max(0, min(until, self.end_ns) - max(ended, self.start_ns))
        arrived = self.start_ns <= record.at_ns < self.end_ns
        if not inside and not beside and not arrived:
            return
        whole = max(record.batch_rows, 1)
        threads = self.machine.threads_of(key)
        share = inside * threads * min(max(record.rows, 0), whole) // whole + beside * threads
        tally = self._tallies.setdefault(key, _Tally())
        before = tally.answers, tally.shadow_runs, tally.unanswered
        tally.add(record.role, record.status == "ok", share)
        if not arrived:
            tally.answers, tally.shadow_runs, tally.unanswered = before

    def bill(self) -> Bill:
        """The window's bill as it stands."""
        wall = self.end_ns - self.start_ns
        meter = wall * self.machine.cores
        keys = sorted(self._tallies)
        tallies = [self._tallies[key] for key in keys]
        work = [part for tally in tallies for part in tally.work]
        claimed = sum(work)
        if claimed > meter:
            work = apportion(meter, work)
        done = [tuple(work[4 * index : 4 * index + 4]) for index in range(len(keys))]
        idle = self._idle(meter - sum(work), keys, [sum(parts) for parts in done])
        shares: list[Share] = []
        for key, tally, parts, rest in zip(keys, tallies, done, idle, strict=False):
            threads = self.machine.threads_of(key)
            shares.append(
                Share(
                    model=key[0],
                    version=key[1],
                    threads=threads,
                    live_ns=parts[0],
                    canary_ns=parts[1],
                    shadow_ns=parts[2],
                    wasted_ns=parts[3],
                    idle_ns=rest,
                    answers=tally.answers,
                    shadow_runs=tally.shadow_runs,
                    unanswered=tally.unanswered,
                    utilisation=sum(parts) / (threads * wall),
                )
            )
        return Bill(
            machine=self.machine,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            meter_ns=meter,
            shares=tuple(shares),
            unassigned_ns=idle[-1],
            claimed_ns=claimed,
            utilisation=sum(work) / meter,
        )

    def _idle(self, rest: int, keys: Sequence[Key], busy: Sequence[int]) -> list[int]:
        """The idle time by version, and last what belongs to nobody."""
        wall = self.end_ns - self.start_ns
        reserved = [self.machine.threads_of(key) * wall for key in keys]
        if self.machine.idle == "reserved":
            weights = [max(0, mine - used) for mine, used in zip(reserved, busy, strict=True)]
            weights.append(max(0, self.machine.cores * wall - sum(reserved)))
        elif self.machine.idle == "use":
            weights = [*busy, 0]
        else:
            weights = [0] * (len(keys) + 1)
        return apportion(rest, weights if sum(weights) else [*[0] * len(keys), 1])


def apportion(total: int, weights: Sequence[int]) -> list[int]:
    """Whole parts of `total` in proportion to the weights (0 or more, not all 0), which add up to it exactly.

    Every part is within 1 of its exact value; what rounding down leaves goes to the largest remainders, the first of
    equal ones first (Hamilton's method).
    """
    whole = sum(weights)
    parts = [total * weight // whole for weight in weights]
    left = total - sum(parts)
    order = sorted(range(len(weights)), key=lambda index: (-(total * weights[index] % whole), index))
    for index in order[:left]:
        parts[index] += 1
    return parts
