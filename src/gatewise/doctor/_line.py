"""What a page is made of: a lead in the margin and a text; and the verdict, which both pages end with."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_STYLES = {"yes": "bold cyan", "no": "bold red", "doubtful": "yellow", "too noisy": "bold red", "not yet": "yellow"}


@dataclass(frozen=True)
class Line:
    """One paragraph: what stands in the margin, the text, and its style; a heading has no text."""

    lead: str
    text: str = ""
    style: str = ""


def verdict_lines(found: Mapping[str, Any]) -> Iterator[Line]:
    """The answer, what disturbs and what helps, and what to do next."""
    yield Line(found["answer"], found["text"], _STYLES[found["answer"]])
    for cause in found.get("causes", ()):
        yield Line(cause["what"], f"{cause['seen']}.", "yellow" if cause["serious"] else "")
        yield Line("  helps", f"{cause['helps']}.")
    if found["next"]:
        yield Line("next", f"{found['next']}")
