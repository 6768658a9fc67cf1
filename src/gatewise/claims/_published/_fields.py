"""Reads typed fields out of a TOML table; what does not fit is refused in one line that says where and why."""

from collections.abc import Iterable, Mapping
from decimal import Decimal
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._table import Printed

LEAST, MOST = Decimal("1e-100"), Decimal("1e100")  # beyond them squares leave the range of floats


class Fields:
    """The keys of one TOML table, taken one after another."""

    def __init__(self, where: str, table: object, valid: Iterable[str]) -> None:
        if not isinstance(table, dict):
            raise GatewiseError(f"{where} must be a table of keys and values, not {_shown(table)}")
        self.where = where
        self._table: Mapping[str, Any] = table
        names = tuple(valid)
        for key in self._table:
            if key not in names:
                raise one_line(where, unknown_name("key", key, names))

    def __contains__(self, key: str) -> bool:
        return key in self._table

    def raw(self, key: str) -> Any:
        """What stands there, unchecked; None where there is nothing."""
        return self._table.get(key)

    def refuse(self, what: str) -> GatewiseError:
        """The error for something in this table."""
        return GatewiseError(f"{self.where}: {what}")

    def text(self, key: str, default: str | None = None) -> str:
        """A text that is not empty."""
        value = self._table.get(key, default)
        if value is None:
            raise self.refuse(f"{key} is missing")
        if not isinstance(value, str) or (not value.strip() and key in self):
            raise self.refuse(f"{key} must be text, not {_shown(value)}")
        return value

    def choice(self, key: str, valid: Iterable[str], default: str | None = None) -> str:
        """One of a few words."""
        names = tuple(valid)
        if key not in self and default is None:
            raise self.refuse(f"{key} is missing; valid: {', '.join(names)}")
        value = self.text(key, default)
        if value not in names:
            raise one_line(self.where, unknown_name(key, value, names))
        return value

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of texts; none where the key is missing."""
        value = self._table.get(key, [])
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            raise self.refuse(f"{key} must be a list of texts, not {_shown(value)}")
        return tuple(value)

    def tables(self, key: str) -> list[Any]:
        """A list of tables (each is checked when it is read); none where the key is missing."""
        value = self._table.get(key, [])
        if not isinstance(value, list):
            raise self.refuse(f"{key} must be a list of tables, not {_shown(value)}")
        return value

    def printed(self, key: str) -> Printed:
        """A number with the digits it was printed with."""
        value = self._table.get(key)
        if value is None:
            raise self.refuse(f"{key} is missing")
        if isinstance(value, bool) or not isinstance(value, (int, Decimal)) or not Decimal(value).is_finite():
            raise self.refuse(f"{key} must be a number, not {_shown(value)}")
        if value != 0 and not LEAST <= abs(value) <= MOST:
            raise self.refuse(f"{key} = {_shown(value)} is out of any range of measured figures")
        return Printed(digits=Decimal(value))

    def number(self, key: str, default: float | None = None, *, above: float | None = None) -> float:
        """A finite number, above a limit where there is one."""
        if key not in self and default is not None:
            return default
        value = self.printed(key).value
        if above is not None and value <= above:
            raise self.refuse(f"{key} must be above {above:g}, not {value:g}")
        return value

    def between(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number strictly between two limits."""
        value = self.number(key, default)
        if not low < value < high:
            raise self.refuse(f"{key} must lie between {low:g} and {high:g}, not {value:g}")
        return value

    def count(self, key: str) -> int | None:
        """A whole number of at least 1; None where the key is missing."""
        value = self._table.get(key)
        if value is None:
            return None
        if type(value) is not int:
            raise self.refuse(f"{key} must be a whole number, not {_shown(value)}")
        if value < 1:
            raise self.refuse(f"{key} must be at least 1, not {value}")
        return value


def one_line(where: str, error: GatewiseError) -> GatewiseError:
    """The same error on one line, with its place."""
    return GatewiseError(f"{where}: {str(error).replace(chr(10), '; ')}")


def _shown(value: object) -> str:
    try:
        text = f'"{value}"' if isinstance(value, str) else str(value)
    except ValueError:
        return "a number of thousands of digits"
    return text if len(text) <= 40 else f"{text[:39]}…"
