"""A claim as data: a published sentence, the plan that tests it, and the relations that would support it."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from gatewise.core import METRICS, GatewiseError, metric, unknown_name
from gatewise.study import Part, Plan

IS = ("better", "worse", "equivalent", "not worse")
FORMS = ("slope", "change", "spread", "basin")
CONDITIONS = ("batch", "tokens", "threads")
ACROSS = ("part", "flops", "learning_rate")
WAITS_FOR = ("robustness", "data quality")
"""Capabilities that a claim may wait for; it is listed, and not run, until they land."""


def require(condition: bool, message: str) -> None:
    """Raises `GatewiseError` unless the condition holds."""
    if not condition:
        raise GatewiseError(message)


@dataclass(frozen=True, kw_only=True)
class Relation:
    """What the sentence says about one metric.

    Attributes:
        metric: a metric that the plan measures (or `cost`, which follows from latency).
        arm, than: labels of the plan's arms; with several, every arm against every other.
        says: `better`, `worse`, `equivalent` or `not worse`: the key `is` of a claim file.
        margin: the change that does not matter; None takes the plan's.
        part: the only part to look at; empty: all that measure the metric.
        where: conditions to look at, such as `batch` or `runtime`; all others are left out.
        over: judge how the effect changes along a condition (`batch`, `tokens`, `threads`), along an option of the
            workload that differs between parts (`dim`), or along `part`, `flops` or `learning_rate`.
        form: with `over`: `slope` (per doubling), `change` (last against first), `spread` (the range of each arm's own
            values, arm against than) or `basin` (how wide the range of learning rates is in which each arm's loss lies
            within `distance` of its best; wider is better).
        distance: of a basin, in the loss's unit.
        text: the relation in words; relations with the same text are one statement, and are graded together.
        equivalent: the grade where there is no practical difference: `equivalent`, or `refuted` for a sentence that
            says there is one.
        control: a relation that is known to hold. Where it is not found, the claim is not graded.
    """

    metric: str
    arm: tuple[str, ...]
    than: tuple[str, ...]
    says: str
    margin: float | None = None
    part: str = ""
    where: dict[str, Any] = field(default_factory=dict[str, Any])
    over: str = ""
    form: str = "slope"
    equivalent: str = "equivalent"
    control: bool = False
    distance: float = 0.02
    text: str = ""

    def __post_init__(self) -> None:
        metric(self.metric)
        require(not METRICS[self.metric].exact, f"{self.metric} is an exact count: it is stated, and no claim about it")
        if self.says not in IS:
            raise unknown_name("relation", self.says, IS)
        if self.form not in FORMS:
            raise unknown_name("form of a relation", self.form, FORMS)
        require(
            self.equivalent in ("equivalent", "refuted"),
            f"a relation's equivalent is 'equivalent' or 'refuted', not {self.equivalent!r}",
        )
        if self.margin is not None:
            # From a claim file anything may stand here, whatever the annotation says.
            good = type(self.margin) in (int, float) and math.isfinite(self.margin) and 0 <= self.margin < 10
            require(good, f"a margin must be a number from 0 (direction only) to 10, not {self.margin!r}")
            impossible = self.says in ("equivalent", "not worse") and self.margin == 0
            require(not impossible, f"nothing can be shown {self.says!r} within a margin of 0; give a margin above 0")
        require(not (set(self.arm) & set(self.than)), f"an arm cannot be compared with itself: {', '.join(self.arm)}")
        require(self.form != "spread" or bool(self.over), "form = 'spread' needs over: the range along what?")
        along = self.over == "learning_rate" and self.metric == "heldout_loss"
        require(self.form != "basin" or along, "form = 'basin' goes with heldout_loss over = 'learning_rate'")
        good = type(self.distance) in (int, float) and math.isfinite(self.distance) and self.distance > 0
        require(good, f"the distance of a basin must be a number above 0, not {self.distance!r}")


@dataclass(frozen=True, kw_only=True)
class Claim:
    """A published sentence in our own words, and what would decide it.

    Attributes:
        plan: the study that tests it; None where it follows from another claim or waits for a capability.
        follows: the claim whose grade decides this one.
        waits_for: the capability without which it cannot be tested.
        otherwise: what else would explain the relation.
        ranking: a published table whose order is set beside the order found here.
        alpha: the error rate of all comparisons of the claim together.
        sha256: of what was registered (relations, plan and alpha as the file has them); empty where it is no file's.
    """

    id: str
    sentence: str
    source: str
    relations: tuple[Relation, ...] = ()
    plan: Plan | None = None
    follows: str = ""
    waits_for: str = ""
    otherwise: tuple[str, ...] = ()
    ranking: str = ""
    alpha: float = 0.05
    sha256: str = ""

    def __post_init__(self) -> None:
        good = re.fullmatch(r"[A-Za-z0-9][\w.-]{0,40}", self.id) is not None
        require(good, f"a claim's id is a short word such as G1, not {self.id[:40]!r}")
        require(bool(self.sentence.strip()), f"claim {self.id} needs a sentence: what is claimed, in your own words")
        require(bool(self.source.strip()), f"claim {self.id} needs a source: who says so")
        require(0 < self.alpha < 0.5, f"claim {self.id}: alpha must lie between 0 and 0.5, not {self.alpha!r}")
        if self.waits_for:
            require(self.waits_for in WAITS_FOR, f"claim {self.id} waits for one of {', '.join(WAITS_FOR)}")
            require(self.plan is None, f"claim {self.id} waits for {self.waits_for}; it cannot have a plan as well")
            return
        if self.follows:
            require(self.plan is None, f"claim {self.id} follows from {self.follows} and needs no plan")
            return
        require(self.plan is not None, f"claim {self.id} needs a plan: [claim.plan.study] with arms, and a subject")
        found = [relation for relation in self.relations if not relation.control]
        keys = "metric, arm, than, is"
        require(bool(found), f"claim {self.id} needs a relation that would support it: [[claim.relation]] with {keys}")
        assert self.plan is not None
        for relation in self.relations:
            check_relation(self.id, relation, self.plan)


def measuring(parts: Sequence[Part], relation: Relation) -> list[Part]:
    """The parts in which a relation is looked for: they measure it, of these arms, and have what it goes over."""
    found = _measuring(parts, relation)
    if relation.over in ("", *CONDITIONS, *ACROSS):
        return found
    return [part for part in found if relation.over in part.subject.options]


def _measuring(parts: Sequence[Part], relation: Relation) -> list[Part]:
    wanted = "latency" if relation.metric == "cost" else relation.metric
    labels = {*relation.arm, *relation.than}
    return [
        part
        for part in parts
        if wanted in (*(part.measure.metrics if part.measure else ()), *(part.train.metrics if part.train else ()))
        and (not relation.part or part.name == relation.part)
        and labels <= {arm.label for arm in part.arms}
    ]


def count(relation: Relation, plan: Plan | None) -> int:
    """How many comparisons a relation makes under a plan."""
    each = [_conditions(relation, part) for part in measuring(plan.parts, relation)] if plan else []
    across = bool(relation.over) and relation.over not in CONDITIONS
    return len(relation.arm) * len(relation.than) * (max(each, default=0) if across else sum(each))


def _conditions(relation: Relation, part: Part) -> int:
    if part.measure is None or METRICS[relation.metric].evidence != "process":
        return 1
    total = 1
    for name in (*CONDITIONS, "runtime"):
        values = set(getattr(part.measure, "runtimes" if name == "runtime" else name))
        if name in relation.where:
            wanted = relation.where[name]
            values &= set(wanted) if isinstance(wanted, list) else {wanted}
        total *= 1 if name == relation.over else len(values)
    return total


def check_relation(claim: str, relation: Relation, plan: Plan) -> None:
    """Raises `GatewiseError` where the plan could never answer a relation, with the nearest name."""
    names = [part.name for part in plan.parts]
    if relation.part and relation.part not in names:
        raise unknown_name(f"part in claim {claim}", relation.part, names)
    labels = [arm.label for part in plan.parts for arm in part.arms]
    for label in (*relation.arm, *relation.than):
        if label not in labels:
            raise unknown_name(f"arm in claim {claim}", label, labels)
    parts = _measuring(plan.parts, relation)
    table = "measure" if METRICS[relation.metric].evidence != "seed" else "train"
    require(
        bool(parts),
        f"claim {claim}: its plan does not measure {relation.metric} of these arms; add it to {table}.metrics",
    )
    if relation.metric == "cost":
        priced = all(part.cost and part.cost.utilisation for part in parts)
        require(priced, f"claim {claim}: a cost needs [cost] with price_per_hour and utilisation in its plan")
    for key, value in relation.where.items():
        _check_where(claim, key, value, parts)
    if relation.over:
        _check_over(claim, relation, parts)


def _check_where(claim: str, key: str, value: Any, parts: list[Part]) -> None:
    if key not in (*CONDITIONS, "runtime"):
        raise unknown_name(f"condition in claim {claim}", key, (*CONDITIONS, "runtime"))
    field_name = "runtimes" if key == "runtime" else key
    known = {item for part in parts if part.measure for item in getattr(part.measure, field_name)}
    wanted = value if isinstance(value, list) else [value]
    for item in wanted:
        listed = ", ".join(sorted(map(str, known)))
        require(item in known, f"claim {claim}: its plan has no {key} = {item!r}; valid: {listed}")


def _check_over(claim: str, relation: Relation, parts: list[Part]) -> None:
    trained = METRICS[relation.metric].evidence == "seed"
    require(relation.form != "spread" or trained, f"claim {claim}: form = 'spread' goes with metrics of training runs")
    require(relation.metric != "time_to_target", f"claim {claim}: time_to_target is not judged along {relation.over}")
    if relation.over in CONDITIONS:
        kept = relation.where.get(relation.over)
        allowed = None if kept is None else set(kept if isinstance(kept, list) else [kept])
        values = [set(getattr(part.measure, relation.over)) for part in parts if part.measure]
        enough = any(len(found if allowed is None else found & allowed) > 1 for found in values)
        require(enough, f"claim {claim}: over = {relation.over!r} needs at least two values of it in the plan")
        return
    options = [option for part in parts for option in part.subject.options]
    if relation.over not in (*ACROSS, *options):
        raise unknown_name(f"thing to go over in claim {claim}", relation.over, (*CONDITIONS, *ACROSS, *options))
    values = [part.subject.options[relation.over] for part in parts if relation.over in part.subject.options]
    wrong = [value for value in values if type(value) not in (int, float) or not 0 < value < math.inf]
    require(not wrong, f"claim {claim}: over = {relation.over!r} needs numbers above 0, not {wrong[:1]}")
    found = measuring(parts, relation)
    require(len(found) > 1, f"claim {claim}: over = {relation.over!r} needs at least two parts that measure it")
    if relation.form == "basin":
        _check_basin(claim, found)


def _check_basin(claim: str, parts: list[Part]) -> None:
    """A curve of loss over rate needs rates that rise, and runs that differ in nothing else."""
    trains = [part.train for part in parts if part.train]
    rates = [train.learning_rate for train in trains]
    rising = all(0 < a < b for a, b in pairwise(rates))
    require(len(rates) > 2 and rising, f"claim {claim}: a basin needs three or more parts with rising learning_rate")
    same = len({(train.steps, train.seeds, train.matching) for train in trains}) == 1 and trains[0].steps > 0
    require(same, f"claim {claim}: the parts of a basin need the same train.steps (above 0) and train.seeds")
