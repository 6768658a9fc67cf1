"""An own file's answer for a terminal: the sentences, and the tables that they come from."""

import sys
from collections.abc import Iterable

from rich.console import Console
from rich.text import Text

from . import _columns, _table_view
from ._columns import Column
from ._read import Document
from ._table_view import Table, View
from ._terminal_words import SIGNS, STYLES, Words

_SHOWN = ("answers", "worth", "quality", "arms", "time", "slices")


def show(document: Document, console: Console | None = None) -> None:
    """Print the answer to `console`, by default to stdout."""
    target = console or Console(file=sys.stdout, highlight=False)
    words = Words(encoding=target.encoding)
    for block in _blocks(_table_view.build(document), words, target):
        target.print(words.encoded(block), highlight=False, soft_wrap=True)


def _blocks(view: View, words: Words, console: Console) -> Iterable[Text]:
    yield _columns.hanging(words(""), words(view.headline, "bold"), console, 0)
    yield words("")
    for each in view.lead:
        yield _columns.hanging(words(""), words(each), console, 0)
    if view.warnings:
        yield words("\nLook at this first", "bold")
        yield from (_columns.hanging(words("  -"), words(each), console, 4) for each in view.warnings)
    for section in view.sections:
        if section.ident not in _SHOWN:
            continue
        yield words(f"\n{section.title}", "bold")
        yield from (_columns.hanging(words(""), words(each), console, 2) for each in section.says)
        for table in section.tables:
            yield _columns.hanging(words(""), words(table.caption, "dim"), console, 2)
            yield from _columns.lines(_table(table, words), console.width)
    if view.replay:
        yield words("\nagain    ", "dim").append_text(words(view.replay))


def _table(table: Table, words: Words) -> list[Column]:
    made: list[Column] = []
    for place, head in enumerate(table.head):
        cells = [row[place] for row in table.rows]
        shown = [_cell(cell.says, cell.mark, words) for cell in cells]
        made.append(
            Column(
                head=head,
                cells=shown,
                right=any(cell.right for cell in cells),
                flexible=place == 0,
                optional=max(place - 2, 0),
            )
        )
    return made


def _cell(says: str, mark: str, words: Words) -> Text:
    return words(f"{SIGNS[mark]} {says}", STYLES[mark]) if mark else words(says)
