"""The raw values behind a comparison: which belong to it, what is typical, and one dot per process or seed.

This is drawing, not judging: the medians here are for the eye and no verdict hangs on them.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from ._numbers import median
from ._read import Document, number, record, text

Key = tuple[str, str]
_MOST_DOTS = 60


@dataclass(frozen=True, kw_only=True)
class Cell:
    """An arm under conditions, and what it is compared with."""

    arm: str
    baseline: str
    evidence: str
    conditions: Mapping[str, str]

    @staticmethod
    def of(comparison: Document) -> "Cell":
        """The cell that a comparison speaks of."""
        return Cell(
            arm=text(comparison.get("arm")),
            baseline=text(comparison.get("baseline")),
            evidence=text(comparison.get("evidence")),
            conditions=conditions(comparison),
        )


def conditions(holder: Document) -> dict[str, str]:
    """The conditions as texts, without those that are null."""
    return {text(k): text(v) for k, v in record(holder, "conditions").items() if text(v)}


class Values:
    """The measurements of a document, found by part, metric, arm and conditions."""

    def __init__(self, measurements: list[Document]) -> None:
        self._found: dict[tuple[str, str, str], list[Document]] = {}
        self.cells: dict[Key, None] = {}
        self._units: dict[Key, str] = {}
        for each in measurements:
            key = (text(each.get("part")), text(each.get("metric")))
            self.cells[key] = None
            self._units.setdefault(key, text(each.get("unit")))
            self._found.setdefault((*key, text(each.get("arm"))), []).append(each)

    def unit(self, key: Key) -> str:
        """The unit of one metric's raw values, empty where nothing was measured."""
        return self._units.get(key, "")

    def stated(self, key: Key) -> list[Cell]:
        """The cells of a metric that was measured and compared with nothing."""
        cells: dict[tuple[str, tuple[tuple[str, str], ...]], Cell] = {}
        for (part, metric, arm), found in self._found.items():
            for each in found if (part, metric) == key else ():
                held = conditions(each)
                cell = Cell(arm=arm, baseline="", evidence="", conditions=held)
                cells.setdefault((arm, tuple(sorted(held.items()))), cell)
        return list(cells.values())

    def count(self, key: Key, cell: Cell) -> int:
        """How many raw values the cell has."""
        return len(self._all(key, cell))

    def typical(self, key: Key, cell: Cell) -> float | None:
        """The median of the cell's raw values, in the metric's unit."""
        return median(self._all(key, cell))

    def dots(self, key: Key, cell: Cell, kind: str) -> tuple[float, ...]:
        """Per process (or seed) the median of the paired effects; none for items, which are too many to draw."""
        if cell.evidence == "item" or not cell.baseline:
            return ()
        unit = "seed" if cell.evidence == "seed" else "process"
        ours, theirs = (self._by_unit(key, arm, cell.conditions, unit) for arm in (cell.arm, cell.baseline))
        drawn: list[float] = []
        for name in ours:
            effects = [e for p in ours[name].items() if (e := _effect(p, theirs.get(name, {}), kind)) is not None]
            middle = median(effects)
            if middle is not None:
                drawn.append(middle)
        return tuple(drawn) if len(drawn) <= _MOST_DOTS else ()

    def _matching(self, key: Key, arm: str, wanted: Mapping[str, str]) -> list[Document]:
        found: list[Document] = []
        for each in self._found.get((*key, arm), []):
            held = conditions(each)
            if all(held.get(name, value) == value for name, value in wanted.items()):
                found.append(each)
        return found

    def _all(self, key: Key, cell: Cell) -> list[float]:
        found = self._matching(key, cell.arm, cell.conditions)
        return [value for each in found for _, value in _paired(each)]

    def _by_unit(self, key: Key, arm: str, wanted: Mapping[str, str], unit: str) -> dict[str, dict[str, float]]:
        """By process or seed, then by pair: the middle of the pair's raw values (an A B B A block has two of each)."""
        grouped: dict[str, dict[str, list[float]]] = {}
        for each in self._matching(key, arm, wanted):
            pairs = grouped.setdefault(text(each.get(unit)), {})
            for name, value in _paired(each):
                pairs.setdefault(name, []).append(value)
        return {
            name: {pair: middle for pair, found in pairs.items() if (middle := median(found)) is not None}
            for name, pairs in grouped.items()
        }


def _paired(measurement: Document) -> list[tuple[str, float]]:
    values, names = measurement.get("values"), measurement.get("pairs")
    if not isinstance(values, list):
        return []
    if not isinstance(names, list) or len(names) != len(values):
        names = list(range(len(values)))
    found = ((text(name), number(value)) for name, value in zip(names, values, strict=True))
    return [(name, value) for name, value in found if value is not None]


def _effect(ours: tuple[str, float], theirs: Mapping[str, float], kind: str) -> float | None:
    name, value = ours
    other = theirs.get(name)
    if other is None:
        return None
    if kind != "ratio":
        return value - other
    return value / other if value > 0.0 and other > 0.0 and 1e-12 < value / other < 1e12 else None
