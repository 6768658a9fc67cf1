"""Loads a version: every file's hash, what every site computes, and what a few inputs give, before it may serve."""

import shutil
import tempfile
import weakref
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from gatewise.core import GatewiseError

from ._build import GRAPH, MODEL, Content, build, content_of
from ._execute import Call, failing
from ._identity import RefusedError, changes, check_graphs
from ._objects import differences, digest_of, read_manifest
from ._ports import Arrays, Gatekeeper, Port, port
from ._probes import TOLERANCES, far_apart, read_arrays
from ._register import CALIBRATION, PROBES, SCHEMA
from ._registry import Registry
from ._rows import Version
from ._source import FILE

if TYPE_CHECKING:
    import numpy as np
    from torch import nn


@dataclass(frozen=True, kw_only=True)
class Loaded:
    """A version that is what was registered, ready to serve. `call` is not for two threads at once.

    Attributes:
        model, version, digest: which one. `platform`: what executes it.
        inputs, outputs: what goes in and comes out, batch first.
        implementation: engine, version and settings, in words.
        module: what is called, where PyTorch calls the modules themselves (eager); None where an engine executes.
    """

    model: str
    version: str
    digest: str
    platform: str
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    implementation: str
    execute: Call = field(repr=False)
    gatekeeper: Gatekeeper = field(repr=False)
    module: "nn.Module | None" = field(default=None, repr=False)

    def call(self, inputs: Arrays) -> "dict[str, np.ndarray]":
        """One batch. Raises `GatewiseError` for inputs that do not fit the ports."""
        self.gatekeeper.check(inputs)
        return self.execute(inputs)


def load(registry: Registry | str | Path, model: str, version: str = "live", *, threads: int | None = None) -> Loaded:
    """A version by its label, an alias or its digest, checked.

    Args:
        threads: other than what was registered, where a server shares its cores out.

    Raises:
        GatewiseError: unknown names.
        RefusedError: files, what a site computes, or outputs are not as registered.
    """
    held = registry if isinstance(registry, Registry) else Registry(registry)
    found = held.version(model, version)
    folder = held.object(found.digest)
    where = f"{found.model} {found.version}"
    content = content_of(found.manifest)
    changed = _changed_files(found, folder)
    if changed:
        raise RefusedError(
            f"{where} is refused: {', '.join(changed[:3])} since it was registered", _told(content, folder)
        )
    lines = _identity(content, folder)
    if lines:
        raise RefusedError(f"{where} is refused: it does not compute what was registered", lines)
    kept = Path(tempfile.mkdtemp(prefix="gatewise-version-"))
    try:
        loaded = _ready(found, content, folder, kept, threads or found.threads)
    except BaseException:
        shutil.rmtree(kept, ignore_errors=True)
        raise
    weakref.finalize(loaded, shutil.rmtree, kept, ignore_errors=True)  # what a runtime reads goes with it
    return loaded


def _ready(found: Version, content: Content, folder: Path, kept: Path, threads: int) -> Loaded:
    graphs = kept / GRAPH
    if (folder / GRAPH).is_dir():
        shutil.copytree(folder / GRAPH, graphs, ignore=shutil.ignore_patterns("*.lock.json"))
    calls = read_arrays(folder / PROBES)
    probes, wanted = calls[: len(calls) // 2], calls[len(calls) // 2 :]
    calibration = read_arrays(folder / CALIBRATION) if (folder / CALIBRATION).is_file() else []
    names = [entry["name"] for entry in found.manifest["inputs"]]
    in_order = [{name: probe[name] for name in names} for probe in probes]
    calibrated = [{name: call[name] for name in names} for call in calibration]
    made = build(content, folder, threads=threads, example=in_order[0], graphs=graphs, calibration=calibrated)
    where = f"{found.model} {found.version}"
    with failing(where):
        outputs = [made.call(probe) for probe in in_order]
    lines = check_graphs(graphs, folder / GRAPH)
    if lines:
        raise RefusedError(f"{where} is refused: what {content.runtime} executes is not what was registered", lines)
    tolerance = _tolerance(content)
    far = [told for one, other in zip(wanted, outputs, strict=True) if (told := far_apart(one, other, tolerance))]
    if far:
        raise RefusedError(
            f"{where} is refused: its activations are as registered, its outputs on {content.runtime} are not", far[:1]
        )
    inputs = tuple(port(entry) for entry in found.manifest["inputs"])
    return Loaded(
        model=found.model,
        version=found.version,
        digest=found.digest,
        platform=f"gatewise_{content.runtime}",
        inputs=inputs,
        outputs=tuple(port(entry) for entry in found.manifest["outputs"]),
        implementation=made.implementation,
        execute=made.call,
        gatekeeper=Gatekeeper(inputs),
        module=made.task.model if made.task is not None and content.runtime == "eager" else None,
    )


def _changed_files(found: Version, folder: Path) -> list[str]:
    """What is not as it was written down, a line each."""
    if not folder.is_dir():
        raise GatewiseError(f"the files of {found.model} {found.version} are gone: there is no {folder}")
    changed: list[str] = []
    if read_manifest(folder) != found.manifest:
        changed.append("manifest.json was changed")
    files: dict[str, str] = dict(found.manifest.get("files", {}))
    changed += differences(folder, files)
    own = {name.removeprefix(f"{MODEL}/"): digest for name, digest in files.items() if name.startswith(f"{MODEL}/")}
    content = {"schema": SCHEMA, "content": dict(found.manifest["content"]), "files": _registered(own)}
    if digest_of(content) != found.digest:
        changed.append("the record of its content was changed")
    return changed


def _registered(own: dict[str, str]) -> dict[str, str]:
    """The model's own files, without the lock that was written beside them."""
    return {name: digest for name, digest in own.items() if not name.endswith("lock.json")}


def _identity(content: Content, folder: Path) -> list[str]:
    return changes(folder / MODEL / content.name if content.kind == FILE else folder / MODEL)


def _told(content: Content, folder: Path) -> list[str]:
    """What changed files compute, where that can be told: they are never served, but a reader wants the place."""
    try:
        return _identity(content, folder) or ["every activation computes what it did"]
    except GatewiseError as error:
        return [f"what it computes cannot be told: {str(error).splitlines()[0]}"]


def _tolerance(content: Content) -> float:
    from gatewise.runtimes import RUNTIMES

    if content.kind == FILE:
        return TOLERANCES["float32"]
    lower = RUNTIMES[content.runtime].tolerance is None
    return TOLERANCES["lower" if lower else content.precision]
