"""Registers a version: stages its files, computes what it is, publishes it, and only then writes its label down."""

import hashlib
import json
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from gatewise import __version__
from gatewise.core import GatewiseError, environment, num_cores, unknown_name

from ._build import GRAPH, MODEL, Built, Content, as_arrays, as_inputs, build, in_precision
from ._execute import failing, form_of
from ._identity import RefusedError, disagreements, graph_files, write_identity
from ._objects import differences, digest_of, file_hashes, publish, read_manifest, staged
from ._ports import Arrays, Port, ports_of
from ._probes import write_arrays
from ._registry import OBJECTS, Registry, now_text, user
from ._rows import Version, check_name
from ._source import FILE, TEXT, Inputs, Source, called, fitting_inputs, source_of, untrained

SCHEMA = "gatewise.version/1"
PROBES, CALIBRATION = "probes.safetensors", "calibration.safetensors"
CALIBRATED = 4
PRECISIONS = ("float32", "bfloat16", "float16")
SETTINGS = ("tokens", "calibration")


@dataclass(frozen=True, kw_only=True)
class Registration:
    """What is to be registered.

    Attributes:
        target: a model folder, a workload's name, `package.module:function`, a `.onnx` or `.xml` file.
        model, version: the served name and the label.
        runtime: what executes it; "" for eager, or ONNX Runtime for an ONNX file, OpenVINO for its own.
        precision: the model is cast to it; "" leaves it as it is.
        threads: how many a call may use.
        study: a folder of `gatewise evaluate`, or its `result.json`.
        tokens: the length of the probes. `calibration`: an `.npz` for a runtime that calibrates.
        options: of a workload.
    """

    target: str
    model: str
    version: str
    runtime: str = ""
    precision: str = ""
    threads: int = 1
    study: str = ""
    tokens: int = 16
    calibration: str = ""
    options: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def __post_init__(self) -> None:
        check_name("model", self.model)
        check_name("version", self.version)
        if self.precision and self.precision not in PRECISIONS:
            raise unknown_name("precision", self.precision, PRECISIONS)
        for name in ("threads", "tokens"):
            value: object = getattr(self, name)
            if type(value) is not int or value < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if self.threads > num_cores():
            raise GatewiseError(f"{self.threads} threads on {num_cores()} cores would only wait for each other")


def register(registry: Registry, asked: Registration) -> Version:
    """Put a version into a registry. The same one again changes nothing.

    The exported graph of a runtime is part of the version. One that computes another activation than the model is
    refused here already; of a runtime in lower precision it is written down instead.

    Raises:
        GatewiseError: bad input, a model that fails, a label that has other content.
    """
    source = source_of(asked.target, asked.options)
    study = read_study(Path(asked.study)) if asked.study else None
    objects = registry.folder / OBJECTS
    with staged(objects) as folder, called(folder / MODEL, asked.target):
        source.stage(folder / MODEL, asked.precision)
        content, probes, calibration = _content(asked, source, folder)
        digest = digest_of({"schema": SCHEMA, "content": asdict(content), "files": file_hashes(folder / MODEL)})
        target = registry.object(digest)
        known = _known(target)
        if known is None:
            manifest = _complete(asked, content, folder, probes, calibration)
            manifest["digest"] = digest
            if publish(folder, objects, digest, manifest):
                registry.restore(digest, manifest)
            known = _known(target)  # where another process was first, its files are the object
    if known is None:
        raise GatewiseError(f"{target} could not be written")
    version = Version(
        model=asked.model,
        version=asked.version,
        digest=digest,
        threads=asked.threads,
        registered=now_text(),
        by=user(),
        study=study,
        manifest=known,
        environment=environment(),
    )
    return registry.add(version)


def _known(target: Path) -> dict[str, Any] | None:
    """The manifest of an object that is there already. Raises `GatewiseError` where it was changed since."""
    if not target.is_dir():
        return None
    manifest = read_manifest(target)
    changed = differences(target, manifest.get("files", {}))
    if changed:
        raise GatewiseError(f"{target} is damaged: {changed[0]}\nremove that folder and register again")
    return manifest


def _content(asked: Registration, source: Source, folder: Path) -> tuple[Content, Sequence[Arrays], Sequence[Arrays]]:
    """What decides how it behaves, its probes, and what its runtime calibrates on."""
    if source.kind == FILE:
        runtime = asked.runtime or ("openvino" if source.name.endswith(".xml") else "onnxruntime")
        return Content(kind=FILE, name=source.name, runtime=runtime, precision=""), [], []
    from gatewise.runtimes import RUNTIMES, check_runtime

    runtime = asked.runtime or "eager"
    sizes = ((1, asked.tokens), (2, asked.tokens), (3, asked.tokens // 2 + 1))
    precision = _precision(folder / MODEL)
    check_runtime(runtime, dtype=precision)
    calls = [_inputs(source, folder / MODEL, *size, precision=precision) for size in sizes]
    arrays = [as_arrays(call)[0] for call in calls]
    content = Content(
        kind=source.kind,
        name=source.name,
        runtime=runtime,
        precision=precision,
        form=form_of(calls[0]),
        rounded=as_arrays(calls[0])[1],
        output=_output_name(source, folder / MODEL),
    )
    calibration: list[Arrays] = []
    if RUNTIMES[runtime].calibrates:
        calibration = _calibration(asked, source, folder, calls[0])
    elif asked.calibration:
        raise GatewiseError(f"calibration is for runtimes that calibrate, and {runtime!r} does not")
    return content, arrays, calibration


def _inputs(source: Source, folder: Path, items: int, tokens: int, *, precision: str) -> Inputs:
    if source.inputs is None:
        return fitting_inputs(folder, source.kind, items, tokens)
    found = source.inputs(items, tokens)
    return in_precision(found, precision)


def _calibration(asked: Registration, source: Source, folder: Path, like: Inputs) -> list[Arrays]:
    from gatewise.runtimes import read_calibration

    if asked.calibration:
        given: Sequence[Inputs] = read_calibration(Path(asked.calibration), like)
    else:
        given = [_inputs(source, folder / MODEL, 4 + at, asked.tokens, precision="float32") for at in range(CALIBRATED)]
    return [as_arrays(call)[0] for call in given]


def _precision(folder: Path) -> str:
    """The dtype of most of a model's numbers."""
    from gatewise import surgery

    sizes: dict[str, int] = {}
    for tensor in surgery.load(folder).parameters():
        name = str(tensor.dtype).removeprefix("torch.")
        sizes[name] = sizes.get(name, 0) + tensor.numel()
    return max(sizes, key=lambda name: sizes[name], default="float32")


def _output_name(source: Source, folder: Path) -> str:
    if source.kind != TEXT:
        return "output"
    path = folder / "config.json"
    classifies = path.is_file() and "ForSequenceClassification" in path.read_text(encoding="utf-8")
    return "logits" if classifies else "embedding"


def _complete(
    asked: Registration, content: Content, folder: Path, probes: Sequence[Arrays], calibration: Sequence[Arrays]
) -> dict[str, Any]:
    """Everything beside the model's own files: locks, exported graphs, probes. Returns the manifest."""
    graphs = folder / GRAPH
    example = probes[0] if probes else None
    made = build(content, folder, threads=asked.threads, example=example, graphs=graphs, calibration=calibration)
    if content.kind == FILE:
        identity = write_identity(folder / MODEL / content.name)
        probes = [_drawn(made.inputs or (), items) for items in (1, 2, 3)]
    else:
        identity = write_identity(folder / MODEL)
    with failing(f"{asked.target} on {content.runtime}"):
        outputs = [made.call(call) for call in probes]
        again = [made.call(call) for call in probes]
        notes = _agree(content, made, folder, probes)
    if any(not _equal(one, other) for one, other in zip(outputs, again, strict=True)):
        raise GatewiseError("the model gives another output on the same input in its second call; it cannot be checked")
    write_arrays(folder / PROBES, [*probes, *outputs])
    if calibration:
        write_arrays(folder / CALIBRATION, calibration)
    executed = {path.parent.name: write_identity(path) for path in _tidy(graphs)}
    return {
        "schema": SCHEMA,
        "content": asdict(content),
        "files": file_hashes(folder),
        "runtime": content.runtime,
        "precision": content.precision,
        "implementation": made.implementation,
        "identity": identity,
        "graphs": executed,
        "notes": [*notes, *untrained(content.kind, folder / MODEL)],
        "inputs": [port.to_json() for port in made.inputs or ports_of(probes)],
        "outputs": [port.to_json() for port in made.outputs or ports_of(outputs)],
        "created": now_text(),
        "gatewise": __version__,
    }


def _agree(content: Content, made: Built, folder: Path, probes: Sequence[Arrays]) -> list[str]:
    """Whether the runtime does what the model does: outputs and sites. Raises `GatewiseError` where it does not."""
    if made.task is None or made.prepared is None:
        return []
    from gatewise.runtimes import RUNTIMES, agreement

    found = disagreements(folder / MODEL, folder / GRAPH)
    if found and RUNTIMES[content.runtime].tolerance is not None:
        raise RefusedError(
            f"what {content.runtime!r} executes is not what the model computes; nothing was registered", found
        )
    agreement(content.runtime, made.task, made.prepared, [as_inputs(content, call) for call in probes])
    return found


def _tidy(graphs: Path) -> list[Path]:
    """Leave the graphs and their weights; what an engine keeps of its own belongs to this machine."""
    found = graph_files(graphs)
    if graphs.is_dir():
        for folder in graphs.iterdir():
            if not any(path.parent == folder for path in found):
                shutil.rmtree(folder)
    return found


def _equal(one: Arrays, other: Arrays) -> bool:
    import numpy as np

    return all(np.array_equal(one[name], other[name], equal_nan=True) for name in one)


def _drawn(ports: Sequence[Port], items: int) -> Arrays:
    """Inputs for a file, which says no more than types and shapes: normal numbers; of whole ones, 0 and 1."""
    import numpy as np

    generator = np.random.default_rng(items)
    found: dict[str, Any] = {}
    for port in ports:
        first = items if port.shape[0] < 0 else port.shape[0]
        shape = (first, *(8 if size < 0 else size for size in port.shape[1:]))
        if port.datatype.startswith("FP"):
            found[port.name] = generator.standard_normal(shape).astype(f"float{port.datatype[2:]}")
        else:
            found[port.name] = generator.integers(0, 2, shape).astype(port.datatype.lower())
    return found


def read_study(path: Path) -> dict[str, Any]:
    """What justified a version. Raises `GatewiseError` where there is no result of a study."""
    file = path / "result.json" if path.is_dir() else path
    try:
        data = file.read_bytes()
        result = json.loads(data)
        verdict = result["verdict"]
        found = {key: str(verdict.get(key) or "") for key in ("headline", "recommendation")}
        name = str(result["study"].get("name") or "")
    except FileNotFoundError as error:
        raise GatewiseError(f"there is no {file}; --study takes the folder that gatewise evaluate wrote") from error
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise GatewiseError(f"{file} is no result of gatewise evaluate: {error}") from error
    return {"name": name, "sha256": hashlib.sha256(data).hexdigest(), **found}
