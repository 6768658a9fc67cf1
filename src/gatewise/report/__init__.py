"""Renders a result document: terminal, HTML, Markdown, JSON. Judges nothing and measures nothing."""

from ._claims import claims_terminal as claims_terminal
from ._claims import write_claims as write_claims
from ._dilution import dilution_terminal as dilution_terminal
from ._dilution import write_dilution as write_dilution
from ._format import Format as Format
from ._formats import FORMATS as FORMATS
from ._formats import html as html
from ._formats import markdown as markdown
from ._formats import terminal as terminal
from ._formats import write as write
from ._scenarios import write_scenarios as write_scenarios
from ._table import table_terminal as table_terminal
from ._table import write_table as write_table
