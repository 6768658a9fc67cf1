"""The result document as strict JSON."""

import json
import math
from collections.abc import Mapping

from gatewise.core import GatewiseError

from ._format import Format
from ._read import Document


def dumps(document: Document) -> str:
    """Strict JSON (RFC 8259), UTF-8 text. Raises `GatewiseError` that names the first number JSON cannot hold."""
    try:
        return json.dumps(document, ensure_ascii=False, allow_nan=False)
    except ValueError as error:
        where = _not_finite(document, "")
        if where is None:
            raise GatewiseError(f"the result cannot be written as JSON: {error}") from error
        raise GatewiseError(
            f"the result holds a number that is not finite at {where}\na number that is not there is null"
        ) from error
    except TypeError as error:
        raise GatewiseError(f"the result is not plain data: {error}") from error


def _not_finite(value: object, path: str) -> str | None:
    if isinstance(value, float):
        return None if math.isfinite(value) else path.lstrip(".") or "the top"
    items: list[tuple[str, object]] = []
    if isinstance(value, Mapping):
        items = [(f"{path}.{key}", item) for key, item in value.items()]
    elif isinstance(value, list | tuple):
        items = [(f"{path}[{index}]", item) for index, item in enumerate(value)]
    return next((found for key, item in items if (found := _not_finite(item, key)) is not None), None)


def render(document: Document) -> str:
    """Pretty at the top, one line a record below (a list of a thousand raw values is one line); ends with a newline."""
    dumps(document)  # refuses what JSON cannot hold, with its place in the whole document
    fields = [f" {_line(key)}: {_field(value)}" for key, value in document.items()]
    return "{\n" + ",\n".join(fields) + "\n}\n"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, allow_nan=False)


def _field(value: object) -> str:
    if isinstance(value, list) and value:
        return "[\n" + ",\n".join(f"  {_line(item)}" for item in value) + "\n ]"
    return json.dumps(value, ensure_ascii=False, allow_nan=False, indent=1).replace("\n", "\n ")


JSON = Format(render=render, filename="result.json")
