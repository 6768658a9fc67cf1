"""Which points nobody beats, when several things count and each is known up to an interval only.

A is *better* than B in an objective where A's worst end is better than B's best end by more than the margin. A is *not
worse* where A's worst end is not worse than B's best end by more than the margin. A dominates B where it is not worse
in every objective and better in at least one. With margins above 0 such relations can run in a ring; a ring says that
its members trade places within the margins, so its relations are dropped.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from gatewise.core import GatewiseError, unknown_name

Direction = Literal["lower", "higher"]


@dataclass(frozen=True, kw_only=True)
class Objective:
    """What counts: which way is better, and how much of a difference does not matter.

    `relative` margins are fractions (values must be above 0), the others stand in the objective's unit.
    """

    name: str
    direction: Direction
    margin: float = 0.0
    relative: bool = True

    def __post_init__(self) -> None:
        if self.direction not in ("lower", "higher"):
            raise GatewiseError(f"direction must be 'lower' or 'higher' (which is better), not {self.direction!r}")
        if not 0 <= self.margin < math.inf:
            raise GatewiseError(f"margin must be a finite number of 0 or more, not {self.margin!r}")

    def gain(self, a: "Value", b: "Value") -> float:
        """By how much A's worst end beats B's best, on the margin's scale; below 0 where it does not."""
        lower = self.direction == "lower"
        worst, best = (a.high, b.low) if lower else (a.low, b.high)
        if self.relative:
            return math.log(best) - math.log(worst) if lower else math.log(worst) - math.log(best)
        return best - worst if lower else worst - best

    @property
    def bound(self) -> float:
        """The margin on the scale of `gain`."""
        return math.log1p(self.margin) if self.relative else self.margin


OBJECTIVES = (
    Objective(name="quality", direction="higher", margin=0.01, relative=False),
    Objective(name="latency", direction="lower", margin=0.02),
    Objective(name="memory", direction="lower", margin=0.02),
    Objective(name="cost", direction="lower", margin=0.02),
    Objective(name="size", direction="lower"),
)


@dataclass(frozen=True, kw_only=True)
class Value:
    """An estimate with its interval; an exact one has none."""

    estimate: float
    interval: tuple[float, float] | None = None

    def __post_init__(self) -> None:
        low, high = self.interval or (self.estimate, self.estimate)
        if not (math.isfinite(low) and math.isfinite(high) and low <= self.estimate <= high):
            raise GatewiseError(f"a value's interval must contain it: {self.estimate!r} in {self.interval!r}")

    @property
    def low(self) -> float:
        """The lower end."""
        return self.interval[0] if self.interval else self.estimate

    @property
    def high(self) -> float:
        """The upper end."""
        return self.interval[1] if self.interval else self.estimate


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate (an arm on a runtime in a precision) and its values by objective."""

    name: str
    values: Mapping[str, Value]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What to take.

    Attributes:
        front: the points that nobody dominates. `dominated`: the others, each with all that dominate it.
        recommended: one point, or None: no clear winner.
        refused: points that do not meet a limit for certain, with the reason.
        reasons: why this one, or why none, one line each.
        contenders: what is left where there is no clear winner.
    """

    front: tuple[str, ...]
    dominated: dict[str, tuple[str, ...]]
    recommended: str | None
    refused: dict[str, str]
    reasons: tuple[str, ...]
    contenders: tuple[str, ...]


def select(
    points: Sequence[Point],
    *,
    objectives: Sequence[Objective] = OBJECTIVES,
    limits: Mapping[str, float] | None = None,
    prefer: Sequence[str] = (),
) -> Choice:
    """The Pareto front, and one recommendation with its reasons, or none.

    Args:
        objectives: those that a point has no value for must be left out here, for all points.
        limits: by objective, what a value must reach (higher is better) or may not exceed (lower is better), with the
            whole of its interval.
        prefer: objectives by importance. Each in turn removes what is worse for certain than another contender. Without
            it, only a point that dominates all other contenders is recommended.

    The order of `points` does not matter.
    """
    wanted = {objective.name: objective for objective in objectives}
    _check(points, wanted)
    for name in [*(limits or {}), *prefer]:
        if name not in wanted:
            raise unknown_name("objective", name, wanted)
    ordered = sorted(points, key=lambda each: each.name)
    beaten = _beaten(ordered, list(wanted.values()))
    refused = {each.name: why for each in ordered if (why := _misses(each, wanted, limits or {}))}
    left = [each for each in ordered if each.name not in refused and not beaten[each.name] - set(refused)]
    reasons = [f"limits: {', '.join(_limit(wanted[name], value) for name, value in (limits or {}).items())}"] * bool(
        limits
    )
    if not left:
        reasons.append("no point meets the limits for certain" if refused else "there is no point")
    others = len(ordered) - len(refused)
    if len(left) == 1 and others > 1:
        reasons.append(f"{left[0].name} dominates the {others - 1} other(s) that meet the limits, directly or in turn")
    elif len(left) == 1:
        reasons.append(f"{left[0].name} is the only one that meets the limits for certain")
    for name in prefer if len(left) > 1 else ():
        kept = [
            each for each in left if not any(_better(wanted[name], rival, each) for rival in left if rival is not each)
        ]
        if len(kept) < len(left):
            gone = ", ".join(each.name for each in left if each not in kept)
            reasons.append(f"{name}: worse for certain, beyond {wanted[name].margin:g}: {gone}")
        left = kept
        if len(left) == 1:
            break
    if len(left) > 1:
        reasons.append(f"no clear winner: nothing separates {', '.join(each.name for each in left)}")
    return Choice(
        front=tuple(each.name for each in ordered if not beaten[each.name]),
        dominated={name: tuple(sorted(by)) for name, by in beaten.items() if by},
        recommended=left[0].name if len(left) == 1 else None,
        refused=refused,
        reasons=tuple(reasons),
        contenders=tuple(each.name for each in left) if len(left) > 1 else (),
    )


def _check(points: Sequence[Point], wanted: Mapping[str, Objective]) -> None:
    names = [each.name for each in points]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise GatewiseError(f"two points have the name {', '.join(map(repr, twice))}")
    if not points or not wanted:
        raise GatewiseError("a selection needs at least one point and one objective")
    for each in points:
        missing = sorted(set(wanted) - set(each.values))
        if missing:
            raise GatewiseError(f"{each.name} has no {', '.join(missing)}; measure it, or leave the objective out")
        for name, objective in wanted.items():
            if objective.relative and each.values[name].low <= 0:
                raise GatewiseError(f"{name} of {each.name} must be above 0 for a relative margin")


def _better(objective: Objective, a: Point, b: Point) -> bool:
    return objective.gain(a.values[objective.name], b.values[objective.name]) > objective.bound


def dominates(a: Point, b: Point, objectives: Sequence[Objective] = OBJECTIVES) -> bool:
    """Whether A is not worse anywhere and better somewhere, margins and intervals counted."""
    gains = [(each.gain(a.values[each.name], b.values[each.name]), each.bound) for each in objectives]
    return all(gain >= -bound for gain, bound in gains) and any(gain > bound for gain, bound in gains)


def _beaten(points: Sequence[Point], objectives: Sequence[Objective]) -> dict[str, set[str]]:
    """By name, who dominates it; relations inside a ring are dropped."""
    by = {b.name: {a.name for a in points if a is not b and dominates(a, b, objectives)} for b in points}
    above = {name: _reach(by, name) for name in by}
    return {name: {other for other in found if name not in above[other]} for name, found in by.items()}


def _reach(by: Mapping[str, set[str]], start: str) -> set[str]:
    reached, stack = set[str](), list(by[start])
    while stack:
        name = stack.pop()
        if name not in reached:
            reached.add(name)
            stack += by[name]
    return reached


def _limit(objective: Objective, value: float) -> str:
    return f"{objective.name} {'at most' if objective.direction == 'lower' else 'at least'} {value:g}"


def _misses(each: Point, wanted: Mapping[str, Objective], limits: Mapping[str, float]) -> str | None:
    """Why a point does not meet the limits for certain; None where it does."""
    for name, limit in limits.items():
        value, lower = each.values[name], wanted[name].direction == "lower"
        if (lower and value.high <= limit) or (not lower and value.low >= limit):
            continue
        never = value.low > limit if lower else value.high < limit
        asked = _limit(wanted[name], limit)
        return f"{asked}: {'not met' if never else 'the interval does not settle it'} ({value.estimate:g})"
    return None
