"""A fact that is not there: null in the document, with the reason beside it."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Missing:
    """Stands in a tree of facts where one could not be had."""

    reason: str


def settle(tree: Mapping[str, Any]) -> dict[str, Any]:
    """The tree as plain data: each `Missing` is null and its reason stands in `missing`, by dotted path.

    A number that is not finite is no fact either: it becomes null in the same way.
    """
    reasons: dict[str, str] = {}
    return {**_plain(tree, "", reasons), "missing": reasons}


def _plain(node: Any, path: str, reasons: dict[str, str]) -> Any:
    if isinstance(node, Missing):
        reasons[path] = node.reason
        return None
    if isinstance(node, float) and not math.isfinite(node):
        reasons[path] = "the measurement gave no finite number"
        return None
    if isinstance(node, Mapping):
        return {str(key): _plain(value, f"{path}.{key}".lstrip("."), reasons) for key, value in node.items()}
    if isinstance(node, Sequence) and not isinstance(node, str):
        return [_plain(value, f"{path}.{index}".lstrip("."), reasons) for index, value in enumerate(node)]
    return node


def nulls(tree: Any, path: str = "") -> Iterator[str]:
    """The dotted paths of everything that is null."""
    if tree is None:
        yield path
    elif isinstance(tree, Mapping):
        for key, value in tree.items():
            yield from nulls(value, f"{path}.{key}".lstrip("."))
    elif isinstance(tree, list):
        for index, value in enumerate(tree):
            yield from nulls(value, f"{path}.{index}".lstrip("."))
