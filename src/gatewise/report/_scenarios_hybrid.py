"""The hybrid's curve: quality, mean latency and cost over the threshold, with the point that was chosen."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from . import _scale, _svg
from ._read import Document, number, pair, record, records, strings, text
from ._scenarios_block import Block, between, percent, seconds

MOST_ROWS = 24
PANEL, GAP, HEAD = 150.0, 34.0, 22.0


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One quantity over the threshold: its curve, and the chosen point with its interval. `limit`: drawn across."""

    title: str
    unit: str
    values: tuple[float, ...]
    lows: tuple[float | None, ...]
    chosen: float | None
    interval: tuple[float | None, float | None]
    limit: float | None = None


def headline(found: Document) -> str:
    """The answer in one sentence."""
    curve = record(found, "hybrid")
    chosen = record(curve, "chosen")
    if not chosen:
        return _capital(text(curve.get("reason")) or "no threshold qualifies")
    if number(chosen.get("passed_on")) == 0.0:
        return "The edge answers alone: nothing needs to be passed on"
    return f"Pass on below a confidence of {threshold(chosen)}: {percent(chosen.get('passed_on'))} go to the cloud"


def blocks(document: Document) -> tuple[Block, ...]:
    """The chosen point, and the curve."""
    found = record(document, "hybrid")
    return (_choice(document, found), _curve(document, found))


def threshold(point: Document) -> str:
    """A threshold in words; the last one lies above every confidence."""
    value = number(point.get("threshold"))
    return "any" if value is None else num.significant(value, 4)


def money(document: Document, value: object) -> str:
    """The cost of a million items."""
    cost = number(value)
    currency = text(record(document, "asked").get("currency"))
    return num.MISSING if cost is None else f"{num.significant(1e6 * cost)} {currency}"


def _choice(document: Document, found: Document) -> Block:
    curve = record(found, "hybrid")
    chosen, points = record(curve, "chosen"), records(curve, "curve")
    everything = points[-1] if points else {}
    nothing = points[0] if points else {}
    network = number(record(document, "asked").get("network")) or 0.0
    rows = [
        _version("edge alone", curve.get("edge_quality"), found.get("edge_s"), money(document, nothing.get("cost"))),
        _version(
            "cloud alone",
            curve.get("cloud_quality"),
            (number(found.get("cloud_s")) or 0.0) + network,
            money(document, curve.get("cloud_cost")),
        ),
    ]
    if chosen:
        low = number(chosen.get("quality_low"))
        change = num.difference(number(chosen.get("quality_change")))
        rows.append(
            (
                "hybrid",
                f"{_score(chosen.get('quality'))} ({change} to the cloud, at least {num.difference(low)})",
                _with(seconds(chosen.get("latency_s")), _ends(curve.get("latency_interval"), seconds)),
                _with(
                    money(document, chosen.get("cost")),
                    _ends(curve.get("cost_interval"), lambda value: money(document, value)),
                ),
            )
        )
    halves = curve.get("items")
    first, second = (halves[0], halves[1]) if isinstance(halves, list | tuple) and len(halves) == 2 else ("?", "?")
    remarks = [
        text(curve.get("reason")),
        f"Chosen on {first} items; quality of all three, and the hybrid's time and cost, are of {second} others.",
        *([_separated(curve)] if number(curve.get("separation")) is not None else []),
        *([text(curve.get("warning"))] if curve.get("warning") else []),
    ]
    if not everything:
        remarks.append("There is no curve.")
    return Block(
        title="Edge, cloud, and both",
        under=f"quality is {text(found.get('measure'))}; confidence is the {text(found.get('confidence_is'))}",
        head=("version", "quality", "mean of an item", "cost of a million items"),
        right=("quality", "mean of an item", "cost of a million items"),
        rows=tuple(rows),
        remarks=tuple(each for each in (_capital(line) for line in remarks) if each),
    )


def _version(name: str, quality: object, latency: object, cost: str) -> tuple[str, ...]:
    return (name, _score(quality), seconds(latency), cost)


def _curve(document: Document, found: Document) -> Block:
    curve = record(found, "hybrid")
    points = records(curve, "curve")
    step = max(1, -(-len(points) // MOST_ROWS))
    shown = [*points[:-1][::step], *points[-1:]]
    head = (
        "threshold",
        "passed on",
        "quality",
        "change to the cloud",
        "lower limit",
        "mean of an item",
        "cost of a million",
    )
    rows = tuple(
        (
            threshold(each),
            percent(each.get("passed_on")),
            _score(each.get("quality")),
            num.difference(number(each.get("quality_change"))),
            num.difference(number(each.get("quality_low"))),
            seconds(each.get("latency_s")),
            money(document, each.get("cost")),
        )
        for each in shown
    )
    notes = strings(document, "notes")
    if len(shown) < len(points):
        notes.append(f"{len(shown)} of {len(points)} thresholds are in the table; all are in scenarios.json")
    return Block(
        title="Over the threshold",
        under="on the half of the items that chose; the ringed point is the chosen one, on the other half",
        draw=lambda ident, narrow: figure(document, ident, narrow=narrow),
        caption="From all answered on the edge (left) to all passed on (right). Dotted: the lower limit of "
        "quality; dashed: what it must not fall below. What is passed on pays for both versions.",
        head=head,
        right=head,
        rows=rows,
        remarks=tuple(_capital(each) for each in notes),
    )


def figure(document: Document, ident: str, *, narrow: bool = False) -> Markup:
    """Three panels over the share that is passed on, whose ticks carry the thresholds."""
    found = record(record(document, "hybrid"), "hybrid")
    points = [each for each in records(found, "curve") if number(each.get("passed_on")) is not None]
    if len(points) < 2:
        return Markup("")
    width, left = (340.0, 64.0) if narrow else (960.0, 92.0)
    xs = _scale.linear(0.0, 1.0, (left, width - 20.0), 3 if narrow else 5)
    parts: list[Markup] = []
    panels = _panels(document, found, points)
    for index, panel in enumerate(panels):
        parts += _panel(panel, points, record(found, "chosen"), xs, index * (PANEL + GAP))
    bottom = len(panels) * (PANEL + GAP) - GAP
    for tick in xs.ticks:
        parts.append(_svg.label(xs(tick), bottom + 18, percent(tick), "tick", "middle"))
        at = min(points, key=lambda each: abs((number(each.get("passed_on")) or 0.0) - tick))
        parts.append(_svg.label(xs(tick), bottom + 34, threshold(at), "tick", "middle"))
    name = "passed on, and below it the threshold"
    parts.append(_svg.label(width - 20.0, bottom + 56, name, "side", "end"))
    said = f"{len(points)} thresholds. {headline(record(document, 'hybrid'))}. The numbers stand in the table."
    title = "Quality, mean latency and cost over the threshold"
    return _svg.figure((width, bottom + 66), ident, title, said, parts)


def _panels(document: Document, found: Document, points: Sequence[Document]) -> tuple[Panel, ...]:
    chosen = record(found, "chosen")
    margin = number(found.get("margin")) or 0.0
    lows = tuple(number(each.get("quality_low")) for each in points)
    latency, cost = pair(found.get("latency_interval")), pair(found.get("cost_interval"))
    currency = text(record(document, "asked").get("currency"))
    blank = tuple(None for _ in points)
    return (
        Panel(
            title="quality minus the cloud's: higher is better",
            unit="1",
            values=_column(points, "quality_change"),
            lows=lows,
            chosen=number(chosen.get("quality_change")),
            interval=(number(chosen.get("quality_low")), None),
            limit=-margin,
        ),
        Panel(
            title="mean of an item: lower is better",
            unit="s",
            values=_column(points, "latency_s"),
            lows=blank,
            chosen=number(chosen.get("latency_s")),
            interval=latency or (None, None),
        ),
        Panel(
            title=f"cost of a million items in {currency}: lower is better",
            unit="1",
            values=tuple(1e6 * value for value in _column(points, "cost")),
            lows=blank,
            chosen=None if (spent := number(chosen.get("cost"))) is None else 1e6 * spent,
            interval=(1e6 * cost[0], 1e6 * cost[1]) if cost else (None, None),
        ),
    )


def _panel(panel: Panel, points: Sequence[Document], chosen: Document, xs: _scale.Scale, top: float) -> list[Markup]:
    drawn = [*panel.values, *(each for each in panel.lows if each is not None)]
    drawn += [each for each in (panel.chosen, panel.limit, *panel.interval) if each is not None]
    low, high = min(drawn), max(drawn)
    pad = 0.08 * (high - low) or abs(low) * 0.1 or 1.0
    ys = _scale.linear(max(low - pad, 0.0) if low >= 0 else low - pad, high + pad, (top + PANEL, top + HEAD), 4)
    parts = [_svg.label(0.0, top + 12, _svg.shortened(panel.title, xs.end, 13.0), "group")]
    for tick in ys.ticks:
        parts.append(_svg.line(xs.start, ys(tick), xs.end, ys(tick), "grid"))
        shown = num.quantity(tick, panel.unit) if panel.unit == "s" else num.plain(float(f"{tick:.6g}"))
        parts.append(_svg.label(xs.start - 8, ys(tick) + 4, shown, "tick", "end"))
    across = [xs(number(each.get("passed_on")) or 0.0) for each in points]
    if panel.limit is not None:
        parts.append(_svg.line(xs.start, ys(panel.limit), xs.end, ys(panel.limit), "zero d-1"))
    below = [(x, ys(value)) for x, value in zip(across, panel.lows, strict=True) if value is not None]
    if len(below) > 1:
        parts.append(_svg.path(below, "behind d-2"))
    parts.append(_svg.path([(x, ys(value)) for x, value in zip(across, panel.values, strict=True)], "curve"))
    if panel.chosen is not None:
        x, y = xs(number(chosen.get("passed_on")) or 0.0), ys(panel.chosen)
        start, end = (panel.chosen if each is None else each for each in panel.interval)
        parts.append(_svg.line(x, ys(start), x, ys(end), "range"))
        ring = _svg.tag("circle", cx=x, cy=y, r=10.0, class_="halo")
        ring += _svg.tag("circle", cx=x, cy=y, r=4.5, class_="spot")
        parts.append(_svg.tag("g", _svg.tag("title", _svg.escape(f"chosen: {panel.title}")), ring))
    return parts


def _column(points: Sequence[Document], key: str) -> tuple[float, ...]:
    return tuple(number(each.get(key)) or 0.0 for each in points)


def _score(value: object) -> str:
    found = number(value)
    return num.MISSING if found is None else f"{found:.3f}"


def _ends(interval: object, shown: Callable[[object], str]) -> str:
    found = pair(interval)
    return "" if found is None else between(shown(found[0]), shown(found[1]))


def _with(value: str, interval: str) -> str:
    return f"{value} ({interval})" if interval else value


def _separated(curve: Document) -> str:
    area = number(curve.get("separation"))
    shown = num.MISSING if area is None else f"{area:.2f}"
    return f"A right answer of the edge has more confidence than a wrong one with a chance of {shown} (AUROC)"


def _capital(line: str) -> str:
    return line[:1].upper() + line[1:]
