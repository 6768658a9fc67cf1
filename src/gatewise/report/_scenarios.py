"""A load scenario's document, written."""

from pathlib import Path

from gatewise.core import GatewiseError

from . import _json
from ._formats import write_texts
from ._read import Document, text

SCHEMA = "gatewise.scenarios/1"


def write_scenarios(document: Document, folder: Path) -> list[Path]:
    """Write `scenarios.json`, `scenarios.md` and `scenarios.html`, and return the paths.

    All texts are rendered before the first file is touched, and each file is replaced in one step.

    Raises:
        GatewiseError: the document has another schema or a number that JSON has no word for, or the folder cannot be
            written.
    """
    from . import _scenarios_html, _scenarios_markdown

    schema = text(document.get("schema"))
    if schema != SCHEMA:
        raise GatewiseError(f"this is no load scenario: schema {schema or 'missing'}; valid: {SCHEMA}")
    texts = {
        "scenarios.json": _json.render(document),
        "scenarios.md": _scenarios_markdown.render(document),
        "scenarios.html": _scenarios_html.render(document),
    }
    return write_texts(folder, texts, "the scenario")
