"""The usable basin of a learning rate: how far the rate may be off before the loss tells."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import Any, Literal

from gatewise.core import GatewiseError

Edge = Literal["between", "at or beyond the grid", "not known: stopped early"]


@dataclass(frozen=True, kw_only=True)
class Basin:
    """The rates around an arm's best whose loss lies within `distance` of the best loss, without a gap.

    Attributes:
        distance: in the loss's unit.
        best, low, high: rates of the grid; `low` and `high` are the outermost inside.
        low_edge, high_edge: `between` says that the edge lies between that rate and the next one of the grid, which is
            worse. The other two say that it was not found: the grid ended, or the next rate was stopped before this.
        factor_least: high / low: the basin is at least so wide.
        factor_most: the ratio of the two worse neighbours, which it does not reach; None where an edge was not found.
    """

    distance: float
    best: float
    low: float
    high: float
    low_edge: Edge
    high_edge: Edge
    factor_least: float
    factor_most: float | None

    def to_json(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)


def basin(rates: Sequence[float], losses: Sequence[float | None], distance: float) -> Basin | None:
    """The basin of a curve of loss over rate; None where no rate has a finite loss.

    Args:
        rates: rising.
        losses: by rate; infinite where training failed, None where the rate was stopped before.
        distance: how much worse than the best is still inside, 0 or more.

    Raises `GatewiseError` for rates that do not rise, and for a distance that is no number of 0 or more.
    """
    if len(rates) != len(losses) or any(a >= b for a, b in pairwise(rates)):
        raise GatewiseError("a basin needs rising rates and a loss for each")
    if not (math.isfinite(distance) and distance >= 0):
        raise GatewiseError(f"the distance of a basin is a number of 0 or more, not {distance!r}")
    known = {place: loss for place, loss in enumerate(losses) if loss is not None and math.isfinite(loss)}
    if not known:
        return None
    best = min(known, key=lambda place: known[place])
    limit = known[best] + distance
    low, low_edge = _walk(losses, best, -1, limit)
    high, high_edge = _walk(losses, best, +1, limit)
    found = low_edge == "between" and high_edge == "between"
    return Basin(
        distance=distance,
        best=rates[best],
        low=rates[low],
        high=rates[high],
        low_edge=low_edge,
        high_edge=high_edge,
        factor_least=rates[high] / rates[low],
        factor_most=rates[high + 1] / rates[low - 1] if found else None,
    )


def _walk(losses: Sequence[float | None], place: int, way: int, limit: float) -> tuple[int, Edge]:
    while 0 <= place + way < len(losses):
        loss = losses[place + way]
        if loss is None:
            return place, "not known: stopped early"
        if not loss <= limit:
            return place, "between"
        place += way
    return place, "at or beyond the grid"
