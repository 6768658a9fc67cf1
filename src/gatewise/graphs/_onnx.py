"""ONNX files as graphs."""

from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._draft import Draft
from ._graph import Graph
from ._onnx_build import Builder, describe
from ._onnx_file import OnnxFile, first_line, open_onnx
from ._onnx_shapes import infer_shapes


def read_onnx(path: Path) -> Graph:
    """The graph of an ONNX file. Weights are read when asked for; nothing in the file is executed.

    Raises `GatewiseError` with one or two lines for a file that is missing, damaged, newer than the installed onnx, or
    lacks its external data, and `MissingExtraError` where onnx is not installed.
    """
    try:
        return _build(open_onnx(path))
    except (ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError, RecursionError) as error:
        raise GatewiseError(f"{path} is damaged: {type(error).__name__}: {first_line(error)}") from error


def _build(file: OnnxFile) -> Graph:
    model, failed = infer_shapes(file)
    opsets = {"" if opset.domain == "ai.onnx" else opset.domain: int(opset.version) for opset in model.opset_import}
    opsets = opsets or {"": 1}
    draft = Draft(source=str(file.path))
    names: dict[str, str] = {}
    known = set(file.inputs)
    for value in model.graph.input:
        if value.name in known:
            names[value.name] = draft.unique(value.name)
            describe(draft, names[value.name], value)
    inputs = list(names.values())
    builder = Builder(draft=draft, path=file.path, opsets=opsets, ir_version=int(model.ir_version))
    inner = [tensor for tensor in model.graph.initializer if tensor.name not in file.tensors]
    builder.graph(model.graph, names, "", [*file.tensors.values(), *inner])
    missing = [value.name for value in model.graph.output if value.name not in names]
    if missing:
        raise GatewiseError(f"{file.path}: the output {missing[0]!r} is never made")
    facts: dict[str, Any] = {
        "ir_version": int(model.ir_version),
        "opsets": {domain or "ai.onnx": version for domain, version in sorted(opsets.items())},
        "producer": f"{model.producer_name} {model.producer_version}".strip(),
        "shape_inference": failed or "done",
    }
    return draft.graph("onnx", inputs, [names[value.name] for value in model.graph.output], facts)
