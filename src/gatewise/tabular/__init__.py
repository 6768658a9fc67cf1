"""A file of one's own: does a neural network pay on it, with which activation or gate, and how sure is that?"""

from ._plan import ARMS as ARMS
from ._plan import BUDGET_S as BUDGET_S
from ._plan import SEEDS as SEEDS
from ._plan import Asking as Asking
from ._plan import TablePlan as TablePlan
from ._plan import settings as settings
from ._run import PREDICTIONS as PREDICTIONS
from ._run import STORE as STORE
from ._run import OtherTableError as OtherTableError
from ._run import Study as Study
from ._run import study as study
