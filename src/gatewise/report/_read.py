"""Reads a result document without trusting it.

A report is also made of interrupted and failed studies, so a missing key, a null or a number that is not finite
never stops it: what is not there is left out or said to be missing.
"""

import math
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

Document = Mapping[str, Any]

_LARGEST = 1e150

VERDICTS = ("better", "worse", "equivalent", "inconclusive")


def record(document: Document, key: str) -> Document:
    """The mapping under `key`, or an empty one."""
    value = document.get(key)
    return value if isinstance(value, Mapping) else {}


def records(document: Document, key: str) -> list[Document]:
    """The mappings in the list under `key`; anything else in it is passed over."""
    value = document.get(key)
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def strings(document: Document, key: str) -> list[str]:
    """The texts in the list under `key`, without the empty ones; a single text counts as a list of one."""
    value = document.get(key)
    items: Iterable[object] = [value] if isinstance(value, str) else value if isinstance(value, list) else []
    return [item for item in map(text, items) if item]


def text(value: object) -> str:
    """A value as one line of text: null is empty, control characters (an escape code in a label) become U+FFFD."""
    if value is None:
        return ""
    line = " ".join(str(value).split())
    return "".join("\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in ("Cc", "Cs") else sign for sign in line)


def number(value: object) -> float | None:
    """A finite number, else None. True and False are no numbers; nor is what no axis could hold (1e150 and up)."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        converted = float(value)
    except OverflowError:
        return None
    return converted if math.isfinite(converted) and abs(converted) < _LARGEST else None


def pair(value: object) -> tuple[float, float] | None:
    """Two finite numbers in ascending order, else None."""
    if not isinstance(value, list | tuple) or len(value) != 2:
        return None
    low, high = number(value[0]), number(value[1])
    return None if low is None or high is None else (min(low, high), max(low, high))


def verdict(value: object) -> str:
    """One of the four verdicts, or empty where the document says none of them."""
    return value if isinstance(value, str) and value in VERDICTS else ""
