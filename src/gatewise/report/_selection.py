"""Which arm to take when several things count: the points, who is dominated, and the one to take, if there is one."""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewise.core import METRICS

from . import _numbers as num
from ._read import Document, number, pair, record, records, strings, text

_TIMES = ("latency", "decode_time", "time_to_first_token", "step_time")
_GOODS = ("quality", "output_difference", "perplexity", "heldout_loss")
_RELATIVE = "against the baseline"
_CARRIED = ("s", "B", "FLOP", "1/s", "steps", "1", "")


@dataclass(frozen=True, kw_only=True)
class Objective:
    """One thing that counts."""

    name: str
    label: str
    unit: str
    lower_is_better: bool
    ratio: bool
    """Whether values are ratios to the baseline's."""

    @property
    def head(self) -> str:
        """For a table or an axis, with the unit that its numbers do not carry."""
        if self.ratio:
            return f"{self.label}, baseline 1×"
        unit = "" if self.unit in _CARRIED else f" ({self.unit.replace(' - ', f' {num.MINUS} ')})"
        return f"{self.label}{unit}"

    def show(self, value: float | None) -> str:
        """A value of this objective."""
        if self.ratio:
            return num.MISSING if value is None else f"{num.significant(value)}×"
        return num.quantity(value, self.unit) if self.unit in _CARRIED else num.significant(value)


@dataclass(frozen=True, kw_only=True)
class Value:
    """An estimate; an exact one has no interval."""

    estimate: float
    interval: tuple[float, float] | None


@dataclass(frozen=True, kw_only=True)
class Point:
    """One candidate."""

    label: str
    values: Mapping[str, Value]
    dominated_by: tuple[str, ...]
    front: bool
    recommended: bool
    refused: str
    """Which limit it does not meet for certain, if any."""

    @property
    def says(self) -> str:
        """Where it stands."""
        beaten = f"dominated by {', '.join(self.dominated_by)}" if self.dominated_by else ""
        stands = beaten or ("on the front" if self.front else "")
        return "; ".join(each for each in (self.refused, stands) if each) or num.MISSING

    @property
    def kind(self) -> str:
        """How it is drawn: the best, on the front, out of the limits, or beaten."""
        if self.recommended:
            return "best"
        return "out" if self.refused else "front" if self.front else "beaten"


@dataclass(frozen=True, kw_only=True)
class Selection:
    """The choice of one part under one condition."""

    part: str
    where: str
    objectives: tuple[Objective, ...]
    points: tuple[Point, ...]
    recommendation: str
    reasons: tuple[str, ...]

    @property
    def title(self) -> str:
        """The part and the condition, whichever are there."""
        return ", ".join(each for each in (self.part, self.where) if each)

    @property
    def sentence(self) -> str:
        """What to take, or that nothing stands out."""
        return f"Take {self.recommendation}." if self.recommendation else "No clear winner."

    @property
    def axes(self) -> tuple[Objective, Objective] | None:
        """Time from left to right, quality or output difference upwards; None where there are not two to draw."""
        have = [each for each in self.objectives if sum(each.name in p.values for p in self.points) > 1]
        x = _first(have, _TIMES, "s") or (have[0] if have else None)
        rest = [each for each in have if each is not x]
        y = _first(rest, _GOODS, None) or (rest[0] if rest else None)
        return (x, y) if x and y else None

    def shown(self, point: Point, objective: Objective) -> str:
        """A value with its interval, or a dash."""
        value = point.values.get(objective.name)
        if value is None:
            return num.MISSING
        ends = (
            f" ({objective.show(value.interval[0])} to {objective.show(value.interval[1])})" if value.interval else ""
        )
        return f"{objective.show(value.estimate)}{ends}"


def selections(document: Document) -> tuple[Selection, ...]:
    """The choices of a document, one a condition of a part; nothing in older ones."""
    held = document.get("selection")
    found = records(document, "selection") if isinstance(held, list) else [record(document, "selection")]
    return tuple(made for each in found if (made := _selection(each)).points)


def _first(found: list[Objective], names: tuple[str, ...], unit: str | None) -> Objective | None:
    named = [each for name in names for each in found if each.name == name]
    return next(iter(named), None) or next((each for each in found if each.unit == unit), None)


def _selection(held: Document) -> Selection:
    recommended, conditions = text(held.get("recommendation")), record(held, "conditions")
    where = [f"{name} {text(conditions[name])}" for name in ("batch", "tokens") if text(conditions.get(name))]
    return Selection(
        part=text(held.get("part")),
        where=", ".join(where),
        objectives=tuple(_objective(each) for each in records(held, "objectives")),
        points=tuple(_point(each, recommended) for each in records(held, "points")),
        recommendation=recommended,
        reasons=tuple(strings(held, "reasons")),
    )


def _objective(held: Document) -> Objective:
    name = text(held.get("name"))
    known, unit = METRICS.get(name), text(held.get("unit"))
    relative = unit == _RELATIVE
    return Objective(
        name=name,
        label=known.label if known else name.replace("_", " "),
        unit=(known.unit if known else "") if relative or not unit else unit,
        ratio=relative and (known is None or known.kind == "ratio"),
        lower_is_better=text(held.get("direction")) != "higher",
    )


def _point(held: Document, recommended: str) -> Point:
    values: dict[str, Value] = {}
    for name, value in record(held, "values").items():
        each: Document = value if isinstance(value, Mapping) else {}
        estimate = number(each.get("estimate"))
        if estimate is not None:
            values[text(name)] = Value(estimate=estimate, interval=pair(each.get("interval")))
    label, by = text(held.get("label")), tuple(strings(held, "dominated_by"))
    front = held.get("front") is True and not by
    return Point(
        label=label,
        values=values,
        dominated_by=by,
        front=front,
        recommended=bool(label) and label == recommended,
        refused=text(held.get("refused")),
    )
