"""The dilution as GitHub-flavoured Markdown."""

from . import _dilution_view as view
from . import _dilution_words as words
from ._dilution_cells import Cell, Entry, Row
from ._markdown_text import escape, table
from ._read import Document

_SIGNS = {"better": "✓ ", "worse": "✗ ", "equivalent": "= ", "inconclusive": "? "}


def render(document: Document) -> str:
    """The whole page as one text, ending with a newline."""
    found = view.build(document)
    blocks = [f"# {escape(found.headline)}", *(escape(each) for each in found.lead)]
    if found.warnings:
        blocks += ["## Warnings", _bullets(found.warnings)]
    blocks += ["## From the operator to the request", escape("; ".join((*found.terms, found.tally)))]
    blocks += [_table(found, found.cells)] if found.cells else ["Nothing was planned."]
    if found.remarks:
        blocks += ["## Refused, and why", _bullets([f"{each.what}: {each.why}" for each in found.remarks])]
    signs = "✓ faster beyond the margin, ✗ slower, = no practical difference, ? undecided"
    blocks += ["## How to read this", _bullets([signs, *(f"{what}: {why}" for what, why in words.READING)])]
    blocks += ["## Set-up", _bullets([f"{each.what}: {each.why}" for each in (*found.facts, *found.environment)])]
    if found.replay:
        blocks += ["## Replay", f"```sh\n{found.replay.replace('```', '')}\n```"]
    return "\n\n".join(blocks) + "\n"


def _bullets(lines: list[str] | tuple[str, ...]) -> str:
    return "\n".join(f"- {escape(each)}" for each in lines)


def _table(found: view.Dilution, cells: tuple[Cell, ...]) -> str:
    share = f"{escape(found.baseline)}'s share"
    arms = [escape(arm) for arm in found.arms]
    head = ["dtype", "tokens", "level", "time of a call", share, *arms]
    rows = [_row(cell, row) for cell in cells for row in cell.rows]
    return table(head, {"tokens", "time of a call", share, *arms}, rows)


def _row(cell: Cell, row: Row) -> list[str]:
    cells = [escape(cell.dtype), f"{cell.tokens:,.0f}", escape(row.label), row.call]
    return [*cells, entry(row.share, sign=False), *(entry(each) for each in row.ratios)]


def entry(found: Entry, *, sign: bool = True) -> str:
    """The estimate with its sign and interval, or what stands in its place. A share is undecided or it is not."""
    if found.estimate is None:
        return found.says
    lead = _SIGNS.get(found.mark, "") if sign or not found.decided else ""
    return f"{lead}{found.shown}{f' ({found.between})' if found.between else ''}"
