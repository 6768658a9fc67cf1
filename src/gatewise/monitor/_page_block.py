"""What the page is made of: blocks with a figure, a table that says the same, and remarks."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup

from ._page_look import num, svg

Document = Mapping[str, Any]
Draw = Callable[[str, bool], Markup]
"""A figure by its id and whether it is the narrow one; empty where there is nothing to draw."""

SECOND_NS = 10**9


@dataclass(frozen=True, kw_only=True)
class Key:
    """A line of a legend: its drawing, and its name."""

    drawn: Markup
    name: str


def swatch(style: str, name: str) -> Key:
    """An area's colour."""
    return Key(drawn=_key("0 0 12 12", "swatch", svg.tag("rect", width=12, height=12, rx=2, class_=style)), name=name)


def stroke(style: str, name: str) -> Key:
    """A line's colour and dashes."""
    return Key(drawn=_key("0 0 26 10", "", svg.path([(1, 5), (25, 5)], f"mean {style}")), name=name)


def point(role: str, style: str, name: str) -> Key:
    """A mark on its interval."""
    drawn = svg.line(1, 6, 25, 6, "bar"), shape(role, 13, 6)
    return Key(drawn=_key("0 0 26 12", f"series {style}", *drawn), name=name)


def _key(box: str, class_: str, *drawn: Markup) -> Markup:
    return svg.tag("svg", *drawn, viewBox=box, class_=class_ or "stroke", aria_hidden="true")


@dataclass(frozen=True, kw_only=True)
class Block:
    """One section. `right`: the columns of numbers. `folded`: the table is closed until somebody opens it."""

    title: str
    under: str = ""
    draw: Draw | None = None
    caption: str = ""
    legend: tuple[Key, ...] = ()
    head: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    folded: bool = False
    remarks: tuple[str, ...] = ()


def seconds(value: object) -> str:
    """A time, or that it is not there."""
    return num.quantity(number(value), "s")


def between(low: object, high: object) -> str:
    """An interval of times; an end that is not there stays open."""
    start, end = number(low), number(high)
    if start is None and end is None:
        return num.MISSING
    if start is None:
        return f"up to {seconds(end)}"
    return f"from {seconds(start)}" if end is None else f"{seconds(start)} to {seconds(end)}"


def share(value: object) -> str:
    """A share with one decimal; a smaller one is said to be small, not to be nothing."""
    found = number(value)
    if found is None:
        return num.MISSING
    return "< 0.1 %" if 0 < found < 0.0005 else num.share(round(found, 3), 1)


def shape(role: str, x: float, y: float, r: float = 4.6) -> Markup:
    """A role's mark, told apart without its colour: a disc is live, a square canary, a diamond shadow."""
    if role == "live":
        return svg.tag("circle", cx=x, cy=y, r=r, class_="spot")
    if role == "canary":
        return svg.tag("rect", x=x - r * 0.9, y=y - r * 0.9, width=r * 1.8, height=r * 1.8, class_="spot")
    o = r * 1.25
    return svg.tag("path", d=f"M{x:.2f} {y - o:.2f}l{o:.2f} {o:.2f}l{-o:.2f} {o:.2f}l{-o:.2f} {-o:.2f}z", class_="spot")


def number(value: object) -> float | None:
    """A number, else None. True and False are no numbers."""
    return None if isinstance(value, bool) or not isinstance(value, int | float) else float(value)


def clock(at_ns: int, *, day: bool = True) -> str:
    """A time that a person reads, in UTC."""
    return datetime.fromtimestamp(at_ns // SECOND_NS, UTC).strftime("%Y-%m-%d %H:%M:%S" if day else "%H:%M:%S")


def named(entry: Document, several: bool) -> str:
    """A version in its role; with the model where there are several."""
    model = f"{entry['model']} " if several else ""
    return f"{model}{entry['version']} {entry['role']}"


def several(document: Document) -> bool:
    """Whether there is more than one model."""
    return len(document["models"]) > 1


def styles(document: Document) -> dict[tuple[str, str], str]:
    """A colour for each version, the same in all figures: what is live first."""
    found: dict[tuple[str, str], str] = {}
    versions: Sequence[tuple[str, Document]] = [
        (held["model"], each) for held in document["models"] for each in held["versions"]
    ]
    for model, each in sorted(versions, key=lambda pair: ("live" not in pair[1]["roles"], pair[0], pair[1]["version"])):
        found[(model, each["version"])] = f"s-{len(found) % 8}"
    return found
