"""Numbers that sum up a JSON body of a server that somebody else wrote, and the predictions in its answer."""

import math
from collections.abc import Mapping
from typing import Any

from gatewise.core import GatewiseError

MOST_NAMES = 64
"""Names of one body that are summed up; what comes after them is left out."""


def at_pointer(document: Any, pointer: str) -> Any:
    """The value at a JSON pointer (RFC 6901) such as `/predictions/0`; None where there is none."""
    if pointer and not pointer.startswith("/"):
        raise GatewiseError(f"a JSON pointer begins with /, such as /predictions; not {pointer!r}")
    value = document
    for part in pointer.split("/")[1:]:
        key = part.replace("~1", "/").replace("~0", "~")
        if isinstance(value, Mapping):
            value = value.get(key)
        elif isinstance(value, list) and key.isdigit() and int(key) < len(value):
            value = value[int(key)]
        else:
            return None
    return value


def numbers_of(document: Any) -> dict[str, float]:
    """By name, the mean, spread and size of each list of numbers, each single number, and the length of each text.

    An Open Inference Protocol body is read by its tensors' names, anything else by the keys of its top level.
    """
    found: dict[str, float] = {}
    for name, value in _named(document)[:MOST_NAMES]:
        if isinstance(value, str):
            found[f"{name}.length"] = float(len(value))
            continue
        if isinstance(value, bool | int | float):
            found[name] = float(value)
            continue
        flat = flat_numbers(value)
        if flat is None:
            continue
        found[f"{name}.size"] = float(len(flat))
        if flat:
            mean = math.fsum(flat) / len(flat)
            found[f"{name}.mean"] = mean
            found[f"{name}.std"] = math.sqrt(math.fsum((each - mean) ** 2 for each in flat) / len(flat))
    return found


def flat_numbers(value: Any) -> list[float] | None:
    """Nested lists of numbers as one list; None where something else stands among them."""
    flat: list[float] = []
    waiting: list[Any] = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, list):
            waiting.extend(reversed(each))
        elif isinstance(each, bool | int | float) and math.isfinite(each):
            flat.append(float(each))
        else:
            return None
    return flat


def predictions_of(document: Any, pointer: str) -> tuple[float, ...]:
    """The predictions at a pointer: one number, or a list with one number for each row. Empty where there are none."""
    value = at_pointer(document, pointer) if pointer else None
    if isinstance(value, bool | int | float):
        value = [value]
    flat = flat_numbers(value) if isinstance(value, list) else None
    return tuple(flat or ())


def _named(document: Any) -> list[tuple[str, Any]]:
    if not isinstance(document, Mapping):
        return [("body", document)]
    tensors = document.get("inputs", document.get("outputs"))
    if isinstance(tensors, list) and all(isinstance(each, Mapping) and "name" in each for each in tensors):
        return [(str(each["name"]), each.get("data")) for each in tensors]
    return [(str(name), value) for name, value in document.items()]
