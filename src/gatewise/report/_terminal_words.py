"""Texts that a terminal can show, whatever its encoding; the verdicts' signs."""

from rich.text import Text

SIGNS = {"better": "✓", "worse": "✗", "equivalent": "=", "inconclusive": "?"}
STYLES = {"better": "bold cyan", "worse": "bold red", "equivalent": "bold", "inconclusive": "yellow"}
# For a terminal or a pipe that is not UTF-8.
_PLAIN = str.maketrans(
    {"✓": "+", "✗": "x", "−": "-", "–": "-", "µ": "u", "±": "+/-", "×": "x", "→": "->", "·": ".", "…": ".", "’": "'"}
    | {"█": "#", "▏": "|", "⏎": "|"}
    | dict(zip("⁻⁰¹²³⁴⁵⁶⁷⁸⁹", "-0123456789", strict=True))
)


class Words:
    """Makes texts that the output can encode. A text is never read as rich's markup."""

    def __init__(self, encoding: str) -> None:
        self._encoding = encoding

    def __call__(self, content: str, style: str = "") -> Text:
        return Text(self._plain(content), style=style)

    def verdict(self, word: str) -> Text:
        """A verdict's sign and word."""
        return self(f"{SIGNS[word]} {word}", STYLES[word]) if word else self("")

    def encoded(self, block: Text) -> Text:
        """The block with what laying it out has added (an ellipsis) made encodable too."""
        plain = self._plain(block.plain)
        return block if plain == block.plain else Text(plain, spans=block.spans, style=block.style)

    def _plain(self, content: str) -> str:
        try:
            content.encode(self._encoding)
        except (UnicodeEncodeError, LookupError):
            return content.translate(_PLAIN).encode(self._encoding, "replace").decode(self._encoding)
        return content
