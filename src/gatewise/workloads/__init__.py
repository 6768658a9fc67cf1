"""Models with their data, their metric and their target, all offline."""

from ._stochastic import StochasticGELU as StochasticGELU
from ._supervised import Supervised as Supervised
from ._table import WORKLOADS as WORKLOADS
from ._table import workload as workload
from ._units import HiddenUnits as HiddenUnits
from ._units import hidden_units as hidden_units
from ._units import slopes as slopes
from ._units import watching as watching
from ._workload import Generative as Generative
from ._workload import Quality as Quality
from ._workload import Workload as Workload
from ._workload import cosine_rows as cosine_rows
