"""What the rows of a panel share: reasons and notes said once, the weights state, the confidence."""

from collections.abc import Sequence
from typing import Literal

from ._panels import Remark, Row

Kind = Literal["refused", "undecided", "note"]
_ORDER: tuple[Kind, ...] = ("refused", "undecided", "note")
_MOST_NAMES = 6
_LONGEST_NAME = 32
# States in which an arm's weights were not made for its function; the others need no word.
_SAID = ("grafted", "untrained", "converted")


def remarks(rows: Sequence[Row]) -> tuple[Remark, ...]:
    """Every reason and note once, in the order of the rows: refusals first, then what is undecided, then notes."""
    found: dict[tuple[Kind, str], list[Row]] = {}
    for row in rows:
        why: Kind = "refused" if row.refused else "undecided"
        said: list[tuple[Kind, str]] = [("note", note) for note in row.notes]
        if row.reason:
            said.insert(0, (why, row.reason))
        for each in said:
            found.setdefault(each, []).append(row)
    made = [Remark(who=_who(about, rows), text=what, kind=kind) for (kind, what), about in found.items()]
    return tuple(sorted(made, key=lambda remark: _ORDER.index(remark.kind)))


def state(rows: Sequence[Row]) -> str:
    """The weights state that all compared arms share; where they differ, each with its own, else empty."""
    arms = {row.arm: row.state for row in rows if not row.twin}
    states = set(arms.values())
    if not states & set(_SAID):
        return ""
    if len(states) == 1:
        return f"weights {states.pop()}"
    groups = {each: [arm for arm, own in arms.items() if own == each] for each in dict.fromkeys(arms.values())}
    return "weights " + ", ".join(f"{each} in {names(who)}" for each, who in groups.items() if each in _SAID)


def level(alphas: Sequence[float | None], shown: Sequence[str]) -> str:
    """The confidence of a panel's intervals in a few words; levels that differ stand in the record."""
    kept = {text for alpha, text in zip(alphas, shown, strict=True) if alpha is not None}
    if len(kept) > 1:
        return "simultaneous intervals, levels in result.json"
    return f"{kept.pop()} intervals" if kept else ""


def names(found: Sequence[str]) -> str:
    """Names as people list them; many are counted."""
    several = [_short(each) for each in dict.fromkeys(found)]
    if len(several) > _MOST_NAMES:
        return f"{len(several)} arms"
    return " and ".join(filter(None, [", ".join(several[:-1]), several[-1]])) if several else ""


def _short(name: str) -> str:
    """A long label is whole in the tables; in a sentence its beginning will do."""
    return name if len(name) <= _LONGEST_NAME else name[: _LONGEST_NAME - 1].rstrip() + "…"


def _who(about: Sequence[Row], rows: Sequence[Row]) -> str:
    """The rows in words: all arms, all at some conditions, or names with their conditions."""
    arms = [row for row in rows if not row.twin]
    if len(arms) > 1 and all(row in about for row in arms):
        return "all arms"
    parts: dict[str, list[str]] = {}
    for group in dict.fromkeys(row.group for row in about):
        here = [row.arm for row in about if row.group == group]
        everyone = [row.arm for row in arms if row.group == group]
        whole = len(everyone) > 1 and set(everyone) <= set(here)
        parts.setdefault("all arms" if whole else names(here), []).append(group)
    return "; ".join(f"{who} at {names(where)}" if any(where) else who for who, where in parts.items())
