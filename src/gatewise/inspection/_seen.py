"""What a value held over one or several batches: its range, and which units it never switched on."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gatewise.graphs import Graph, Kind, Site


@dataclass(frozen=True, kw_only=True)
class Seen:
    """What went through one value.

    A unit is one index of the last axis (of axis 1, the channels, behind a convolution).

    Attributes:
        minimum, maximum: over all finite numbers; None where there was none.
        values: how many numbers went through.
        not_finite: how many of them were NaN or infinite.
        units: how many units it has; None for a value without axes.
        never_positive: how many units were at most 0 for every item and position.
    """

    minimum: float | None
    maximum: float | None
    values: int
    not_finite: int
    units: int | None
    never_positive: int | None

    def to_json(self) -> dict[str, Any]:
        """As the record of an inspection shows it."""
        return {
            "min": self.minimum,
            "max": self.maximum,
            "values": self.values,
            "not_finite": self.not_finite,
            "units": self.units,
            "never_positive": self.never_positive,
        }


@dataclass(kw_only=True)
class Tally:
    """Adds up batches of one value. NaN counts as positive: such a unit is broken, not switched off."""

    axis: int = -1
    """That of the units."""
    minimum: float = float("inf")
    maximum: float = float("-inf")
    values: int = 0
    not_finite: int = 0
    highest: NDArray[Any] | None = None
    """Of each unit the largest number so far."""
    uneven: bool = field(default=False)
    """Batches had different numbers of units, so that units cannot be counted."""

    def add(self, batch: NDArray[Any]) -> None:
        """One batch."""
        finite = np.isfinite(batch)
        self.values += batch.size
        self.not_finite += int(batch.size - finite.sum())
        if finite.any():
            kept = batch[finite]
            self.minimum = min(self.minimum, float(kept.min()))
            self.maximum = max(self.maximum, float(kept.max()))
        if batch.ndim == 0 or batch.size == 0:
            return
        axis = self.axis % batch.ndim
        clean = np.where(np.isnan(batch), np.inf, batch)
        highest = clean.max(axis=tuple(other for other in range(batch.ndim) if other != axis))
        if self.highest is not None and self.highest.shape != highest.shape:
            self.uneven = True
        elif self.highest is None:
            self.highest = highest
        else:
            self.highest = np.maximum(self.highest, highest)

    def seen(self) -> Seen:
        """What there was."""
        counted = self.highest is not None and not self.uneven
        return Seen(
            minimum=self.minimum if np.isfinite(self.minimum) else None,
            maximum=self.maximum if np.isfinite(self.maximum) else None,
            values=self.values,
            not_finite=self.not_finite,
            units=len(self.highest) if counted and self.highest is not None else None,
            never_positive=int((self.highest <= 0).sum()) if counted and self.highest is not None else None,
        )


def unit_axis(graph: Graph, name: str) -> int:
    """Where the units of a value are: axis 1 (channels) behind a convolution, else the last."""
    passed = {Kind.POINTWISE, Kind.CAST, Kind.COPY, Kind.NORM}
    node = graph.producer.get(name)
    while node is not None and node.kind in passed:
        node = next((graph.producer[value] for value in node.inputs if value in graph.producer), None)
    return 1 if node is not None and node.kind is Kind.LINEAR and "conv" in node.op.lower() else -1


def seen_at(site: Site, seen: Mapping[str, Seen]) -> dict[str, Any] | None:
    """What went into a site, and how many of its units are dead; None where nothing is known.

    A unit is dead where the function is 0 for all that went into it: counted for functions that are 0 on all of the
    negative side (ReLU and its kin), by never having been positive. Others have no dead units, and none are counted.
    """
    inputs = [seen.get(name) for name in site.inputs]
    first = inputs[0]
    if first is None:
        return None
    dead = first.never_positive if _is_zero_below(site) else None
    return {
        "min": first.minimum,
        "max": first.maximum,
        "dead_units": dead,
        "units": first.units,
        "inputs": [value.to_json() if value is not None else None for value in inputs],
    }


def _is_zero_below(site: Site) -> bool:
    negative = -np.logspace(-3, 2, 60)
    others = [np.full_like(negative, 3.0) for _ in site.inputs[1:]]
    with np.errstate(all="ignore"):
        return bool(np.all(site.evaluate([negative, *others]) == 0))
