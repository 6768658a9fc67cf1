"""What a study costs before it is run, what a budget allows, and what is dropped first when it is short."""

from dataclasses import dataclass, field
from typing import Any

from gatewise.core import GatewiseError, fewest

from ._cells import cells, run_arms, timed_family
from ._plan import TIMED, Part, Plan

START_S = 4.5
"""One process with torch, transformers and a small model, until it is ready to measure; replaced by what is measured."""

SLICE_S = 0.6
"""Timing time of one cell in one process, unless two rounds of its arms take longer."""

PREPARE_S = 6.0
FINISH_S = 2.0
FEWEST_PROCESSES = 8
MEMORY_PROCESSES = 8
RUN_LEAST_S = 6.0
"""Seconds of one training run below which its curve would say nothing; replaced by what is measured."""

RUN_SHARE = 1.1
"""What a run may take beyond its measured price, two of them side by side."""

STEP_PROCESS_S = 3.0


def spoken(time_s: float) -> str:
    """A time span for people."""
    return f"{time_s:.0f} s" if time_s < 100 else f"{time_s / 60:.1f} min"


def first_processes(part: Part) -> int:
    """The processes that a first verdict on a time needs: the sequence's own minimum at alpha split over the part."""
    return max(FEWEST_PROCESSES, fewest(part.judge.alpha / timed_family(part)))


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

    def training_s(self, part: Part) -> float:
        """The least time of all training runs of a part."""
        if part.train is None:
            return 0.0
        run = self.run_most_s if part.train.steps else self.run_least_s
        return part.train.seeds * len(part.arms) * run.get(part.name, RUN_LEAST_S) / self.side_by_side

    def cell_s(self, part: Part, batch: int, tokens: int) -> float:
        """One cell in one process."""
        call = self.call_s.get(f"{part.name}/{batch}x{tokens}", 0.004 * batch)
        arms = len(run_arms(part, {})) + 1
        return arms * call + max(SLICE_S, 2 * 2 * arms * call)

    def process_s(self, part: Part) -> float:
        """One timed process with all cells of a part, its share of the start included."""
        if part.measure is None:
            return STEP_PROCESS_S
        compiled = 6.0 * len(part.arms) if "compile" in part.measure.runtimes else 0.0
        found = cells(part.measure)
        per_thread = len(part.measure.threads)
        timed = sum(self.cell_s(part, cell.batch, cell.tokens) for cell in found)
        return per_thread * (self.start_s / self.side_by_side + compiled * len(found)) + timed

    def memory_s(self, part: Part) -> float:
        """All processes of a part that weigh memory."""
        if part.measure is None or "peak_memory" not in part.measure.metrics:
            return 0.0
        return MEMORY_PROCESSES * (len(run_arms(part, {})) + 1) * (self.start_s + 1.0) / self.side_by_side


@dataclass(kw_only=True)
class Schedule:
    """What the budget allows."""

    memory: bool = True
    step_time: bool = True
    train_run_s: dict[str, float] = field(default_factory=dict[str, float])
    dropped: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])

    def drop(self, what: str, why: str) -> None:
        """Leave something out, and say so."""
        self.dropped.append({"what": what, "why": why})


def least_s(part: Part, prices: Prices) -> float:
    """The least time in which a part can give one verdict."""
    if is_timed(part):
        return first_processes(part) * prices.process_s(part)
    return prices.training_s(part)


def check_affordable(plan: Plan, prices: Prices, left_s: float, spent_s: float) -> None:
    """Raises `GatewiseError` where not even one part can give a verdict; says what it would take."""
    least = min(least_s(part, prices) for part in plan.parts) + FINISH_S
    if left_s >= least:
        return
    part = min(plan.parts, key=lambda part: least_s(part, prices))
    if is_timed(part):
        reason = (
            f"a first verdict on times takes {first_processes(part)} processes of about {prices.process_s(part):.0f} s"
        )
    else:
        reason = f"{part.train.seeds if part.train else 0} seeds of {len(part.arms)} arms take {spoken(least)}"
    raise GatewiseError(
        f"a budget of {spoken(plan.budget_s)} cannot give one verdict: {reason}"
        f"\nit would take about {spoken(spent_s + least + 1)}; fewer arms or conditions make it less"
    )


def allocate(plan: Plan, prices: Prices, left_s: float) -> Schedule:
    """Fit the plan into the time that is left. Dropped first: memory, then step time, then the training of a part."""
    schedule = Schedule()
    timed = sum(first_processes(part) * prices.process_s(part) for part in plan.parts if is_timed(part))
    memory = sum(prices.memory_s(part) for part in plan.parts)
    training = [part for part in plan.parts if part.train]
    steps = sum(first_processes(part) * STEP_PROCESS_S for part in training)
    least = sum(prices.training_s(part) for part in training)
    left = left_s - FINISH_S - timed
    if memory and left < memory + steps + least:
        schedule.memory = False
        schedule.drop(
            "peak_memory", f"its processes take {spoken(memory)}, and {spoken(max(left, 0))} are left for them"
        )
        memory = 0.0
    left -= memory
    if training and left < steps + least:
        schedule.step_time = False
        schedule.drop(
            "step_time, time_to_target",
            f"they take {spoken(steps)} beside the training's {spoken(least)}, and {spoken(max(left, 0))} are left",
        )
        steps = 0.0
    left -= steps
    for part in training:
        needed = prices.training_s(part)
        if left < needed:
            schedule.drop(
                f"training of part {part.name!r}", f"it takes {spoken(needed)}, {spoken(max(left, 0))} are left"
            )
            continue
        runs = (part.train.seeds if part.train else 0) * len(part.arms)
        share = left * prices.side_by_side / runs / RUN_SHARE
        schedule.train_run_s[part.name] = min(share, prices.run_most_s.get(part.name, share))
        left -= runs * schedule.train_run_s[part.name] * RUN_SHARE / prices.side_by_side
    return schedule
