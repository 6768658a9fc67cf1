"""From text to numbers and dates: decimal commas, thousands, currency signs, the usual ways to write a day."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "<na>", "nan", "null", "nil", "-", "--", "?", ".", "missing", "(missing)"}
    | {f"{sign}{word}" for sign in ("", "+", "-") for word in ("inf", "infinity", "∞", "1.#inf")}
    | {"#div/0!", "#value!", "#ref!", "#name?", "#num!", "#null!"}
)
"""How files say that a value is not there, in lower case; an infinite one and a sheet's errors are none either."""

_SIGNS = re.compile(r"^[€$£¥\s\u00a0]+|[€$£¥%\s\u00a0]+$")
_POINT = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?")
_POINT_GROUPED = re.compile(r"[+-]?\d{1,3}(,\d{3})+(\.\d*)?")
_COMMA = re.compile(r"[+-]?(\d+(,\d*)?|,\d+)([eE][+-]?\d+)?")
_COMMA_GROUPED = re.compile(r"[+-]?\d{1,3}([.\u00a0' ]\d{3})+(,\d*)?")
_LARGEST = 1e30
_MINUS = "\N{MINUS SIGN}"


def is_missing(cell: str) -> bool:
    """Whether the cell says that its value is not there."""
    return cell.lower() in MISSING


def folded(cell: str) -> str:
    """A word without what only spelling tells apart: capitals, and spaces more than one."""
    return " ".join(cell.split()).casefold()


def plain_number(cell: str) -> float | None:
    """A number with a decimal point and nothing else, or None."""
    return float(cell) if _POINT.fullmatch(cell) else None


@dataclass(frozen=True, kw_only=True)
class NumberForm:
    """How a column writes its numbers: with a decimal comma or with a point."""

    comma: bool = False

    def parse(self, cell: str) -> float | None:
        """The finite number in a cell, without its currency or percent sign; None for anything else."""
        bare = _SIGNS.sub("", cell).replace(_MINUS, "-")
        if self.comma:
            if _COMMA_GROUPED.fullmatch(bare):
                bare = re.sub(r"[.\u00a0' ]", "", bare)
            elif not _COMMA.fullmatch(bare):
                return None
            bare = bare.replace(",", ".")
        elif _POINT_GROUPED.fullmatch(bare):
            bare = bare.replace(",", "")
        elif not _POINT.fullmatch(bare):
            return None
        value = float(bare)
        return value if math.isfinite(value) and abs(value) < _LARGEST else None


POINT, COMMA = NumberForm(), NumberForm(comma=True)


def number_form(cells: Sequence[str], *, separator: str) -> tuple[NumberForm, float, bool]:
    """The form that reads most of the cells, the share of them it reads, and whether both forms read all of them alike.

    `1,234` alone could be a thousand or one and a bit: where the file's own separator is a comma, a comma in a number
    sets thousands apart; else it is a decimal comma.
    """
    shares = {form: sum(form.parse(cell) is not None for cell in cells) / max(len(cells), 1) for form in (POINT, COMMA)}
    if shares[POINT] != shares[COMMA]:
        best = max(shares, key=lambda form: shares[form])
        return best, shares[best], False
    differ = any(POINT.parse(cell) != COMMA.parse(cell) for cell in cells)
    form = COMMA if differ and separator != "comma" else POINT
    return form, shares[form], differ


_NAMES = (
    "jan january januar janvier enero ene|feb february februar février febrero|mar march mär mrz märz mars marzo|"
    "apr april avril abril abr|may mai mayo|jun june juni juin junio|jul july juli juillet julio|"
    "aug august août agosto ago|sep sept september septembre septiembre|oct october okt oktober octobre octubre|"
    "nov november novembre noviembre|dec december dez dezember décembre diciembre dic"
)
_MONTHS = {name: place for place, names in enumerate(_NAMES.split("|"), 1) for name in names.split()}
_TIME = r"(?:[T ,]+(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,]\d+)?)?\s*([AaPp][Mm])?\s*(Z|UTC|[+-]\d{2}:?\d{2})?)?"
_NUMERIC_DATE = re.compile(r"(\d{1,4})([-/.])(\d{1,2})\2(\d{1,4})" + _TIME)
_NAMED_DAY_FIRST = re.compile(r"(\d{1,2})\.?[ -]([^\W\d_]{3,10})\.?,?[ -](\d{4})" + _TIME)
_NAMED_MONTH_FIRST = re.compile(r"([^\W\d_]{3,10})\.? (\d{1,2}),? (\d{4})" + _TIME)
_TURN = 70
"""A year of two digits is of this century below it, else of the last one (as POSIX has it)."""


@dataclass(frozen=True, kw_only=True)
class DateForm:
    """How a column writes its days where the order is not in the text itself: 3/4/2024 in April or in March.

    With points (3.4.2024) the day comes first everywhere; a year of four digits in front is followed by the month.
    """

    day_first: bool = True

    def parse(self, cell: str) -> float | None:
        """Days since 1970 as a float (a time of day is its fraction; a zone is taken off), None where it is no date."""
        found = _NUMERIC_DATE.fullmatch(cell)
        if found:
            first, sign, second, third, *clock = found.groups()
            if len(first) == 4:
                parts = int(first), int(second), int(third)
            elif len(first) <= 2 and len(third) in (2, 4):
                one, two, year = int(first), int(second), int(third)
                if len(third) == 2:
                    year += 2000 if year < _TURN else 1900
                parts = (year, two, one) if self.day_first or sign == "." else (year, one, two)
            else:
                return None
            return _days(parts, clock)
        named = _NAMED_DAY_FIRST.fullmatch(cell)
        if named:
            day, month, year, *clock = named.groups()
        else:
            named = _NAMED_MONTH_FIRST.fullmatch(cell)
            if not named:
                return None
            month, day, year, *clock = named.groups()
        place = _MONTHS.get(month.lower())
        return None if place is None else _days((int(year), place, int(day)), clock)


def _days(parts: tuple[int, int, int], clock: Sequence[str | None]) -> float | None:
    hour, minute, second, half, zone = clock
    hours = int(hour or 0)
    if half:
        hours = hours % 12 + (12 if half.lower() == "pm" else 0)
    try:
        moment = datetime(*parts, hours, int(minute or 0), int(second or 0), tzinfo=UTC)
    except ValueError:
        return None
    seconds = moment.timestamp()
    if zone and zone[0] in "+-":
        bare = zone[1:].replace(":", "")
        seconds -= (int(bare[:2]) * 60 + int(bare[2:])) * 60 * (1 if zone[0] == "+" else -1)
    return seconds / 86_400.0


DAY_FIRST, MONTH_FIRST = DateForm(), DateForm(day_first=False)


def date_form(cells: Sequence[str]) -> tuple[DateForm, float, bool]:
    """The form that reads most of the cells, the share it reads, and whether the order of day and month is a guess."""
    forms = (DAY_FIRST, MONTH_FIRST)
    shares = {form: sum(form.parse(cell) is not None for cell in cells) / max(len(cells), 1) for form in forms}
    best = max(shares, key=lambda form: shares[form])
    same = len(set(shares.values())) == 1
    guessed = same and any(len({form.parse(cell) for form in forms}) > 1 for cell in cells)
    return best, shares[best], guessed
