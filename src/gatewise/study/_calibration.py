"""Calibration inputs for static quantisation, kept apart from the items on which outputs and quality are judged."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES, read_calibration
from gatewise.workloads import Workload

from ._cells import run_arms
from ._plan import Part

FEWEST_PROBES = 2
MOST_ITEMS = 128
SHARE = 0.25
"""Of the probes, at most; and no more than `MOST_ITEMS` items."""


@dataclass(frozen=True, kw_only=True)
class Split:
    """The probes of a workload: some to calibrate on, the others to judge on. `items`: those calibrated on, by hash."""

    calibration: Sequence[Any]
    probes: Sequence[Any]
    items: frozenset[str] = field(default_factory=frozenset[str])

    def kept(self, seen: Sequence[str], scores: Sequence[float]) -> list[float]:
        """The scores of items that were not calibrated on. `seen`: all items that ran; scores go with the last."""
        scored = seen[len(seen) - len(scores) :]
        return [score for item, score in zip(scored, scores, strict=True) if item not in self.items]


def calibrates(part: Part) -> bool:
    """Whether some arm of a part runs on a runtime that needs calibration inputs."""
    return any(RUNTIMES[run.runtime].calibrates for run in run_arms(part, {}))


def split(part: Part, made: Workload) -> Split:
    """All probes to judge on, unless an arm calibrates: then some of them are set aside, for every arm of the part.

    Every fourth batch of probes is set aside, so that the lengths that occur are among them. A workload of one batch
    gives every fourth item of it.
    """
    probes = list(made.probe())
    if not calibrates(part):
        return Split(calibration=(), probes=probes)
    own = own_calibration(part, made)
    if own:
        return _without(probes, own)
    if len(probes) < FEWEST_PROBES:
        rows = range(_num_items(probes[0]))
        chosen = set(list(rows)[:: round(1 / SHARE)])
        aside, rest = ([_rows(probes[0], [r for r in rows if (r in chosen) is there])] for there in (True, False))
    else:
        chosen = set(range(0, len(probes), round(1 / SHARE)))
        aside = [each for index, each in enumerate(probes) if index in chosen]
        rest = [each for index, each in enumerate(probes) if index not in chosen]
    taken, count = [], 0
    for each in aside:
        if count >= MOST_ITEMS:
            break
        taken.append(each)
        count += _num_items(each)
    known = frozenset(item for each in aside for item in item_hashes(each))
    return Split(calibration=taken, probes=rest, items=known)


def own_calibration(part: Part, made: Workload) -> list[Any]:
    """The user's own calibration inputs, where the plan names a file. Raises `GatewiseError` for what does not fit."""
    if part.measure is None or not part.measure.calibration:
        return []
    if not calibrates(part):
        raise GatewiseError("measure.calibration is for runtimes that calibrate, and the plan has none of them")
    like = made.inputs(part.measure.batch[0], part.measure.tokens[0], 0)
    return read_calibration(Path(part.measure.calibration), like)


def _without(probes: Sequence[Any], own: Sequence[Any]) -> Split:
    """The probes without the items that are calibrated on."""
    known = frozenset(item for each in own for item in item_hashes(each))
    rest: list[Any] = []
    for each in probes:
        rows = [row for row, item in enumerate(item_hashes(each)) if item not in known]
        if rows:
            rest.append(_rows(each, rows))
    if not rest:
        raise GatewiseError("measure.calibration holds every item of the data: none is left to judge on")
    return Split(calibration=own, probes=rest, items=known)


def item_hashes(inputs: Any) -> list[str]:
    """A hash for each item of a call's inputs; padding that a mask marks is left out, as batches pad differently."""
    tensors: dict[str, torch.Tensor] = (
        {str(key): tensor for key, tensor in inputs.items()}
        if isinstance(inputs, dict)
        else {str(index): tensor for index, tensor in enumerate(inputs if isinstance(inputs, tuple) else (inputs,))}
    )
    mask = tensors.get("attention_mask")
    found: list[str] = []
    for row in range(_num_items(inputs)):
        digest = hashlib.sha256()
        for name, tensor in sorted(tensors.items()):
            values = tensor[row]
            if mask is not None and values.shape == mask[row].shape:
                values = values[mask[row].bool()]
            digest.update(f"{name} {values.dtype} {tuple(values.shape)}".encode())
            digest.update(values.contiguous().numpy().tobytes())
        found.append(digest.hexdigest())
    return found


def watching(call: Callable[[Any], Any], seen: list[str]) -> Callable[[Any], Any]:
    """The call, which writes down the items that it is given."""

    def watched(inputs: Any) -> Any:
        seen.extend(item_hashes(inputs))
        return call(inputs)

    return watched


def _num_items(inputs: Any) -> int:
    first = (
        next(iter(inputs.values())) if isinstance(inputs, dict) else inputs[0] if isinstance(inputs, tuple) else inputs
    )
    return len(first)


def _rows(inputs: Any, rows: list[int]) -> Any:
    if isinstance(inputs, dict):
        return {key: tensor[rows] for key, tensor in inputs.items()}
    return tuple(tensor[rows] for tensor in inputs) if isinstance(inputs, tuple) else inputs[rows]
