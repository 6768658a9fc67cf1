"""Metrics that change weights: arms trained from scratch, equal in everything but the activation."""

from ._arm import step_runner as step_runner
from ._arm import train_arm as train_arm
from ._diagnostics import DIAGNOSTICS as DIAGNOSTICS
from ._memory import training_memory as training_memory
from ._plan import MIN_STEPS as MIN_STEPS
from ._plan import TrainPlan as TrainPlan
from ._plan import run_seconds as run_seconds
from ._plan import scaled_plan as scaled_plan
from ._result import TrainResult as TrainResult
from ._target import TARGET_SHARE as TARGET_SHARE
from ._target import loss_at as loss_at
from ._target import steps_to_target as steps_to_target
from ._target import target_of as target_of
from ._workload import TrainWorkload as TrainWorkload
