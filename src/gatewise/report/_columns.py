"""Columns of text for a terminal: cut to its width, never broken inside a word, without trailing blanks."""

from collections.abc import Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.console import Console
from rich.text import Text

_GAP = 2
_INDENT = 2
_LEAST = 8
_COMFORT = 24
NICE = 3


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column. A `flexible` one may be cut with an ellipsis; the highest `optional` is left out first."""

    head: str
    cells: Sequence[Text]
    right: bool = False
    flexible: bool = False
    optional: int = 0

    @property
    def width(self) -> int:
        """The width of its widest cell."""
        return max([cell_len(self.head), *(cell.cell_len for cell in self.cells)])


def lines(columns: Sequence[Column], width: int) -> list[Text]:
    """The head and the rows, indented, at most `width` cells wide as long as the numbers fit at all."""
    kept, widths = _fitted(columns, width - _INDENT)
    heads = [Text(column.head, style="dim") for column in kept]
    rows = zip(*(column.cells for column in kept), strict=True)
    return [_line(cells, kept, widths) for cells in (heads, *rows)]


def hanging(lead: Text, body: Text, console: Console, indent: int) -> Text:
    """A text behind a lead; its further lines stand under its first. Only a word longer than a line is broken."""
    wrapped = body.wrap(console, max(console.width - indent, 20), overflow="fold")
    rest = [Text(" " * indent).append_text(line) for line in wrapped[1:]]
    first = padded(lead, indent).append_text(wrapped[0] if wrapped else Text(""))
    return Text("\n").join(_stripped(line) for line in (first, *rest))


def padded(cell: Text, width: int, right: bool = False) -> Text:
    """A cell with blanks up to `width`; a longer one is cut with an ellipsis."""
    if cell.cell_len > width:
        return Text(shortened(cell.plain, width), style=cell.style)
    blanks = Text(" " * (width - cell.cell_len))
    return blanks.append_text(cell) if right else Text("").append_text(cell).append_text(blanks)


def shortened(content: str, width: int) -> str:
    """A text of exactly `width` cells that ends in an ellipsis."""
    return set_cell_size(content, max(width - 1, 0)).rstrip() + "…"


def _fitted(columns: Sequence[Column], width: int) -> tuple[list[Column], list[int]]:
    kept = list(columns)

    def needed(room: int) -> int:
        return sum(min(each.width, room) if each.flexible else each.width for each in kept) + _GAP * (len(kept) - 1)

    # A column that is nice to have gives way before a label is cut, any other only when nothing is left to cut.
    for room, least in ((_COMFORT, NICE), (_LEAST, 1)):
        while needed(room) > width and any(each.optional >= least for each in kept):
            kept.remove(max(kept, key=lambda each: each.optional))
    widths = [each.width for each in kept]
    over = sum(widths) + _GAP * (len(kept) - 1) - width
    # The widest flexible column gives way first, so that a long label does not hide the conditions.
    while over > 0 and any(each.flexible and wide > _LEAST for each, wide in zip(kept, widths, strict=True)):
        widest = max((index for index, each in enumerate(kept) if each.flexible), key=lambda index: widths[index])
        widths[widest] -= 1
        over -= 1
    return kept, widths


def _line(cells: Sequence[Text], columns: Sequence[Column], widths: Sequence[int]) -> Text:
    parts = [padded(cell, wide, column.right) for cell, column, wide in zip(cells, columns, widths, strict=True)]
    return _stripped(Text(" " * _INDENT).append_text(Text(" " * _GAP).join(parts)))


def _stripped(line: Text) -> Text:
    line.rstrip()
    return line
