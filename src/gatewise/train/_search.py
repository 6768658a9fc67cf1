"""An arm's own learning rate, by successive halving over a grid that is the same for every arm.

Every rate of the grid is trained on every search seed to the first rung, the better half goes on to the next, and so
forth. A run that goes on does so from its checkpoint. All runs follow the schedule of the last rung: at an earlier one
the rate has not fallen yet, where a high rate looks worse than it will be at the end. Half are kept for that reason and
not a third; with one rung every rate is trained to the end, which is what a basin should be read from.

The seeds are not those of the judged runs, and neither are the held-out batches where there are two or more.

Which rates go on is an engine's to say: `Halving` here, or Optuna's study in `_search_optuna`, by the same rule.

Source: Jamieson and Talwalkar 2016, Non-stochastic Best Arm Identification (arXiv 1502.07943).
"""

import contextlib
import math
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from statistics import fmean, variance
from typing import Any, Protocol

from gatewise.core import GatewiseError, unknown_name

from ._basin import Basin, basin
from ._checkpoint import Checkpoints
from ._plan import TrainPlan
from ._result import TrainResult
from ._run import TrainRun
from ._workload import TrainWorkload

SEARCH_SEED = 1_000_003
"""The first seed of searches; judged runs count from 0."""

CHECKPOINT_S = 20.0
_SHARE = 4
"""One held-out batch in so many is the search's own."""

ENGINES = ("halving", "optuna")
"""What says which rates go on: the same rule, the same budget and the same record; `optuna` leaves a journal too."""


@dataclass(frozen=True, kw_only=True)
class SearchStep:
    """Where one arm's search stands before it trains a rate to a rung.

    Attributes:
        rung, rungs: this one, from 1, and how many.
        until: steps of a run at this rung.
        number, standing: this rate, from 1, and how many are trained to this rung.
        done, budget: optimiser steps of the arm's search so far, and of all of it.
    """

    arm: str
    rung: int
    rungs: int
    until: int
    number: int
    standing: int
    done: int
    budget: int

    def __str__(self) -> str:
        return f"rate of {self.arm}: rung {self.rung} of {self.rungs}, rate {self.number} of {self.standing}"


Tell = Callable[[SearchStep], None]


class Engine(Protocol):
    """Which rates go on. It is told the mean loss of each rate at each rung (infinite where a run failed)."""

    def report(self, place: int, steps: int, loss: float) -> None:
        """The rate at a place of the grid has this mean loss after so many steps."""
        ...

    def keep(self, standing: Sequence[int], steps: int, count: int) -> list[int]:
        """The `count` best places of those that stand, rising; the others have ended."""
        ...

    def best(self, standing: Sequence[int], steps: int) -> int:
        """The best place at the end."""
        ...


class Halving:
    """The engine that is built in. Of equal losses the lower rate goes on."""

    def __init__(self) -> None:
        self._losses: dict[tuple[int, int], float] = {}

    def report(self, place: int, steps: int, loss: float) -> None:
        """Remember a loss."""
        self._losses[place, steps] = loss

    def keep(self, standing: Sequence[int], steps: int, count: int) -> list[int]:
        """The best of those that stand, rising."""
        return sorted(sorted(standing, key=lambda place: (self._losses[place, steps], place))[:count])

    def best(self, standing: Sequence[int], steps: int) -> int:
        """The best at the end."""
        return self.keep(standing, steps, 1)[0]


@dataclass(frozen=True, kw_only=True)
class RateSearch:
    """What is searched, the same for every arm. Raises `GatewiseError` for what makes no search.

    Attributes:
        rates: peak learning rates, rising.
        steps: of a run that goes to the end; its schedule is that of all.
        rungs: how often the better half is kept, plus one: 3 look after a quarter, a half and all of the steps.
        seeds: how many runs a rate gets.
        distance: of a basin, in the loss's unit.
        noise: of a basin, in units of the spread over seeds.
        engine: one of `ENGINES`.
    """

    rates: tuple[float, ...]
    steps: int = 400
    rungs: int = 3
    seeds: int = 2
    distance: float = 0.02
    noise: float = 2.0
    engine: str = "halving"

    def __post_init__(self) -> None:
        if self.engine not in ENGINES:
            raise unknown_name("engine of a search", self.engine, ENGINES)
        rising = all(a < b for a, b in pairwise(self.rates))
        if len(self.rates) < 2 or not rising or not all(0 < rate < math.inf for rate in self.rates):
            raise GatewiseError(f"a search needs two or more rising rates above 0, not {list(self.rates)!r}")
        if self.rungs < 1 or self.seeds < 1 or self.steps < 2 ** (self.rungs - 1):
            raise GatewiseError(f"{self.steps} steps, {self.rungs} rungs and {self.seeds} seeds make no search")

    def check(self) -> None:
        """Raises `MissingExtraError` where the engine is not installed."""
        if self.engine == "optuna":
            from ._search_optuna import check_installed

            check_installed()

    @property
    def rung_steps(self) -> tuple[int, ...]:
        """Steps done at each rung; the last is `steps`, rounded down so that each is twice the one before."""
        first = self.steps // 2 ** (self.rungs - 1)
        return tuple(first * 2**rung for rung in range(self.rungs))

    @property
    def standing(self) -> tuple[int, ...]:
        """How many rates are trained to each rung."""
        counts = [len(self.rates)]
        for _ in range(self.rungs - 1):
            counts.append(max(1, -(-counts[-1] // 2)))
        return tuple(counts)

    @property
    def budget_steps(self) -> int:
        """Optimiser steps of one arm's whole search: the same for every arm; one that diverges takes fewer."""
        ends = self.rung_steps
        return self.seeds * sum(
            count * (end - before) for count, end, before in zip(self.standing, ends, (0, *ends), strict=False)
        )


@dataclass(frozen=True, kw_only=True)
class RateFound:
    """What one arm's search found.

    Attributes:
        chosen: the rate with the lowest mean loss at the last rung; None where every rate failed.
        table: one entry a rate, as plain data: `rate`, `stopped_at` (steps; None for those that went to the end),
            `losses` (by rung, one a seed; None where it failed), `failures`.
        rungs: one entry a rung, as plain data: `steps`, `noise` (the pooled standard deviation over seeds of the better
            half, of two rates at least), and the two basins, `within_noise` and `within_distance`.
        steps, seconds: what it cost.
        heldout_shared: the judged runs will be evaluated on the same held-out batch, for there is one only.
    """

    arm: str
    matching: str
    chosen: float | None
    table: tuple[dict[str, Any], ...]
    rungs: tuple[dict[str, Any], ...]
    steps: int
    seconds: float
    heldout_shared: bool
    seeds: tuple[int, ...]

    @property
    def at_edge(self) -> bool:
        """Whether the best rate is the grid's first or last: a better one may lie beyond."""
        return self.chosen in (self.table[0]["rate"], self.table[-1]["rate"])

    def to_json(self) -> dict[str, Any]:
        """Plain data, for a record."""
        names = ("arm", "matching", "chosen", "at_edge", "steps", "seconds", "heldout_shared")
        rest = {"table": list(self.table), "rungs": list(self.rungs), "seeds": list(self.seeds)}
        return {name: getattr(self, name) for name in names} | rest


def heldout_split(batches: int) -> tuple[int, int]:
    """How many of the held-out batches, from the first, the judged runs use, and with which the search's begin."""
    own = max(1, batches // _SHARE)
    return (batches, 0) if batches < 2 else (batches - own, batches - own)


def search_rate(
    workload: TrainWorkload,
    arm: str,
    *,
    search: RateSearch,
    plan: TrainPlan,
    matching: str = "params",
    folder: Path | None = None,
    journal: Path | None = None,
    tell: Tell | None = None,
) -> RateFound:
    """Search one arm's rate. `plan` gives everything but rate and steps. The same search gives the same bits.

    With `folder` the runs are kept there while the search goes on: killed, it goes on where it stood. A rate that
    diverges is a result, of that rate.

    `journal` is Optuna's, where that is the engine: one file may hold the searches of many arms, each a study named
    after its folder and arm. Without one it stands in the folder.

    Raises `GatewiseError` for an arm that cannot be built and for a journal of another search, and `MissingExtraError`
    for an engine that is not installed.
    """
    search.check()
    run = TrainRun(workload=workload, arm=arm, seed=SEARCH_SEED, plan=plan, matching=matching)
    with contextlib.ExitStack() as stack:
        kept = folder or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        engine: Engine = Halving()
        if search.engine == "optuna":
            from ._search_optuna import OptunaHalving

            name = f"{folder.name}: {arm}" if folder else arm
            engine = OptunaHalving(search, study=name, journal=journal or kept / "optuna.journal")
        return _Search(run, search, kept, engine).run(tell)


class _Search:
    def __init__(self, run: TrainRun, search: RateSearch, folder: Path, engine: Engine) -> None:
        self.arm, self.search, self.folder, self.engine = run.arm, search, folder, engine
        self.heldout_from = heldout_split(len(run.workload.heldout_batches()))[1]
        ends = search.rung_steps
        plan = replace(run.plan, steps=ends[-1], eval_every=ends[0], eval_from=0.0, eval_batches=None)
        self.run_of = replace(run, plan=plan, heldout_from=self.heldout_from)
        self.found: dict[int, list[TrainResult]] = {}

    def _train(self, place: int, seed: int, until: int) -> TrainResult:
        kept = Checkpoints(folder=self.folder / f"rate-{place:02d}-seed-{seed}", every_s=CHECKPOINT_S)
        plan = replace(self.run_of.plan, learning_rate=self.search.rates[place])
        return replace(self.run_of, seed=SEARCH_SEED + seed, plan=plan, checkpoints=kept).train(until=until)

    def run(self, tell: Tell | None) -> RateFound:
        search, standing = self.search, list(range(len(self.search.rates)))
        stopped: dict[int, int] = {}
        rungs: list[dict[str, Any]] = []
        for rung, until in enumerate(search.rung_steps):
            self._train_rung(rung, standing, tell)
            rungs.append(self._rung(standing, until))
            if rung + 1 < search.rungs:
                kept = self.engine.keep(standing, until, search.standing[rung + 1])
                stopped |= dict.fromkeys((place for place in standing if place not in kept), until)
                standing = kept
        best = self.engine.best(standing, search.rung_steps[-1])
        runs = [run for mine in self.found.values() for run in mine]
        return RateFound(
            arm=self.arm,
            matching=self.run_of.matching,
            chosen=search.rates[best] if math.isfinite(self._mean(best, search.rung_steps[-1])) else None,
            table=tuple(self._entry(place, stopped.get(place)) for place in range(len(search.rates))),
            rungs=tuple(rungs),
            steps=sum(run.steps for run in runs),
            seconds=sum(run.seconds for run in runs),
            heldout_shared=self.heldout_from == 0,
            seeds=tuple(SEARCH_SEED + seed for seed in range(search.seeds)),
        )

    def _train_rung(self, rung: int, standing: list[int], tell: Tell | None) -> None:
        search, until = self.search, self.search.rung_steps[rung]
        for number, place in enumerate(standing, 1):
            if tell is not None:
                done = sum(run.steps for mine in self.found.values() for run in mine)
                tell(
                    SearchStep(
                        arm=self.arm,
                        rung=rung + 1,
                        rungs=search.rungs,
                        until=until,
                        number=number,
                        standing=len(standing),
                        done=done,
                        budget=search.budget_steps,
                    )
                )
            self.found[place] = [self._train(place, seed, until) for seed in range(search.seeds)]
            self.engine.report(place, until, self._mean(place, until))

    def _losses(self, place: int, steps: int) -> list[float]:
        """The loss of each seed after so many steps; infinite where the run failed."""
        return [math.inf if run.failure else dict(run.curve).get(steps, math.inf) for run in self.found[place]]

    def _mean(self, place: int, steps: int) -> float:
        return fmean(self._losses(place, steps))

    def _rung(self, standing: list[int], steps: int) -> dict[str, Any]:
        """The noise and the basins at a rung, from every rate that stood there."""
        means = [self._mean(place, steps) if place in standing else None for place in range(len(self.search.rates))]
        ranked = sorted((place for place in standing), key=lambda place: self._mean(place, steps))
        better = [place for place in ranked[: max(2, -(-len(ranked) // 2))] if math.isfinite(self._mean(place, steps))]
        noise = None
        if self.search.seeds > 1 and better:
            noise = math.sqrt(fmean(variance(self._losses(place, steps)) for place in better))
        within = None if noise is None else basin(self.search.rates, means, self.search.noise * noise)
        return {
            "steps": steps,
            "standing": len(standing),
            "noise": noise,
            "within_noise": _plain(within),
            "within_distance": _plain(basin(self.search.rates, means, self.search.distance)),
        }

    def _entry(self, place: int, stopped: int | None) -> dict[str, Any]:
        runs = self.found[place]
        ends = [steps for steps in self.search.rung_steps if steps <= (stopped or self.search.steps)]
        losses = {
            str(steps): [loss if math.isfinite(loss) else None for loss in self._at(runs, steps)] for steps in ends
        }
        failures = [run.failure for run in runs if run.failure]
        return {"rate": self.search.rates[place], "stopped_at": stopped, "losses": losses, "failures": failures}

    @staticmethod
    def _at(runs: list[TrainResult], steps: int) -> list[float]:
        return [dict(run.curve).get(steps, math.inf) for run in runs]


def _plain(found: Basin | None) -> dict[str, Any] | None:
    return None if found is None else found.to_json()
