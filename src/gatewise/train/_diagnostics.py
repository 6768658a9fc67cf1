"""The diagnostics by name."""

from collections.abc import Sequence

from gatewise.core import GatewiseError, unknown_name

from ._diagnose_gradients import CurvatureSpread, GradientSpread
from ._diagnose_losses import GeneralisationGap, HeldoutAccuracy, ShiftedLoss, SliceGap
from ._diagnose_units import DeadUnits
from ._diagnose_use import HiddenUse
from ._diagnostic import Diagnostic
from ._workload import TrainWorkload

DIAGNOSTICS: dict[str, type[Diagnostic]] = {
    "generalisation_gap": GeneralisationGap,
    "heldout_accuracy": HeldoutAccuracy,
    "shifted_loss": ShiftedLoss,
    "slice_gap": SliceGap,
    "gradient_spread": GradientSpread,
    "curvature_spread": CurvatureSpread,
    "dead_units": DeadUnits,
    "saturated_units": HiddenUse,
}
"""What a training run can record beside its curve; the names are those of the metrics."""


def check_diagnostics(names: Sequence[str], workload: TrainWorkload) -> None:
    """Raises `GatewiseError` for an unknown name, one given twice, and one that the workload has no data for."""
    for name in names:
        if name not in DIAGNOSTICS:
            raise unknown_name("diagnostic", name, DIAGNOSTICS)
        lacking = [need for need in DIAGNOSTICS[name].needs if not hasattr(workload, need)]
        if lacking:
            raise GatewiseError(f"{name} cannot be recorded: the workload has no {', '.join(lacking)}")
    if len(set(names)) < len(names):
        raise GatewiseError(f"a diagnostic is named twice: {', '.join(names)}")
