"""The only conductor: prepare, measure, store, look, go on. Whatever is killed can be resumed from the store."""

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, Store, available_memory_bytes, num_cores

from . import _budget as budget
from ._cells import MEMORY, STEP_CELL, TRAIN, Cell, RunArm, cells, forward_cells, groups, twin_of
from ._effects import training_memory_key
from ._errors import OtherStudyError
from ._executor import Executor, current
from ._plan import TIMED, Part, Plan
from ._questions import judged, unsettled
from ._record import Record, read_record
from ._search_told import telling
from ._workers import WorkerFailedError, at_once, in_turn, one_job, side_by_side

Progress = Callable[[str, float], None]
"""Called with what is being done and the seconds that are left of the plan."""


@dataclass(frozen=True, kw_only=True)
class Goal:
    """What a study is for, where its own comparisons are not what matters.

    Attributes:
        open: what is still open, from the records of all parts: by part, the guards (`Between.guard`) of timed cells.
        processes: the processes that a first verdict needs at the level at which it will be judged. A part gets them
            before the next one begins, so that a short budget decides some parts and not none.
    """

    open: Callable[[Sequence[Record]], Mapping[str, set[str]]]
    processes: int = 0


def check_subject(part: Part) -> None:
    """What can be said of a subject without loading anything. Raises `GatewiseError` for a folder that is not there."""
    model = part.subject.model
    if model and ":" not in model and not Path(model).exists():
        raise GatewiseError(f"no model {model!r}: give a workload's name, a model folder, or package.module:function")
    most = max(part.measure.threads) if part.measure else 1
    if most > num_cores():
        raise GatewiseError(f"measure.threads asks for {most} threads, and this machine has {num_cores()} cores")


PROCESS_BYTES = 700e6
"""What one worker holds before any model: the interpreter, torch and transformers."""


@dataclass(kw_only=True)
class Conductor:
    """One run of a study: until everything is settled, or the budget ends."""

    plan: Plan
    store: Store
    out: Path
    progress: Progress
    goal: Goal | None = None
    executor: Executor = field(default_factory=current)
    deadline: float = 0.0
    schedule: budget.Schedule = field(default_factory=budget.Schedule)
    prices: budget.Prices = field(default_factory=budget.Prices)

    def run(self) -> None:
        """Do what the plan asks within its budget. Raises `GatewiseError` for bad input and for a crashed worker."""
        started = time.monotonic()
        self.deadline = started + self.plan.budget_s
        self.prices.side_by_side = at_once()
        for part in self.plan.parts:
            check_subject(part)
        self.executor.check(self.plan)
        if self._nothing_measured():
            budget.check_affordable(self.plan, self.prices, self.plan.budget_s - budget.PREPARE_S, budget.PREPARE_S)
        try:
            for part in self.plan.parts:
                self._prepare(part)
            spent = time.monotonic() - started
            if self._nothing_measured():
                budget.check_affordable(self.plan, self.prices, self._left(), spent)
            self.schedule = budget.allocate(self.plan, self.prices, self._left())
            self.store.put("dropped", self.schedule.dropped)
            self._first_look()
            self._go_on()
        except WorkerFailedError as failure:
            stored = "" if self._nothing_measured() else "\nwhat was measured is stored; --resume goes on from there"
            raise GatewiseError(f"a worker process ended without a result ({failure}){stored}") from failure

    def _left(self) -> float:
        return self.deadline - time.monotonic()

    def _tell(self, text: str) -> None:
        self.progress(text, max(self._left(), 0.0))

    def _nothing_measured(self) -> bool:
        return not any(self.store.cells(part.name) for part in self.plan.parts)

    def _job(self, kind: str, part: Part, **more: Any) -> dict[str, Any]:
        content = {"job": kind, "plan": self.plan.to_json(), "part": self.plan.parts.index(part)}
        prepared: dict[str, Any] = self.store.get(f"prepared:{part.name}") or {}
        own = prepared.get("training", {}).get("own")  # what each arm has for itself: a width, a learning rate
        return content | {"folder": str(self._folder(part)), "own": own} | more

    def _folder(self, part: Part) -> Path:
        return self.out / "arms" / str(self.plan.parts.index(part))

    def _seed(self, part: Part, what: str, number: int) -> int:
        return random.Random(f"{self.plan.seed}/{part.name}/{what}/{number}").randrange(2**31)

    def _prepare(self, part: Part) -> None:
        record = self.store.get(f"prepared:{part.name}")
        saved = [arm.get("folder") for arm in record["arms"].values()] if record else []
        if record is None or not all((self._folder(part) / name).is_dir() for name in saved if name):
            self._tell(f"{part.name}: building {len(part.arms)} arms")
            with telling(self._folder(part), lambda text: self._tell(f"{part.name}: {text}")):
                fresh = self._prepared(part)
            if record is not None and fresh["facts"] != record["facts"]:
                raise OtherStudyError(
                    "the model or the data changed since this study began, so it cannot be resumed"
                    "\ngive another --out for a new study"
                )
            record = record or fresh
            self.store.put(f"prepared:{part.name}", record)
        for condition, price in record["prices"].items():
            self.prices.call_s[f"{part.name}/{condition}"] = price
        if "training" in record:
            beside = budget.diagnostics_s(part)
            self.prices.run_least_s[part.name] = budget.RUN_SHARE * (record["training"]["least_s"] + beside)
            self.prices.run_most_s[part.name] = budget.RUN_SHARE * (record["training"]["most_s"] + beside)

    def _prepared(self, part: Part) -> dict[str, Any]:
        job = self._job("prepare", part, seed=self.plan.seed)
        found = (one_job(job, threads=num_cores()) for _ in range(1))
        by_time = any(arm.matching == "time" for arm in part.arms)  # then a width hangs on what is timed here,
        by_time = by_time or (part.train is not None and part.train.compare_at == "time")  # or the steps of an arm
        return next(self.executor.alone(found) if by_time else found)

    def _first_look(self) -> None:
        """What a first verdict needs, in an order in which the shortest budget still gets one."""
        for part in self.plan.parts:
            if budget.is_timed(part):
                self._time(part, until=self._first(part))
        # Now it is known what a process costs here: what seemed too much may fit.
        self.schedule = budget.allocate(self.plan, self.prices, self._left(), timed_before=True)
        self.store.put("dropped", self.schedule.dropped)
        for part in self.plan.parts:
            if part.measure and "peak_memory" in part.measure.metrics and self.schedule.memory:
                self._weigh(part)
        for part in self.plan.parts:
            if part.train and part.train.steps_timed and self.schedule.step_time:
                self._time_steps(part, until=self._first(part))
        for part in self.plan.parts:
            if part.train and "training_memory" in part.train.metrics and self.schedule.memory:
                self._weigh_training(part)
        for part in self.plan.parts:
            if part.train and part.name in self.schedule.train_run_s:
                self._train(part)

    def _go_on(self) -> None:
        """Spend what is left on what is still open, the parts in turn, until all is settled or the budget ends."""
        open_parts = list(self.plan.parts)
        while open_parts:
            for part in list(open_parts):
                before = self._count(part)
                if budget.is_timed(part):
                    self._time(part, until=before[0] + self.prices.side_by_side)
                if part.train and part.train.steps_timed and self.schedule.step_time and self._count(part)[1]:
                    self._time_steps(part, until=before[1] + self.prices.side_by_side)
                if self._count(part) == before:
                    open_parts.remove(part)

    def _count(self, part: Part) -> tuple[int, int]:
        record = read_record(self.store, part)
        timed = max((record.next_process(key) for key in record.rows if key.startswith("batch=")), default=0)
        return timed, record.next_process(STEP_CELL)

    def _affords(self, price_s: float) -> bool:
        return self._left() >= price_s + budget.FINISH_S

    # Timed cells

    def _time(self, part: Part, *, until: int) -> None:
        """Processes of timed cells, two loading side by side and measuring in turn, up to a number or until settled."""
        assert part.measure is not None
        while True:
            record = read_record(self.store, part)
            still_open = self._open(record, TIMED)
            open_cells = [c for c in cells(part.measure) if any(f"{name} {c.id}" in still_open for name in TIMED)]
            number = self._count(part)[0]
            price = self.prices.process_s(part, self.schedule.rounds.get(part.name, 1), self.schedule.slice_s)
            count = min(until - number, self.prices.side_by_side, int((self._left() - budget.FINISH_S) / price))
            if not open_cells or count < 1:
                return
            self._tell(f"{part.name}: timing, process {number + 1} of at least {budget.first_processes(part)}")
            began = time.monotonic()
            self._time_processes(part, record, open_cells, range(number, number + count))
            if len(open_cells) == len(cells(part.measure)) and count == self.prices.side_by_side:
                self.prices.learn_start(part, (time.monotonic() - began) / count, price)

    def _time_processes(self, part: Part, record: Record, open_cells: Sequence[Cell], numbers: range) -> None:
        assert part.measure is not None
        together = self._fits(record, len(numbers))
        for group_index, group in enumerate(groups(record.arms, together=together)):
            suffix = "" if together else f" group={group_index}"
            for threads in part.measure.threads:
                mine = [cell for cell in open_cells if cell.threads == threads]
                if not mine:
                    continue
                jobs = [self._timing_job(part, group, mine, suffix, number) for number in numbers]
                timed = in_turn(jobs, threads=threads, recycled=part.measure.allocator == "recycled")
                for number, found in zip(numbers, self.executor.alone(timed), strict=True):
                    self.store.add(part.name, number, found)

    def _timing_job(
        self, part: Part, group: Sequence[RunArm], found: Sequence[Cell], suffix: str, number: int
    ) -> dict[str, Any]:
        return self._job(
            "latency",
            part,
            arms=[arm.to_json() for arm in group],
            cells=[
                {"id": cell.id + suffix, "batch": cell.batch, "tokens": cell.tokens, "seconds": self.schedule.slice_s}
                | {"call": cell.call}
                for cell in found
            ],
            rounds=self.schedule.rounds.get(part.name, 1),
            threads=found[0].threads,
            device=found[0].device,
            dtype=found[0].dtype,
            seed=self._seed(part, f"time{suffix}", number),
        )

    def _first(self, part: Part) -> int:
        """The processes that a first verdict on a part needs."""
        return max(budget.first_processes(part), self.goal.processes if self.goal else 0)

    def _open(self, record: Record, metrics: Sequence[str]) -> set[str]:
        """The guards of a part's cells that are still open: by the goal, or by the study's own comparisons."""
        if self.goal is None:
            return unsettled(judged(record), metrics)
        found = self.goal.open([read_record(self.store, part) for part in self.plan.parts])
        return {guard for guard in found.get(record.part.name, set()) if guard.split()[0] in metrics}

    def _fits(self, record: Record, processes: int) -> bool:
        """Whether all arms and the twin can stand in one process (with as many processes as load side by side)."""
        facts = record.prepared["arms"]
        arms = [*record.arms, record.arms[0]]
        needed = 1.6 * sum(facts[arm.arm]["weight_bytes"] for arm in arms) + PROCESS_BYTES
        return needed * processes < 0.85 * (available_memory_bytes() or float("inf"))

    # Memory

    def _weigh(self, part: Part) -> None:
        assert part.measure is not None
        by_threads = [
            [c for c in forward_cells(part.measure) if c.threads == threads] for threads in part.measure.threads
        ]
        for process in range(budget.memory_processes(part)):
            record = read_record(self.store, part)
            arms = (*record.arms, twin_of(record.arms[0]))
            waiting = [
                (arm, found)
                for found in by_threads
                for arm in arms
                if record.next_process(f"{MEMORY}{arm.label}|{found[0].id}") <= process
            ]
            while waiting and self._affords(self.prices.start_s):
                now, waiting = waiting[: self.prices.side_by_side], waiting[self.prices.side_by_side :]
                total = budget.memory_processes(part)
                self._tell(f"{part.name}: memory, process {process + 1} of {total}, {len(arms)} arms")
                jobs = [self._memory_job(part, arm, found, process) for arm, found in now]
                for (arm, _), values in zip(now, side_by_side(jobs), strict=True):
                    stored = {f"{MEMORY}{arm.label}|{cell}": value for cell, value in values.items()}
                    self.store.add(part.name, process, stored)

    def _memory_job(self, part: Part, arm: RunArm, found: Sequence[Cell], process: int) -> dict[str, Any]:
        return self._job(
            "memory",
            part,
            arms=[arm.to_json()],
            cells=[{"id": cell.id, "batch": cell.batch, "tokens": cell.tokens} for cell in found],
            threads=found[0].threads,
            dtype=found[0].dtype,
            seed=self._seed(part, "memory", process),
        )

    def _weigh_training(self, part: Part) -> None:
        found = read_record(self.store, part).arms
        arms = (*found, twin_of(found[0]))
        for process in range(budget.FEWEST_PROCESSES):
            record = read_record(self.store, part)
            waiting = [arm for arm in arms if record.next_process(training_memory_key(arm.label)) <= process]
            while waiting and self._affords(budget.STEP_PROCESS_S):
                now, waiting = waiting[: self.prices.side_by_side], waiting[self.prices.side_by_side :]
                self._tell(f"{part.name}: memory of training, process {process + 1} of {budget.FEWEST_PROCESSES}")
                seed = self._seed(part, "training-memory", process)
                jobs = [self._job("training_memory", part, arms=[arm.to_json()], seed=seed) for arm in now]
                for arm, value in zip(now, side_by_side(jobs), strict=True):
                    self.store.add(part.name, process, {training_memory_key(arm.label): value})

    # Training

    def _time_steps(self, part: Part, *, until: int) -> None:
        while True:
            record = read_record(self.store, part)
            number = record.next_process(STEP_CELL)
            settled = number > 0 and not self._open(record, ("step_time",))
            if settled or number >= until or not self._affords(budget.STEP_PROCESS_S * self.prices.side_by_side):
                return
            self._tell(f"{part.name}: timing steps, process {number + 1} of at least {budget.first_processes(part)}")
            numbers = range(number, min(number + self.prices.side_by_side, until))
            arms = [arm.to_json() for arm in groups(record.arms, together=True)[0]]
            jobs = [
                self._job(
                    "step_time", part, arms=arms, seconds=self.schedule.slice_s, seed=self._seed(part, "step", process)
                )
                for process in numbers
            ]
            for process, found in zip(numbers, self.executor.alone(in_turn(jobs)), strict=True):
                self.store.add(part.name, process, {STEP_CELL: found})

    def _train(self, part: Part) -> None:
        assert part.train is not None
        settings: dict[str, Any] | None = self.store.get(f"training:{part.name}")
        if settings is None:
            seeds = self.schedule.seeds.get(part.name, part.train.seeds)
            settings = {"plan": self._training_settings(part), "seeds": seeds}
            self.store.put(f"training:{part.name}", settings)
        record = read_record(self.store, part)
        # Seed by seed with all arms, so that an early end leaves complete pairs.
        jobs = [
            self._job("train", part, arm=arm.label, run_seed=seed, settings=settings["plan"], speak=seed == 0)
            for seed in range(settings["seeds"])
            for arm in record.arms
            if seed not in dict(record.rows.get(TRAIN + arm.arm, []))
        ]
        total = settings["seeds"] * len(record.arms)
        self._tell(f"{part.name}: training {len(jobs)} runs of {settings['plan']['steps']} steps")
        for done, (job, found) in enumerate(self.executor.untimed(jobs), 1 + total - len(jobs)):
            self.store.add(part.name, job["run_seed"], {TRAIN + job["arm"]: found})
            self._tell(f"{part.name}: trained {done} of {total} runs")
            if self._left() < -budget.OVERRUN * self.plan.budget_s:  # the clock, not the data, ends it
                if done < total:  # only complete pairs are judged
                    why = "the budget ended before them: they took longer here than their price at the start"
                    self.schedule.drop(f"{total - done} of {total} training runs of part {part.name!r}", why)
                    self.store.put("dropped", self.schedule.dropped)
                return

    def _training_settings(self, part: Part) -> dict[str, Any]:
        """Fixed before the first run: the steps that the budget allows at the step price of this machine."""
        from gatewise import train

        assert part.train is not None
        facts = read_record(self.store, part).prepared["training"]
        plan = train.TrainPlan.from_json(facts["settings"])
        steps = part.train.steps
        if steps:
            return replace(plan, steps=steps, eval_every=max(1, steps // facts["points"])).to_json()
        seconds = max(self.schedule.train_run_s[part.name] - budget.diagnostics_s(part), facts["least_s"])
        return train.scaled_plan(seconds, facts["step_s"], plan, most_steps=facts["steps"]).to_json()
