"""A doctor's document for a terminal: a lead and a sentence a line, wrapped to the width, the same text when piped."""

import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ._aa_page import aa_lines
from ._explain_page import explain_lines
from ._look_page import look_lines

if TYPE_CHECKING:
    from rich.console import Console

LEAD = 20
PAGES = {"look": look_lines, "explain": explain_lines}
"""By kind of document; the summary of A/A studies for all else."""
PLAIN = str.maketrans({"–": "-", "−": "-", "✓": "+", "✗": "x", "·": "-", "×": "x", "µ": "u", "≥": ">="})
"""For a terminal or a pipe that is not UTF-8."""


def show(document: Mapping[str, Any], console: "Console | None" = None) -> None:
    """Print a look, an explanation or the summary of A/A studies to `console`, by default to stdout."""
    from rich.console import Console
    from rich.text import Text

    target = console or Console(file=sys.stdout, highlight=False)
    for line in PAGES.get(document["kind"], aa_lines)(document):
        if not line.text:
            target.print(Text(_encodable(line.lead, target.encoding), style=line.style), soft_wrap=True)
            continue
        indent = 2 + LEAD
        body = Text(_encodable(line.text, target.encoding), style=line.style)
        for number, part in enumerate(body.wrap(target, max(target.width - indent, 20))):
            part.rstrip()
            lead = f"  {line.lead:<{LEAD}}" if number == 0 else " " * indent
            target.print(Text(_encodable(lead, target.encoding), style="dim").append_text(part), soft_wrap=True)


def _encodable(content: str, encoding: str) -> str:
    try:
        content.encode(encoding)
    except (UnicodeEncodeError, LookupError):
        return content.translate(PLAIN).encode("ascii", "replace").decode("ascii")
    return content
