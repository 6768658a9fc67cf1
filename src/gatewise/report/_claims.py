"""The claims' documents, shown and written: one table of what each schema has."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from gatewise.core import GatewiseError

from . import _json
from ._formats import write_texts
from ._read import Document, text

if TYPE_CHECKING:
    from rich.console import Console

GRADED, MERGED, LIST = "gatewise.claims/1", "gatewise.claims-merged/1", "gatewise.claims-list/1"
RESULT = "claims.json"

Made = TypeVar("Made")


def claims_terminal(document: Document, console: "Console | None" = None) -> None:
    """Print graded claims, a list of claims, or the claims of several machines, as the document's schema says.

    Without `console` to stdout, in the terminal's width; `NO_COLOR` is honoured.

    Raises:
        GatewiseError: the document has another schema.
    """
    from ._claims_terminal import show_claims, show_list, show_merged

    shows = {GRADED: show_claims, MERGED: show_merged, LIST: show_list}
    _of(document, shows)(document, console)


def write_claims(document: Document, folder: Path) -> list[Path]:
    """Write `claims.json` (the document), `claims.md` and `claims.html` into the folder and return the paths.

    All texts are rendered before the first file is touched, and each file is replaced in one step. What several
    machines came to never replaces what one of them measured.

    Raises:
        GatewiseError: the document has another schema or a number that JSON has no word for, the folder cannot be
            written, or it holds the results that are merged.
    """
    from . import _claims_html, _claims_markdown

    markdown = _of(document, {GRADED: _claims_markdown.claims, MERGED: _claims_markdown.merged})
    html = _of(document, {GRADED: _claims_html.claims, MERGED: _claims_html.merged})
    texts = {RESULT: _json.render(document), "claims.md": markdown(document), "claims.html": html(document)}
    if text(document.get("schema")) == MERGED and _schema(folder / RESULT) == GRADED:
        raise GatewiseError(f"{folder / RESULT} is a machine's own result; write the merged one to another folder")
    return write_texts(folder, texts, "the claims")


def _of(document: Document, table: dict[str, Callable[..., Made]]) -> Callable[..., Made]:
    schema = text(document.get("schema"))
    if schema not in table:
        raise GatewiseError(f"this is no document of claims: schema {schema or 'missing'}; valid: {', '.join(table)}")
    return table[schema]


def _schema(path: Path) -> str:
    """The schema of a file that may be there, empty where it is none."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return ""
    return text(found.get("schema")) if isinstance(found, dict) else ""
