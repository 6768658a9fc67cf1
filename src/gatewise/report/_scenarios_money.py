"""What it costs, and when training pays back, as blocks of a page."""

from . import _numbers as num
from ._read import Document, number, pair, record, text
from ._scenarios_block import Block, between, percent


def cost(document: Document) -> Block | None:
    """The cost table; None where nothing was priced."""
    found = record(document, "cost")
    if not found:
        return None
    if found.get("reason"):
        return Block(title="Cost", remarks=(text(found.get("reason")),))
    pricing, capacity = record(found, "pricing"), record(found, "capacity")
    currency = text(pricing.get("currency"))
    names = {
        "busy_per_million": "a million requests, machine time alone",
        "per_million": "a million requests, whole machines",
        "per_request": "a request",
        "per_month": "a month",
    }
    rows = tuple((what, amount(record(found, key), currency), _ends(record(found, key))) for key, what in names.items())
    machines = number(found.get("machines"))
    shape = number(record(pricing, "shape").get("peak_to_mean")) or 1.0
    traffic = num.count(number(pricing.get("requests_per_month")))
    stated = "" if found.get("whole_fleet") else ": what one machine answers at that utilisation"
    rate = num.quantity(number(capacity.get("samples_per_s")), "1/s")
    remarks = [
        f"Capacity: {rate} a machine ({text(capacity.get('source'))})",
        f"Traffic: {traffic} requests a month{stated}; the peak is {shape:g} times the mean",
        f"Machines at the peak: {num.count(machines)}",
    ]
    if pair(capacity.get("interval")) is None:
        remarks.append("The capacity is one confirmed rate without an interval, so the cost has none")
    return Block(
        title="Cost",
        under=f"{num.significant(number(pricing.get('price_per_hour')))} {currency} an hour, machines loaded to "
        f"{percent(pricing.get('utilisation'))} of the measured capacity at the peak",
        head=("of", "cost", "interval"),
        right=("cost", "interval"),
        rows=rows,
        remarks=tuple(remarks),
    )


def payback(document: Document) -> Block | None:
    """The break-even; None where none was asked."""
    found = record(document, "break_even")
    if not found:
        return None
    asked, even = record(document, "asked"), record(found, "even")
    currency = text(asked.get("currency"))
    saved = record(even, "saving_per_request")
    rows = [
        _throughput(f"before: {text(found.get('implementation'))}", record(found, "before")),
        _throughput(f"after: {text(document.get('implementation'))}", record(found, "after")),
        ("saved by a million requests", amount(saved, currency, 1e6), _ends(saved, 1e6)),
    ]
    for key, what in (("requests", "requests until it is paid for"), ("days", "days until it is paid for")):
        held = record(even, key)
        shown = num.count(number(held.get("value"))) if held else "never"
        rows.append((what, shown, _ends(held)))
    hours, price = number(asked.get("training_hours")), number(asked.get("training_price_per_hour"))
    return Block(
        title="When training pays back",
        under=f"{num.significant(hours)} h of training at {num.significant(price)} {currency} an hour: "
        f"{num.significant(number(even.get('extra')))} {currency}",
        head=("of", "value", "interval"),
        right=("value", "interval"),
        rows=tuple(rows),
        remarks=(
            text(even.get("reason")),
            f"A request costs {text(found.get('basis'))}",
            f"{num.count(number(found.get('requests_per_day')))} requests a day",
        ),
    )


def amount(found: Document, currency: str, scale: float = 1.0) -> str:
    """An amount of money."""
    value = number(found.get("value"))
    return num.MISSING if value is None else f"{num.significant(value * scale)} {currency}"


def _ends(found: Document, scale: float = 1.0) -> str:
    ends = pair(found.get("interval"))
    return num.MISSING if ends is None else between(*(num.significant(end * scale) for end in ends))


def _throughput(name: str, found: Document) -> tuple[str, str, str]:
    return (name, num.quantity(number(found.get("samples_per_s")), "1/s"), _ends(found))
