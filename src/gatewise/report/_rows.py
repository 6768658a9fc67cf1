"""Reads the comparisons and measurements of a document into panels; numbers that a table shows are written out here."""

from collections.abc import Mapping
from dataclasses import dataclass

from gatewise.core import METRICS

from . import _numbers as num
from . import _remarks
from ._panels import Panel, Row
from ._read import Document, number, pair, record, records, strings, text, verdict
from ._spread import Cell, Key, Values

_NOT_PANELS = ("heldout_curve", "train_failure")
# Units that a number carries itself, with a prefix or a word; any other unit stands in the column's head.
_CARRIED = ("s", "B", "FLOP", "1/s", "steps", "1", "")


def ordered_parts(document: Document) -> tuple[str, ...]:
    """The parts' names: as planned, then whatever else the records name."""
    named = [text(each.get("name")) for each in records(record(document, "study"), "parts")]
    for key in ("arms", "comparisons", "measurements"):
        named += [text(each.get("part")) for each in records(document, key)]
    return tuple(dict.fromkeys(named))


def panels(document: Document) -> tuple[Panel, ...]:
    """The panels in the plan's order of parts and the core table's order of metrics, unknown metrics last."""
    values = Values(records(document, "measurements"))
    found: dict[Key, list[Document]] = {}
    for each in records(document, "comparisons"):
        found.setdefault((text(each.get("part")), text(each.get("metric"))), []).append(each)
    for part, metric in values.cells:
        if metric not in _NOT_PANELS:
            found.setdefault((part, metric), [])
    arms = {(text(a.get("part")), text(a.get("label"))): a for a in records(document, "arms")}
    parts, known = ordered_parts(document), list(METRICS)

    def place(key: Key) -> tuple[int, int]:
        return parts.index(key[0]), known.index(key[1]) if key[1] in known else len(known)

    made = (_panel(key, found[key], values, arms) for key in sorted(found, key=place))
    return tuple(panel for panel in made if panel.rows)


@dataclass(frozen=True, kw_only=True)
class _Source:
    """What the rows of one panel are read from. Without comparisons the measured cells are stated as they are."""

    key: Key
    kind: str
    unit: str
    places: int
    comparisons: list[Document]
    cells: list[Cell]
    values: Values
    arms: Mapping[Key, Document]


def _panel(key: Key, comparisons: list[Document], values: Values, arms: Mapping[Key, Document]) -> Panel:
    part, name = key
    known = METRICS.get(name)
    first: Document = comparisons[0] if comparisons else {}
    kind = text(first.get("kind")) or (known.kind if known else "difference")
    direction = text(first.get("direction")) or (known.direction if known else "lower")
    margins = [margin for each in comparisons if (margin := number(each.get("margin")))]
    source = _Source(
        key=key,
        kind=kind,
        unit=values.unit(key) or (known.unit if known else ""),
        places=num.decimals(min(margins, default=None), kind),
        comparisons=comparisons,
        cells=[Cell.of(each) for each in comparisons] or values.stated(key),
        values=values,
        arms=arms,
    )
    shared, rows = _rows(source)
    return Panel(
        part=part,
        metric=name,
        label=known.label if known else name.replace("_", " "),
        kind=kind,
        lower_is_better=direction != "higher",
        time=source.unit == "s",
        baseline=next((cell.baseline for cell in source.cells if cell.baseline), ""),
        shared=shared,
        margin=_same([row.margin for row in rows]),
        level=_level(comparisons),
        state=_remarks.state(rows),
        places=source.places,
        rows=tuple(rows),
        remarks=_remarks.remarks(rows),
        evidence=text(first.get("evidence")) or "value",
        unit="" if source.unit in _CARRIED else source.unit.replace(" - ", f" {num.MINUS} "),
    )


def _rows(source: _Source) -> tuple[str, list[Row]]:
    """The conditions that all rows share, and the rows: by conditions, twin first, then as the arms stand."""
    varying, shared = _split([cell.conditions for cell in source.cells])
    rows: list[Row] = []
    for index, cell in enumerate(source.cells):
        group = _conditions(cell.conditions, varying)
        compared = source.comparisons[index] if source.comparisons else None
        rows.append(_stated(source, cell, group) if compared is None else _compared(source, cell, group, compared))
    ranked = [arm for part, arm in source.arms if part == source.key[0]]
    groups = list(dict.fromkeys(row.group for row in rows))

    def place(row: Row) -> tuple[int, bool, int]:
        return groups.index(row.group), not row.twin, ranked.index(row.arm) if row.arm in ranked else len(ranked)

    return shared, sorted(rows, key=place)


def _compared(source: _Source, cell: Cell, group: str, comparison: Document) -> Row:
    kind = source.kind
    estimate = number(comparison.get("estimate"))
    interval = pair(comparison.get("interval"))
    arm = source.arms.get((source.key[0], cell.arm), {})
    return Row(
        arm=cell.arm,
        group=group,
        twin=comparison.get("twin") is True,
        flags=_flags(arm),
        state=text(arm.get("weights_state")),
        estimate=_on_scale(estimate, kind),
        interval=None if interval is None or _on_scale(interval[1], kind) is None else interval,
        limits=pair(comparison.get("limits")),
        margin=_margin(number(comparison.get("margin")), kind),
        smallest=_smallest(comparison, kind, source.places),
        verdict=verdict(comparison.get("verdict")),
        n=num.count(number(comparison.get("n"))),
        typical=_typical(source, cell),
        reason=text(comparison.get("reason")),
        notes=tuple(strings(comparison, "notes")),
        dots=source.values.dots(source.key, cell, kind),
    )


def _stated(source: _Source, cell: Cell, group: str) -> Row:
    arm = source.arms.get((source.key[0], cell.arm), {})
    return Row(
        arm=cell.arm,
        group=group,
        twin=text(arm.get("role")) == "twin",
        flags=_flags(arm),
        state=text(arm.get("weights_state")),
        estimate=None,
        interval=None,
        limits=None,
        margin=num.MISSING,
        smallest=num.MISSING,
        verdict="",
        n=num.count(source.values.count(source.key, cell)),
        typical=_typical(source, cell),
        reason="",
        notes=(),
        dots=(),
    )


def _typical(source: _Source, cell: Cell) -> str:
    value = source.values.typical(source.key, cell)
    return num.quantity(value, source.unit) if source.unit in _CARRIED else num.significant(value)


def _on_scale(value: float | None, kind: str) -> float | None:
    """A ratio has no meaning at or below zero, and no axis beyond a factor of 1e12; it is shown as missing."""
    return None if value is not None and kind == "ratio" and not 1e-12 < value < 1e12 else value


def _same(texts: list[str]) -> str:
    """The text that all rows share, empty where they differ."""
    return texts[0] if texts and len(set(texts)) == 1 else ""


def _split(conditions: list[Mapping[str, str]]) -> tuple[list[str], str]:
    """The names of the conditions that vary between rows, and the others as one text."""
    names = list(dict.fromkeys(name for each in conditions for name in each))
    # A refused comparison may lack a condition (how many items); that alone sets no row apart.
    varying = [name for name in names if len({each[name] for each in conditions if name in each}) > 1]
    fixed: Mapping[str, str] = {name: next(e[name] for e in conditions if name in e) for name in names}
    return varying, _conditions(fixed, [name for name in names if name not in varying])


def _conditions(values: Mapping[str, str], names: list[str]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {values[name]}" for name in names if values.get(name))


def _margin(margin: float | None, kind: str) -> str:
    if margin is None:
        return num.MISSING
    if margin == 0.0:
        return "0 (direction only)"
    return f"±{num.share(margin, 3) if kind == 'ratio' else num.plain(margin)}"


def _level(comparisons: list[Document]) -> str:
    """The confidence of the intervals that are there; the twin's own level is not one of the arms'."""
    judged = [each for each in comparisons if pair(each.get("interval")) is not None]
    arms = [each for each in judged if each.get("twin") is not True] or judged
    alphas = [number(each.get("alpha")) for each in arms]
    return _remarks.level(alphas, [num.share(None if alpha is None else 1.0 - alpha, 3) for alpha in alphas])


def _flags(arm: Document) -> tuple[str, ...]:
    """What must stand on the row itself: an unfair match, a slowdown that was planted."""
    flags = ["unfair: " + text(arm.get("unfair"))] if text(arm.get("unfair")) else []
    slow = number(arm.get("planted_slowdown"))
    return (*flags, f"slowed {num.share(slow)} on purpose") if slow else tuple(flags)


def _smallest(comparison: Document, kind: str, places: int) -> str:
    """The smallest effect that this evidence could have shown."""
    smallest = number(comparison.get("smallest_detectable"))
    if smallest is None:
        return num.MISSING
    return num.effect(1.0 + smallest if kind == "ratio" else smallest, kind, places).removeprefix("+")
