"""How much of an activation's price is left at each level, from the operator alone to a whole request."""

from ._document import table as table
from ._plan import LEVELS as LEVELS
from ._plan import plan as plan
