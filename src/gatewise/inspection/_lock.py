"""What was accepted of a model, written beside it."""

import json
import os
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import Any

from gatewise import __version__
from gatewise.core import GatewiseError
from gatewise.graphs import Constant, Site

from ._align import gate_weights, prints
from ._curve import curve
from ._inspection import PROBED, Inspection, without_nan
from ._lock_form import WEIGHT, wrong_at, wrong_site
from ._metrics import read_metrics
from ._weights import weight_records

SCHEMA = "gatewise.lock/1"
_PARTS: dict[str, type | tuple[type, ...]] = {
    "schema": str,
    "model": str,
    "format": str,
    "how": str,
    "history": list,
    "sites": list,
    "weights": list,
    "files": dict,
    "study": (dict, type(None)),
}


def lock_path(target: str | Path) -> Path:
    """Where the lock of a model is: in its folder, beside its file, or in the current folder for names."""
    path = Path(target)
    if path.is_dir():
        return path / "gatewise.lock.json"
    if path.is_file():
        return path.with_name(f"{path.name}.lock.json")
    return Path(str(target).replace("/", ".").replace("\\", ".").replace(":", ".").lstrip(".") + ".lock.json")


def describe(inspection: Inspection, target: str | Path, study: str | Path | None = None) -> dict[str, Any]:
    """What a lock says of a model, without its history."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "gatewise": __version__,
        "model": Path(target).name or str(target),
        "format": inspection.format,
        "how": inspection.how,
        "sites": [_site(inspection, site) for site in inspection.sites],
        "weights": weight_records(inspection),
        "files": _files(Path(target)),
        "study": read_metrics(Path(study)) if study is not None else None,
    }
    cleaned: dict[str, Any] = without_nan(document)
    return cleaned


def write_lock(
    document: dict[str, Any], path: Path, *, because: str | None, changes: list[str], history: list[Any]
) -> Path:
    """Write a lock with its reasons. Raises `GatewiseError` when it cannot be written."""
    entry = {
        "locked_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "because": because,
        "changes": changes,
    }
    new = path.with_name(f".{path.name}.{os.getpid()}")
    text = json.dumps({**document, "history": [*history, entry]}, indent=1, allow_nan=False)
    try:
        new.write_text(f"{text}\n", encoding="utf-8")
        new.replace(path)
    except OSError as error:
        raise GatewiseError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        new.unlink(missing_ok=True)
    return path


def read_lock(path: Path) -> dict[str, Any]:
    """A lock as it was written.

    Raises:
        GatewiseError: there is none, or it is damaged or of a newer schema.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise GatewiseError(f"there is no lock {path}; gatewise lock MODEL writes one") from error
    except (OSError, UnicodeDecodeError, ValueError, RecursionError) as error:
        raise GatewiseError(f"{path} is damaged: {str(error).splitlines()[0]}") from error
    if not isinstance(document, dict):
        raise GatewiseError(f"{path} is damaged: no JSON object")
    if document.get("schema") != SCHEMA:
        raise GatewiseError(f"{path} has the schema {document.get('schema')!r}\nvalid: {SCHEMA}")
    for key, kind in _PARTS.items():
        if key not in document or not isinstance(document[key], kind):
            raise GatewiseError(f"{path} is damaged: {key!r} is missing or of another type")
    _check_entries(path, document)
    return document


def _check_entries(path: Path, document: dict[str, Any]) -> None:
    for number, entry in enumerate(document["sites"]):
        wrong = wrong_site(entry)
        if wrong:
            raise GatewiseError(f"{path} is damaged: an entry of 'sites' is not whole (number {number + 1}: {wrong})")
    for number, entry in enumerate(document["weights"]):
        wrong = wrong_at(entry, WEIGHT)
        if wrong is not None:
            raise GatewiseError(f"{path} is damaged: an entry of 'weights' is not whole (number {number + 1}: {wrong})")


def _site(inspection: Inspection, site: Site) -> dict[str, Any]:
    points = curve(site) if inspection.how == PROBED else None
    return {
        **{key: value for key, value in site.to_json().items() if key not in ("flops", "reason", "ops", "fused")},
        "feeding": [_weight(one) for one in prints(inspection, site)],
        "parts": [_weight(one) for one in (gate_weights(inspection, site) if site.kind == "gate" else None) or ()],
        "constants_dtype": site.constants_dtype,
        "before": [line.to_json() if line is not None else None for line in site.before],
        "after": site.after.to_json() if site.after is not None else None,
        "behind": [_weight(one) for one in _behind(inspection, site)],
        "curve": [float(value) if isfinite(value) else None for value in points] if points is not None else None,
    }


def _behind(inspection: Inspection, site: Site) -> list[Constant]:
    """The weights that its lines lead to."""
    names = dict.fromkeys(line.weight for line in (*site.before, site.after) if line is not None)
    constants = inspection.graph.constants if inspection.graph is not None else {}
    return [constants[name] for name in names if name in constants]


def _weight(one: Constant) -> dict[str, Any]:
    return {"name": one.name, "shape": list(one.shape), "dtype": one.dtype, "fingerprint": list(one.fingerprint)}


def _files(path: Path) -> dict[str, str]:
    from hashlib import file_digest

    kept = (".safetensors", ".json", ".onnx", ".xml", ".bin", ".data")
    found: list[Path] = []
    if path.is_dir():
        found = sorted(file for file in path.iterdir() if file.suffix in kept and not file.name.endswith("lock.json"))
    elif path.is_file():
        beside = path.with_suffix(".bin") if path.suffix == ".xml" else path.with_name(f"{path.name}.data")
        found = [file for file in (path, beside) if file.is_file()]
    hashes: dict[str, str] = {}
    for file in found:
        with file.open("rb") as stream:
            hashes[file.name] = file_digest(stream, "sha256").hexdigest()
    return hashes
