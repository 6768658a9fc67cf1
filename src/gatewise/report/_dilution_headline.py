"""The sentences at the head of a dilution: how far a gain reaches, never more certain than it is."""

import math
from collections.abc import Callable, Iterator, Sequence

from . import _dilution_words as words
from ._dilution_cells import Cell, Entry, Row

_FAR = ("model", "request", "layer", "ffn")


def speed(entry: Entry, baseline: str) -> str:
    """One entry as the end of "relu is ...", never sounding more certain than it is."""
    if entry.estimate is None:
        return f"is {entry.says}"
    fast = f"{words.times(1.0 / entry.estimate)} times as fast as {baseline}"
    if entry.verdict == "better":
        return f"is {fast}"
    if entry.verdict == "worse":
        return f"takes {words.times(entry.estimate)} times as long as {baseline}"
    if entry.verdict == "equivalent":
        return f"makes no practical difference ({fast})"
    return f"is not told apart from {baseline} (undecided, estimate {fast})"


def headline(cells: Sequence[Cell], baseline: str, arms: Sequence[str]) -> str:
    """The clearest pair of operator and whole model, decided on both sides where there is one."""
    found = sorted(_pairs(cells, arms), key=_clarity, reverse=True)
    if not found:
        measured = any(entry.estimate is not None for cell in cells for row in cell.rows for entry in row.ratios)
        if measured:
            return "No arm has a number both alone and in a larger whole yet: the dilution is not known."
        return "Nothing was decided: no arm has a number at any level."
    cell, arm, near, far, place = found[0]
    where = f"At {words.tokens(cell.tokens)} in {cell.dtype}"
    both = f"{where}, {arm} {speed(near, baseline)} {words.PLACES['operator']}, and {speed(far, baseline)} {place}."
    return both if near.decided and far.decided else f"{both} Not all of this is decided."


def _pairs(cells: Sequence[Cell], arms: Sequence[str]) -> Iterator[tuple[Cell, str, Entry, Entry, str]]:
    """Arms that have a number alone and in something larger: the whole model before the request, then smaller ones."""
    for cell in cells:
        rows: dict[str, Row] = {row.level: row for row in cell.rows}
        if "operator" not in rows:
            continue
        for index, arm in enumerate(arms):
            near = rows["operator"].ratios[index]
            wholes = [(rows[level].ratios[index], words.PLACES[level]) for level in _FAR if level in rows]
            numbered = [(far, place) for far, place in wholes if far.estimate is not None]
            if near.estimate is not None and numbered:
                # A decided whole model or request before an undecided one; a block is no whole.
                far, place = max(numbered[:2], key=lambda each: each[0].decided)
                yield cell, arm, near, far, place


def _clarity(found: tuple[Cell, str, Entry, Entry, str]) -> tuple[bool, bool, float]:
    _, _, near, far, place = found
    whole = place in (words.PLACES["model"], words.PLACES["request"])
    return whole, near.decided and far.decided, abs(math.log(near.estimate or 1.0))


def lead(cells: Sequence[Cell], baseline: str, arms: Sequence[str]) -> tuple[str, ...]:
    """Per arm the span of its ratios at both ends of the way, and the activation's share at both ends."""
    said = [sentence for index, arm in enumerate(arms) if (sentence := _span(cells, baseline, arm, index))]
    shares = {level: _shares(cells, level) for level in ("operator", "model", "request")}
    far = next((level for level in ("request", "model") if shares[level]), None)
    if shares["operator"] and far:
        said.append(
            f"{baseline} itself takes {_range(shares['operator'], words.share)} of the time of the operator's call and "
            f"{_range(shares[far], words.share)} of {'a request' if far == 'request' else 'the whole model'}."
        )
    return tuple(said)


def _span(cells: Sequence[Cell], baseline: str, arm: str, index: int) -> str:
    def entries(level: str) -> list[Entry]:
        found = [row.ratios[index] for cell in cells for row in cell.rows if row.level == level]
        return [entry for entry in found if entry.estimate is not None]

    near = entries("operator")
    level = next((level for level in ("request", "model") if entries(level)), None)
    if not near or level is None:
        return ""
    far = entries(level)
    spans = [_range([entry.estimate or 1.0 for entry in found], words.ratio) for found in (near, far)]
    decided = sum(entry.decided for entry in (*near, *far))
    return (
        f"{arm}: {spans[0]} of {baseline}'s time alone, {spans[1]} {words.PLACES[level]} "
        f"({decided} of {len(near) + len(far)} decided)."
    )


def _shares(cells: Sequence[Cell], level: str) -> list[float]:
    found = [row.share.estimate for cell in cells for row in cell.rows if row.level == level]
    return [estimate for estimate in found if estimate is not None]


def _range(values: Sequence[float], show: Callable[[float | None], str]) -> str:
    low, high = show(min(values)), show(max(values))
    return low if low == high else f"{low.removesuffix(' %')} to {high}"


def tally(entries: Sequence[Entry]) -> str:
    """How many ratios are decided, undecided, refused, not measured."""
    kinds = {"decided": 0, "undecided": 0, "refused": 0, "not measured": 0}
    for entry in entries:
        kinds["decided" if entry.decided and entry.estimate is not None else entry.says] += 1
    return ", ".join(f"{count} {kind}" for kind, count in kinds.items() if count) or "nothing"
