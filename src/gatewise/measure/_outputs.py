"""How far an arm's outputs lie from the baseline's, on the workload's fixed real inputs."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.workloads import Workload, cosine_rows


def outputs(workload: Workload, model: nn.Module) -> Tensor:
    """One row per probe item, shape (items, features)."""
    with torch.inference_mode():
        return torch.cat([workload.run(model, inputs).float() for inputs in workload.probe()])


def distances(baseline: Tensor, arm: Tensor) -> list[float]:
    """1 - cosine per item, in float64; 0 for a row that is equal bit by bit.

    Raises:
        GatewiseError: outputs that are not finite.
    """
    if baseline.dim() > 1 and baseline.shape[1] < 2:
        raise GatewiseError("outputs of a single number have no angle; output_difference needs two features or more")
    values: Sequence[float] = (1.0 - cosine_rows(baseline, arm)).tolist()
    broken = sum(value != value for value in values)
    if broken:
        raise GatewiseError(f"{broken} of {len(values)} outputs are not finite or all zero: no angle to compare")
    return list(values)
