"""Reads a CSV file as shops export them: any of four separators, three encodings, rows that differ in length."""

import csv
import hashlib
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gatewise.core import GatewiseError

SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LOOK = 200
_MOST_RAGGED = 0.2
_SHOWN = 5


@dataclass(frozen=True, kw_only=True)
class File:
    """A file's cells as text, stripped of spaces around them.

    Attributes:
        columns: the names in the header; empty and repeated ones got a name of their own.
        rows: the cells of each row, as many as there are columns.
        encoding, separator: how it was read.
        notes: what a reader should know about how it was read, in whole sentences.
    """

    name: str
    sha256: str
    encoding: str
    separator: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]

    def column(self, index: int) -> list[str]:
        """All cells of one column."""
        return [row[index] for row in self.rows]


def read(path: str | Path, *, keep_ragged: bool = False) -> File:
    """Read a CSV file with a header line.

    Rows that are longer or shorter than the header are left out and counted; with `keep_ragged` (a file that wants an
    answer for every row) they are cut or filled with empty cells instead, a row of empty cells counts, and one column
    is enough. Blank lines are passed over.

    Raises:
        GatewiseError: no such file, not a text file, one column only, no header, more than a fifth of rows ragged.
    """
    path = Path(path)
    content = _bytes(path)
    text, encoding = _decoded(path, content)
    text, separator = _told(text)
    separator = separator or _separator(text)
    _check_quotes(path, text, separator)
    table = [[cell.strip() for cell in row] for row in _parsed(path, text, separator)]
    if not table or (not keep_ragged and (separator is None or len(table[0]) < 2)):
        raise GatewiseError(
            f"{path} has one column only, or no separator that is known\n"
            f"valid: a header line and cells set apart by {', '.join(SEPARATORS.values())}"
        )
    body = [(line, row) for line, row in enumerate(table[1:], 2) if any(row) or (keep_ragged and len(row) > 1)]
    columns, notes = _header(path, table[0], [row for _, row in body])
    rows, ragged = _even(body, len(columns), keep=keep_ragged)
    if ragged and not keep_ragged and len(ragged) > _MOST_RAGGED * len(body):
        raise GatewiseError(
            f"{path}: {len(ragged):,} of {len(body):,} rows do not have the header's {len(columns)} cells\n"
            f"the first is row {ragged[0]}; is a separator inside a text without quotes?"
        )
    if ragged:
        notes.append(_about_ragged(ragged, keep=keep_ragged))
    if encoding in ("cp1252", "latin-1"):
        notes.append(f"The file is not UTF-8; it was read as {encoding}. Look whether letters with accents are right.")
    return File(
        name=path.name,
        sha256=hashlib.sha256(content).hexdigest(),
        encoding=encoding,
        separator=SEPARATORS[separator or ","],
        columns=tuple(columns),
        rows=tuple(rows),
        notes=tuple(notes),
    )


def _bytes(path: Path) -> bytes:
    try:
        content = path.read_bytes()
    except OSError as error:
        raise GatewiseError(f"cannot read {path}: {error.strerror or error}") from error
    if not content.strip():
        raise GatewiseError(f"{path} is empty")
    if content.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        raise GatewiseError(f"{path} is a spreadsheet or an archive, not a CSV file\nsave the sheet as CSV first")
    if content.startswith(b"PAR1"):
        raise GatewiseError(f"{path} is a Parquet file, not a CSV file")
    return content


def _decoded(path: Path, content: bytes) -> tuple[str, str]:
    """The text and its encoding: a byte-order mark decides, else UTF-8 where that fits, else Western European."""
    if content.startswith(b"\xef\xbb\xbf"):
        tried = ("utf-8-sig",)
    elif content.startswith((b"\xff\xfe", b"\xfe\xff")):
        tried = ("utf-16",)
    elif b"\0" in content:
        raise GatewiseError(f"{path} is not a text file: it holds zero bytes")
    else:
        tried = ("utf-8", "cp1252", "latin-1")
    for encoding in tried:
        try:
            return content.decode(encoding), encoding
        except UnicodeDecodeError:
            continue
    raise GatewiseError(f"{path} says it is {tried[0]} and is not")


def _told(text: str) -> tuple[str, str | None]:
    """The text without a spreadsheet's first line `sep=;`, and the separator that it names."""
    first, _, rest = text.partition("\n")
    found = first.strip().strip('"')
    if found.lower().startswith("sep=") and found[4:] in (";", ",", "|"):
        return rest, found[4:]
    return text, None


def _check_quotes(path: Path, text: str, separator: str | None) -> None:
    """Raises `GatewiseError` where a quote is opened and never closed: all rows behind it would be one cell."""
    end = "the end\0"
    lines = csv.reader(io.StringIO(f"{text}\n{end}", newline=""), delimiter=separator or ",", skipinitialspace=True)
    begins, last = 1, 1
    try:
        for row in lines:
            if row == [end]:
                return
            begins, last = last, lines.line_num + 1
    except csv.Error:  # a cell longer than any: the same quote
        begins = last
    raise GatewiseError(
        f"{path}: a quote is opened in line {begins} and never closed, so all lines behind it are one cell\n"
        "close it there, or write a quote inside a text twice"
    )


def _parsed(path: Path, text: str, separator: str | None) -> list[list[str]]:
    try:
        return list(csv.reader(io.StringIO(text, newline=""), delimiter=separator or ",", skipinitialspace=True))
    except csv.Error as error:
        raise GatewiseError(f"{path} cannot be read as CSV: {error}") from error


def _separator(text: str) -> str | None:
    """The separator under which most rows have the header's number of cells, and the more cells the better."""
    best, found = 0.0, None
    for separator in SEPARATORS:
        widths: list[int] = []
        try:
            for row in csv.reader(io.StringIO(text, newline=""), delimiter=separator, skipinitialspace=True):
                if any(cell.strip() for cell in row):
                    widths.append(len(row))
                if len(widths) >= _LOOK:
                    break
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        agree = sum(width == widths[0] for width in widths) / len(widths)
        score = agree**2 * (1.0 + widths[0]) ** 0.5
        if score > best:
            best, found = score, separator
    return found


def _header(path: Path, cells: Sequence[str], body: Sequence[Sequence[str]]) -> tuple[list[str], list[str]]:
    from ._values import plain_number

    if all(cell == "" or plain_number(cell) is not None for cell in cells):
        raise GatewiseError(f"{path} has no header: its first line holds numbers only\nadd a line with column names")
    width = len(cells)
    # A separator at the end of every line makes no column; one without a name that holds something is one.
    while width > 2 and cells[width - 1] == "" and not any("".join(row[width - 1 : width]) for row in body):
        width -= 1
    seen: Counter[str] = Counter()
    names: list[str] = []
    notes: list[str] = []
    for place, cell in enumerate(cells[:width], 1):
        name = cell or f"column {place}"
        seen[name] += 1
        if seen[name] > 1:
            notes.append(f"The header has {name!r} more than once; a later one is called '{name} ({seen[name]})'.")
            name = f"{name} ({seen[name]})"
        names.append(name)
    return names, notes


def _even(body: Sequence[tuple[int, list[str]]], width: int, *, keep: bool) -> tuple[list[tuple[str, ...]], list[int]]:
    rows: list[tuple[str, ...]] = []
    ragged: list[int] = []
    for line, cells in body:
        extra = [cell for cell in cells[width:] if cell]
        fits = len(cells) >= width and not extra
        if not fits:
            ragged.append(line)
        if fits or keep:
            rows.append(tuple([*cells, *[""] * (width - len(cells))][:width]))
    return rows, ragged


def _about_ragged(ragged: Sequence[int], *, keep: bool) -> str:
    shown = ", ".join(map(str, ragged[:_SHOWN])) + (", …" if len(ragged) > _SHOWN else "")
    what = "cut or filled up" if keep else "left out"
    if len(ragged) == 1:
        return f"1 row does not have as many cells as the header and was {what} (row {shown})."
    return f"{len(ragged):,} rows do not have as many cells as the header and were {what} (rows {shown})."
