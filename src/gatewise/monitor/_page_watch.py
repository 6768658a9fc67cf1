"""Labels, drift and the health of activations as blocks."""

from collections.abc import Sequence

from markupsafe import Markup

from ._page_block import Block, Document, named, number, several, share
from ._page_look import num, scale, svg
from ._status_labels import NO_PREDICTIONS

ROW, TOP, FOOT = 26.0, 8.0, 44.0
MOST = 12


def labels(document: Document) -> Block | None:
    """How often each version was right, as far as labels have come; None where nothing was answered."""
    found, many = document["labelled"], several(document)
    predict = {(each["model"], each["version"]) for each in found}
    silent = [
        f"{named(each, many)}: {NO_PREDICTIONS}."
        for each in document["traffic"]
        if each["latency"] and (each["model"], each["version"]) not in predict
    ]
    if not found:
        return Block(title="Labels", remarks=tuple(silent)) if silent else None
    rows = [
        (
            named(each, many),
            num.count(each["rows"]),
            num.count(each["labelled"]),
            share(each["share_labelled"]),
            share(each["accuracy"]),
            num.MISSING if each["low"] is None else f"{share(each['low'])} to {share(each['high'])}",
        )
        for each in found
    ]
    head = ("version", "predictions", "labels so far", "share", "right", "interval")
    remarks = () if any(each["labelled"] for each in found) else ("No label has come yet: nobody knows the accuracy.",)
    return Block(
        title="Labels",
        under="the exact interval of each share, at one look; labels that come late may differ from those here",
        head=head,
        right=head[1:],
        rows=tuple(rows),
        remarks=(*remarks, *silent),
    )


def drift(document: Document) -> Block | None:
    """Each watched number as it stands; None where nothing is watched."""
    found = document["drift"]
    if not found:
        return None
    many = len({(each["model"], each["version"]) for each in found}) > 1
    return Block(
        title="Drift",
        under="inputs and outputs against the reference of the version; evidence of 1 is an alarm, on a log scale",
        draw=lambda ident, narrow: figure(found[:MOST], many, ident, narrow=narrow),
        caption="Bar: the evidence. Upright line: where it becomes an alarm.",
        head=("feature", "evidence", "median in reference", "median now", "largest gap", "values", "alarm"),
        right=("evidence", "median in reference", "median now", "largest gap", "values"),
        rows=tuple(_drift_row(each, many) for each in found),
    )


def _drift_row(each: Document, many: bool) -> tuple[str, ...]:
    moved = each.get("moved") or {}
    before, now = ((moved.get(key) or [None] * 3)[1] for key in ("before", "now"))
    return (
        _feature(each, many),
        num.significant(number(each.get("strength")), 2),
        num.significant(number(before)),
        num.significant(number(now)),
        share(moved.get("gap")),
        num.count(number(each.get("n"))),
        "yes" if each.get("alarmed") else "",
    )


def _feature(each: Document, many: bool) -> str:
    return f"{each['model']} {each['version']}: {each['feature']}" if many else str(each["feature"])


def figure(found: Sequence[Document], many: bool, ident: str, *, narrow: bool) -> Markup:
    """One bar for each feature."""
    width, left = (340.0, 120.0) if narrow else (960.0, 210.0)
    strengths = [number(each.get("strength")) or 0.0 for each in found]
    axis = scale.linear(0.0, min(max(1.0, *strengths), 2.0) * 1.08, (left, width - 20.0), 4)
    bottom = TOP + ROW * len(found)
    body: list[Markup] = []
    for tick in axis.ticks:
        body.append(svg.label(axis(tick), bottom + 18, num.plain(round(tick, 6)), "tick", "middle"))
        body.append(svg.line(axis(tick), TOP, axis(tick), bottom, "grid"))
    for index, (each, strength) in enumerate(zip(found, strengths, strict=True)):
        y = TOP + ROW * index
        style = "strength-alarm" if each.get("alarmed") else "strength-full"
        title = svg.tag("title", svg.escape(f"{each['feature']}: {num.significant(strength, 2)}"))
        bar = svg.tag(
            "rect", title, x=left, y=y + 6, width=max(axis(strength) - left, 0.5), height=ROW - 12, class_=style
        )
        body += [
            svg.label(left - 10, y + ROW / 2 + 5, svg.shortened(_feature(each, many), left - 12, 14.0), "arm", "end"),
            bar,
        ]
    body.append(svg.line(axis(1.0), TOP - 4, axis(1.0), bottom, "zero"))
    body.append(svg.label(axis(1.0), bottom + 38, "alarm", "side", "middle"))
    said = f"{len(found)} bars. All numbers stand in the table."
    return svg.figure((width, bottom + FOOT), ident, "Evidence of drift", said, body)


def health(document: Document) -> Block | None:
    """The activations that are watched, place by place; None where none is."""
    found = document["health"]
    if not found:
        return None
    head = ("place", "watched", "evidence", "alarm")
    rows = [
        (
            str(each.get("site") or each.get("feature") or num.MISSING),
            str(each.get("what") or each.get("measure") or num.MISSING),
            num.significant(number(each.get("strength")), 2),
            "yes" if each.get("alarmed") else "",
        )
        for each in found
    ]
    return Block(title="Activation health", head=head, right=("evidence",), rows=tuple(rows))
