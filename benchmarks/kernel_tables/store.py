"""A run on disk: kept after every process, so that one that was ended half-way goes on where it was."""

import hashlib
import json
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

Document = dict[str, Any]
"""`machine`, `fingerprint`, `quick`, `threads`, `told`, `processes`, `minutes`, and `verdicts` once all is measured."""


class OtherRunError(ValueError):
    """The file holds a run of another machine, other code or another effort."""


def fingerprint() -> str:
    """Of what figures depend on beside the machine: the loaded library, the code around it, and what measures."""
    import torch

    from gatewise import kernels

    digest = hashlib.sha256(f"{torch.__version__} {kernels.status()}".encode())
    library = kernels.status().path
    source = Path(str(kernels.__file__)).parent
    here = Path(__file__).parent
    measures = [*sorted(here.glob("*.py")), *sorted(here.glob("*.c"))]
    for path in ([library] if library is not None else []) + sorted(source.glob("*.py")) + measures:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]


def read(path: Path) -> Document:
    """What stands in the file. Raises `OtherRunError` where it is no run."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise OtherRunError(f"{path} is no run of this benchmark: {error}") from None
    if not isinstance(found, dict) or not {"machine", "processes", "quick"} <= found.keys():
        raise OtherRunError(f"{path} is no run of this benchmark: it lacks machine, processes or quick")
    return found


def begun(path: Path | None, new: Document) -> Document:
    """The run to go on with: that of the file where there is one, else the new one.

    Raises:
        OtherRunError: the file's run is of another machine, other code or another effort.
    """
    if path is None or not path.is_file():
        return new
    old = read(path)
    same = ("fingerprint", "quick")
    parts = [f"{name} {old.get(name)}, now {new[name]}" for name in same if old.get(name) != new[name]]
    if old["machine"].get("cpu") != new["machine"]["cpu"]:
        parts.append(f"cpu {old['machine'].get('cpu')}")
    if parts:
        raise OtherRunError(f"{path} holds another run ({'; '.join(parts)}): name another file, or remove it")
    return new | {name: old[name] for name in ("processes", "minutes", "threads", "parts")}


def write(path: Path | None, document: Document) -> None:
    """Replace the file in one step, so that one that is ended while it writes loses nothing."""
    if path is None:
        return
    beside = path.with_name(f"{path.name}.{os.getpid()}.part")
    beside.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    beside.replace(path)


def seen(processes: Iterable[Document]) -> set[tuple[str, int]]:
    """Which processes are there already: what they were asked, and their number."""
    return {(process["job"], process["number"]) for process in processes}
