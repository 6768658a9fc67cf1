"""Records, the registry, statistics and the judge, environment facts and the store. Imports no torch."""

from ._compare import compare as compare
from ._environment import available_memory_bytes as available_memory_bytes
from ._environment import environment as environment
from ._environment import num_cores as num_cores
from ._environment import same_machine as same_machine
from ._errors import GatewiseError as GatewiseError
from ._errors import MissingExtraError as MissingExtraError
from ._errors import unknown_name as unknown_name
from ._family import Evidence as Evidence
from ._family import Judgeable as Judgeable
from ._family import Product as Product
from ._family import holm as holm
from ._judge import Comparison as Comparison
from ._judge import Method as Method
from ._judge import Rule as Rule
from ._judge import Verdict as Verdict
from ._metrics import METRICS as METRICS
from ._metrics import Metric as Metric
from ._metrics import metric as metric
from ._paired import item_method as item_method
from ._registry import Registry as Registry
from ._sequence import MedianSequence as MedianSequence
from ._sequence import fewest as fewest
from ._sequence import rank as rank
from ._sequential import SequentialComparison as SequentialComparison
from ._store import Store as Store
