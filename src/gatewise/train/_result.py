"""What one training run leaves behind, as plain data."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

Curve = tuple[tuple[int, float], ...]
"""(optimiser steps done, held-out loss), in order."""


@dataclass(frozen=True, kw_only=True)
class TrainResult:
    """One arm trained from one seed.

    Attributes:
        arm, seed, matching: what was trained.
        curve: held-out loss (for `byte-lm` bits per byte) after so many steps.
        final_loss: the held-out loss after the last step, which is the curve's last point; None where training failed.
            With a rate that falls to 0 the last weights are at rest, so one evaluation needs no smoothing.
        failure: None, or why this arm ended early. It ends the arm, not the study.
        parameters: exact count.
        steps: optimiser steps done.
        data_order_sha256: over every training batch in order: the same for all arms of a seed.
        seconds: wall time of the run. Informative: step times are measured apart.
        diagnostics: what else was asked for, by name; None where there is no finite value.
    """

    arm: str
    seed: int
    matching: str
    curve: Curve
    final_loss: float | None
    failure: str | None
    parameters: int
    steps: int
    data_order_sha256: str
    seconds: float
    diagnostics: dict[str, float | None] = field(default_factory=dict[str, float | None])

    def to_json(self) -> dict[str, Any]:
        """Plain data: what a worker process hands back."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> "TrainResult":
        """The result back from `to_json`, also after a trip through JSON."""
        plain: dict[str, Any] = dict(data)
        plain["curve"] = tuple((int(step), float(loss)) for step, loss in data["curve"])
        return cls(**plain)
