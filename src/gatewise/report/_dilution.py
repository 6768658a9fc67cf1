"""The dilution's document, shown and written."""

from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError

from . import _json
from ._formats import write_texts
from ._read import Document, text

if TYPE_CHECKING:
    from rich.console import Console

SCHEMA = "gatewise.dilution/1"
RESULT, STUDY = "dilution.json", "result.json"


def dilution_terminal(document: Document, console: "Console | None" = None) -> None:
    """Print the table of a dilution. Without `console` to stdout, in the terminal's width; `NO_COLOR` is honoured.

    Raises:
        GatewiseError: the document has another schema.
    """
    from ._dilution_terminal import show

    _check(document)
    show(document, console)


def write_dilution(document: Document, study: Document, folder: Path) -> list[Path]:
    """Write `result.json` (the study), `dilution.json`, `dilution.md` and `dilution.html`, and return the paths.

    All texts are rendered before the first file is touched, and each file is replaced in one step.

    Raises:
        GatewiseError: the document has another schema or a number that JSON has no word for, or the folder cannot be
            written.
    """
    from . import _dilution_html, _dilution_markdown

    _check(document)
    texts = {
        STUDY: _json.render(study),
        RESULT: _json.render(document),
        "dilution.md": _dilution_markdown.render(document),
        "dilution.html": _dilution_html.render(document),
    }
    return write_texts(folder, texts, "the dilution")


def _check(document: Document) -> None:
    schema = text(document.get("schema"))
    if schema != SCHEMA:
        raise GatewiseError(f"this is no dilution: schema {schema or 'missing'}; valid: {SCHEMA}")
