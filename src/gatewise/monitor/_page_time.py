"""The window as a figure: the median latency, p99 and the requests in strips, alarms as lines across all of them."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from ._page_block import SECOND_NS, Block, Document, clock, named, seconds, several, stroke, styles
from ._page_look import num, scale, svg

STEPS_S = (
    1,
    2,
    5,
    10,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    3 * 3600,
    6 * 3600,
    12 * 3600,
    86400,
    7 * 86400,
    28 * 86400,
)
TOP, GAP, FOOT = 44.0, 34.0, 30.0
MEDIAN, TAIL, FLOW = 150.0, 84.0, 60.0
"""The heights of the strips."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """The time axis: the window on the page."""

    start_ns: int
    bucket_ns: int
    buckets: int
    left: float
    right: float

    def at(self, at_ns: float) -> float:
        """The place of a moment."""
        share = (at_ns - self.start_ns) / (self.bucket_ns * self.buckets)
        return self.left + (self.right - self.left) * min(max(share, 0.0), 1.0)

    def middle(self, bucket: int) -> float:
        """The place of the middle of a bucket."""
        return self.at(self.start_ns + self.bucket_ns * (bucket + 0.5))

    def ticks(self, wanted: int) -> list[tuple[int, str]]:
        """Round moments and their names."""
        end_ns = self.start_ns + self.bucket_ns * self.buckets
        length = (end_ns - self.start_ns) / SECOND_NS
        step = next((each for each in STEPS_S if length / each <= wanted), STEPS_S[-1])
        shown = "%H:%M:%S" if step < 60 else "%H:%M" if step < 43200 else "%m-%d"
        first = -(-self.start_ns // (step * SECOND_NS)) * step
        moments = range(first, end_ns // SECOND_NS + 1, step)
        return [(moment * SECOND_NS, datetime.fromtimestamp(moment, UTC).strftime(shown)) for moment in moments]


def block(document: Document) -> Block | None:
    """The window's course; None where there is nothing."""
    line = document["timeline"]
    if not line or not any(any(each["requests"]) for each in line["series"]):
        return None
    many, colours = several(document), styles(document)
    keys = [stroke(_style(colours, each), named(each, many)) for each in line["series"] if any(each["requests"])]
    alarms = [each for each in document["alarms"] if each["at_ns"] >= line["start_ns"]]
    return Block(
        title="Over time",
        under=f"{len(line['series'][0]['requests'])} parts of {num.duration(line['bucket_ns'] / SECOND_NS)}; a p99 "
        "stands where a part has the hundred requests that it takes",
        draw=lambda ident, narrow: figure(line, colours, alarms, ident, narrow=narrow),
        caption="The latency's axes do not begin at 0." + (" Upright: alarms." if alarms else ""),
        legend=tuple(keys),
        head=("from (UTC)", "version", "requests", "unanswered", "p50", "p99"),
        right=("requests", "unanswered", "p50", "p99"),
        rows=tuple(_rows(line, many)),
        folded=True,
    )


def _rows(line: Document, many: bool) -> Iterable[tuple[str, ...]]:
    for index in range(len(line["series"][0]["requests"])):
        for each in line["series"]:
            if each["requests"][index]:
                yield (
                    clock(line["start_ns"] + index * line["bucket_ns"]),
                    named(each, many),
                    num.count(each["requests"][index]),
                    num.count(each["unanswered"][index]),
                    seconds(each["p50_s"][index]),
                    seconds(each["p99_s"][index]),
                )


def _style(colours: dict[tuple[str, str], str], each: Document) -> str:
    """A version's colour; dashed where it is the same version in another role than live."""
    dash = {"live": "", "canary": " d-2", "shadow": " d-1"}[each["role"]]
    return colours[(each["model"], each["version"])] + dash


def figure(
    line: Document, colours: dict[tuple[str, str], str], alarms: Sequence[Document], ident: str, *, narrow: bool
) -> Markup:
    """The figure; empty where no latency is known."""
    if not any(value is not None for each in line["series"] for value in each["p50_s"]):
        return Markup("")
    width, left = (340.0, 54.0) if narrow else (960.0, 64.0)
    buckets = len(line["series"][0]["requests"])
    span = Span(start_ns=line["start_ns"], bucket_ns=line["bucket_ns"], buckets=buckets, left=left, right=width - 10.0)
    body: list[Markup] = []
    y = TOP
    for key, name, height in (("p50_s", "median latency", MEDIAN), ("p99_s", "p99", TAIL)):
        values = [value for each in line["series"] for value in each[key] if value is not None]
        if not values:
            continue
        room = 0.08 * (max(values) - min(values))
        axis = scale.linear(max(min(values) - room, 0.0), max(values) + room, (y + height, y), 4 if height > 100 else 2)
        body += _strip(span, axis, name, "s")
        for each in line["series"]:
            body += _curve(
                each[key], span, axis, f"{'mean' if key == 'p50_s' else 'run strong'} {_style(colours, each)}"
            )
        y += height + GAP
    per_s = SECOND_NS / line["bucket_ns"]
    totals = [sum(each["requests"][index] for each in line["series"]) * per_s for index in range(buckets)]
    lost = [sum(each["unanswered"][index] for each in line["series"]) * per_s for index in range(buckets)]
    axis = scale.linear(0.0, max(totals) * 1.05, (y + FLOW, y), 2)
    body += _strip(span, axis, "runs a second" + (", in colour: unanswered" if any(lost) else ""), "1/s")
    body += [*_bars(totals, span, axis, "flow"), *_bars(lost, span, axis, "flow lost")]
    body += _moments(span, y + FLOW, narrow)
    body += _alarms(alarms, span, y + FLOW, narrow)
    said = f"{len(line['series'])} lines over {buckets} parts of the window. All numbers stand in the table."
    return svg.figure((width, y + FLOW + FOOT), ident, "Latency and requests over time", said, body)


def _strip(span: Span, axis: scale.Scale, name: str, unit: str) -> list[Markup]:
    """The ground of a strip: its name, and its values."""
    parts: list[Markup] = []
    for tick in axis.ticks:
        y = axis(tick)
        parts.append(svg.line(span.left, y, span.right, y, "grid"))
        parts.append(svg.label(span.left - 8, y + 4, "0" if not tick else num.quantity(tick, unit), "tick", "end"))
    return [*parts, svg.label(span.left, axis.end - 6, name, "strip")]


def _moments(span: Span, foot: float, narrow: bool) -> list[Markup]:
    parts: list[Markup] = []
    for at_ns, name in span.ticks(4 if narrow else 8):
        half = svg.text_width(name, 12.0) / 2
        x = min(max(span.at(at_ns), half), span.right + 8 - half)
        parts.append(svg.line(span.at(at_ns), foot, span.at(at_ns), foot + 5, "axis"))
        parts.append(svg.label(x, foot + 20, name, "tick", "middle"))
    return parts


def _bars(totals: Sequence[float], span: Span, axis: scale.Scale, style: str) -> list[Markup]:
    wide = (span.right - span.left) / span.buckets
    return [
        svg.tag(
            "rect",
            x=span.left + wide * index + 0.5,
            y=axis(total),
            width=max(wide - 1.0, 0.5),
            height=axis(0.0) - axis(total),
            class_=style,
        )
        for index, total in enumerate(totals)
        if total
    ]


def _curve(values: Sequence[float | None], span: Span, axis: scale.Scale, style: str) -> list[Markup]:
    """A line broken where nothing is known; a value alone is a dot."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for index, value in enumerate(values):
        if value is None:
            pieces.append([])
        else:
            pieces[-1].append((span.middle(index), axis(value)))
    drawn = [svg.path(piece, style) for piece in pieces if len(piece) > 1]
    lone = [
        svg.tag("circle", cx=piece[0][0], cy=piece[0][1], r=2.2, class_=f"lone {style}")
        for piece in pieces
        if len(piece) == 1
    ]
    return [*drawn, *lone]


def _alarms(alarms: Sequence[Document], span: Span, bottom: float, narrow: bool) -> list[Markup]:
    """Alarms as lines; the name of one stands where there is room for it."""
    parts: list[Markup] = []
    free = 0.0
    for alarm in sorted(alarms, key=lambda each: each["at_ns"]):
        x = span.at(alarm["at_ns"])
        name = alarm["kind"] if narrow else f"{alarm['kind']} {alarm['version']}"
        wide = svg.text_width(name, 12.0)
        start = min(max(x - 4.0, 0.0), span.right + 8 - wide)
        title = svg.tag("title", svg.escape(f"{clock(alarm['at_ns'])} UTC: {alarm['summary']}"))
        drawn: list[Any] = [title, svg.line(x, TOP - 24, x, bottom, "alarm")]
        if start >= free:
            drawn.append(svg.label(start, TOP - 30, name, "alarm-name"))
            free = start + wide + 10.0
        parts.append(svg.tag("g", *drawn))
    return parts
