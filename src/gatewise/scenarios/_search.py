"""The Server scenario: the highest rate at which a percentile of the latency stays below a limit.

1. Times of single calls, by batch size, give a first simulated queue.
2. Up to four short runs on the machine, each at the rate where the queue simulated so far meets the limit exactly. The
   service times under load, all runs together, replace the first ones.
3. Confirmation, up to three tries: fresh traffic, fixed in number beforehand, judged by the binomial rule with what the
   runs of this try alone have shown. The first try may spend four fifths of the error, the others a tenth each. The
   rate is chosen so that a sound queue passes four times in five; where it did not pass, the next try is 4 % lower.

Only a confirmed rate is claimed. Slow queries come in clumps, so the rule is asked with clumps counted. Where the
budget is too short for that, the rule for independent queries (MLPerf's own) may stand in, and the answer says so.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Literal

from gatewise.core import GatewiseError

from ._clock import Clock, MachineClock
from ._goal import Attempt, Plan, ServerGoal, ServerRate, Try, Verdict
from ._rule import Percentile, Tail, fewest_queries, judge_tail, percentile_of
from ._serve import Call, Run, Traffic, open_loop
from ._simulate import Queue

Load = Callable[[Traffic], Run]

EXPLORATIONS, STEP_DOWN = 4, 0.96
ERRORS = (0.8, 0.1, 0.1)
"""The share of the error that each try at a confirmation may spend."""
TRIES = len(ERRORS)
POWER = 0.8
FIRST_SHARE = 0.65
"""Of the time that is left, what a try takes that is not the last one."""
ENOUGH = 4.0
"""Times the fewest queries that the rule with clumps counted could do with: below, it would hold far below the edge."""
LONGEST_CALLS = 60
SIMULATED_A_SECOND, FEWEST_SIMULATED, MOST_SIMULATED = 600, 4_000, 40_000
"""Queries a simulated run for every second of the budget: simulating then takes about a tenth of it."""


def highest_rate(
    call: Call, goal: ServerGoal, *, clock: Clock | None = None, outside: Load | None = None
) -> ServerRate:
    """Search and confirm the highest rate that holds.

    Args:
        call: serves one batch of queries, given by number. It runs in this thread.
        clock: what is looked at; a `VirtualClock` in tests, where `call` must advance it.
        outside: the run of a confirmation, where it shall come from somewhere else than the inline loop, such as
            `outside_loop` with its generator in another process.
    """
    return _Search(call, goal, clock or MachineClock(), outside).run()


class _Search:
    def __init__(self, call: Call, goal: ServerGoal, clock: Clock, outside: Load | None) -> None:
        self.call, self.goal, self.clock = call, goal, clock
        self.attempts: list[Attempt] = []
        self.fails_at: float | None = None
        self.seeds = goal.seed * 1000
        self.inline: Load = lambda traffic: open_loop(
            call, traffic, batching=goal.batching, clock=clock, give_up_s=self.patience_s
        )
        self.outside = outside or self.inline
        self.patience_s = 20 * goal.limit_s
        self.begin = clock.now_s()

    @property
    def left_s(self) -> float:
        return self.goal.budget_s - (self.clock.now_s() - self.begin)

    def run(self) -> ServerRate:
        alone = self._alone()
        queue = Queue(
            services_s=alone,
            batching=self.goal.batching,
            limit_s=self.goal.limit_s,
            seed=self.goal.seed,
            queries=self._simulated() // 4,
        )
        edge = queue.highest(self._meets)
        if edge is None:
            return self._no_rate(alone[1])
        edge, queue = self._explore(edge, queue)
        queue = replace(queue, queries=self._simulated())
        return self._confirm(queue.highest(self._meets) or edge, queue)

    def _simulated(self) -> int:
        return int(min(MOST_SIMULATED, max(FEWEST_SIMULATED, SIMULATED_A_SECOND * self.goal.budget_s)))

    def _meets(self, share: float) -> bool:
        return share <= 1 - self.goal.percentile

    def _alone(self) -> dict[int, list[float]]:
        """Seconds of single calls by batch size, after one call each that nobody counts; a tenth of the budget."""
        sizes = sorted(
            {1, self.goal.batching.max_batch, *(2**i for i in range(self.goal.batching.max_batch.bit_length()))}
        )
        sizes = [size for size in sizes if size <= self.goal.batching.max_batch]
        found: dict[int, list[float]] = {}
        for size in sizes:
            numbers = list(range(size))
            self.call(numbers)
            until, times = self.clock.now_s() + self.goal.budget_s / 10 / len(sizes), list[float]()
            while len(times) < 3 or (len(times) < LONGEST_CALLS and self.clock.now_s() < until):
                start = self.clock.now_s()
                self.call(numbers)
                times.append(self.clock.now_s() - start)
            if sum(times) <= 0:
                raise GatewiseError("a call that takes no time has no highest rate")
            found[size] = times
        return found

    def _no_rate(self, first: list[float]) -> ServerRate:
        """Calls at batch 1 without any queue: shown to be too slow, or not decided."""
        times = list(first)
        fewest = fewest_queries(self.goal.percentile, self.goal.confidence)
        while len(times) < min(fewest, self.goal.max_queries) and self.left_s > 0:
            start = self.clock.now_s()
            self.call([len(times)])
            times.append(self.clock.now_s() - start)
        tail = self._tail(len(times), sum(time > self.goal.limit_s for time in times), self.goal.confidence)
        shown = tail.verdict == "fails"
        reason = "a single call, without any queue, takes longer than the limit"
        return self._answer(
            "fails" if shown else "undecided",
            tail,
            percentile_of(times, self.goal.percentile, self.goal.confidence),
            reason=reason
            if shown
            else f"a call without any queue seems too slow already; {tail.reason or 'not shown'}",
        )

    def _tail(self, n: int, over: int, confidence: float, clumping: float = 1.0) -> Tail:
        return judge_tail(n, over, percentile=self.goal.percentile, confidence=confidence, clumping=clumping)

    def _seed(self) -> int:
        self.seeds += 1
        return self.seeds

    def _queries(self, rate: float, seconds: float) -> int:
        return max(1, min(self.goal.max_queries, int(rate * seconds)))

    def _explore(self, edge: float, queue: Queue) -> tuple[float, Queue]:
        """Short runs near the edge; the edge and the queue that their service times give.

        A run at the very edge is over the limit as often as not. What counts is how long its calls took.
        """
        services: list[tuple[int, float]] = []
        for number in range(EXPLORATIONS):
            rate = edge
            run = self.inline(
                Traffic(rate=rate, queries=self._queries(rate, self.goal.budget_s / 12), seed=self._seed())
            )
            self._note("explore", run, self._judge([run], self.goal.confidence, 1.0))
            services += run.services
            if services:
                queue = replace(queue, services_s=_by_size(services, queue))
            edge = queue.highest(self._meets) or rate / 2
            if number and abs(edge / rate - 1) < 0.01:
                break
        return edge, queue

    def _judge(self, runs: list[Run], confidence: float, least: float) -> Tail:
        """The rule over runs of fresh traffic, with the clumping seen or simulated, whichever is more."""
        over = [flag for run in runs for flag in run.over(self.goal.limit_s)]
        n, slow = len(over), sum(over)
        if any(run.overloaded for run in runs):  # what was never served was over the limit too
            lost = sum(len(run.scheduled_s) - len(run.latencies_s) for run in runs if run.overloaded)
            n, slow = n + lost, slow + lost
        seen = max((run.clumping(self.goal.limit_s) for run in runs), default=1.0)
        return self._tail(n, slow, confidence, max(seen, least))

    def _note(self, purpose: Literal["explore", "confirm"], run: Run, tail: Tail, *, sound: bool = True) -> None:
        late = run.late(self.goal.limit_s)
        worst = percentile_of(run.lateness_s, 0.99).value_s if run.lateness_s else None
        self.attempts.append(
            Attempt(
                purpose=purpose,
                rate=run.rate,
                tail=tail,
                generator=run.generator,
                overloaded=run.overloaded,
                lateness_p99_s=worst,
                invalid=late,
            )
        )
        if sound and late is None and (tail.verdict == "fails" or run.overloaded):
            self.fails_at = min(self.fails_at or math.inf, run.rate)

    def _aim(self, edge: float, queue: Queue, plan: Plan) -> float:
        """The rate below the edge at which a sound queue passes a try four times in five."""
        from scipy.special import gammaincc

        divisor = plan.clumping if plan.clumped else 1.0
        allowed = self._tail(int(plan.queries / divisor), 0, plan.confidence).allowed
        if allowed is None:
            return edge * 0.9
        size, most = plan.queries / plan.clumping, allowed * divisor / plan.clumping
        rate = queue.highest(lambda share: float(gammaincc(most + 1, size * share)) >= POWER)
        return edge * 0.8 if rate is None else min(edge, rate)

    def _plan(self, edge: float, clumping: float, number: int) -> Plan | None:
        """How long the next try takes, and whether that is enough for the rule with clumps counted."""
        last = number == TRIES - 1
        confidence = 1 - (1 - self.goal.confidence) * ERRORS[number]
        full = ENOUGH * clumping * fewest_queries(self.goal.percentile, confidence)
        if self.left_s <= 0:
            return None
        first = 0.9 if last else FIRST_SHARE
        queries = self._queries(edge, self.left_s * first)
        if queries < full <= self._queries(edge, self.left_s * 0.9):
            queries = self._queries(edge, self.left_s * 0.9)
        return Plan(queries=queries, clumping=clumping, confidence=confidence, clumped=queries >= full)

    def _confirm(self, edge: float, queue: Queue) -> ServerRate:
        clumping = max(1.0, queue.run(edge).clumping(self.goal.limit_s))
        best: Try | None = None
        spare: Try | None = None
        ceiling, reason = math.inf, "the budget was used up before a rate could be confirmed"
        for number in range(TRIES):
            plan = self._plan(edge, clumping, number)
            if plan is None:
                break
            best = tried = self._try(min(ceiling, self._aim(edge, queue, plan)), plan)
            if tried.sound and tried.counted.verdict == "holds":
                return self._held(tried, tried.counted, edge)
            if tried.sound and tried.plain.verdict == "holds" and spare is None:
                spare = tried
                if not plan.clumped:
                    break
            seen = f"{tried.counted.over} of {tried.counted.n} queries were over the limit at {tried.rate:.4g} a second"
            reason = tried.late or tried.counted.reason or seen
            ceiling = tried.rate if tried.late or tried.counted.over == 0 else tried.rate * STEP_DOWN
            if tried.counted.verdict == "fails":  # the machine is not what it was: learn its service times anew
                queue = replace(queue, services_s=_by_size(tried.services, queue))
                edge = queue.highest(self._meets) or edge / 2
        if spare is not None:
            return self._held(spare, spare.plain, edge)
        return self._answer("undecided", best and best.counted, best and best.latency, edge=edge, reason=reason)

    def _try(self, rate: float, plan: Plan) -> Try:
        """Two runs of fresh traffic at one rate, judged together."""
        traffic = [Traffic(rate=rate, queries=max(1, plan.queries // 2), seed=self._seed()) for _ in range(2)]
        runs = [self.outside(each) for each in traffic]
        counted = self._judge(runs, plan.confidence, plan.clumping)
        late = next((why for run in runs if (why := run.late(self.goal.limit_s))), None)
        for run in runs:
            self._note("confirm", run, counted, sound=late is None)
        latencies = [latency for run in runs for latency in run.latencies_s]
        return Try(
            rate=rate,
            counted=counted,
            plain=self._tail(counted.n, counted.over, plan.confidence),
            latency=percentile_of(latencies, self.goal.percentile, self.goal.confidence) if latencies else None,
            late=late,
            services=tuple(service for run in runs for service in run.services),
            sound=late is None and not any(run.overloaded for run in runs),
        )

    def _held(self, tried: Try, tail: Tail, edge: float) -> ServerRate:
        full = None
        if tail is not tried.counted:
            full = math.ceil(tried.counted.clumping * fewest_queries(self.goal.percentile, tail.confidence))
            full = max(full, tried.counted.needs or 0)
        rule = "clumps counted" if full is None else "queries taken for independent"
        found = self._answer("holds", tail, tried.latency, rate=tried.rate, edge=edge)
        return replace(found, rule=rule, full_queries=full)

    def _answer(
        self,
        verdict: Verdict,
        tail: Tail | None,
        latency: Percentile | None,
        *,
        rate: float | None = None,
        edge: float | None = None,
        reason: str | None = None,
    ) -> ServerRate:
        return ServerRate(
            verdict=verdict,
            rate=rate,
            rule=None,
            evidence=tail,
            full_queries=None,
            latency=latency,
            edge=edge,
            fails_at=self.fails_at,
            attempts=tuple(self.attempts),
            goal=self.goal,
            seconds=self.clock.now_s() - self.begin,
            reason=reason,
        )


def _by_size(services: Sequence[tuple[int, float]], queue: Queue) -> dict[int, list[float]]:
    """Service times under load where a size was served ten times and more, else what was known before."""
    found: dict[int, list[float]] = {}
    for size, seconds in services:
        found.setdefault(size, []).append(seconds)
    return {size: list(times) for size, times in queue.services_s.items()} | {
        size: times for size, times in found.items() if len(times) >= 10
    }
