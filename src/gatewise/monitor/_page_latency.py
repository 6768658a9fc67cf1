"""Percentiles of each version, with intervals: the whole latency in the figure, its parts in the table."""

from collections.abc import Iterable, Sequence

from markupsafe import Markup

from ._page_block import Block, Document, between, named, point, seconds, several, shape, styles
from ._page_look import num, scale, svg

ROW, GROUP, TOP, FOOT = 20.0, 14.0, 10.0, 46.0
PARTS = (("latency", "in all"), ("queue", "in the queue"), ("compute", "computing"))


def block(document: Document) -> Block | None:
    """The percentiles; None where nothing was answered."""
    found = [each for each in document["traffic"] if each["latency"]]
    if not found:
        return None
    many, colours = several(document), styles(document)
    needs = {each["needs"] for stream in found for each in stream["latency"] if each["needs"]}
    return Block(
        title="Latency",
        under=f"percentiles with {num.share(document['confidence'])} order-statistic intervals, at one look",
        draw=lambda ident, narrow: figure(found, many, colours, ident, narrow=narrow),
        caption="Mark: the percentile. Line: its interval; dashed where so few requests give it no upper end.",
        legend=tuple(
            point(each["role"], colours[(each["model"], each["version"])], named(each, many)) for each in found
        ),
        head=("version", "percentile", "in all", "interval", "in the queue", "computing", "requests"),
        right=("in all", "interval", "in the queue", "computing", "requests"),
        rows=tuple(_rows(found, many)),
        remarks=tuple(f"A closed interval takes {num.count(n)} requests." for n in sorted(needs)),
    )


def _rows(found: Sequence[Document], many: bool) -> Iterable[tuple[str, ...]]:
    for stream in found:
        for whole, queue, compute in zip(stream["latency"], stream["queue"], stream["compute"], strict=True):
            yield (
                named(stream, many),
                f"p{100 * whole['percentile']:g}",
                seconds(whole["value_s"]),
                between(whole["low_s"], whole["high_s"]),
                seconds(queue["value_s"]),
                seconds(compute["value_s"]),
                num.count(whole["n"]),
            )


def figure(
    found: Sequence[Document], many: bool, colours: dict[tuple[str, str], str], ident: str, *, narrow: bool
) -> Markup:
    """A group of rows for each percentile, the versions side by side in it."""
    width, left = (340.0, 44.0) if narrow else (960.0, 64.0)
    ends = [end for each in found for p in each["latency"] for end in (p["value_s"], p["high_s"]) if end is not None]
    axis = scale.linear(0.0, max(ends) * 1.05 or 1.0, (left, width - 20.0), 3 if narrow else 7)
    percentiles = [each["percentile"] for each in found[0]["latency"]]
    each_group = ROW * len(found) + GROUP
    bottom = TOP + each_group * len(percentiles)
    body: list[Markup] = []
    for tick in axis.ticks:
        body.append(svg.line(axis(tick), TOP, axis(tick), bottom, "grid"))
        shown = "0" if not tick else num.quantity(tick, "s")
        body.append(svg.label(axis(tick), bottom + 18, shown, "tick", "middle"))
    body.append(svg.label(width - 20.0, bottom + 38, "latency", "side", "end"))
    for place, percentile in enumerate(percentiles):
        top = TOP + each_group * place
        body.append(svg.label(left - 10, top + each_group / 2 + 5, f"p{100 * percentile:g}", "arm", "end"))
        for index, stream in enumerate(found):
            y = top + GROUP / 2 + ROW * (index + 0.5)
            colour = colours[(stream["model"], stream["version"])]
            body.append(_row(stream, place, axis, y, f"series {colour}"))
    said = f"{len(percentiles)} groups of {len(found)} rows. All numbers stand in the table."
    return svg.figure((width, bottom + FOOT), ident, "Percentiles of the latency", said, body)


def _row(stream: Document, place: int, axis: scale.Scale, y: float, style: str) -> Markup:
    each = stream["latency"][place]
    title = f"{stream['version']} {stream['role']}, p{100 * each['percentile']:g}: {seconds(each['value_s'])}"
    parts = [svg.tag("title", svg.escape(title))]
    low = each["value_s"] if each["low_s"] is None else each["low_s"]
    high = axis.high if each["high_s"] is None else each["high_s"]
    parts.append(svg.line(axis(low), y, axis(high), y, "bar open" if each["high_s"] is None else "bar"))
    parts.append(shape(stream["role"], axis(each["value_s"]), y))
    return svg.tag("g", *parts, class_=style)
