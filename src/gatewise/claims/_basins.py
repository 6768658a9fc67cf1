"""The basin of learning rates of each arm, from judged runs at several rates: how far a rate may be off."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean
from typing import Any

from gatewise.study import Record, endings

METRIC = "heldout_loss"
TRAINED = "train:"
"""Before an arm's label: the key of its training runs in a record."""


@dataclass(frozen=True, kw_only=True)
class Widths:
    """By seed, the natural logarithm of the basin's width (highest rate over lowest), or why there are none."""

    by_seed: Mapping[int, float] = field(default_factory=dict[int, float])
    refusal: str | None = None


def rate_of(record: Record) -> float:
    """The learning rate of a part."""
    return record.part.train.learning_rate if record.part.train else 0.0


def curves(records: Sequence[Record], label: str) -> dict[int, list[float]]:
    """By seed, an arm's final loss at each rate: infinite where the run diverged. Seeds that lack a rate are out."""
    ends = [endings(record, METRIC, label) for record in records]
    begun = [{seed for seed, _ in record.rows.get(TRAINED + label, [])} for record in records]
    shared = set.intersection(*begun) if begun else set[int]()
    return {seed: [found.get(seed, math.inf) for found in ends] for seed in sorted(shared)}


def edges(rates: Sequence[float], losses: Sequence[float], distance: float) -> tuple[float, float] | None:
    """The two rates at which the loss passes the best by `distance`, or None where the grid ends before one of them.

    Between two rates of the grid the loss is taken as a straight line over the logarithm of the rate; beside a run that
    diverged, the edge is the last rate that did not.
    """
    best = min(range(len(losses)), key=lambda place: losses[place])
    limit = losses[best] + distance
    if not math.isfinite(limit):
        return None
    low, high = _walk(rates, losses, best, -1, limit), _walk(rates, losses, best, +1, limit)
    return None if low is None or high is None else (low, high)


def _walk(rates: Sequence[float], losses: Sequence[float], place: int, way: int, limit: float) -> float | None:
    while 0 <= place + way < len(losses):
        here, there = losses[place], losses[place + way]
        if there > limit:
            share = 0.0 if math.isinf(there) else (limit - here) / (there - here)
            return rates[place] * (rates[place + way] / rates[place]) ** share
        place += way
    return None


def widths(records: Sequence[Record], label: str, distance: float) -> Widths:
    """The width of an arm's basin, seed by seed. One seed whose basin the grid cuts off refuses all: it is a bound."""
    found, rates = curves(records, label), [rate_of(record) for record in records]
    if not found:
        return Widths(refusal=f"{label} was not trained at every rate from any seed")
    ends = {seed: edges(rates, losses, distance) for seed, losses in sorted(found.items())}
    cut = sum(value is None for value in ends.values())
    if cut:
        word = f"the grid of rates ends inside the basin of {label} in {cut} of {len(ends)} seeds"
        return Widths(refusal=f"{word}: its width is not known")
    return Widths(by_seed={seed: math.log(pair[1] / pair[0]) for seed, pair in ends.items() if pair})


def basins(records: Sequence[Record], distance: float) -> dict[str, Any] | None:
    """The basin of every arm's mean loss, with its honest ends, as plain data; None where nothing was trained.

    `low` and `high` are rates of the grid, and `low_edge`, `high_edge` say whether the true end lies between that rate
    and the next or was not found. A rate at which any seed diverged lies outside.
    """
    from gatewise import train

    rates = [rate_of(record) for record in records]
    labels = [arm.label for arm in records[0].part.arms] if records else []
    found: dict[str, list[float]] = {}
    seeds: dict[str, int] = {}
    if len(rates) < 2 or any(a >= b for a, b in pairwise(rates)):
        return None
    for label in labels:
        by_seed = curves(records, label)
        if by_seed:
            seeds[label] = len(by_seed)
            found[label] = [fmean(column) for column in zip(*by_seed.values(), strict=True)]
    made = {label: train.basin(rates, losses, distance) for label, losses in found.items()}
    rows = [
        basin.to_json()
        | {
            "arm": label,
            "seeds": seeds[label],
            "losses": [loss if math.isfinite(loss) else None for loss in found[label]],
            "best_loss": min(found[label]),
            "at_rate_of": _elsewhere(label, rates, found),
        }
        for label, basin in made.items()
        if basin is not None
    ]
    return {"metric": METRIC, "distance": distance, "rates": rates, "arms": rows} if rows else None


def _elsewhere(label: str, rates: Sequence[float], found: Mapping[str, Sequence[float]]) -> dict[str, float | None]:
    """How much this arm loses at the best rate of each other one, against its own best."""
    mine = found[label]
    lost: dict[str, float | None] = {}
    for other, theirs in found.items():
        best = min(range(len(rates)), key=lambda place: theirs[place])
        if other != label:
            lost[other] = mine[best] - min(mine) if math.isfinite(mine[best]) else None
    return lost
