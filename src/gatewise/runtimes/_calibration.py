"""Calibration inputs for static quantisation, as engines take them."""

import hashlib
from collections.abc import Iterator
from typing import Any

from ._inputs import flat, names
from ._runtime import Task


def feeds(task: Task) -> Iterator[dict[str, Any]]:
    """Each calibration input as arrays by name."""
    for inputs in task.calibration:
        yield {name: tensor.numpy() for name, tensor in zip(names(task.example), flat(inputs), strict=True)}


def calibration_hash(task: Task) -> str:
    """What a quantised file depends on beside the model."""
    digest = hashlib.sha256()
    for inputs in task.calibration:
        for tensor in flat(inputs):
            digest.update(f"{tensor.dtype} {tuple(tensor.shape)}".encode())
            digest.update(tensor.contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def told(task: Task) -> str:
    """How much was calibrated on, for the record."""
    items = sum(len(flat(inputs)[0]) for inputs in task.calibration)
    return f"ranges calibrated on {items} items that no quality or output difference is taken on"
