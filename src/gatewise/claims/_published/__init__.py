"""Published tables, recomputed from the figures that were printed, and what their evidence supports."""

from ._analyse import published as published
from ._read import Tables as Tables
