"""Compares a model with its lock."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.core import GatewiseError
from gatewise.graphs import Constant, Found, Line, Site

from ._against import Mismatch, against
from ._inspect import inspect
from ._inspection import Inspection, without_nan
from ._lock import describe, lock_path, read_lock, write_lock
from ._metrics import worse_metrics
from ._weights import changed_weights

SCHEMA = "gatewise.check/1"


@dataclass(frozen=True, kw_only=True)
class Checked:
    """What changed since a model was locked.

    Attributes:
        model: as it was named.
        lock: the lock's file.
        mismatches: what computes something else now.
        weights: tensors that changed, a line each.
        metrics: figures of the study that are worse, a line each.
        notes: what is different and fails nothing.
    """

    model: str
    lock: Path
    mismatches: tuple[Mismatch, ...]
    weights: tuple[str, ...]
    metrics: tuple[str, ...]
    notes: tuple[str, ...]

    @property
    def changes(self) -> list[str]:
        """Everything that fails the check, a line each."""
        sites = [f"{one.path_b or one.path_a}: {one.text}" for one in self.mismatches]
        return [*sites, *(f"weights: {line}" for line in self.weights), *(f"metric: {line}" for line in self.metrics)]

    def to_json(self) -> dict[str, Any]:
        """The document of `gatewise check --json`."""
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "model": self.model,
            "lock": str(self.lock),
            "passed": not self.changes,
            "mismatches": [mismatch.to_json() for mismatch in self.mismatches],
            "weights": list(self.weights),
            "metrics": list(self.metrics),
            "notes": list(self.notes),
        }
        cleaned: dict[str, Any] = without_nan(document)
        return cleaned


def check(target: str | Path, *, study: str | Path | None = None) -> Checked:
    """Compare a model, and a new study of it, with what was locked.

    Raises:
        GatewiseError: no such model, no lock, a damaged lock.
    """
    path = lock_path(target)
    return _compare(read_lock(path), inspect(target, ranges=False), target, study)


def lock(target: str | Path, *, study: str | Path | None = None, because: str | None = None) -> tuple[Path, list[str]]:
    """Write what a model is now beside it; returns the file and what changed since the last lock.

    Raises:
        GatewiseError: no such model, or something changed since the last lock and `because` does not say why.
    """
    path = lock_path(target)
    if because is not None and not because.strip():
        raise GatewiseError("--because needs a reason")
    found = inspect(target, ranges=False)
    old: dict[str, Any] = {"history": [], "study": None}
    changes: list[str] = []
    if path.exists():
        old = read_lock(path)
        changes = _compare(old, found, target, study).changes
        if changes and because is None:
            more = f" and {len(changes) - 1} more" if len(changes) > 1 else ""
            raise GatewiseError(
                f"{path} is locked and something changed: {changes[0]}{more}\nsay why with --because TEXT"
            )
    document = describe(found, target, study)
    document["study"] = document["study"] or old["study"]
    return write_lock(document, path, because=because, changes=changes, history=old["history"]), changes


def _compare(locked: dict[str, Any], found: Inspection, target: str | Path, study: str | Path | None) -> Checked:
    now = describe(found, target, study)
    notes: list[str] = []
    if locked["how"] != now["how"]:
        notes.append(f"the lock was {locked['how']}, this check is {now['how']}: functions are compared by name")
    changed = [name for name, digest in now["files"].items() if locked["files"].get(name, digest) != digest]
    weights = changed_weights(locked["weights"], now["weights"])
    metrics: list[str] = []
    if now["study"] and locked["study"]:
        metrics, more = worse_metrics(locked["study"], now["study"])
        notes += more
    elif now["study"]:
        notes.append("the lock holds no study, so the study's figures are not compared")
    difference = against(_as_inspection(locked), found)
    if changed and not weights and not difference.mismatches:
        notes.append(f"other bytes, the same content: {', '.join(changed)}")
    return Checked(
        model=str(target),
        lock=lock_path(target),
        mismatches=difference.mismatches,
        weights=tuple(weights),
        metrics=tuple(metrics),
        notes=tuple(notes),
    )


def _as_inspection(locked: dict[str, Any]) -> Inspection:
    """What was locked, in the form in which models are compared; its functions are known on the grid alone."""
    weights = {
        one["name"]: _as_weight(one)
        for entry in locked["sites"]
        for one in (*entry["feeding"], *entry.get("behind", ()))
    }
    parts = {
        str(index): (_as_weight(entry["parts"][0]), _as_weight(entry["parts"][1]))
        for index, entry in enumerate(locked["sites"])
        if len(entry["parts"]) == 2
    }
    return Inspection(
        source=locked["model"],
        format=locked["format"],
        how=locked["how"],
        facts={},
        sites=tuple(_as_site(entry, str(index)) for index, entry in enumerate(locked["sites"])),
        left=(),
        weights=weights,
        parts=parts,
    )


def _as_site(entry: dict[str, Any], output: str) -> Site:
    found = Found(
        name=entry["identity"],
        nearest=entry.get("nearest"),
        distance=entry.get("distance") or 0.0,
        settings=entry["settings"],
    )
    points = entry["curve"]
    values = np.array([np.nan if value is None else value for value in points or []], dtype=np.float64)

    def evaluate(inputs: Any) -> Any:
        if points is None or len(inputs[0]) != len(values):
            raise ValueError("the lock has no values of this function")
        return values

    return Site(
        path=entry["path"],
        kind=entry["kind"],
        found=found,
        inputs=("gate", "up") if entry["kind"] == "gate" else ("x",),
        output=output,
        ops=(),
        dtype=entry["dtype"],
        evaluate=evaluate,
        gate_part=tuple(entry["gate_part"]) if entry["gate_part"] else None,
        width=entry["width"],
        feeding=tuple(one["name"] for one in entry["feeding"]),
        constants_dtype=entry.get("constants_dtype", "float32"),
        before=tuple(_as_line(line) for line in entry.get("before") or ()),
        after=_as_line(entry.get("after")),
    )


def _as_line(entry: dict[str, Any] | None) -> Line | None:
    if entry is None:
        return None
    return Line(
        weight=entry["weight"],
        factor=entry["factor"],
        offset=entry["offset"],
        dtypes=tuple(entry["dtypes"]),
        low=entry["low"],
        high=entry["high"],
    )


def _as_weight(entry: dict[str, Any]) -> Constant:
    def load() -> Any:
        raise GatewiseError("a lock holds no weights")

    weight = Constant(name=entry["name"], shape=tuple(entry["shape"]), dtype=entry["dtype"], load=load)
    size, total, squares = entry["fingerprint"]
    weight.__dict__["fingerprint"] = (int(size), float(total), float(squares))
    return weight
