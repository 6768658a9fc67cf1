"""The report for a terminal: aligned columns, no boxes, the same text when it is piped."""

import io
import sys
from collections.abc import Iterable

from rich.console import Console
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from . import _view
from ._format import Format
from ._panels import Panel, Row
from ._read import Document

_SIGNS = {"better": "✓", "worse": "✗", "equivalent": "=", "inconclusive": "?"}
_STYLES = {"better": "bold cyan", "worse": "bold red", "equivalent": "bold", "inconclusive": "yellow"}
# For a terminal or a pipe that is not UTF-8.
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "−": "-", "–": "-", "µ": "u", "±": "+/-", "×": "x", "→": "->", "·": ".", "…": "...", "’": "'"}
    | dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
)


def show(document: Document, console: Console | None = None) -> None:
    """Print the report to `console`, by default to stdout."""
    target = console or Console(file=sys.stdout, highlight=False)
    for block in _blocks(_view.build(document), _Words(encoding=target.encoding), target.width):
        target.print(block, highlight=False)


def render(document: Document) -> str:
    """The report as plain text, 80 columns wide."""
    buffer = io.StringIO()
    show(document, Console(file=buffer, width=80, color_system=None, force_terminal=False))
    return buffer.getvalue()


class _Words:
    """Makes texts that the output can encode. A text is never read as rich's markup."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def __call__(self, content: str, style: str = "") -> Text:
        try:
            content.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            content = content.translate(_PLAIN).encode(self._encoding, "replace").decode(self._encoding)
        return Text(content, style=style)

    def verdict(self, word: str) -> Text:
        """A verdict's sign and word."""
        return self(f"{_SIGNS[word]} {word}", _STYLES[word]) if word else self("")


Block = Text | Table | Padding


def _blocks(view: _view.View, words: _Words, width: int) -> Iterable[Block]:
    yield words(view.headline, "bold")
    if view.recommendation:
        yield words(view.recommendation)
    yield from _answers(view, words)
    yield from _list("What it would take to settle the rest", view.settle, words)
    yield from _list("Why", view.reasons, words)
    failures = [f"{each.what} failed: {each.why}" for each in view.failures]
    yield from _list("Warnings", [*failures, *view.warnings], words, "yellow")
    yield from _list("Dropped to keep the budget", _pairs(view.dropped), words)
    for panel in view.panels:
        yield from _panel(panel, words, len(view.parts) > 1, width)
    yield from _list("Not measured", _pairs(view.not_measured), words)
    yield from _list("How to read this", _pairs(view.reading), words)
    yield from _list("Environment", _pairs((*view.facts, *view.environment)), words)
    if view.replay:
        yield words("\nReplay", "bold")
        yield Padding(words(view.replay), (0, 0, 0, 2), expand=False)


def _pairs(items: Iterable[_view.Item]) -> list[str]:
    return [f"{each.what}: {each.why}" for each in items]


def _list(title: str, found: Iterable[str], words: _Words, style: str = "") -> Iterable[Block]:
    lines = list(found)
    if lines:
        yield words(f"\n{title}", f"bold {style}".strip())
        for each in lines:
            yield Padding(words(each), (0, 0, 0, 2), expand=False)


def _table(words: _Words, *columns: str, right: Iterable[str] = ()) -> Table:
    """A table without lines: they are noise in a pipe. Columns that hold words may wrap, numbers never do."""
    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for name in columns:
        wraps = name in ("arm", "in plain words")
        justify = "right" if name in right else "left"
        table.add_column(words(name), justify=justify, no_wrap=not wraps, overflow="fold" if wraps else "ellipsis")
    return table


def _answers(view: _view.View, words: _Words) -> Iterable[Block]:
    if not view.answers:
        return
    yield words("")
    parts = list(dict.fromkeys(each.part for each in view.answers))
    table = _table(words, "arm", "verdict", "in plain words")
    for part in parts:
        if len(parts) > 1:
            table.add_row(words(part, "underline"))
        for each in view.answers:
            if each.part == part:
                table.add_row(words(each.arm), words.verdict(each.verdict), words(each.text))
    yield Padding(table, (0, 0, 0, 2), expand=False)


def _panel(panel: Panel, words: _Words, several: bool, width: int) -> Iterable[Block]:
    title = f"{panel.part}: {panel.label}" if several and panel.part else panel.label
    yield words(f"\n{title}", "bold")
    under = [panel.direction, f"against {panel.baseline}" if panel.baseline else ""]
    if panel.judged:
        under += [f"margin {panel.margin}" if panel.margin else "", f"{panel.level} intervals" if panel.level else ""]
    under = [each for each in (*under, panel.shared) if each]
    yield Padding(words("; ".join(under), "dim"), (0, 0, 0, 2), expand=False)
    # Eighty columns hold what decides; the raw typical values need a wider terminal.
    typical = not panel.judged or width >= 100
    head = ["arm", *(["typical"] if typical else [])]
    head += ["estimate", "interval", "verdict", "evidence"] if panel.judged else ["evidence"]
    table = _table(words, *head, right=("typical", "estimate", "interval"))
    group = ""
    for row in panel.rows:
        if row.group != group:
            group = row.group
            table.add_row(words(group, "underline"))
        cells = [words(row.arm + _tags(row), "italic dim" if row.twin else "")]
        cells += [words(row.typical)] if typical else []
        if panel.judged:
            ends = panel.show_interval(row)
            interval = f"{ends[0]} to {ends[1]}" if ends else "no interval"
            cells += [words(panel.show(row.estimate)), words(interval), words.verdict(row.verdict)]
        table.add_row(*cells, words(row.n))
    yield Padding(table, (0, 0, 0, 2), expand=False)
    for each in _remarks(panel):
        yield Padding(words(each, "dim"), (0, 0, 0, 2), expand=False)


def _tags(row: Row) -> str:
    tags = [tag for tag in row.tags if not (tag == "twin" and "twin" in row.arm)]
    return f" ({', '.join(tags)})" if tags else ""


def _remarks(panel: Panel) -> list[str]:
    """The reasons and notes of a panel, each once with the arms that it is about."""
    found: dict[str, list[str]] = {}
    for row in panel.rows:
        for remark in row.remarks:
            found.setdefault(remark, []).append(f"{row.arm}, {row.group}" if row.group else row.arm)
    return [
        remark if len(arms) == len(panel.rows) else f"{'; '.join(arms)}: {remark}" for remark, arms in found.items()
    ]


TERMINAL = Format(render=render, filename=None)
