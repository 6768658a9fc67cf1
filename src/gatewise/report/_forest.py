"""Interval plots: one row an arm, the margin shaded, the no-effect line, the twin set apart, verdicts as shapes."""

from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._panels import Panel, Row
from ._scale import Scale


@dataclass(frozen=True, kw_only=True)
class Layout:
    """Where things stand, in user units. `stacked` puts an arm's name above its interval (narrow screens)."""

    width: float
    left: float
    right: float
    row: float
    font: float
    stacked: bool

    @property
    def page(self) -> tuple[float, float]:
        """The horizontal span of the plot itself."""
        return self.left, self.width - self.right


WIDE = Layout(width=960.0, left=176.0, right=228.0, row=34.0, font=14.0, stacked=False)
NARROW = Layout(width=340.0, left=8.0, right=8.0, row=58.0, font=13.0, stacked=True)
_HEAD, _GROUP, _FOOT = 34.0, 32.0, 38.0
SIDE_SIZE = 13.0
"""The size of the two words above the zero line."""


def forest(panel: Panel, ident: str, layout: Layout = WIDE) -> Markup:
    """The plot of one panel; empty where nothing has an estimate."""
    if not panel.drawable:
        return Markup("")
    scale = _axis(panel, layout)
    body: list[Markup] = []
    y = _HEAD
    group = None
    several = len({row.group for row in panel.rows}) > 1
    spans: list[tuple[float, Row]] = []
    for row in panel.rows:
        if several and row.group != group:
            group, y = row.group, y + _GROUP
            name = _svg.shortened(row.group, layout.width - 20, layout.font)
            body.append(_svg.label(2.0, y - 9.0, name, "group"))
        spans.append((y, row))
        y += layout.row
    ground = [_band(top, row, scale, layout) for top, row in spans]
    grid = _frame(panel, scale, layout, y)
    drawn = [_row(top, row, panel, scale, layout) for top, row in spans]
    title = f"{panel.label}: change against {panel.baseline}"
    size = (layout.width, y + _FOOT)
    return _svg.figure(size, ident, title, _description(panel), [*ground, *grid, *body, *drawn])


def _description(panel: Panel) -> str:
    """The plot in words; the table that follows has every number."""
    words = dict.fromkeys(row.verdict for row in panel.rows)
    counts = {word: sum(row.verdict == word for row in panel.rows) for word in words}
    tally = ", ".join(f"{n} {word}" for word, n in counts.items() if word)
    many = f"{len(panel.rows)} row{'' if len(panel.rows) == 1 else 's'}"
    return f"{many}: {tally}. {panel.direction}. All numbers stand in the table that follows."


def _axis(panel: Panel, layout: Layout) -> Scale:
    """The axis holds all estimates and margins; an interval that is far wider than those ends in an arrow head."""
    neutral = 1.0 if panel.kind == "ratio" else 0.0
    core = [neutral] + [row.estimate for row in panel.rows if row.estimate is not None]
    limits = [limit for row in panel.rows for limit in row.limits or ()]
    core += [limit for limit in limits if panel.kind != "ratio" or 1e-12 < limit < 1e12]
    ends = [end for row in panel.rows for end in (*(row.interval or ()), *row.dots)]
    low, high = min(core), max(core)
    wanted = 4 if layout.stacked else 7
    if panel.kind == "ratio":
        reach = max((high / low) ** 1.2, 1.01)
        low = max(min([low, *(e for e in ends if e > 1e-12)]), low / reach)
        high = min(max([high, *ends]), high * reach)
        pad = (high / low) ** 0.05
        return _scale.ratio(low / pad, high * pad, layout.page, wanted)
    reach = 1.2 * (high - low) or 1.0
    low, high = max(min([low, *ends]), low - reach), min(max([high, *ends]), high + reach)
    margin = max(map(abs, limits), default=0.0)
    if margin and max(abs(low), abs(high)) > 20.0 * margin:
        return _scale.symmetric(min(low, -2.0 * margin) * 1.3, max(high, 2.0 * margin) * 1.3, margin, layout.page)
    pad = 0.05 * (high - low)
    return _scale.linear(low - pad, high + pad, layout.page, wanted)


def _frame(panel: Panel, scale: Scale, layout: Layout, bottom: float) -> list[Markup]:
    neutral = 1.0 if panel.kind == "ratio" else 0.0
    good, bad = ("faster", "slower") if panel.time else ("better", "worse")
    left, right = (good, bad) if panel.lower_is_better else (bad, good)
    parts: list[Markup] = []
    taken = -1e9
    for tick in scale.ticks:
        x = scale(tick)
        parts.append(_svg.line(x, _HEAD - 4, x, bottom + 4, "grid"))
        shown = _tick(tick, panel, scale)
        half = _svg.text_width(shown, 12.0) / 2
        if x - half > taken + 4:
            inside = min(max(x, half), layout.width - half)
            parts.append(_svg.label(inside, bottom + 22, shown, "tick", "middle"))
            taken = x + half
    zero = scale(neutral)
    parts.append(_svg.line(zero, _HEAD - 8, zero, bottom + 4, "zero"))
    end, start = _sides(zero, f"← {left}", f"{right} →", layout.width)
    parts.append(_svg.label(end, 18.0, f"← {left}", "side", "end"))
    parts.append(_svg.label(start, 18.0, f"{right} →", "side"))
    return parts


def _sides(zero: float, left: str, right: str, width: float) -> tuple[float, float]:
    """Where the word left of the zero line ends and the one right of it begins: beside the line, and never cut."""
    gap, reach = 12.0, _svg.text_width(right, SIDE_SIZE)
    end = max(zero - gap, _svg.text_width(left, SIDE_SIZE))
    start = min(max(zero + gap, end + gap), width - reach)
    return min(end, start - gap), start


def _tick(value: float, panel: Panel, scale: Scale) -> str:
    if panel.kind == "ratio":
        whole = all(abs(t * 100.0 - round(t * 100.0)) < 1e-6 for t in scale.ticks)
        return num.percent(value, 0 if whole else panel.places)
    return f"{'+' if value > 0.0 else ''}{num.plain(value)}"


def _band(top: float, row: Row, scale: Scale, layout: Layout) -> Markup:
    """The margin behind one row, and the twin's stripe; bands of neighbouring rows join to one."""
    parts: list[Markup] = []
    if row.twin:
        parts.append(_svg.tag("rect", x=0, y=top + 1, width=layout.width, height=layout.row - 2, rx=6, class_="stripe"))
    if row.limits and row.limits[1] > row.limits[0]:
        x0, x1 = scale(row.limits[0]), scale(row.limits[1])
        parts.append(_svg.tag("rect", x=x0, y=top, width=x1 - x0, height=layout.row, class_="band"))
    return Markup("").join(parts)


def _row(top: float, row: Row, panel: Panel, scale: Scale, layout: Layout) -> Markup:
    middle = top + (layout.row * 0.64 if layout.stacked else layout.row / 2)
    parts = [_svg.tag("title", _svg.escape(_spoken(row, panel)))]
    estimate = "" if row.estimate is None else panel.show(row.estimate)
    marks = [" · twin"] if row.twin and "twin" not in row.arm else []
    mark = "".join([*marks, " · unfair"] if row.unfair else marks)
    if layout.stacked:
        room = layout.width - 16 - _svg.text_width(f"{estimate}  {row.says}{mark}", layout.font)
        parts.append(_svg.label(8.0, top + 20, _svg.shortened(row.arm, room, layout.font) + mark, "arm"))
        shown = f"{estimate}  {row.says}".strip()
        parts.append(_svg.label(layout.width - 8, top + 20, shown, "said", "end"))
    else:
        room = layout.left - 28 - _svg.text_width(mark, layout.font)
        parts.append(_svg.label(12.0, middle + 5, _svg.shortened(row.arm, room, layout.font) + mark, "arm"))
        x = layout.width - layout.right
        parts.append(_svg.label(x + 92, middle + 5, estimate, "number", "end"))
        parts.append(_svg.label(x + 116, middle + 5, row.says, "said"))
    parts += _interval(row, scale, middle)
    return _svg.tag("g", *parts, class_=f"row v-{row.verdict or 'none'}{' twin' if row.twin else ''}")


def _interval(row: Row, scale: Scale, y: float) -> list[Markup]:
    parts = [_svg.tag("circle", cx=scale(dot), cy=y + 10.5, r=1.8, class_="dot") for dot in row.dots]
    if row.interval is not None:
        low, high = row.interval
        parts.append(_svg.line(scale(low), y, scale(high), y, "bar"))
        for end, turn in ((low, 1.0), (high, -1.0)):
            x = scale(end)
            if scale.holds(end):
                parts.append(_svg.line(x, y - 4.5, x, y + 4.5, "cap"))
            else:
                parts.append(_svg.path([(x + 6 * turn, y - 5), (x, y), (x + 6 * turn, y + 5)], "cap"))
    if row.estimate is not None:
        parts.append(_svg.mark(row.verdict if row.interval is not None else "", scale(row.estimate), y, 7.0))
    return parts


def _spoken(row: Row, panel: Panel) -> str:
    ends = panel.ends(row)
    between = f", interval {ends[0]} to {ends[1]}" if ends else ""
    where = f", {row.group}" if row.group else ""
    return f"{row.arm}{where}: {panel.show(row.estimate)}{between}, {row.says}{', unfair' if row.unfair else ''}"
