"""Hashes of weights that do not depend on names, order, file format or on whether a matrix is stored transposed."""

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from gatewise.graphs import Constant

from ._inspection import Inspection


def weight_records(inspection: Inspection) -> list[dict[str, Any]]:
    """Every stored tensor: name, where it is used first, shape, dtype and hash, in order of the names."""
    used: dict[str, str] = {}
    for node in inspection.graph.nodes if inspection.graph is not None else ():
        for name in node.inputs:
            used.setdefault(name, node.path)
    return [
        {
            "name": name,
            "at": used.get(name) or name,
            "shape": list(weight.shape),
            "dtype": weight.dtype,
            "sha256": content_hash(weight),
        }
        for name, weight in sorted(inspection.weights.items())
    ]


def content_hash(weight: Constant) -> str:
    """SHA-256 of dtype and numbers; of a matrix, the smaller one of its own and its transposed copy's."""
    values = np.asarray(weight.load())
    values = values.reshape([size for size in values.shape if size != 1])
    turned = [values, values.T] if values.ndim == 2 else [values]
    return min(_hash(weight.dtype, one) for one in turned)


def _hash(dtype: str, values: Any) -> str:
    digest = hashlib.sha256(f"{dtype} {values.shape}".encode())
    digest.update(np.ascontiguousarray(values).tobytes())
    return digest.hexdigest()


def changed_weights(locked: list[Mapping[str, Any]], now: list[dict[str, Any]]) -> list[str]:
    """What changed, a line each, with the layer's name. Copies and another order are no change."""
    old = {weight["sha256"] for weight in locked}
    new = {weight["sha256"] for weight in now}
    gone = [weight for weight in locked if weight["sha256"] not in new]
    come = [weight for weight in now if weight["sha256"] not in old]
    lines: list[str] = []
    for weight in gone:
        same = [other for other in come if other["name"] == weight["name"] or other["at"] == weight["at"]]
        found = same[0] if same else None
        if found is None:
            lines.append(f"{shown(weight)} is gone")
            continue
        come.remove(found)
        if (found["dtype"], found["shape"]) == (weight["dtype"], weight["shape"]):
            lines.append(f"{shown(weight)} has other values")
        else:
            lines.append(f"{shown(weight)} is now {_form(found)}, was {_form(weight)}")
    return lines + [f"{shown(weight)} is new" for weight in come]


def shown(weight: Mapping[str, Any]) -> str:
    """A weight by its name, and by its layer where the name is one that an exporter made up."""
    name, at = str(weight["name"]), str(weight["at"])
    return name if at in name or not at else f"{name} (in {at})"


def _form(weight: Mapping[str, Any]) -> str:
    return f"{weight['dtype']} {'x'.join(str(size) for size in weight['shape']) or 'number'}"
