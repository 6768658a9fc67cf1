"""What executes a model: one file each, prepared once, checked against eager before anything is timed."""

from ._agreement import Agreement as Agreement
from ._agreement import agreement as agreement
from ._agreement import variations as variations
from ._calibration import read_calibration as read_calibration
from ._inputs import Inputs as Inputs
from ._runtime import RUNTIMES as RUNTIMES
from ._runtime import Prepared as Prepared
from ._runtime import Runtime as Runtime
from ._runtime import Task as Task
from ._runtime import availability as availability
from ._runtime import check_runtime as check_runtime
from ._runtime import prepare as prepare
from ._runtime import warm_up as warm_up
