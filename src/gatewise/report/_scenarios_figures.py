"""Rows of values with their intervals on one axis from 0: percentiles of a latency, tries of a rate."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg

ROW, TOP, FOOT = 30.0, 12.0, 52.0


@dataclass(frozen=True, kw_only=True)
class Line:
    """One row of the figure. `open_end`: the interval has no upper end."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    open_end: bool = False
    verdict: str = ""
    said: str = ""


@dataclass(frozen=True, kw_only=True)
class Axis:
    """The axis: its name and unit, and a limit that is drawn across."""

    name: str
    unit: str
    limit: float | None = None


def lines(found: Sequence[Line], axis: Axis, ident: str, title: str, *, narrow: bool = False) -> Markup:
    """The figure; empty where there is nothing to draw."""
    if not found:
        return Markup("")
    width, left = (340.0, 92.0) if narrow else (960.0, 150.0)
    bottom = TOP + ROW * len(found)
    ends = [end for each in found for end in (each.value, each.low, each.high) if end is not None]
    ends += [] if axis.limit is None else [axis.limit]
    scale = _scale.linear(0.0, max(ends) * 1.06 or 1.0, (left, width - 24.0), 3 if narrow else 7)
    parts: list[Markup] = []
    for tick in scale.ticks:
        parts.append(_svg.line(scale(tick), TOP, scale(tick), bottom, "grid"))
        parts.append(_svg.label(scale(tick), bottom + 18, num.quantity(tick, axis.unit), "tick", "middle"))
    parts.append(_svg.label(width - 24.0, bottom + 42, axis.name, "side", "end"))
    if axis.limit is not None:
        parts.append(_svg.line(scale(axis.limit), TOP - 6, scale(axis.limit), bottom, "zero"))
    for index, each in enumerate(found):
        parts.append(_row(each, scale, TOP + ROW * (index + 0.5), left, axis.unit))
    said = f"{len(found)} rows. All numbers stand in the table."
    return _svg.figure((width, bottom + FOOT), ident, title, said, parts)


def _row(each: Line, scale: _scale.Scale, y: float, left: float, unit: str) -> Markup:
    parts = [_svg.tag("title", _svg.escape(f"{each.label}: {num.quantity(each.value, unit)} {each.said}".strip()))]
    parts.append(_svg.label(left - 12, y + 4.5, _svg.shortened(each.label, left - 14, 14.0), "arm", "end"))
    if each.low is not None:
        high = scale.high if each.open_end else each.value if each.high is None else each.high
        style = "bar open" if each.open_end else "bar"
        parts.append(_svg.line(scale(each.low), y, scale(high), y, style))
    if each.verdict:
        parts.append(_svg.mark(each.verdict, scale(each.value), y))
    else:
        parts.append(_svg.tag("circle", cx=scale(each.value), cy=y, r=5.0, class_="spot"))
    return _svg.tag("g", *parts, class_=f"v-{each.verdict or 'none'}")
