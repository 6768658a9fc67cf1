"""How much of an activation's price is left at each level, from the operator alone to a whole request."""

from ._document import SCHEMA as SCHEMA
from ._document import table as table
from ._plan import ARMS as ARMS
from ._plan import BUDGET_S as BUDGET_S
from ._plan import DTYPES as DTYPES
from ._plan import LEVELS as LEVELS
from ._plan import SIZES as SIZES
from ._plan import TOKENS as TOKENS
from ._plan import plan as plan
