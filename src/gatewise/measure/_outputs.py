"""How far an arm's outputs lie from the baseline's, on the workload's fixed real inputs."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor

from gatewise.core import GatewiseError
from gatewise.workloads import cosine_rows


def outputs(call: Callable[[Any], Tensor], inputs: Iterable[Any]) -> Tensor:
    """What a call gives on some inputs: one row per item, shape (items, features)."""
    with torch.inference_mode():
        return torch.cat([call(each).float() for each in inputs])


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
