"""The dilution's figure, one for each dtype: small panels by tokens, the levels from top to bottom in each.

Above, the activation's share of the call's time; below, each arm's time against the baseline's on one axis of factors,
so that the eye sees the arms close in on the line of no change as the levels grow.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import _dilution_words as words
from . import _numbers as num
from . import _scale, _svg
from ._dilution_cells import Cell, Entry, Row
from ._dilution_view import Dilution
from ._scale import Scale

_SHAPES = 3
_HEAD, _SHARE, _TITLE, _FOOT = 30.0, 22.0, 34.0, 40.0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand: how many panels stand side by side, and the room for the levels' names."""

    width: float
    left: float
    across: int
    gap: float = 26.0
    row: float = 36.0

    def span(self, column: int) -> tuple[float, float]:
        """The horizontal span of one panel."""
        wide = (self.width - self.left - 14.0 - self.gap * (self.across - 1)) / self.across
        start = self.left + column * (wide + self.gap)
        return start, start + wide


WIDE = Layout(width=960.0, left=98.0, across=4)
NARROW = Layout(width=340.0, left=98.0, across=1)


def figure(view: Dilution, dtype: str, ident: str, layout: Layout = WIDE) -> Markup:
    """The panels of one dtype; empty where nothing has a number."""
    cells = view.of(dtype)
    numbers = [entry for cell in view.cells for row in cell.rows for entry in (row.share, *row.ratios)]
    if not any(entry.estimate is not None for entry in numbers):
        return Markup("")
    levels = max(len(cell.rows) for cell in cells)
    many = min(layout.across, len(cells))
    used = Layout(width=layout.width, left=layout.left, across=max(many, 1), gap=layout.gap, row=layout.row)
    each = _HEAD + 2 * _TITLE + levels * (_SHARE + layout.row) + _FOOT
    body: list[Markup] = []
    for index, cell in enumerate(cells):
        line, column = divmod(index, used.across)
        body += _panel(view, cell, used, column, line * each)
    height = each * -(-len(cells) // used.across)
    title = f"What is left of an activation's gain, {dtype}"
    said = f"{len(cells)} panels by tokens, {levels} levels from top to bottom, {len(view.arms)} arms."
    return _svg.figure((layout.width, height), ident, title, f"{said} All numbers stand in the table.", body)


def _panel(view: Dilution, cell: Cell, layout: Layout, column: int, top: float) -> list[Markup]:
    left, right = layout.span(column)
    named = column == 0
    parts = [_svg.label(left, top + 16, words.tokens(cell.tokens), "group")]
    y = top + _HEAD
    head = f"{view.baseline}'s share of the time"
    parts.append(_svg.label(left, y + 12, _svg.shortened(head, right - left, 12.0), "tick"))
    y += _TITLE - 12.0
    for row in cell.rows:
        parts += _share(row, (left, right), y, layout.left if named else 0.0)
        y += _SHARE
    y += 12.0
    scale = _axis(view, (left, right))
    bottom = y + _TITLE + layout.row * len(cell.rows)
    parts += _frame(scale, y, bottom)
    y += _TITLE
    ways: list[list[list[tuple[float, float]]]] = [[[]] for _ in view.arms]
    marks: list[Markup] = []
    for index, row in enumerate(cell.rows):
        middle = y + layout.row * (index + 0.5)
        if named:
            parts.append(_svg.label(layout.left - 12, middle + 4, row.label, "level", "end"))
        marks.append(_row(view, row, scale, middle, ways))
        if index:
            parts.append(_svg.line(left, y + layout.row * index, right, y + layout.row * index, "grid"))
    for index, pieces in enumerate(ways):
        parts += [_svg.path(piece, f"way {_style(index)}") for piece in pieces if len(piece) > 1]
    return [*parts, *marks]


def _share(row: Row, span: tuple[float, float], y: float, left: float) -> list[Markup]:
    """The activation's share as a bar of the panel's whole width, with its number."""
    start, end = span
    room = end - start - 62.0
    entry = row.share
    parts = [_svg.label(left - 12, y + 13, row.label, "level", "end")] if left else []
    parts.append(_svg.tag("rect", x=start, y=y + 4, width=room, height=10.0, rx=2, class_="whole"))
    if entry.estimate is not None and entry.estimate > 0.0:
        wide = room * min(entry.estimate, 1.0)
        kind = "taken" if entry.decided else "taken open"
        parts.append(_svg.tag("rect", x=start, y=y + 4, width=wide, height=10.0, rx=2, class_=kind))
    shown = entry.shown if entry.decided or entry.estimate is None else f"{entry.shown} ?"
    parts.append(_svg.label(end, y + 13, shown if entry.measured else "–", "tick", "end"))
    said = f"{row.label}: share {entry.spoken}"
    return [_svg.tag("g", _svg.tag("title", _svg.escape(said)), *parts)]


def _axis(view: Dilution, page: tuple[float, float]) -> Scale:
    """One axis for all panels of the page; an interval far wider than the estimates ends in an arrow head."""
    entries = [entry for cell in view.cells for row in cell.rows for entry in row.ratios]
    core = [1.0, *(entry.estimate for entry in entries if entry.estimate is not None)]
    low, high = min(core), max(core)
    reach = max((high / low) ** 1.15, 1.02)
    ends = [end for entry in entries if entry.estimate is not None for end in entry.interval or () if end > 1e-12]
    low, high = max(min([low, *ends]), low / reach), min(max([high, *ends]), high * reach)
    pad = (high / low) ** 0.08
    return _scale.ratio(low / pad, high * pad, page, 4)


def _frame(scale: Scale, top: float, bottom: float) -> list[Markup]:
    """The axis of factors, and the two words above the line of no change where there is room for them."""
    parts: list[Markup] = []
    taken: list[float] = []
    for tick in sorted(scale.ticks, key=lambda tick: abs(tick - 1.0)):
        shown = _tick(tick)
        half = _svg.text_width(shown, 12.0) / 2
        x = scale(tick)
        parts.append(_svg.line(x, top + _TITLE - 6, x, bottom, "grid"))
        if all(abs(x - other) > 2.0 * half + 12.0 for other in taken):
            taken.append(x)
            parts.append(_svg.label(x, bottom + 18, shown, "tick", "middle"))
    zero = scale(1.0)
    parts.append(_svg.line(zero, top + _TITLE - 10, zero, bottom, "zero"))
    for word, room, place, anchor in (
        ("← faster", zero - scale.start, zero - 8, "end"),
        ("slower →", scale.end - zero, zero + 8, "start"),
    ):
        if room > _svg.text_width(word, 12.0) + 8:
            parts.append(_svg.label(place, top + _TITLE - 14, word, "side", anchor))
    return parts


def _tick(value: float) -> str:
    """A round factor; a half, a quarter and so on as fractions."""
    parts = 1.0 / value
    return f"1/{parts:.0f}×" if value <= 0.5 and abs(parts - round(parts)) < 1e-9 else f"{num.plain(round(value, 6))}×"


def _row(view: Dilution, row: Row, scale: Scale, middle: float, ways: list[list[list[tuple[float, float]]]]) -> Markup:
    """The arms of one level, one below the other; `ways` gathers each arm's line, broken where there is no number."""
    parts: list[Markup] = []
    step = min(11.0, 24.0 / max(len(view.arms), 1))
    for index, (arm, entry) in enumerate(zip(view.arms, row.ratios, strict=True)):
        y = middle + step * (index - (len(view.arms) - 1) / 2)
        if entry.estimate is None:
            ways[index].append([])
            continue
        ways[index][-1].append((scale(entry.estimate), y))
        drawn = [
            _svg.tag("title", _svg.escape(f"{arm}, {row.label}: {entry.spoken}")),
            *_interval(entry, scale, y),
            _point(entry, scale, y, index),
        ]
        parts.append(_svg.tag("g", *drawn, class_=f"arm-row {_style(index)}"))
    if not parts:
        kinds: Sequence[str] = [entry.says for entry in row.ratios]
        word = "refused" if "refused" in kinds else "not measured"
        parts.append(_svg.label((scale.start + scale.end) / 2, middle + 4, word, "absent", "middle"))
    return Markup("").join(parts)


def _interval(entry: Entry, scale: Scale, y: float) -> list[Markup]:
    if entry.interval is None:
        return []
    low, high = entry.interval
    parts = [_svg.line(scale(low), y, scale(high), y, "reach" if entry.decided else "reach open")]
    for end, turn in ((low, 1.0), (high, -1.0)):
        x = scale(end)
        if not scale.holds(end):
            parts.append(_svg.path([(x + 5 * turn, y - 4), (x, y), (x + 5 * turn, y + 4)], "reach"))
    return parts


def _point(entry: Entry, scale: Scale, y: float, index: int) -> Markup:
    """The arm's own shape: filled where it is decided, hollow where it is not."""
    assert entry.estimate is not None
    return shape(index, scale(entry.estimate), y, decided=entry.decided)


def shape(index: int, x: float, y: float, *, decided: bool = True) -> Markup:
    """A disc, a square or a diamond: arms are told apart without their colours."""
    kind = "point" if decided else "point open"
    r = 4.6
    if index % _SHAPES == 0:
        return _svg.tag("circle", cx=x, cy=y, r=r, class_=kind)
    if index % _SHAPES == 1:
        return _svg.tag("rect", x=x - r * 0.9, y=y - r * 0.9, width=r * 1.8, height=r * 1.8, class_=kind)
    o = r * 1.25
    return _svg.tag("path", d=f"M{x:.2f} {y - o:.2f}l{o:.2f} {o:.2f}l{-o:.2f} {o:.2f}l{-o:.2f} {-o:.2f}z", class_=kind)


def legend(index: int) -> Markup:
    """An arm's line and shape beside its name."""
    drawn = _svg.path([(1.0, 7.0), (29.0, 7.0)], "way"), shape(index, 15.0, 7.0)
    return _svg.tag("svg", *drawn, viewBox="0 0 30 14", class_=f"key {_style(index)}", aria_hidden="true")


def _style(index: int) -> str:
    return f"s-{index % 8}"
