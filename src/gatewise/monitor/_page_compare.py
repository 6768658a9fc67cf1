"""The judge's comparisons: a row for a version and a metric, on one axis in units of the margin, worse to the right."""

import math
from collections.abc import Sequence

from markupsafe import Markup

from ._page_block import Block, Document, number
from ._page_look import num, scale, svg

ROW, TOP, FOOT = 34.0, 34.0, 40.0
RATIOS = ("latency",)
HIGHER_IS_BETTER = ("accuracy",)


def block(document: Document) -> Block | None:
    """What was compared; None where nothing was."""
    found = document["comparisons"]
    if not found:
        return None
    many = len({each["model"] for each in found}) > 1
    remarks = (
        []
        if all(each["role"] == "shadow" for each in found)
        else ["Canary traffic is not paired: it needs more of it."]
    )
    remarks += [f"{name(each, many)}: {each['reason']}" for each in found if each["reason"] and not each["needs"]]
    if any(each["alarmed"] and each["verdict"] != "worse" for each in found):
        remarks.append(
            "An alarm says that there is harm at all; a verdict also says that it is larger than the margin."
        )
    return Block(
        title="Comparisons",
        under="each version against the live one; the intervals stay valid however often one looks",
        draw=lambda ident, narrow: figure(found, many, ident, narrow=narrow),
        caption="Line: interval. Mark: estimate and verdict. Shaded: what does not matter, the margin.",
        head=("what", "against", "change", "interval", "margin", "verdict", "n", "still needed"),
        right=("change", "interval", "margin", "n"),
        rows=tuple(_row(each, many) for each in found),
        remarks=tuple(dict.fromkeys(remarks)),
    )


def name(each: Document, many: bool) -> str:
    """Which version in which role, and what was compared."""
    model = f"{each['model']} " if many else ""
    return f"{model}{each['version']} {each['role']}, {each['metric']}"


def _row(each: Document, many: bool) -> tuple[str, ...]:
    return (
        name(each, many),
        str(each["baseline"]),
        effect(each["estimate"], each),
        interval(each),
        margin(each),
        str(each["verdict"]),
        f"{num.count(number(each['n']))} {each['unit']}",
        needed(each),
    )


def effect(value: object, each: Document) -> str:
    """An effect in the unit of its metric: a change in percent, points of a share, or a share."""
    found, limit = number(value), number(each["margin"]) or 0.001
    if found is None:
        return num.MISSING
    if each["metric"] in RATIOS:
        return num.percent(found, num.decimals(limit, "ratio"))
    if each["metric"] == "disagreement":
        return num.share(found)
    return f"{num.signed(100 * found, num.decimals(limit, 'ratio'))} points"


def interval(each: Document) -> str:
    """The interval in words."""
    ends = each["interval"]
    return (
        num.MISSING if not ends else f"{effect(ends[0], each)} to {effect(ends[1], each)}".replace(" points to", " to")
    )


def margin(each: Document) -> str:
    """What does not matter."""
    value = number(each["margin"])
    if each["metric"] == "disagreement":
        return f"up to {num.share(value)}"
    return f"±{num.share(value)}" if each["metric"] in RATIOS else f"±{num.plain(100 * (value or 0.0))} points"


def needed(each: Document) -> str:
    """What a verdict still takes, in words; empty where there is one."""
    if each["verdict"] != "inconclusive":
        return ""
    more = number(each["needs"])
    return "see below" if more is None and each["reason"] else "more" if more is None else f"about {num.count(more)}"


def in_margins(value: object, each: Document) -> float | None:
    """An effect as a multiple of its margin, worse above 0; None where there is none."""
    found, limit = number(value), number(each["margin"])
    if found is None or not limit or (each["metric"] in RATIOS and found <= 0):
        return None
    units = math.log(found) / math.log1p(limit) if each["metric"] in RATIOS else found / limit
    return -units if each["metric"] in HIGHER_IS_BETTER else units


def figure(found: Sequence[Document], many: bool, ident: str, *, narrow: bool) -> Markup:
    """The rows on one axis; empty where none has an estimate."""
    drawn = [each for each in found if in_margins(each["estimate"], each) is not None]
    if not drawn:
        return Markup("")
    width, left, row = (340.0, 12.0, 52.0) if narrow else (960.0, 200.0, ROW)
    right = width - (12.0 if narrow else 200.0)
    core = [2.0, -2.0, *(value for each in drawn if (value := in_margins(each["estimate"], each)) is not None)]
    far = 2.2 * max(abs(value) for value in core)
    ends = [abs(end) for each in drawn for end in _ends(each)]
    far = min(max([far, *ends]) * 1.15, 4.0 * far)
    axis = scale.symmetric(-far, far, 1.0, (left, right))
    bottom = TOP + row * len(drawn)
    start, end = axis(-1.0), axis(1.0)
    body = [svg.tag("rect", x=start, y=TOP - 4, width=end - start, height=bottom - TOP + 6, class_="band")]
    body += _frame(axis, bottom)
    for index, each in enumerate(drawn):
        body.append(_interval(each, axis, TOP + row * (index + (0.68 if narrow else 0.5)), many, narrow))
    said = f"{len(drawn)} rows, worse to the right. All numbers stand in the table."
    return svg.figure((width, bottom + FOOT), ident, "Versions against the live one", said, body)


def _ends(each: Document) -> list[float]:
    ends = (in_margins(end, each) for end in each["interval"] or ())
    return sorted(end for end in ends if end is not None)


def _frame(axis: scale.Scale, bottom: float) -> list[Markup]:
    parts: list[Markup] = []
    for tick in axis.ticks:
        word = {0.0: "no change", 1.0: "margin", -1.0: "margin"}.get(tick, f"{num.plain(abs(tick))} ×")
        if tick in (-1.0, 1.0) and axis(1.0) - axis(0.0) < 70:
            word = ""
        parts.append(svg.line(axis(tick), TOP - 4, axis(tick), bottom + 2, "grid"))
        parts.append(svg.label(axis(tick), bottom + 20, word, "tick", "middle"))
    zero = axis(0.0)
    parts.append(svg.line(zero, TOP - 10, zero, bottom + 2, "zero"))
    parts.append(svg.label(zero - 12, 16.0, "← better", "side", "end"))
    return [*parts, svg.label(zero + 12, 16.0, "worse →", "side")]


def _interval(each: Document, axis: scale.Scale, y: float, many: bool, narrow: bool) -> Markup:
    verdict, value = str(each["verdict"]), in_margins(each["estimate"], each) or 0.0
    shown = effect(each["estimate"], each)
    parts = [svg.tag("title", svg.escape(f"{name(each, many)}: {shown}, {verdict}"))]
    if ends := _ends(each):
        parts.append(svg.line(axis(ends[0]), y, axis(ends[-1]), y, "bar"))
        for end, turn in ((ends[0], 1.0), (ends[-1], -1.0)):
            x = axis(end)
            cap = (
                [(x, y - 5), (x, y + 5)] if axis.holds(end) else [(x + 6 * turn, y - 5), (x, y), (x + 6 * turn, y + 5)]
            )
            parts.append(svg.path(cap, "cap"))
    parts.append(svg.mark(verdict, axis(value), y))
    if narrow:
        parts.append(svg.label(2.0, y - 19.0, svg.shortened(name(each, many), 200.0, 14.0), "arm"))
        parts.append(svg.label(338.0, y - 19.0, shown, "number", "end"))
    else:
        parts.append(
            svg.label(axis.start - 14, y + 5, svg.shortened(name(each, many), axis.start - 16, 14.0), "arm", "end")
        )
        parts.append(svg.label(axis.end + 98, y + 5, shown, "number", "end"))
        parts.append(svg.label(axis.end + 110, y + 5, verdict, "said"))
    return svg.tag("g", *parts, class_=f"v-{verdict}")
