"""What a study costs before it is run, what a budget allows, and what is dropped first when it is short."""

from dataclasses import dataclass, field
from typing import Any

from gatewise.core import fewest

from ._cells import Cell, cells, run_arms, timed_family
from ._errors import BudgetTooSmallError
from ._plan import TIMED, Measure, Part, Plan, recorded

LEAST_START_S, START_S = 1.0, 4.5
"""One process with torch, transformers and a few small models, until it is ready to measure."""

CALL_PRICE = {"forward": 1.0, "backward": 3.0, "first_token": 1.5, "decode": 6.0}
"""What each kind of call takes, in forward calls, where it has not been seen."""

RUNTIME_S = {"compile": 3.0, "zentorch": 3.0, "compile-frozen": 0.5}
"""Making one arm ready for one shape in a fresh process, where a runtime does so anew; files of an earlier look and the
compiler's cache are there."""

ENGINE_S = 0.5
"""Loading one arm's file into any other engine than eager."""

SHORT_SLICE_S, SLICE_S = 0.8, 2.0
"""Timing time of one cell in one process, unless its rounds take longer: where time is short, and where it is not."""

MOST_ROUNDS = 8

PREPARE_S = 6.0
FINISH_S = 2.0
FEWEST_PROCESSES = 8
RUN_LEAST_S = 6.0
"""Seconds of one training run below which its curve would say nothing; replaced by what is measured."""

RUN_SHARE = 1.15
"""What a run may take beyond its measured price, two of them side by side."""

DIAGNOSTICS_S = 3.0
"""What a run takes beside its steps where it records more than its loss."""

TRAIN_START_S = 3.0
OVERRUN = 0.1
"""By how much of the budget runs that have begun may pass its end: a lost run would have been for nothing."""

STEP_PROCESS_S = 3.2
FEWEST_SEEDS = 4


def spoken(time_s: float) -> str:
    """A time span for people."""
    return f"{time_s:.0f} s" if time_s < 100 else f"{time_s / 60:.1f} min"


def first_processes(part: Part) -> int:
    """The processes that a first verdict on a time needs: the sequence's own minimum at alpha split over the part."""
    return max(FEWEST_PROCESSES, fewest(part.judge.alpha / timed_family(part)))


def memory_processes(part: Part) -> int:
    """The processes that a verdict on peak memory needs, alpha split over the part's comparisons of it."""
    comparisons = (len(run_arms(part, {})) - 1) * len(cells(part.measure or Measure()))
    return max(FEWEST_PROCESSES, fewest(part.judge.alpha / comparisons))


def diagnostics_s(part: Part) -> float:
    """Seconds that one training run takes for what it records beside its loss."""
    return DIAGNOSTICS_S if part.train and recorded(part.train) else 0.0


def is_timed(part: Part) -> bool:
    """Whether a part has cells that are timed call by call."""
    return bool(part.measure and any(name in TIMED for name in part.measure.metrics))


@dataclass(kw_only=True)
class Prices:
    """Seconds, from the machine itself where it has been seen."""

    start_s: float = START_S
    side_by_side: int = 1
    call_s: dict[str, float] = field(default_factory=dict[str, float])
    """One call of the baseline by part and condition, `part/batchxtokens`."""
    run_least_s: dict[str, float] = field(default_factory=dict[str, float])
    run_most_s: dict[str, float] = field(default_factory=dict[str, float])
    """One training run of the fewest and of the most steps, by part."""

    def seed_s(self, part: Part) -> float:
        """The least time of one seed of all arms of a part, side by side."""
        run = self.run_most_s if part.train and part.train.steps else self.run_least_s
        return len(part.arms) * run.get(part.name, RUN_LEAST_S) / self.side_by_side

    def training_s(self, part: Part) -> float:
        """The least time in which a part's training may be judged."""
        if part.train is None or not part.train.learns:
            return 0.0
        return min(part.train.seeds, FEWEST_SEEDS) * self.seed_s(part) + TRAIN_START_S

    def steps_s(self, part: Part) -> float:
        """The processes that time single steps, as many as a first verdict needs."""
        return first_processes(part) * STEP_PROCESS_S if part.train and part.train.steps_timed else 0.0

    def round_s(self, part: Part, cell: Cell) -> float:
        """One round of one cell: every arm and the twin, twice."""
        forward = self.call_s.get(f"{part.name}/{cell.batch}x{cell.tokens}", 0.004 * cell.batch)
        seen = self.call_s.get(f"{part.name}/{cell.batch}x{cell.tokens} {cell.call}")
        call = CALL_PRICE[cell.call] * forward if seen is None else seen
        return 2 * (len(run_arms(part, {})) + 1) * call

    def process_s(self, part: Part, rounds: int = 1, slice_s: float = SHORT_SLICE_S) -> float:
        """One timed process with all cells of a part, its share of the start and a warm-up included."""
        if part.measure is None:
            return STEP_PROCESS_S
        arms = run_arms(part, {})
        ready = [RUNTIME_S.get(arm.runtime, ENGINE_S) for arm in (*arms, arms[0]) if arm.runtime != "eager"]
        found = cells(part.measure)
        starts = len(part.measure.threads) * self.start_s / self.side_by_side
        timed = sum(self.round_s(part, cell) / 2 + max(slice_s, rounds * self.round_s(part, cell)) for cell in found)
        return starts + sum(ready) * len(found) / self.side_by_side + timed

    def learn_start(self, part: Part, process_s: float, expected_s: float) -> None:
        """Correct the price of a start by what one timed process took beyond or below its price."""
        starts = len(part.measure.threads) / self.side_by_side if part.measure else 1.0
        self.start_s = max(LEAST_START_S, self.start_s + (process_s - expected_s) / starts)

    def memory_s(self, part: Part) -> float:
        """All processes of a part that weigh memory, of calls or of training."""
        arms, processes = len(run_arms(part, {})) + 1, 0
        if part.measure and "peak_memory" in part.measure.metrics:
            processes += memory_processes(part) * arms * len(part.measure.threads)
        if part.train and "training_memory" in part.train.metrics:
            processes += FEWEST_PROCESSES * arms
        return processes * (self.start_s + 1.0) / self.side_by_side


@dataclass(kw_only=True)
class Schedule:
    """What the budget allows."""

    memory: bool = True
    step_time: bool = True
    train_run_s: dict[str, float] = field(default_factory=dict[str, float])
    seeds: dict[str, int] = field(default_factory=dict[str, int])
    rounds: dict[str, int] = field(default_factory=dict[str, int])
    """By part: seconds of one training run, its seeds, and the fewest rounds of a timed cell in one process."""

    slice_s: float = SHORT_SLICE_S

    dropped: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def drop(self, what: str, why: str) -> None:
        """Leave something out, and say so."""
        self.dropped.append({"what": what, "why": why})


def least_s(part: Part, prices: Prices) -> float:
    """The least time in which a part can give one verdict."""
    if is_timed(part):
        return first_processes(part) * prices.process_s(part)
    return prices.training_s(part) or prices.steps_s(part)


def check_affordable(plan: Plan, prices: Prices, left_s: float, spent_s: float) -> None:
    """Raises `BudgetTooSmallError` where not even one part can give a verdict; says what it would take."""
    if not all(is_timed(part) or part.train for part in plan.parts):
        return  # some part is answered by its preparation alone
    least = min(least_s(part, prices) for part in plan.parts) + FINISH_S
    if left_s >= least:
        return
    part = min(plan.parts, key=lambda part: least_s(part, prices))
    if is_timed(part):
        reason = (
            f"a first verdict on times takes {first_processes(part)} processes of about {prices.process_s(part):.0f} s"
        )
    elif part.train and not part.train.learns:
        reason = f"a first verdict on steps takes {first_processes(part)} processes of about {STEP_PROCESS_S:.0f} s"
    else:
        seeds = min(part.train.seeds, FEWEST_SEEDS) if part.train else FEWEST_SEEDS
        reason = f"training {len(part.arms)} arms on {seeds} seeds takes {spoken(least)}"
    raise BudgetTooSmallError(
        f"a budget of {spoken(plan.budget_s)} cannot give one verdict: {reason}"
        f"\nit would take about {spoken(spent_s + least + 1)}; fewer arms or conditions make it less"
    )


def allocate(plan: Plan, prices: Prices, left_s: float, *, timed_before: bool = False) -> Schedule:
    """Fit the plan into the time that is left. Dropped first: memory, step time, then seeds, then training."""
    schedule = Schedule()
    to_time = [part for part in plan.parts if is_timed(part) and not timed_before]
    timed = sum(first_processes(part) * prices.process_s(part) for part in to_time)
    memory = sum(prices.memory_s(part) for part in plan.parts)
    training = [part for part in plan.parts if part.train and part.train.learns]
    steps = sum(prices.steps_s(part) for part in plan.parts)
    least = sum(prices.training_s(part) for part in training)
    left = left_s - FINISH_S - timed
    if memory and left < memory + steps + least:
        schedule.memory = False
        schedule.drop(
            "peak_memory", f"its processes take {spoken(memory)}, and {spoken(max(left, 0))} are left for them"
        )
        memory = 0.0
    left -= memory
    if steps and left < steps + least:
        schedule.step_time = False
        schedule.drop(
            "step_time, time_to_target",
            f"they take {spoken(steps)}{f' beside {spoken(least)} of training' if least else ''}, and "
            f"{spoken(max(left, 0))} are left",
        )
        steps = 0.0
    left -= steps
    for index, part in enumerate(training):
        # Parts that train share what is left by what they need at least, so that the first does not take it all.
        share = prices.training_s(part) / (sum(prices.training_s(other) for other in training[index:]) or 1.0)
        left -= _allocate_training(part, prices, left * share, schedule)
    _allocate_rounds(plan, prices, left, schedule)
    return schedule


def _allocate_rounds(plan: Plan, prices: Prices, left: float, schedule: Schedule) -> None:
    """What is still left makes each process more precise: longer slices first, then more rounds of the slow cells."""
    timed = [part for part in plan.parts if is_timed(part)]
    longer = sum(first_processes(part) * len(cells(part.measure or Measure())) for part in timed)
    longer_s = longer * (SLICE_S - SHORT_SLICE_S)
    if left >= longer_s:
        schedule.slice_s = SLICE_S
        left -= longer_s
    for part in timed:
        more = first_processes(part) * sum(prices.round_s(part, cell) for cell in cells(part.measure or Measure()))
        schedule.rounds[part.name] = min(MOST_ROUNDS, 1 + max(0, int(left / len(timed) / more)))


def _allocate_training(part: Part, prices: Prices, left: float, schedule: Schedule) -> float:
    """Seeds and seconds a run for one part; fewer seeds before no training at all. Returns the seconds it takes."""
    assert part.train is not None
    needed = prices.training_s(part)
    if left < needed:
        schedule.drop(f"training of part {part.name!r}", f"it takes {spoken(needed)}, {spoken(max(left, 0))} are left")
        return 0.0
    left -= TRAIN_START_S
    seeds = min(part.train.seeds, int(left / prices.seed_s(part)))
    if seeds < part.train.seeds:
        schedule.drop(
            f"{part.train.seeds - seeds} of {part.train.seeds} seeds of part {part.name!r}",
            f"{spoken(left)} are left, and one seed of all arms takes at least {spoken(prices.seed_s(part))}",
        )
    runs = seeds * len(part.arms)
    share = left * prices.side_by_side / runs / RUN_SHARE
    schedule.seeds[part.name] = seeds
    schedule.train_run_s[part.name] = min(share, prices.run_most_s.get(part.name, share) / RUN_SHARE)
    return runs * schedule.train_run_s[part.name] * RUN_SHARE / prices.side_by_side + TRAIN_START_S
