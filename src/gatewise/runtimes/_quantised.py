"""Quantised files made from the exported float32 file, kept beside it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._causes import cause_of
from ._export import facts_of, folder_of, onnx_file, quiet, write_facts
from ._runtime import Task


def quantised(task: Task, kind: str, write: Callable[[Path, Path], object], *, suffix: str = ".onnx") -> Path:
    """The quantised file for the example's shape, written where it is not there. `write` takes source and target.

    Raises:
        GatewiseError: a model that cannot be exported or quantised.
    """
    source = onnx_file(task)
    facts: dict[str, Any] = facts_of(source) or {}
    path = folder_of(task, kind) / source.with_suffix(suffix).name
    made = facts_of(path)
    if made is None or made["made_from"] != facts["made_from"]:
        with quiet():
            try:
                write(source, path)
            except Exception as error:  # noqa: BLE001  (quantisers raise from many places)
                raise GatewiseError(f"the model cannot be quantised: {cause_of(error)}") from None
        write_facts(path, facts["made_from"], sizes=facts["sizes"])
    return path


def stayed_float(path: Path, wanted: tuple[str, ...], quantised_kinds: tuple[str, ...]) -> tuple[str, ...]:
    """One note on how many operations with weights of an ONNX file are int8, and how many stayed float32."""
    import onnx

    graph = onnx.load(str(path), load_external_data=False).graph
    weights = {each.name for each in graph.initializer}
    produced = {name: node for node in graph.node for name in node.output}
    whole, left = 0, 0
    for node in graph.node:
        if node.op_type in quantised_kinds:
            whole += 1
        elif node.op_type in wanted and len(node.input) > 1:
            feeder = produced.get(node.input[1])
            if feeder is not None and feeder.op_type == "DequantizeLinear":
                whole += 1
            elif node.input[1] in weights:
                left += 1
    if whole == 0:
        raise GatewiseError("the quantiser left every layer in float32: there is nothing to measure")
    rest = f"; {left} stayed float32" if left else ""
    return (f"{whole} operations with weights are int8{rest}",)
