"""Finds the activations and FFNs of a model, swaps them, and writes and reads models as plain data."""

from ._heal import Healing as Healing
from ._heal import HealReport as HealReport
from ._heal import heal as heal
from ._huggingface_folder import load_huggingface as load_huggingface
from ._keep_figures import output_error as output_error
from ._report import SiteChange as SiteChange
from ._report import Step as Step
from ._report import SurgeryReport as SurgeryReport
from ._report import WeightsState as WeightsState
from ._report import mark_weights as mark_weights
from ._report import weights_state as weights_state
from ._sites import Site as Site
from ._sites import find_sites as find_sites
from ._store import describe as describe
from ._store import load as load
from ._store import save as save
from ._swap import swap as swap
