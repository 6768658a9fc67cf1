"""The dilution for a terminal: one row a level, grouped by dtype and tokens."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from . import _columns, _dilution_view
from ._columns import Column
from ._dilution_cells import Cell, Entry
from ._dilution_view import Dilution
from ._read import Document
from ._terminal_words import SIGNS, STYLES, Words


def show(document: Document, console: Console | None = None) -> None:
    """Print the dilution to `console`, by default to stdout."""
    target = console or Console(file=sys.stdout, highlight=False)
    words = Words(encoding=target.encoding)
    for block in _blocks(_dilution_view.build(document), words, target):
        target.print(words.encoded(block), highlight=False, soft_wrap=True)


def _blocks(view: Dilution, words: Words, console: Console) -> Iterable[Text]:
    yield _columns.hanging(words(""), words(view.headline, "bold"), console, 0)
    if view.lead:
        yield words("")
    for each in view.lead:
        yield _columns.hanging(words(""), words(each), console, 0)
    if view.warnings:
        yield words("\nWarnings", "bold")
        yield from (_columns.hanging(words("  -"), words(each), console, 4) for each in view.warnings)
    for cell in view.cells:
        yield words(f"\n{cell.title}", "bold")
        yield from _columns.lines(_table(view, cell, words), console.width)
    yield words("")
    signs = "✓ faster beyond the margin, ✗ slower, = no practical difference, ? undecided"
    for each in ("; ".join(view.terms), signs, view.tally):
        yield _columns.hanging(words(""), words(each, "dim"), console, 2)
    for remark in view.remarks:
        yield _columns.hanging(words(""), words(f"refused, {remark.why}: {remark.what}", "dim"), console, 2)
    if view.machine:
        yield _columns.hanging(words("machine", "dim"), words(view.machine), console, 9)
    if view.replay:
        yield words("again    ", "dim").append_text(words(view.replay))


def _table(view: Dilution, cell: Cell, words: Words) -> list[Column]:
    rows = cell.rows
    columns = [
        Column(head="level", cells=[words(row.label) for row in rows], flexible=True),
        Column(head="a call", cells=[words(row.call) for row in rows], right=True, optional=_columns.NICE),
    ]
    columns.append(_estimates(f"{view.baseline}'s share", [row.share for row in rows], words))
    for index, arm in enumerate(view.arms):
        entries = [row.ratios[index] for row in rows]
        columns.append(_estimates(arm, entries, words))
        between = [words(entry.between, "dim") for entry in entries]
        columns.append(Column(head="interval", cells=between, right=True, optional=index + 1))
    return columns


def _estimates(head: str, entries: list[Entry], words: Words) -> Column:
    return Column(head=head, cells=[_estimate(entry, words) for entry in entries], right=True)


def _estimate(entry: Entry, words: Words) -> Text:
    """A number with its sign; of a share only that it is undecided needs one."""
    if entry.estimate is None:
        return words(entry.shown, "dim")
    if entry.share and entry.decided:
        return words(entry.shown)
    return words(f"{entry.shown} {SIGNS[entry.mark]}", STYLES[entry.mark])
