"""What a report format is. The table of all of them stands in `_formats.py`."""

from collections.abc import Callable
from dataclasses import dataclass

from ._read import Document


@dataclass(frozen=True, kw_only=True)
class Format:
    """One way to show a result document.

    Attributes:
        render: the whole report as one text.
        filename: what it is called in an output folder; None for a format that is not a file.
    """

    render: Callable[[Document], str]
    filename: str | None
