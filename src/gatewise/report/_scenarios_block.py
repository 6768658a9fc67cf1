"""What a scenario's page is made of: blocks with a figure, a table that says the same, and remarks."""

from collections.abc import Callable
from dataclasses import dataclass

from markupsafe import Markup

from . import _numbers as num
from ._read import number

Draw = Callable[[str, bool], Markup]
"""A figure by its id and whether it is the narrow one; empty where there is nothing to draw."""


@dataclass(frozen=True, kw_only=True)
class Block:
    """One section. `right`: the columns of numbers. `marks`: a verdict by the row's number, empty where none is."""

    title: str
    under: str = ""
    draw: Draw | None = None
    caption: str = ""
    head: tuple[str, ...] = ()
    right: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    remarks: tuple[str, ...] = ()


def seconds(value: object) -> str:
    """A time, or that it is not there."""
    return num.quantity(number(value), "s")


def per_second(value: object) -> str:
    """A rate."""
    return num.quantity(number(value), "1/s")


def percent(value: object) -> str:
    """A share, with three digits."""
    found = number(value)
    return num.MISSING if found is None else f"{float(f'{100 * found:.3g}'):g} %"


def between(low: str, high: str) -> str:
    """An interval in words; an end that is not there stays open."""
    if low == high == num.MISSING:
        return num.MISSING
    if low == num.MISSING:
        return f"up to {high}"
    return f"from {low}" if high == num.MISSING else f"{low} to {high}"
