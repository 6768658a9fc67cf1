"""Models with their data, their metric and their target, all offline."""

from ._table import WORKLOADS as WORKLOADS
from ._table import workload as workload
from ._workload import Quality as Quality
from ._workload import Workload as Workload
from ._workload import cosine_rows as cosine_rows
