"""The bill as a block: what each version does with its part of the machine, and what that comes to."""

from markupsafe import Markup

from ._page_block import Block, Document, number, seconds, several, share, swatch
from ._page_look import num, scale, svg

KINDS = (
    ("live_core_ns", "live", "c-live"),
    ("canary_core_ns", "canary", "c-canary"),
    ("shadow_core_ns", "shadow", "c-shadow"),
    ("wasted_core_ns", "without an answer", "c-wasted"),
    ("idle_core_ns", "idle", "c-idle"),
)
RULES = {
    "reserved": "Idle time is charged to the version that its threads are reserved for; the rest is nobody's.",
    "use": "Idle time is charged to the versions in proportion to what they computed.",
    "apart": "Idle time is charged to nobody.",
}
ROW, TOP, FOOT = 34.0, 6.0, 34.0


def block(document: Document) -> Block | None:
    """Who uses the machine's time; None where the machine is not known."""
    cost = document["cost"]
    if not cost:
        return None
    many = several(document)
    kinds = [kind for kind in KINDS if any(each[kind[0]] for each in cost["versions"])]
    head = ("who", *(name for _, name, _ in kinds), "in all", "of its threads", "core time a run")
    remarks = [RULES[cost["idle_rule"]], _adds_up(cost)]
    if cost["oversubscribed"]:
        remarks.append(
            "More computation was recorded than the cores can have done: versions ran on more threads than there are "
            "cores, and their shares are scaled down in proportion."
        )
    return Block(
        title="Machine time",
        under=_under(cost),
        draw=lambda ident, narrow: figure(cost, many, ident, narrow=narrow),
        caption="Each bar: a part of the machine's time.",
        legend=tuple(swatch(style, name) for _, name, style in kinds),
        head=head,
        right=head[1:],
        rows=tuple(_rows(cost, kinds, many)),
        remarks=tuple(remarks),
    )


def money(document: Document) -> Block | None:
    """What it comes to; None where there is no price."""
    cost = document["cost"]
    if not cost or cost["price_per_hour"] is None:
        return None
    many = several(document)
    head = ("who", "answers", "utilisation", "a request", "a million requests", "a month")
    rows = [(_who(each, many), each) for each in cost["versions"]]
    return Block(
        title="Cost",
        under=f"{_amount(cost['price_per_hour'], cost['currency'])} an hour, at the utilisation that was measured; a "
        "request's price holds shadow runs, unanswered work and idle time",
        head=head,
        right=head[1:],
        rows=tuple(
            (
                name,
                num.count(each["answers"]),
                share(each["utilisation"]),
                *(
                    _amount(each["amounts"][key], cost["currency"])
                    for key in ("per_request", "per_million", "per_month")
                ),
            )
            for name, each in (*rows, ("all", cost))
        ),
        remarks=("A month is 730 hours at this traffic on this machine.",),
    )


def _who(each: Document, many: bool) -> str:
    return f"{each['model']} {each['version']}" if many else str(each["version"])


def _under(cost: Document) -> str:
    wall = (cost["end_ns"] - cost["start_ns"]) / 1e9
    cores = f"{cost['cores']} core{'' if cost['cores'] == 1 else 's'}"
    used = f"{share(cost['utilisation'])} of it computed, {share(cost['shadow_share'])} as shadow"
    return f"{cores} for {num.duration(wall)}: {used}"


def _adds_up(cost: Document) -> str:
    parts = sum(each["total_core_ns"] for each in cost["versions"]) + cost["unassigned_core_ns"]
    same = "exactly" if parts == cost["meter_core_ns"] else "not"
    return f"The parts add up to the meter {same}: {parts:,} of {cost['meter_core_ns']:,} core-nanoseconds."


def _amount(value: object, currency: str) -> str:
    """An amount, with three digits."""
    found = number(value)
    return num.MISSING if found is None else f"{num.significant(found)} {currency}"


def _rows(cost: Document, kinds: list[tuple[str, str, str]], many: bool) -> list[tuple[str, ...]]:
    meter = cost["meter_core_ns"]
    rows = [
        (
            _who(each, many),
            *(share(each[key] / meter) for key, _, _ in kinds),
            share(each["share"]),
            share(each["utilisation"]),
            seconds(each["busy_core_s_per_run"]),
        )
        for each in cost["versions"]
    ]
    if cost["unassigned_core_ns"]:
        idle = share(cost["unassigned_core_ns"] / meter)
        rows.append(("nobody", *(idle if key == "idle_core_ns" else "" for key, _, _ in kinds), idle, "", ""))
    sums = (sum(each[key] for each in cost["versions"]) for key, _, _ in kinds)
    extra = [cost["unassigned_core_ns"] if key == "idle_core_ns" else 0 for key, _, _ in kinds]
    totals = (share((found + more) / meter) for found, more in zip(sums, extra, strict=True))
    return [*rows, ("all", *totals, "100 %", "", "")]


def figure(cost: Document, many: bool, ident: str, *, narrow: bool) -> Markup:
    """One stacked bar for each version, and one for what is nobody's, on one axis of shares of the meter."""
    width, left = (340.0, 74.0) if narrow else (960.0, 110.0)
    meter = cost["meter_core_ns"]
    bars = [
        (
            _who(each, many),
            [(each[key] / meter, name, style) for key, name, style in KINDS if each[key]],
        )
        for each in cost["versions"]
    ]
    if cost["unassigned_core_ns"]:
        bars.append(("nobody", [(cost["unassigned_core_ns"] / meter, "idle", "c-idle")]))
    most = max(sum(part for part, _, _ in parts) for _, parts in bars)
    axis = scale.linear(0.0, max(most * 1.02, 1e-6), (left, width - 16.0), 3 if narrow else 6)
    bottom = TOP + ROW * len(bars)
    body: list[Markup] = []
    for tick in axis.ticks:
        body.append(svg.line(axis(tick), TOP, axis(tick), bottom, "grid"))
        body.append(svg.label(axis(tick), bottom + 18, num.share(tick, 1), "tick", "middle"))
    for index, (name, parts) in enumerate(bars):
        y = TOP + ROW * index
        body.append(svg.label(left - 10, y + ROW / 2 + 5, svg.shortened(name, left - 12, 14.0), "arm", "end"))
        at = 0.0
        for part, kind, style in parts:
            title = svg.tag("title", svg.escape(f"{name}, {kind}: {share(part)} of the meter"))
            wide = axis(at + part) - axis(at)
            rect = svg.tag("rect", title, x=axis(at), y=y + 7, width=wide, height=ROW - 14, class_=f"part {style}")
            body.append(rect)
            at += part
    said = f"{len(bars)} bars of shares of the machine's time. All numbers stand in the table."
    return svg.figure((width, bottom + FOOT), ident, "Who uses the machine's time", said, body)
