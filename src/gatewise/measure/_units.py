"""Hidden units that stay silent: an exact count on real inputs."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.workloads import HiddenUnits, Workload, hidden_units, watching


@dataclass(frozen=True, kw_only=True)
class SilentUnits:
    """How many hidden units never had a positive pre-activation.

    Attributes:
        silent: the count; `by_site` splits it by the path of the FFN.
        units: all hidden units of the FFNs looked at.
        tokens: over how many tokens; padding does not count.
    """

    silent: int
    units: int
    tokens: int
    by_site: dict[str, int]


def dead_units(workload: Workload, model: nn.Module) -> SilentUnits:
    """Count the units of a model's FFNs that had no positive pre-activation at any token of the workload's probe.

    With relu such a unit passes neither a signal nor a gradient. With gelu or silu it passes a little of both; the
    count is then of units in the bent tail only. For a gate it is the gate's pre-activation.

    Raises `GatewiseError` where the model has no FFN to look at, or calls one with something else than the tokens.
    """
    sites = hidden_units(model)
    positive: dict[str, Tensor] = {}
    keep: Tensor | None = None

    def see(units: HiddenUnits, z: Tensor) -> None:
        rows = z.flatten(0, -2)
        if keep is not None:
            if len(rows) != len(keep):
                raise GatewiseError(f"{units.path} sees {len(rows)} rows where the inputs have {len(keep)} tokens")
            rows = rows[keep]
        active = (rows > 0).any(dim=0)
        positive[units.path] = positive[units.path] | active if units.path in positive else active
        if units.path == sites[0].path:
            seen.append(len(rows))

    seen: list[int] = []
    with torch.inference_mode(), watching(model, sites, see):
        for inputs in workload.probe():
            mask = inputs.get("attention_mask") if isinstance(inputs, dict) else None
            keep = mask.flatten().bool() if isinstance(mask, Tensor) else None
            workload.run(model, inputs)
    by_site = {path: int((~active).sum()) for path, active in positive.items()}
    return SilentUnits(
        silent=sum(by_site.values()),
        units=sum(len(active) for active in positive.values()),
        tokens=sum(seen),
        by_site=by_site,
    )
