"""A status for a terminal: aligned columns, no boxes, the same text when it is piped."""

import io
import sys
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ._page_block import Block, Document

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

    from ._page_look import Words

STATES = {"alarm": "bold red", "quiet": "bold", "empty": "bold"}
LATER = ("Over time",)
"""Blocks that only the page has."""
WITHOUT = {"Versions": ("digest",), "Latency": ("interval",)}
NICE = (
    "against",
    "n",
    "interval",
    "rows a batch",
    "seen",
    "expired",
    "median in reference",
    "labels so far",
    "core time a run",
    "margin",
)
PROSE = "reason"
"""A column of sentences: where the table is too wide for the terminal, it stands under the other columns."""
VERDICTS = ("better", "worse", "equivalent", "inconclusive")


def status_terminal(document: Document, console: "Console | None" = None) -> None:
    """Print the status to `console`, by default to stdout."""
    from rich.console import Console

    from ._page_look import Words

    target = console or Console(file=sys.stdout, highlight=False)
    words = Words(encoding=target.encoding)
    for line in _lines(document, words, target):
        # The lines have their length; a terminal that is too narrow for the numbers wraps them itself.
        target.print(words.encoded(line), highlight=False, soft_wrap=True)


def render(document: Document, width: int = 100) -> str:
    """The status as plain text."""
    from rich.console import Console

    buffer = io.StringIO()
    status_terminal(document, Console(file=buffer, width=width, color_system=None, force_terminal=False))
    return buffer.getvalue()


def _lines(document: Document, words: "Words", console: "Console") -> Iterable["Text"]:
    from ._page_look import columns
    from ._page_view import AGAIN, build

    page = build(document)

    def prose(content: str, style: str = "", indent: int = 0) -> "Text":
        return columns.hanging(words(" " * indent), words(content, style), console, indent)

    if page.question:
        yield prose(page.question, "dim")
    yield prose(f"{'! ' if page.state == 'alarm' else ''}{page.headline}", STATES[page.state])
    if page.lead:
        yield prose(page.lead)
    for action in page.actions:
        yield words("")
        yield prose(str(action["text"]))
        if action["command"]:
            yield words(f"  {action['command']}", "bold")
    for alarm in page.alarms:
        yield words("")
        yield prose(
            f"{alarm.severity}  {alarm.kind}  {alarm.who}  {alarm.when}",
            "bold red" if alarm.severity == "page" else "bold",
        )
        yield prose(alarm.summary, indent=2)
        shown = " · ".join(f"{each.what} {each.why}" for each in alarm.evidence)
        if shown:
            yield prose(shown, "dim", 2)
        if alarm.how != AGAIN:
            yield prose(f"{alarm.how}:", "dim", 2)
        yield words(f"  {alarm.replay}", "dim")
    for block in page.blocks:
        if block.title not in LATER:
            yield words("")
            yield from _block(block, words, console)


def _block(block: Block, words: "Words", console: "Console") -> Iterable["Text"]:
    from ._page_look import columns

    yield words(block.title, "bold")
    if block.under:
        yield columns.hanging(words("  "), words(block.under, "dim"), console, 2)
    dropped = WITHOUT.get(block.title, ())
    kept = [index for index, name in enumerate(block.head) if name not in dropped]
    found = [_column(block, index, words) for index in kept]
    if PROSE in block.head and sum(each.width + 2 for each in found) > console.width:
        yield from _under(block, words, console)
    elif block.rows:
        yield from columns.lines(found, console.width)
    for remark in block.remarks:
        yield columns.hanging(words("  "), words(remark, "dim"), console, 2)


def _under(block: Block, words: "Words", console: "Console") -> Iterable["Text"]:
    """The table with its prose under each row, wrapped: a reason that is cut says nothing."""
    from ._page_look import columns

    prose = block.head.index(PROSE)
    # Numbers first: what is behind a long name would not stand in a column.
    order = sorted(
        (at for at in range(len(block.head)) if at != prose), key=lambda at: block.head[at] not in block.right
    )
    found = [_column(block, at, words) for at in order]
    indent = 2 + sum(each.width + 2 for each in found if each.right)
    first, *rows = columns.lines(found, console.width)
    yield first
    for line, row in zip(rows, block.rows, strict=True):
        yield line
        yield columns.hanging(words(" " * indent), words(row[prose], "dim"), console, indent)


def _column(block: Block, index: int, words: "Words") -> Any:
    from ._page_look import columns

    name = block.head[index]
    cells = [words.verdict(row[index]) if row[index] in VERDICTS else words(row[index]) for row in block.rows]
    return columns.Column(
        head=name,
        cells=cells,
        right=name in block.right,
        flexible=name == "feature",
        optional=1 + index if name in NICE else 0,
    )
