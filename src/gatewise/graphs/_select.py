"""Which part of a dimension an operation takes: the same words for splits, slices and gathers of all formats."""

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any

from ._layout import span


def split_part(index: int, sizes: Sequence[int], axis: int) -> Mapping[str, Any]:
    """The attributes of one output of a split."""
    found: dict[str, Any] = {"axis": axis, "size": sizes[index], "start": sum(sizes[:index])}
    if len(set(sizes)) == 1 and len(sizes) > 1:
        found["part"] = (index, len(sizes))
    return found


def slice_part(start: int, end: int, step: int, size: int | None, axis: int, *, last: bool) -> Mapping[str, Any]:
    """The attributes of a slice along one axis; `size` is that of the whole, `last` whether it is the last axis."""
    found: dict[str, Any] = {"axis": axis, "step": step}
    if size is None:
        if step > 1 and 0 <= start < step and end >= 2**31 - 1:
            found.update(part=(start, step), start=start, **({"interleaved": True} if last else {}))
        return found
    places = range(size)[span(start, end, step, size)]
    return found | dict(places_part(places, size, last=last))


def places_part(places: Sequence[int], size: int, *, last: bool) -> Mapping[str, Any]:
    """The attributes of a choice of places 0 to size - 1, given in order."""
    found: dict[str, Any] = {"size": len(places)}
    if not places or list(places) == list(range(size)):
        return found
    found["start"] = places[0]
    steps = {b - a for a, b in pairwise(places)} or {1}
    count = size // len(places)
    if size % len(places) or len(steps) != 1:
        return found
    step = steps.pop()
    if step == 1 and places[0] % len(places) == 0:
        found["part"] = (places[0] // len(places), count)
    elif step == count and places[0] < count:
        found.update(part=(places[0], count), **({"interleaved": True} if last else {}))
    return found
