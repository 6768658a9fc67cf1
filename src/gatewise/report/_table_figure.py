"""The two figures of an own file's page: differences with intervals, and predicted against found."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from . import _table_words as words
from ._table_view import Bar, Bin, Section

MARGIN = 1.0


@dataclass(frozen=True, kw_only=True)
class Layout:
    """The width of a figure and the room for names at its left."""

    width: float
    left: float


WIDE = Layout(width=760.0, left=190.0)
NARROW = Layout(width=340.0, left=128.0)
_ROW, _HEAD, _FOOT = 30.0, 30.0, 46.0


def bars(found: Sequence[Bar], ident: str, layout: Layout = WIDE) -> Markup:
    """Differences in points, one line each, with the margin as a band; empty where there are none."""
    if not found:
        return Markup("")
    groups = list(dict.fromkeys(bar.group for bar in found))
    height = _FOOT + sum(_HEAD + _ROW * sum(bar.group == group for bar in found) for group in groups)
    ends = [end for bar in found for end in (bar.value, bar.low, bar.high) if end is not None]
    low, high = min(-2.0 * MARGIN, *ends), max(2.0 * MARGIN, *ends)
    room = 0.04 * (high - low)
    axis = _scale.linear(low - room, high + room, (layout.left, layout.width - 14.0), 5)
    bottom = height - _FOOT
    parts = [_svg.tag("rect", x=axis(-MARGIN), y=4.0, width=axis(MARGIN) - axis(-MARGIN), height=bottom, class_="band")]
    for tick in axis.ticks:
        parts.append(_svg.line(axis(tick), 4.0, axis(tick), bottom + 4.0, "grid"))
        parts.append(_svg.label(axis(tick), bottom + 20.0, num.plain(round(tick, 6)), "tick", "middle"))
    parts.append(_svg.line(axis(0.0), 4.0, axis(0.0), bottom + 4.0, "zero"))
    zero = axis(0.0)
    for word, room, place, anchor in (
        ("← worse", zero - axis.start, zero - 8.0, "end"),
        ("better →", axis.end - zero, zero + 8.0, "start"),
    ):
        if room > _svg.text_width(word, 12.0) + 8.0:
            parts.append(_svg.label(place, bottom + 38.0, word, "tick", anchor))
    y = 0.0
    for group in groups:
        parts.append(_svg.label(0.0, y + 20.0, group, "group"))
        y += _HEAD
        for bar in (each for each in found if each.group == group):
            parts.append(_line(bar, axis, y + _ROW / 2, layout.left))
            y += _ROW
    said = "; ".join(f"{bar.name} {bar.group}: {num.signed(bar.value, 1)} points" for bar in found)
    return _svg.figure((layout.width, height), ident, "Differences in points of guesswork removed", said, parts)


def _line(bar: Bar, axis: _scale.Scale, y: float, left: float) -> Markup:
    fits = _svg.text_width(bar.name, 14.0) <= left - 8.0
    name = bar.name if fits else bar.name.removeprefix("network with ")  # what tells arms apart comes last
    parts = [_svg.label(0.0, y + 5.0, _svg.shortened(name, left - 8.0, 14.0), "arm")]
    if bar.low is not None and bar.high is not None:
        parts.append(_svg.line(axis(bar.low), y, axis(bar.high), y, "bar"))
    parts.append(_svg.mark(bar.mark, axis(bar.value), y))
    return _svg.tag("g", *parts, class_=f"v-{bar.mark or 'none'}")


def bins(section: Section, ident: str, width: float = 420.0) -> Markup:
    """Predicted against found with the line on which both are equal; empty where there are no bins."""
    found = section.bins
    if not found:
        return Markup("")
    values = [end for each in found for end in (each.predicted, each.found, each.low, each.high) if end is not None]
    low, high = (0.0, min(1.0, 1.08 * max(values))) if section.share else (min(values), max(values))
    left, height = 64.0, width * 0.86
    across = _scale.linear(low, high, (left, width - 12.0), 5)
    up = _scale.linear(low, high, (height - 46.0, 24.0), 5)
    parts: list[Markup] = []
    for tick in across.ticks:
        shown = f"{100.0 * tick:.0f} %" if section.share else num.significant(tick)
        parts += [
            _svg.line(across(tick), up(low), across(tick), up(high), "grid"),
            _svg.line(across(low), up(tick), across(high), up(tick), "grid"),
            _svg.label(across(tick), up(low) + 18.0, shown, "tick", "middle"),
            _svg.label(left - 8.0, up(tick) + 4.0, shown, "tick", "end"),
        ]
    parts.append(_svg.path([(across(low), up(low)), (across(high), up(high))], "equal"))
    parts += [_point(each, across, up) for each in found]
    parts.append(_svg.label((across(low) + across(high)) / 2, height - 6.0, "predicted", "tick", "middle"))
    parts.append(_svg.label(left, 10.0, "found", "tick", "middle"))
    said = "; ".join(
        f"predicted {words.amount(each.predicted, share=section.share)}, "
        f"found {words.amount(each.found, share=section.share)}"
        for each in found
    )
    return _svg.figure((width, height), ident, "Predicted against found", said, parts)


def _point(each: Bin, across: _scale.Scale, up: _scale.Scale) -> Markup:
    kind = "inconclusive" if each.holds else "worse"
    parts: list[Markup] = []
    if each.low is not None and each.high is not None:
        parts.append(_svg.line(across(each.predicted), up(each.low), across(each.predicted), up(each.high), "bar"))
    if each.holds:
        parts.append(_svg.tag("circle", cx=across(each.predicted), cy=up(each.found), r=5.0, class_="agrees"))
    else:
        parts.append(_svg.mark("worse", across(each.predicted), up(each.found), 6.0))
    return _svg.tag("g", *parts, class_=f"v-{kind}")
