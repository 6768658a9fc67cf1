"""Late labels from their JSON: `{"labels": [{"request": "ID", "row": 0, "value": 1}]}`."""

import math
import time

from gatewise.monitor import Label

from ._refusal import bad

_KEYS = {"request", "row", "value", "at_ns"}


def labels_of(document: object) -> list[Label]:
    """All labels of a document, or a `Refusal` (400) that names the first that is wrong."""
    given = document.get("labels") if isinstance(document, dict) else None
    if not isinstance(given, list) or not given:
        raise bad("the body must be an object with labels: a list of objects with request and value")
    return [_label(each, index) for index, each in enumerate(given)]


def _label(given: object, index: int) -> Label:
    if not isinstance(given, dict):
        raise bad(f"labels[{index}] must be an object with request and value")
    request, row, value = given.get("request"), given.get("row", 0), given.get("value")
    at_ns = given.get("at_ns", time.time_ns())
    unknown = sorted(set(given) - _KEYS)
    if unknown:
        raise bad(f"labels[{index}]: unknown key {unknown[0][:80]!r}; valid: request, row, value, at_ns")
    if not isinstance(request, str) or not 0 < len(request) <= 512:
        raise bad(f"labels[{index}]: request must be the id of a request")
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise bad(f"labels[{index}]: value must be a finite number")
    for name, each in (("row", row), ("at_ns", at_ns)):
        if type(each) is not int or not 0 <= each < 1 << 63:
            raise bad(f"labels[{index}]: {name} must be a whole number from 0 up")
    return Label(request=request, row=row, value=float(value), at_ns=at_ns)
