"""A part that trained, arm beside arm: each line a question in plain words, matched arms first, unmatched ones branded.

Every number here stands in a panel, or in the record's own figures at equal time; nothing is judged again.
"""

from dataclasses import dataclass

from gatewise.core import METRICS

from . import _numbers as num
from . import _search
from ._learning_words import AT_EQUAL_TIME, GROUPS, PLANNED, SPEED_UP, Asked
from ._panels import Panel, Row
from ._read import Document, number, pair, record, records, text
from ._spread import Cell, Values

_SURVIVORS = ("steps_to_target", "time_to_target")
"""Metrics that only those runs have a value of which came so far."""


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One column. `unfair` is empty, or why the arm is no fair match."""

    label: str
    baseline: bool
    parameters: str
    rate: str
    unfair: str


@dataclass(frozen=True, kw_only=True)
class Entry:
    """One arm's answer to one question: its own value, and what differs from the baseline."""

    value: str
    change: str = ""
    between: str = ""
    verdict: str = ""
    said: str = ""
    """In words, where there is no verdict: refused, not judged."""

    @property
    def known(self) -> bool:
        """Whether there is anything to show, be it that it was refused."""
        return self.value != num.MISSING or bool(self.change or self.said)


@dataclass(frozen=True, kw_only=True)
class Line:
    """One question. `entries` stand as the arms do."""

    label: str
    means: str
    unit: str
    better: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Learning:
    """One part that trained."""

    part: str
    baseline: str
    facts: tuple[str, ...]
    arms: tuple[Arm, ...]
    groups: tuple[tuple[str, tuple[Line, ...]], ...]
    search: _search.Search | None
    remarks: tuple[str, ...]

    @property
    def unmatched(self) -> tuple[Arm, ...]:
        """The arms that are no fair match."""
        return tuple(arm for arm in self.arms if arm.unfair)


def learnings(document: Document, panels: tuple[Panel, ...]) -> tuple[Learning, ...]:
    """What every part that trained has to say, in the plan's order."""
    values = Values(records(document, "measurements"))
    searched = {each.part: each for each in _search.searches(document)}
    made: list[Learning] = []
    for part in records(record(document, "study"), "parts"):
        name, training = text(part.get("name")), record(part, "training")
        arms = _arms(document, name, training, searched.get(name))
        if not training or len(arms) < 2:
            continue
        source = _Source(
            part=name,
            arms=arms,
            panels={panel.metric: panel for panel in panels if panel.part == name},
            values=values,
            equal_time={text(each.get("arm")): each for each in records(training, "equal_time")},
            planned=bool(record(training, "equal_schedule")),
        )
        groups = tuple((title, source.lines(asked)) for title, asked in GROUPS)
        shown = tuple(group for group in groups if group[1])
        if shown or name in searched:
            made.append(
                Learning(
                    part=name,
                    baseline=next((arm.label for arm in arms if arm.baseline), ""),
                    facts=_facts(document, name, training),
                    arms=arms,
                    groups=shown,
                    search=searched.get(name),
                    remarks=source.remarks(training),
                )
            )
    return tuple(made)


def _arms(document: Document, part: str, training: Document, search: _search.Search | None) -> tuple[Arm, ...]:
    """The baseline, then what is matched with it, then what is not."""
    asked = number(record(training, "settings").get("learning_rate"))
    own = {each.arm: each.chosen for each in search.found} if search else {}
    found: list[Arm] = []
    for each in records(document, "arms"):
        if text(each.get("part")) != part or text(each.get("role")) == "twin":
            continue
        label = text(each.get("label"))
        rate = own.get(label) or asked
        found.append(
            Arm(
                label=label,
                baseline=text(each.get("role")) == "baseline",
                parameters=num.count(number(each.get("parameters"))),
                rate=num.MISSING if rate is None else _search.rate(rate),
                unfair=text(each.get("unfair")),
            )
        )
    return tuple(sorted(found, key=lambda arm: (not arm.baseline, bool(arm.unfair))))


def _facts(document: Document, part: str, training: Document) -> tuple[str, ...]:
    """What all arms share, in short pieces."""
    curves = [
        each
        for each in records(document, "measurements")
        if text(each.get("part")) == part and text(each.get("metric")) == "heldout_curve"
    ]
    steps = [found for each in curves if (found := number(record(each, "conditions").get("steps")))]
    seeds = {text(each.get("seed")) for each in curves}
    return tuple(
        each
        for each in (
            _steps(steps),
            f"{len(seeds)} seeds, which all arms share" if seeds else "",
            "the same data in the same order",
            text(training.get("precision")),
        )
        if each
    )


def _steps(found: list[float]) -> str:
    """How many steps the arms took: one number, or from the fewest to the most where time was shared out."""
    if not found:
        return ""
    low, high = num.count(min(found)), num.count(max(found))
    return f"{high} steps an arm" if low == high else f"{low} to {high} steps an arm"


@dataclass(frozen=True, kw_only=True)
class _Source:
    part: str
    arms: tuple[Arm, ...]
    panels: dict[str, Panel]
    values: Values
    equal_time: dict[str, Document]
    planned: bool
    """Whether every schedule was planned to end after the same time."""

    def lines(self, asked: tuple[Asked, ...]) -> tuple[Line, ...]:
        made = (self._line(PLANNED if self.planned and each.name == PLANNED.name else each) for each in asked)
        return tuple(line for line in made if any(each.known for each in line.entries[1:]))

    def _line(self, asked: Asked) -> Line:
        panel = self.panels.get({AT_EQUAL_TIME: "heldout_loss", SPEED_UP: "time_to_target"}.get(asked.name, asked.name))
        entries: tuple[Entry, ...] = ()
        if asked.name == AT_EQUAL_TIME:
            entries = tuple(self._at_equal_time(arm) for arm in self.arms) if self.equal_time else ()
        elif panel is not None and asked.name == SPEED_UP:
            entries = tuple(_speed_up(arm, self._row(panel.metric, arm)) for arm in self.arms)
        elif panel is not None:
            entries = tuple(self._entry(panel, arm) for arm in self.arms)
        lower = asked.name != SPEED_UP and (panel is None or panel.lower_is_better)
        return Line(
            label=asked.label,
            means=asked.means,
            unit=panel.unit if panel and asked.name != SPEED_UP else "",
            better="lower" if lower else "higher",
            entries=entries,
        )

    def _row(self, metric: str, arm: Arm) -> Row | None:
        panel = self.panels.get(metric)
        rows = panel.rows if panel else ()
        return next((row for row in rows if row.arm == arm.label and not row.twin), None)

    def _entry(self, panel: Panel, arm: Arm) -> Entry:
        row = self._row(panel.metric, arm)
        cell = Cell(arm=arm.label, baseline="", evidence="", conditions={})
        value = self.values.typical((self.part, panel.metric), cell)
        known = METRICS.get(panel.metric)
        unit = known.unit if known else ""
        shown = num.significant(value) if panel.unit and unit != "share" else num.quantity(value, unit)
        shown = num.share(value) if unit == "share" else shown
        if row is None:
            return Entry(value=shown)
        if row.refused and panel.metric in _SURVIVORS:
            shown = num.MISSING  # the median of the seeds that got there would flatter it
        estimate = _points(row.estimate) if unit == "share" else _known(panel.show(row.estimate))
        if row.interval is None:
            return Entry(value=shown, change=estimate, said=row.says)
        ends = panel.interval(row)
        if unit == "share":
            ends = " to ".join(num.signed(end * 100.0, 2) for end in row.interval) + " points"
        return Entry(value=shown, change=estimate, between=ends, verdict=row.verdict)

    def _at_equal_time(self, arm: Arm) -> Entry:
        if arm.baseline:
            return Entry(value=num.MISSING)
        held = self.equal_time.get(arm.label, {})
        loss, between = number(held.get("loss")), pair(held.get("interval"))
        if loss is None:
            return Entry(value=num.MISSING, said="refused")
        steps = number(held.get("steps"))
        after = f"after {num.count(round(steps))} steps, not judged" if steps is not None else "not judged"
        ends = "" if between is None else f"{num.difference(between[0])} to {num.difference(between[1])}"
        change = num.difference(number(held.get("difference")))
        return Entry(value=num.significant(loss), change=change, between=ends, said=after)

    def remarks(self, training: Document) -> tuple[str, ...]:
        """What must be known to read the lines."""
        found = [f"{arm.label} is no fair match: {arm.unfair}." for arm in self.arms if arm.unfair]
        target = text(training.get("target"))
        if target and {"steps_to_target", "time_to_target"} & self.panels.keys():
            found.append(f"Target: {target}.")
        schedules = record(training, "equal_schedule")
        found += [f"{text(note)}." for each in schedules if (note := record(schedules, text(each)).get("note"))]
        if self.equal_time:
            found.append(
                "At equal time the slower arm is cut short, at a learning rate that has not fallen yet, which speaks "
                "against it; so this line is stated and not judged. Arms matched by time need no cut."
            )
            reasons = {
                text(each.get("reason")): arm for arm, each in self.equal_time.items() if text(each.get("reason"))
            }
            found += [f"No loss at equal time: {reason}." for reason in reasons]
        return (*found, *self._refused())

    def _refused(self) -> list[str]:
        """Why lines were refused, each reason once with the lines that it is about."""
        labels = {asked.name: asked.label for _, group in GROUPS for asked in group}
        about: dict[tuple[str, str], list[str]] = {}
        for name, panel in self.panels.items():
            for each in panel.remarks if name in labels else ():
                if each.kind == "refused":
                    about.setdefault((each.text, each.who), []).append(labels[name])
        return [f"Refused, {', '.join(lines)} ({who}): {reason}." for (reason, who), lines in about.items()]


def _known(shown: str) -> str:
    return "" if shown == num.MISSING else shown


def _points(value: float | None) -> str:
    """A difference of shares in percentage points."""
    return "" if value is None else f"{num.signed(value * 100.0, 2)} points"


def _speed_up(arm: Arm, row: Row | None) -> Entry:
    """The inverse of the ratio of times to the target, with the inverse of its interval."""
    if arm.baseline:
        return Entry(value="×1")
    if row is None or row.interval is None or row.estimate is None or row.interval[0] <= 0:
        return Entry(value=num.MISSING, said=row.says if row else "")
    low, high = row.interval
    ends = f"×{num.significant(1 / high)} to ×{num.significant(1 / low)}"
    return Entry(value=f"×{num.significant(1 / row.estimate)}", between=ends, verdict=row.verdict)
