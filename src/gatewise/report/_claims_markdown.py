"""The claims' documents as GitHub-flavoured Markdown: what came out first, then claim by claim what it rests on."""

import re
from collections.abc import Sequence

from . import _claims_merged, _claims_view
from . import _claims_words as words
from ._claims_panels import ClaimPanel, Compared
from ._claims_view import Claim, Tally
from ._facts import Item
from ._markdown import said
from ._markdown_text import escape
from ._numbers import MISSING
from ._read import Document


def claims(document: Document) -> str:
    """Graded claims as one text, ending with a newline."""
    view = _claims_view.build(document)
    blocks = [f"# {escape(view.headline)}", *map(escape, view.scope), _tally(view.tally, counted=True)]
    rows = [[escape(each.id), words.said(each.grade), escape(each.sentence)] for each in view.claims]
    blocks += ["## The claims", _table(["id", "grade", "claim"], set(), rows)] if rows else []
    for each in view.claims:
        blocks.append(f"## {escape(each.id)}: {escape(each.sentence)}")
        blocks += [*_background(each), *_result(each, 3)]
    blocks += _facts("Environment", (*view.facts, *view.environment), 2)
    return "\n\n".join(blocks) + "\n"


def merged(document: Document) -> str:
    """Claims of several machines as one text, ending with a newline."""
    view = _claims_merged.build(document)
    blocks = [f"# {escape(view.headline)}", *map(escape, view.scope), _tally(view.tally, counted=False)]
    head = ["id", *(escape(machine.name) for machine in view.machines), "", "claim"]
    rows = [
        [
            escape(row.id),
            *(words.said(result.grade) if result else "not run there" for result in row.results),
            f"**{row.mark}**" if row.differ else row.mark,
            escape(row.sentence),
        ]
        for row in view.rows
    ]
    blocks += ["## The claims", _table(head, set(), rows)] if rows else []
    for row in view.rows:
        blocks.append(f"## {escape(row.id)}: {escape(row.sentence)}")
        blocks += _background(row.same) if row.same else []
        for machine, result in zip(view.machines, row.results, strict=True):
            if result is not None:
                blocks.append(f"### {escape(machine.name)}")
                blocks += [] if row.same else [escape(result.sentence), *_background(result)]
                blocks += _result(result, 4)
    for machine in view.machines:
        blocks += _facts(f"Environment: {machine.name}", (*machine.facts, *machine.environment), 2)
    return "\n\n".join(blocks) + "\n"


def _tally(tally: Sequence[Tally], *, counted: bool) -> str:
    lines: list[str] = []
    for each in tally:
        count = f" ({each.count})" if counted else ""
        meaning = f": {escape(each.meaning)}" if each.meaning else ""
        lines.append(f"- {words.said(each.grade)}{count}{meaning}")
    return "\n".join(lines)


def _background(claim: Claim) -> list[str]:
    """What the sentence is, and what would support it: the same on every machine."""
    found = [f"Source: {escape(claim.source)}"] if claim.source else []
    found += _bullets("What would support it", claim.relations)
    found += _bullets("What else would explain it", claim.otherwise)
    return found


def _result(claim: Claim, level: int) -> list[str]:
    """What one machine came to."""
    own = f"{words.said(claim.own) if claim.own else words.UNGRADED} ({escape(claim.own_reason)})"
    blocks = [f"**{words.said(claim.grade)}**{f': {escape(claim.reason)}' if claim.reason else ''}"]
    blocks.append(_table(["stock implementations", "gatewise's own"], set(), [[words.said(claim.stock), own]]))
    waits = [f"Waits for: {claim.waits_for}"] if claim.waits_for else []
    waits += [f"Follows from: {claim.follows}"] if claim.follows else []
    blocks += ["\n".join(f"- {escape(each)}" for each in waits)] if waits else []
    blocks += [escape(claim.looks)] if claim.looks else []
    blocks += _bullets("Statement by statement", claim.stated)
    for table in claim.tables:
        rows = [[escape(cell) for cell in row] for row in table.rows]
        blocks += [f"{'#' * level} {escape(table.title)}", _table(table.head, set(table.head[1:]), rows)]
        blocks += ["\n".join(f"- {escape(note)}" for note in table.notes)] if table.notes else []
    for panel in claim.panels:
        blocks += _panel(panel, claim.cost, level)
    blocks += _bullets("Learning rates", claim.rates)
    blocks += _bullets("Left out", [f"{each.what}: {each.why}" for each in claim.left_out])
    blocks += _bullets("What would settle the rest", claim.settle)
    blocks += _bullets("What was measured", [f"{each.what}: {each.why}" for each in claim.subjects])
    blocks += _bullets("Order of the arms", claim.order)
    blocks += _bullets("How", [f"{each.what}: {each.why}" for each in claim.facts])
    if claim.replay:
        fence = "`" * max(3, 1 + max(map(len, re.findall("`+", claim.replay)), default=0))
        blocks.append(f"{fence}sh\n{claim.replay}\n{fence}")
    return blocks


def _panel(panel: ClaimPanel, cost: str, level: int) -> list[str]:
    blocks = [f"{'#' * level} {escape(panel.title)}", escape("; ".join(panel.all_terms))]
    priced = "cost of a million requests"
    head = ["arms", "at", "claimed", "change", "interval", "margin", "verdict", panel.side, "could see", "n"]
    numbers = {"change", "interval", "margin", "could see", "n"}
    rows = [[*_row(panel, row), *([escape(row.cost) or MISSING] if cost else [])] for row in panel.rows]
    blocks.append(_table([*head, *([priced] if cost else [])], numbers, rows))
    if panel.priced:
        blocks.append(escape(f"The cost is {cost}." if cost else words.NO_PRICE))
    lines = [f"- {escape(each.line)}" for each in panel.remarks]
    return [*blocks, *(["\n".join(lines)] if lines else [])]


def _row(panel: ClaimPanel, row: Compared) -> list[str]:
    verdict = said(row.verdict) + (", unfair" if row.unfair and row.verdict else "")
    cells = [escape(row.pair), escape(row.group) or MISSING, escape(row.claimed) or MISSING]
    cells += [panel.show(row.estimate), panel.interval(row), row.margin, verdict, row.side or MISSING]
    return [*cells, row.smallest, row.n]


def _facts(title: str, found: Sequence[Item], level: int) -> list[str]:
    lines = [f"- {escape(each.what)}: {escape(each.why)}" for each in found]
    return [f"{'#' * level} {escape(title)}", "\n".join(lines)] if lines else []


def _bullets(title: str, found: Sequence[str]) -> list[str]:
    return [f"{escape(title)}:", "\n".join(f"- {escape(each)}" for each in found)] if found else []


def _table(head: Sequence[str], right: set[str], rows: Sequence[Sequence[str]]) -> str:
    rule = ["---:" if name in right else "---" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
