"""What moves the time, the selection and the continuations, in GitHub-flavoured Markdown."""

import re

from ._generation import Generation
from ._markdown_text import escape, table
from ._moves import drawn
from ._selection import Point, Selection
from ._view import View

_BAR = 30


def moves(view: View) -> list[str]:
    """Two bars of text on one scale for each condition, right under the headline; then all ratios."""
    if not view.moves:
        return []
    shown = drawn(view.moves)
    most = max(ratio.factor for move in shown for _, ratio in move.bars)
    lines: list[str] = []
    for move in shown:
        lines += [move.title] if move.title else []
        lines += [f"{name:<15} {bar(ratio.factor, most):<{_BAR}} {ratio.shown}" for name, ratio in move.bars]
    rows = [
        [escape(move.title), kind, escape(ratio.arm), ratio.shown, ratio.between, escape(ratio.says)]
        for move in view.moves
        for kind, ratio in move.rows
    ]
    head = ["at", "what", "arm", "moves the time", "interval", "direction"]
    return [
        "## What moves the time: the runtime or the activation?",
        *(f"**{escape(move.told)}**" for move in shown),
        fenced("\n".join(lines)),
        table(head, {"moves the time", "interval"}, rows),
    ]


def bar(factor: float, most: float) -> str:
    """A bar of blocks whose length is the distance from no change, on the scale of the largest."""
    share = (factor - 1.0) / (most - 1.0) if most > 1.0 else 0.0
    return "█" * round(_BAR * share) or "▏"


def selections(view: View) -> list[str]:
    """The recommendation of each part with its reasons, and the candidates."""
    blocks: list[str] = []
    for found in view.selections:
        named = f", {found.title}" if found.title and len(view.selections) + len(view.parts) > 2 else ""
        blocks += [f"## Which one to take{escape(named)}", f"**{escape(found.sentence)}**"]
        blocks += ["\n".join(f"- {escape(each)}" for each in found.reasons)] if found.reasons else []
        head = ["candidate", *(escape(each.head) for each in found.objectives), "where it stands"]
        rows = [_candidate(found, point) for point in found.points]
        blocks.append(table(head, set(head[1:-1]), rows))
    return blocks


def _candidate(found: Selection, point: Point) -> list[str]:
    name = escape(point.label) + (" (recommended)" if point.recommended else "")
    return [name, *(found.shown(point, each) for each in found.objectives), escape(point.says)]


def generations(view: View) -> list[str]:
    """What each arm wrote after each prompt."""
    return [block for found in view.generations for block in _written(found, several=len(view.parts) > 1)]


def _written(found: Generation, *, several: bool) -> list[str]:
    named = f", {escape(found.part)}" if found.part and several else ""
    blocks = [f"## What the arms write{named}"]
    for index, each in enumerate(found.texts, 1):
        blocks += [f"### Prompt {index}", fenced(each.prompt)]
        for arm, said in each.by_arm:
            blocks += [f"{escape(arm)}:", fenced(said)]
    facts = [f"- {escape(item.what)}: {escape(item.why)}" for item in found.facts]
    return [*blocks, *(["\n".join(facts)] if facts else [])]


def fenced(content: str) -> str:
    """Text as it stands, in a fence that nothing in it can close."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", content)), default=0))
    return f"{fence}text\n{content}\n{fence}"
