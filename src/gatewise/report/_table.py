"""The document of an own file's study, shown and written."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError

from . import _json
from ._formats import write_texts
from ._read import Document, text

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "gatewise.table/1"
RESULT = "table.json"


def table_terminal(document: Document, console: "Console | None" = None) -> None:
    """Print the answer. Without `console` to stdout, in the terminal's width; `NO_COLOR` is honoured.

    Raises:
        GatewiseError: the document has another schema.
    """
    from ._table_terminal import show

    _check(document)
    show(document, console)


def write_table(document: Document, folder: Path, others: Mapping[str, str] | None = None) -> list[Path]:
    """Write `table.json`, `table.md` and `table.html`, and `others` (texts by file name), and return the paths.

    All texts are rendered before the first file is touched, and each file is replaced in one step.

    Raises:
        GatewiseError: the document has another schema or a number that JSON has no word for, or the folder cannot be
            written.
    """
    from . import _table_html, _table_markdown

    _check(document)
    texts = {
        RESULT: _json.render(document),
        "table.md": _table_markdown.render(document),
        "table.html": _table_html.render(document),
        **(others or {}),
    }
    return write_texts(folder, texts, "the result")


def _check(document: Document) -> None:
    schema = text(document.get("schema"))
    if schema != SCHEMA:
        raise GatewiseError(f"this is no study of a file: schema {schema or 'missing'}; valid: {SCHEMA}")
