"""A result that is merged may have been edited by hand: what merging and the report rely on is checked before use."""

import json
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._document import SCHEMA
from ._grade import GRADES

DEEPEST = 30
_VERDICTS = ("better", "worse", "equivalent", "inconclusive")
_EXCERPT = 40

Rule = tuple[str, Callable[[Any], bool]]


def read(file: Path) -> dict[str, Any]:
    """The document of one machine. Raises `GatewiseError` in one line: which file, what is wrong with it."""
    try:
        document = json.loads(file.read_text(encoding="utf-8"), parse_constant=_refuse, parse_float=_float)
        _plain(document)
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GatewiseError(f"cannot read {file}: {reason}") from error
    except RecursionError as error:
        raise GatewiseError(f"{file} is nested deeper than {DEEPEST} levels") from error
    except ValueError as error:
        raise GatewiseError(f"{file} is not JSON: {error}") from error
    keys = ("environment", "claims", "written")
    if not isinstance(document, dict) or document.get("schema") != SCHEMA or any(key not in document for key in keys):
        raise GatewiseError(f"{file} is no result of gatewise claims (schema {SCHEMA})")
    _check(document, f"{file}: ")
    return document


def _check(document: Mapping[str, Any], where: str) -> None:
    _fields(document, where, _DOCUMENT, tuple(_DOCUMENT))
    _fields(document["environment"], f"{where}environment: ", _ENVIRONMENT, ())
    seen: set[str] = set()
    for index, entry in enumerate(document["claims"], start=1):
        _fields(entry, f"{where}claim no. {index}: ", {"id": _NAME}, ("id",))
        name = entry["id"]
        if name in seen:
            raise GatewiseError(f"{where}the claim {_shown(name)} is there twice")
        seen.add(name)
        inside = f"{where}claim {name}: "
        _fields(entry, inside, _ENTRY, _ENTRY_NEEDS)
        _fields(entry.get("columns") or {}, f"{inside}columns: ", _COLUMNS, ())
        for at, comparison in enumerate(entry["comparisons"], start=1):
            _fields(comparison, f"{inside}comparison no. {at}: ", _COMPARISON, _COMPARISON_NEEDS)


def _fields(found: Mapping[str, Any], where: str, rules: Mapping[str, Rule], needed: tuple[str, ...]) -> None:
    """Every field that is there keeps its rule, and those that are needed are there."""
    for name, (wanted, holds) in rules.items():
        if name not in found and name in needed:
            raise GatewiseError(f"{where}{name} is missing; it must be {wanted}")
        if name in found and not holds(found[name]):
            raise GatewiseError(f"{where}{name} must be {wanted}, not {_shown(found[name])}")


def _shown(value: object) -> str:
    text = json.dumps(value)
    return text if len(text) <= _EXCERPT else f"{text[:_EXCERPT]}..."


# JSON that can be written again as it was read


def _refuse(word: str) -> float:
    raise ValueError(f"{word} is no number of JSON; a number that is not there is null")


def _float(text: str) -> float:
    value = float(text)
    return value if abs(value) <= sys.float_info.max else _refuse(text[:_EXCERPT])


def _plain(document: object) -> None:
    """Refuses half a character (a lone surrogate, which no file can hold), and nesting that no result has."""
    level: list[object] = [document]
    for _ in range(DEEPEST):
        for text in (value for value in level if isinstance(value, str)):
            if any(0xD800 <= ord(sign) <= 0xDFFF for sign in text):
                raise ValueError(f"half a character in {_shown(text)}")
        maps = [value for value in level if isinstance(value, dict)]
        lists = [value for value in level if isinstance(value, list)]
        level = [item for value in maps for pair in value.items() for item in pair]
        level += [item for value in lists for item in value]
        if not level:
            return
    raise RecursionError


# What each field must be


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= sys.float_info.max


def _is_count(value: object) -> bool:
    return isinstance(value, int) and _is_number(value) and value >= 0


def _is_pair(value: object) -> bool:
    return isinstance(value, list) and len(value) == 2 and all(map(_is_number, value))


def _list_of(holds: Callable[[Any], bool]) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, list) and all(map(holds, value))


def _is_object(value: object) -> bool:
    return isinstance(value, dict)


def _one_of(words: tuple[str, ...]) -> Rule:
    return "one of " + ", ".join(words), lambda value: isinstance(value, str) and value in words


def _or_null(rule: Rule) -> Rule:
    wanted, holds = rule
    return f"{wanted} or null", lambda value: value is None or holds(value)


_TEXT: Rule = ("text", _is_text)
_NAME: Rule = ("text that is not empty", lambda value: isinstance(value, str) and bool(value.strip()))
_NUMBER: Rule = ("a number", _is_number)
_COUNT: Rule = ("a whole number, 0 or more", _is_count)
_PAIR: Rule = ("two numbers", _is_pair)
_OBJECT: Rule = ("an object", _is_object)
_OBJECTS: Rule = ("a list of objects", _list_of(_is_object))
_TEXTS: Rule = ("a list of texts", _list_of(_is_text))
_FLAG: Rule = ("true or false", lambda value: isinstance(value, bool))
_PRICES: Rule = ("an object of numbers", lambda value: isinstance(value, dict) and all(map(_is_number, value.values())))
_GRADE, _VERDICT = _one_of(GRADES), _one_of(_VERDICTS)

_DOCUMENT = {"environment": _OBJECT, "written": _TEXT, "claims": _OBJECTS}
_ENVIRONMENT = {"cpu": _or_null(_TEXT), "cores": _or_null(_COUNT), "packages": _or_null(_OBJECT)}
_COLUMNS = {"stock": _or_null(_GRADE), "gatewise": _or_null(_GRADE), "gatewise_reason": _or_null(_TEXT)}

_ENTRY_NEEDS = ("id", "sentence", "source", "grade", "reason", "comparisons")
_ENTRY = {
    "id": _NAME,
    "sentence": _TEXT,
    "source": _TEXT,
    "grade": _GRADE,
    "reason": _TEXT,
    "comparisons": _OBJECTS,
    "columns": _or_null(_OBJECT),
    "alpha": _or_null(_NUMBER),
    "relations": _OBJECTS,
    "subjects": _OBJECTS,
    "left_out": _OBJECTS,
    "dropped": _OBJECTS,
    "ranking": _or_null(_OBJECT),
    **dict.fromkeys(("looks", "stated", "side_by_side", "rates"), _OBJECTS),
    **dict.fromkeys(("basins", "needs"), _or_null(_OBJECT)),
    "registered": _or_null(_TEXT),
    "next": _TEXTS,
    "otherwise": _TEXTS,
    "follows": _or_null(_TEXT),
    "waits_for": _or_null(_TEXT),
    "study": _or_null(_TEXT),
    "seconds": _or_null(_NUMBER),
    "replay": _TEXT,
}

_COMPARISON_NEEDS = ("metric", "arm", "than", "verdict", "estimate", "interval", "alpha", "margin", "n")
_COMPARISON = {
    **dict.fromkeys(("metric", "arm", "than"), _NAME),
    "verdict": _VERDICT,
    "grade": _GRADE,
    **dict.fromkeys(("estimate", "alpha", "margin", "smallest_detectable"), _or_null(_NUMBER)),
    **dict.fromkeys(("interval", "limits"), _or_null(_PAIR)),
    "n": _COUNT,
    **dict.fromkeys(("label", "unit", "is", "part", "over", "form", "reason", "relation"), _or_null(_TEXT)),
    **dict.fromkeys(("implementation", "method", "evidence"), _or_null(_TEXT)),
    "kind": _one_of(("ratio", "difference")),
    "direction": _one_of(("lower", "higher")),
    "conditions": _OBJECT,
    "control": _FLAG,
    "notes": _TEXTS,
    "cost": _or_null(_PRICES),
}
