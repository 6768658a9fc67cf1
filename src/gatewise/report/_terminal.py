"""The report for a terminal: aligned columns, no boxes, the same text when it is piped.

It has the verdict and what it rests on. How to read it and the whole environment stand in the HTML and Markdown.
"""

import io
import sys
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.text import Text

from . import _columns, _terminal_extras, _terminal_learning, _view
from . import _numbers as num
from ._columns import Column
from ._format import Format
from ._panels import Panel, Row
from ._read import Document
from ._terminal_words import Words

_WIDEST_NAME = 24


def show(document: Document, console: Console | None = None) -> None:
    """Print the report to `console`, by default to stdout."""
    target = console or Console(file=sys.stdout, highlight=False)
    words = Words(encoding=target.encoding)
    for block in _blocks(_view.build(document), words, target):
        # The lines have their length; a terminal that is too narrow for the numbers wraps them itself.
        target.print(words.encoded(block), highlight=False, soft_wrap=True)


def render(document: Document) -> str:
    """The report as plain text, 80 columns wide."""
    buffer = io.StringIO()
    show(document, Console(file=buffer, width=80, color_system=None, force_terminal=False))
    return buffer.getvalue()


def _blocks(view: _view.View, words: Words, console: Console) -> Iterable[Text]:
    yield from _sentence(view.headline, words, console, "bold")
    if view.recommendation:
        yield from _sentence(f"\n{view.recommendation}", words, console)
    yield from _terminal_extras.moves(view, words, console)
    yield from _answers(view, words, console)
    yield from _list("What would settle the rest", view.settle, words, console)
    failures = [f"{each.what} failed: {each.why}" for each in view.failures]
    yield from _list("Warnings", [*failures, *view.warnings], words, console)
    yield from _list("Dropped to keep the budget", _pairs(view.dropped), words, console)
    yield from _terminal_extras.selections(view, words, console)
    yield from _terminal_learning.searches(view, words, console)
    shown = [panel for panel in view.panels if not panel.empty]
    for panel in shown:
        yield from _panel(panel, words, console, len(view.parts) > 1)
    yield from _terminal_extras.generations(view, words, console)
    yield from _list("To bear in mind", _flags(shown), words, console)
    yield from _list("Not judged or not measured", _not_judged(view), words, console)
    yield from _list("What the verdicts rest on", view.reasons, words, console)
    if view.machine or view.replay:
        yield words("")
    if view.machine:
        yield _columns.hanging(words("machine", "dim"), words(view.machine), console, 9)
    if view.replay:
        # On one line, however long: it is to be copied.
        yield words("again    ", "dim").append_text(words(view.replay))


def _sentence(content: str, words: Words, console: Console, style: str = "") -> Iterable[Text]:
    if content:
        yield _columns.hanging(words(""), words(content, style), console, 0)


def _pairs(items: Iterable[_view.Item]) -> list[str]:
    return [f"{each.what}: {each.why}" for each in items]


def _list(title: str, found: Iterable[str], words: Words, console: Console) -> Iterable[Text]:
    lines = list(found)
    if lines:
        yield words(f"\n{title}", "bold")
        for each in lines:
            yield _columns.hanging(words("  -"), words(each), console, 4)


def _answers(view: _view.View, words: Words, console: Console) -> Iterable[Text]:
    parts = list(dict.fromkeys(each.part for each in view.answers))
    names = min(max((Text(each.arm).cell_len for each in view.answers), default=0), _WIDEST_NAME)
    verdicts = max((words.verdict(each.verdict).cell_len for each in view.answers), default=0)
    for part in parts:
        yield words(f"\n{part}" if len(parts) > 1 else "", "bold")
        for each in view.answers:
            if each.part == part:
                lead = words("  ").append_text(_columns.padded(words(each.arm), names)).append("  ")
                lead.append_text(words.verdict(each.verdict))
                yield _columns.hanging(lead, words(each.text), console, names + verdicts + 6)


def _panel(panel: Panel, words: Words, console: Console, several: bool) -> Iterable[Text]:
    title = f"{panel.part}: {panel.label}" if several and panel.part else panel.label
    yield from _sentence(f"\n{title}", words, console, "bold")
    terms = [*panel.terms, *([f"typical values in {panel.unit}"] if panel.unit else [])]
    yield _columns.hanging(words(""), words("; ".join(terms), "dim"), console, 2)
    yield from _columns.lines(_table(panel, words), console.width)
    for remark in panel.remarks:
        # What is undecided is plain from the interval; why there is none is not.
        if remark.kind != "undecided":
            yield _columns.hanging(words(""), words(remark.line, "dim"), console, 2)


def _table(panel: Panel, words: Words) -> list[Column]:
    rows = panel.rows

    def column(head: str, cells: Sequence[str], optional: int = 0) -> Column:
        return Column(head=head, cells=[words(cell) for cell in cells], right=True, optional=optional)

    names = [words(row.arm, "dim" if row.twin else "") for row in rows]
    columns = [Column(head="arm", cells=names, flexible=True)]
    if panel.grouped:
        columns.append(Column(head="at", cells=[words(row.group) for row in rows], flexible=True))
    if any(row.typical != num.MISSING for row in rows):
        columns.append(column("typical", [row.typical for row in rows], _columns.NICE if panel.judged else 0))
    if panel.judged:
        columns.append(column("change", [panel.show(row.estimate) for row in rows]))
        columns.append(column("interval", [panel.interval(row) for row in rows], 1))
        columns.append(Column(head="verdict", cells=[_verdict(row, words) for row in rows]))
    if panel.sensitive:
        columns.append(column("could see", [row.smallest for row in rows], _columns.NICE + 1))
    columns.append(column("n", [row.n for row in rows], 2))
    return columns


def _verdict(row: Row, words: Words) -> Text:
    """The verdict, with the word that it must never stand without."""
    return words.verdict(row.verdict).append(", unfair" if row.unfair and row.verdict else "")


def _flags(panels: Iterable[Panel]) -> list[str]:
    """What makes arms unlike the others, once each."""
    found = ((flag, row.arm) for panel in panels for row in panel.rows for flag in row.flags)
    return [f"{arm}: {flag}" for flag, arm in dict.fromkeys(found)]


def _not_judged(view: _view.View) -> list[str]:
    """The panels without any number, and what was not measured at all, unless its reason was given already."""
    found: list[str] = []
    given: set[str] = set()
    for panel in view.panels:
        given |= {remark.text for remark in panel.remarks}
        if panel.empty:
            where = f"{panel.part}: " if len(view.parts) > 1 and panel.part else ""
            found += [f"{where}{panel.label}, {remark.who}: {remark.text}" for remark in panel.remarks]
    return found + _pairs(each for each in view.not_measured if each.why not in given)


TERMINAL = Format(render=render, filename=None)
