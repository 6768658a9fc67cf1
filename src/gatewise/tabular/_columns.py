"""What each column is: numbers, categories, a date, free text, or nothing that a model should see."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

from ._read import File
from ._values import DAY_FIRST, POINT, DateForm, NumberForm, date_form, folded, is_missing, number_form

Kind = Literal["number", "category", "date", "text", "constant", "identifier", "empty"]
USABLE: tuple[Kind, ...] = ("number", "category", "date", "text")

_MOSTLY = 0.95
_MOST_DISTINCT = 0.95
_ID_NAME = re.compile(r"(^|[^a-z])(id|uuid|guid|key|nr|no|number|code)$|^(id|index|row)([^a-z]|$)|^unnamed", re.I)
_ID_ENDING = re.compile(r"[a-z](Id|ID|Nr|No)$")
_LEADING_ZERO = re.compile(r"0\d+")
_TEXT_WORDS, _TEXT_SIGNS = 4.0, 25.0
_FEW_ROWS = 20
_BARELY, _FEW_WORDS = 0.6, 3
"""Fewer numbers than nearly all are still numbers where all else is the same few words: 'unknown', 'on request'."""


@dataclass(frozen=True, kw_only=True)
class Column:
    """One column of the file.

    Attributes:
        kind: what it is; only `number`, `category`, `date` and `text` can be used.
        used: whether the models see it. `why`: in a sentence why not, or what was assumed; empty where all is plain.
        missing, distinct: cells that say nothing, and different values among the others.
    """

    name: str
    index: int
    kind: Kind
    used: bool
    why: str
    missing: int
    distinct: int
    number: NumberForm = POINT
    date: DateForm = DAY_FIRST


def columns(file: File) -> tuple[Column, ...]:
    """Every column of a file, in order. Kinds are read from all rows; no value is learnt from them."""
    return tuple(column(name, index, file.column(index), file.separator) for index, name in enumerate(file.columns))


def column(name: str, index: int, cells: Sequence[str], separator: str) -> Column:
    """What one column is."""
    present = [cell for cell in cells if not is_missing(cell)]
    distinct = len(set(present))

    def made(kind: Kind, why: str = "", *, number: NumberForm | None = None, date: DateForm | None = None) -> Column:
        return Column(
            name=name,
            index=index,
            kind=kind,
            used=kind in USABLE,
            why=why,
            missing=len(cells) - len(present),
            distinct=distinct,
            number=number or POINT,
            date=date or DAY_FIRST,
        )

    if not present:
        return made("empty", "It is empty.")
    if distinct == 1:
        shown = present[0][:40]
        if len(present) == len(cells):
            return made("constant", f"It always says {shown!r}.")
        return made("category")
    form, share, ambiguous = number_form(present, separator=separator)
    if _numeric(form, share, present):
        values = [value for cell in present if (value := form.parse(cell)) is not None]
        if _numbers_rows(name, values, distinct, len(cells)):
            return made("identifier", "It numbers the rows: another value in every row says nothing of the next one.")
        return made("number", _about_numbers(form, len(present) - len(values), ambiguous=ambiguous), number=form)
    day, share, guessed = date_form(present)
    if share >= _MOSTLY:
        order = "day" if day.day_first else "month"
        why = f"Its dates were read with the {order} first; the file does not say." if guessed else ""
        return made("date", why, date=day)
    return made(*_words(name, present, distinct))


def _numeric(form: NumberForm, share: float, present: Sequence[str]) -> bool:
    """Whether a column of which a form reads this share holds numbers."""
    if any(_LEADING_ZERO.fullmatch(cell) for cell in present):
        return False
    if share >= _MOSTLY or share < _BARELY:
        return share >= _MOSTLY
    values = [form.parse(cell) for cell in present]
    words = {folded(cell) for cell, value in zip(present, values, strict=True) if value is None}
    return len(words) <= _FEW_WORDS and len(set(values)) > _FEW_ROWS


def _words(name: str, present: Sequence[str], distinct: int) -> tuple[Kind, str]:
    """What a column of words is: mostly different long ones are text, mostly different short ones name the rows."""
    num_words = sum(len(cell.split()) for cell in present) / len(present)
    num_signs = sum(map(len, present)) / len(present)
    varied = distinct > max(0.3 * len(present), _FEW_ROWS)
    if varied and (num_words >= _TEXT_WORDS or (num_signs >= _TEXT_SIGNS and num_words >= 2.0)):
        return "text", ""
    if varied and num_signs >= _TEXT_SIGNS and not any(sign.isascii() for sign in present[0]):
        return "text", ""  # a script without spaces
    different = distinct / len(present)
    if distinct > _FEW_ROWS and (different >= _MOST_DISTINCT or (different >= 0.5 and named_id(name))):
        return "identifier", "It names the rows: nearly every one has a value of its own."
    spelt = distinct - len({folded(cell) for cell in present})
    many = "1 spelling differs" if spelt == 1 else f"{spelt:,} spellings differ"
    return "category", f"{many} from another in capitals or spaces only; they count as one word." if spelt else ""


def _numbers_rows(name: str, values: Sequence[float], distinct: int, num_rows: int) -> bool:
    """Whether whole numbers count the rows in steps, or are all different under a name such as `customer_id`."""
    if distinct < max(_MOST_DISTINCT * num_rows, _FEW_ROWS) or any(value != round(value) for value in values):
        return False
    counted = max(values) - min(values) + 1 <= 1.02 * distinct
    return counted or len({b - a for a, b in pairwise(values)}) == 1 or named_id(name)


def named_id(name: str) -> bool:
    """Whether a column is called as names of rows, customers or things are: `customer_id`, `Kunden-Nr`."""
    return _ID_NAME.search(name) is not None or _ID_ENDING.search(name) is not None


def _about_numbers(form: NumberForm, broken: int, *, ambiguous: bool) -> str:
    said: list[str] = []
    if broken:
        many = "1 value is no number and counts" if broken == 1 else f"{broken:,} values are no numbers and count"
        said.append(f"{many} as missing.")
    if ambiguous:
        said.append(
            f"Its commas were read as {'decimal commas' if form.comma else 'thousands'}; the file does not say."
        )
    return " ".join(said)
