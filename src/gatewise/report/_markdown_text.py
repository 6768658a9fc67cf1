"""Plain text and tables in GitHub-flavoured Markdown."""

import re

# An underscore inside a word (gelu_tanh) is no emphasis in this dialect and stays as it is.
_SPECIAL = re.compile(r"([\\`*\[\]|~]|(?<!\w)_|_(?!\w)|^[#+>-]|(?<=^\d)[.)]|(?<=^\d\d)[.)])")


def escape(content: str) -> str:
    """A document's text as plain text in Markdown: no markup, no HTML, no table cell of its own making."""
    safe = content.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _SPECIAL.sub(r"\\\1", safe)


def table(head: list[str], right: set[str], rows: list[list[str]]) -> str:
    rule = ["---:" if name in right else "---" for name in head]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (head, rule, *rows))
