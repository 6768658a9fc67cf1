"""What each arm of a training part has for itself: a width matched by time, and a learning rate of its own search."""

import json
import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, is_dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

from gatewise import activations, measure, train
from gatewise.core import GatewiseError

from ._equal_schedule import scheduled, spoken_steps, step_ratios, unknown_ratio
from ._kernel import fresh_on_kernel
from ._plan import Arm, Part, Search
from ._search_told import SearchTold, write_told

SEARCH_STEPS = 400
MOST_SHARE = 0.6
"""What searches may take of a study's budget, at most."""

WIDTHS = "matched-by-time.json"
JOURNAL = "optuna.journal"
SECONDS, FINAL_SECONDS = 0.8, 3.0
"""How long one width is measured while it is looked for, and at the end."""


@dataclass(kw_only=True)
class Own:
    """By label: widths matched by time and rates found. `facts` is what the record says of how they came about."""

    hidden: dict[str, int] = field(default_factory=dict[str, int])
    rates: dict[str, float | None] = field(default_factory=dict[str, float | None])
    step_ratios: dict[str, float] = field(default_factory=dict[str, float])
    """How long a step takes against the baseline's, where schedules are planned to end after the same time."""

    facts: dict[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """What jobs carry."""
        return {"hidden": self.hidden, "rates": self.rates, "step_ratios": self.step_ratios}

    @classmethod
    def of_job(cls, job: Mapping[str, Any]) -> "Own":
        """What a job carries."""
        own = job.get("own") or {}
        held = {name: dict(own.get(name, {})) for name in ("hidden", "rates", "step_ratios")}
        return cls(**held)

    def rate_of(self, arm: Arm, part: Part) -> float | None:
        """The arm's own rate; None where it has none, for none was asked or every rate of its search diverged.

        Raises `GatewiseError` where one was asked and the job has none.
        """
        if part.train is None or part.train.search is None:
            return None
        if arm.label not in self.rates:
            raise GatewiseError(f"the learning rate of {arm.label} is not in the record; begin the study anew")
        return self.rates[arm.label]

    def plan_of(self, arm: Arm, part: Part, plan: train.TrainPlan) -> train.TrainPlan:
        """What an arm is trained by: the part's plan at the arm's own rate, and over its own steps. See `rate_of`."""
        rate, ratio = self.rate_of(arm, part), self.step_ratios.get(arm.label)
        plan = plan if rate is None else replace(plan, learning_rate=rate)
        return plan if ratio is None else scheduled(plan, ratio)


def is_gate(arm: Arm) -> bool:
    """Whether an arm's FFN is gated, so that its width depends on the matching."""
    return activations.get(arm.name).kind == "gate"


def built_as(made: Any, arm: Arm, own: Own) -> tuple[Any, str]:
    """The workload and the matching with which an arm is built. Raises `GatewiseError` for a width not yet found."""
    workload, matching = _built_as(made, arm, own)
    return fresh_on_kernel(workload, arm), matching


def _built_as(made: Any, arm: Arm, own: Own) -> tuple[Any, str]:
    if arm.matching != "time":
        return made, arm.matching
    if not is_gate(arm):
        return made, "params"  # a scalar arm has the baseline's width, whatever the matching
    if arm.label not in own.hidden:
        raise GatewiseError(f"the width of {arm.label}, matched by time, is not in the record; begin the study anew")
    return _at_width(made, own.hidden[arm.label]), "none"


def _at_width(made: Any, hidden: int) -> Any:
    names = {each.name for each in fields(made)} if is_dataclass(type(made)) else set[str]()
    if "hidden" not in names:
        raise GatewiseError(
            f"{made.name} has no hidden width that could be matched by time\nvalid: params, flops or none"
        )
    return replace(made, hidden=hidden, **({"multiple_of": 1} if "multiple_of" in names else {}))


def match_by_time(
    made: Any, part: Part, own: Own, *, plan: train.TrainPlan, seed: int, folder: Path | None = None
) -> None:
    """Find the widths of the arms whose matching is `time`, into `own`.

    They are kept in `folder`: killed while it searches rates, a study goes on with the widths that it had. This is the
    first thing done for a part, so an engine of the search that is not installed is refused here.
    """
    if part.train and part.train.search:
        rate_search(part.train.search, plan.learning_rate, part.train.steps).check()
    kept = None if folder is None else folder / WIDTHS
    if kept is not None and kept.is_file():
        facts = json.loads(kept.read_text(encoding="utf-8"))
        own.facts["matched_by_time"] = facts
        own.hidden = {label: int(found["hidden"]) for label, found in facts.items()}
        return
    _match_by_time(made, part, own, plan=plan, seed=seed)
    if kept is not None and own.hidden:
        kept.parent.mkdir(parents=True, exist_ok=True)
        unfinished = kept.with_suffix(".unfinished")
        unfinished.write_text(json.dumps(own.facts["matched_by_time"]), encoding="utf-8")
        unfinished.replace(kept)


def _match_by_time(made: Any, part: Part, own: Own, *, plan: train.TrainPlan, seed: int) -> None:
    baseline = next(arm for arm in part.arms if arm.label == part.baseline)
    for arm in part.arms:
        if arm.matching != "time" or not is_gate(arm):
            continue
        model = made.fresh(arm.name, seed=seed, matching="params")
        guess = next((m.hidden for m in model.modules() if isinstance(m, activations.FeedForward)), 1)
        _at_width(made, guess)  # refused before anything is timed
        runner = partial(train.step_runner, seed=seed, plan=plan)
        pair = _Pair(
            arm=lambda hidden, arm=arm, step=runner: step(
                fresh_on_kernel(_at_width(made, hidden), arm), arm.name, matching="none"
            ),
            baseline=lambda step=runner: step(
                fresh_on_kernel(made, baseline), baseline.name, matching=baseline.matching
            ),
            seed=seed,
        )
        found = train.match_time(pair.measured(SECONDS), guess=guess, final=pair.measured(FINAL_SECONDS))
        own.hidden[arm.label] = found.hidden
        own.facts.setdefault("matched_by_time", {})[arm.label] = found.to_json()


def match_schedules(
    made: Any, part: Part, own: Own, *, plan: train.TrainPlan, seed: int, folder: Path | None = None
) -> None:
    """Measure each arm's step against the baseline's, into `own`, so that all schedules end after the same time."""
    baseline = next(arm for arm in part.arms if arm.label == part.baseline)
    measured: dict[str, Callable[[], list[float]]] = {}
    for arm in part.arms:
        if arm.label == part.baseline:
            continue
        workload, matching = built_as(made, arm, own)
        runner = partial(train.step_runner, seed=seed, plan=plan)
        pair = _Pair(
            arm=lambda _, made=workload, name=arm.name, step=runner, how=matching: step(made, name, matching=how),
            baseline=lambda step=runner: step(
                fresh_on_kernel(made, baseline), baseline.name, matching=baseline.matching
            ),
            seed=seed,
        )
        measured[arm.label] = partial(pair.measured(FINAL_SECONDS), 0)
    found = step_ratios(measured, folder=folder)
    own.step_ratios = {label: float(each["ratio"]) for label, each in found.items()}
    own.facts["equal_schedule"] = {
        label: each | {"note": spoken_steps(label, part.baseline, each)} for label, each in found.items()
    }


def schedules_unfair(own: Own) -> dict[str, str]:
    """By arm, why its schedule is no fair one; those that are fair are not in it."""
    found: Mapping[str, Mapping[str, Any]] = own.facts.get("equal_schedule", {})
    return {label: why for label, each in found.items() if (why := unknown_ratio(label, each)) is not None}


@dataclass(frozen=True, kw_only=True)
class _Pair:
    """How a step of the arm at a width, and a step of the baseline, are built anew."""

    arm: Callable[[int], Callable[[], object]]
    baseline: Callable[[], Callable[[], object]]
    seed: int

    def measured(self, seconds: float) -> Callable[[int], list[float]]:
        """Log-ratios of interleaved pairs at a width, taken for so many seconds."""
        effort = measure.Effort(seconds=seconds, fewest=8, most=400, warmup=3)

        def log_ratios(hidden: int) -> list[float]:
            calls = {"arm": self.arm(hidden), "baseline": self.baseline()}
            return pair_log_ratios(measure.interleave(calls, effort=effort, seed=self.seed % 2**31 + hidden))

        return log_ratios


def pair_log_ratios(times: measure.Timings) -> list[float]:
    """One log-ratio a pair, `arm` over `baseline`: both were called twice in it, in an order that cancels a drift."""
    sums: dict[int, list[float]] = {}
    for place, pair in enumerate(times.pairs):
        found = sums.setdefault(pair, [0.0, 0.0])
        found[0] += times.values_s["arm"][place]
        found[1] += times.values_s["baseline"][place]
    return [math.log(mine / base) for mine, base in sums.values()]


def time_unfair(label: str, own: Own) -> str | None:
    """Why an arm matched by time is no fair match, or None where its step was measured to take as long."""
    found = own.facts["matched_by_time"][label]
    if found["matched"]:
        return None
    low, high = ("not known" if end is None else f"{end:.3f}" for end in found["interval"])
    return (
        f"not matched by time: a step takes {found['ratio']:.3f} of the baseline's ({low} to {high}), and "
        f"within {found['tolerance']:.0%} was asked"
    )


def rate_search(search: Search, middle: float, steps: int) -> train.RateSearch:
    """The search as the engine takes it."""
    return train.RateSearch(
        rates=search.grid(middle),
        steps=search.steps or steps or SEARCH_STEPS,
        rungs=search.rungs,
        seeds=search.seeds,
        distance=search.distance,
        noise=search.noise,
        engine=search.engine,
    )


def judged_batches(part: Part, made: Any) -> int | None:
    """How many held-out batches are judged: all, or those that the search leaves."""
    if part.train is None or part.train.search is None:
        return None
    return train.heldout_split(len(made.heldout_batches()))[0]


def search_rates(
    made: Any,
    part: Part,
    own: Own,
    *,
    plan: train.TrainPlan,
    step_s: Mapping[str, float],
    budget_s: float,
    folder: Path | None,
    tell: Callable[[str], None] | None = None,
) -> None:
    """Each arm's own rate, into `own`. Raises `GatewiseError`, before it begins, for what takes most of the budget.

    Where it stands is told to `tell`, or else written to `folder`, where `telling` reads it.
    """
    asked = part.train.search if part.train else None
    if part.train is None or asked is None:
        return
    search = rate_search(asked, plan.learning_rate, part.train.steps)
    search.check()
    needed = search.budget_steps * sum(step_s.values()) * 1.2
    if needed > MOST_SHARE * budget_s:
        raise GatewiseError(
            f"searching the learning rates of {len(part.arms)} arms takes about {needed:.0f} s, and at most "
            f"{MOST_SHARE:.0%} of a budget of {budget_s:.0f} s are for it\n"
            f"valid: a budget of {needed / MOST_SHARE:.0f}s, or fewer rates, steps or seeds in train.search"
        )
    told = tell or (None if folder is None else partial(write_told, folder))
    seen = SearchTold(tell=told, step_s=[step_s[arm.label] for arm in part.arms])
    found: dict[str, Any] = {}
    began = time.perf_counter()
    for number, arm in enumerate(part.arms):
        workload, matching = built_as(made, arm, own)
        result = train.search_rate(
            workload,
            arm.name,
            search=search,
            plan=plan,
            matching=matching,
            folder=None if folder is None else folder / f"search-{number:02d}",
            journal=None if folder is None else folder / JOURNAL,
            tell=partial(seen, number, arm.label),
        )
        own.rates[arm.label] = result.chosen
        found[arm.label] = result.to_json() | {"matching": arm.matching}
    journal = None if folder is None else _publish(folder / JOURNAL)
    own.facts["search"] = {
        "engine": asked.engine,
        "journal": journal,
        "arms": found,
        "rates": list(search.rates),
        "rung_steps": list(search.rung_steps),
        "budget_steps_per_arm": search.budget_steps,
        "distance": search.distance,
        "noise": search.noise,
        "seconds": time.perf_counter() - began,
    }


def _publish(journal: Path) -> str | None:
    """Copy a finished journal to where the study's folder is kept; its name there, or None where there is none.

    A part's own folder (`arms/N` in the study's) is deleted when the study is done.
    """
    if not journal.is_file():
        return None
    target = journal.parent.parent.parent / f"search-{journal.parent.name}.optuna.journal"
    unfinished = target.with_suffix(".unfinished")
    shutil.copyfile(journal, unfinished)
    unfinished.replace(target)
    return target.name
