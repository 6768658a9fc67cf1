"""What pages and terminals are drawn with: numbers in words, scales, SVG, columns. For other packages' own pages."""

from . import _columns as columns
from . import _numbers as num
from . import _scale as scale
from . import _svg as svg
from ._html import flow as flow
from ._html import sentences as sentences
from ._json import dumps as dumps
from ._terminal_words import Words as Words

__all__ = ["Words", "columns", "dumps", "flow", "num", "scale", "sentences", "svg"]
