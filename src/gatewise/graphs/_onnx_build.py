"""The walk over an ONNX graph and the graphs nested in it: each node to a rule, all values under names of the whole."""

import ast
from collections import ChainMap
from collections.abc import Iterable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gatewise.core import GatewiseError

from ._draft import Draft
from ._graph import Kind, Shape
from ._onnx_file import check_node
from ._onnx_fold import constant_value, fold
from ._onnx_rules import apply
from ._onnx_tensor import add_sparse, add_tensor, dtype_names
from ._op import Op

Names = MutableMapping[str, str]
_OURS = ("", "ai.onnx.ml", "ai.onnx.training", "ai.onnx.preview.training", "com.microsoft", "com.microsoft.nchwc")
_KEPT = 64


@dataclass(frozen=True, kw_only=True, eq=False)
class Builder:
    """Fills a draft from an ONNX model.

    Attributes:
        opsets: version by domain ("" for the standard's own).
    """

    draft: Draft
    path: Path
    opsets: dict[str, int]
    ir_version: int

    def graph(self, graph: Any, names: Names, prefix: str, tensors: Iterable[Any]) -> None:
        """Add a graph's constants and nodes; `names` maps its names to those of the whole and is filled."""
        for tensor in tensors:
            add_tensor(self.draft, self._new(names, tensor.name, prefix), tensor, self.path)
        for sparse in graph.sparse_initializer:
            add_sparse(self.draft, self._new(names, sparse.values.name, prefix), sparse, self.path)
        info = {value.name: value for value in (*graph.value_info, *graph.output)}
        later = {name for node in graph.node for name in node.output}
        for node in graph.node:
            self._node(node, names, prefix, info, later)

    def _new(self, names: Names, name: str, prefix: str) -> str:
        local = names.maps[0] if isinstance(names, ChainMap) else names
        if name in local:
            raise GatewiseError(f"{self.path}: the value {name!r} is made twice; the file is damaged")
        names[name] = found = self.draft.unique(f"{prefix}/{name}" if prefix else name)
        return found

    def _node(self, node: Any, names: Names, prefix: str, info: Mapping[str, Any], later: set[str]) -> None:
        for name in node.input:
            if name and name not in names:
                why = "made only after it: the graph is not sorted or has a cycle" if name in later else "never made"
                raise GatewiseError(f"{self.path}: {_label(node)} reads {name!r}, which is {why}")
        check_node(self.path, node, self.opsets, self.ir_version)
        domain = "" if node.domain == "ai.onnx" else node.domain
        op_name = f"{domain}.{node.op_type}" if domain else node.op_type
        if domain not in _OURS:
            self.draft.unknown[op_name] = self.draft.unknown.get(op_name, 0) + 1
        path = _path(node, prefix)
        inputs = [names[name] if name else "" for name in node.input]
        nested = [(a.name, g) for a in node.attribute for g in ([a.g] if a.HasField("g") else list(a.graphs))]
        inner = [self._nested(node, inputs, part, path or f"{prefix}/{_label(node)}", names) for part in nested]
        outputs = [self._new(names, name, prefix) if name else "" for name in node.output]
        for name, output in zip(node.output, outputs, strict=True):
            if name in info:
                describe(self.draft, output, info[name])
        if not outputs:
            return
        op = Op(
            draft=self.draft,
            name=op_name,
            path=path,
            inputs=inputs,
            outputs=outputs,
            attributes=self._attributes(node),
            opset=self.opsets.get(domain, 1),
        )
        if inner:
            self._control(op, inner)
        elif not self._constant(node, op) and not self._known(node, op, names):
            apply(op)

    def _known(self, node: Any, op: Op, names: Names) -> bool:
        """Whether it is worked out from constants; what was made before in the same way is not made again."""
        if op.name == "Identity" and op.is_constant(0):
            names[node.output[0]] = op.inputs[0]
            return True
        key = op.key
        if op.inputs and key in self.draft.made:
            names.update(zip(node.output, self.draft.made[key], strict=True))
            return True
        if not fold(op):
            return False
        self.draft.made[key] = tuple(op.outputs)
        return True

    def _constant(self, node: Any, op: Op) -> bool:
        if op.name != "Constant":
            return False
        for attribute in node.attribute:
            if attribute.name == "value":
                add_tensor(self.draft, op.outputs[0], attribute.t, self.path)
                return True
            if attribute.name == "sparse_value":
                add_sparse(self.draft, op.outputs[0], attribute.sparse_tensor, self.path)
                return True
        found = constant_value(op)
        if found is None:
            return False
        self.draft.add_constant(op.outputs[0], found.shape, found.dtype.name, lambda: found)
        return True

    def _attributes(self, node: Any) -> dict[str, Any]:
        """As plain data; graphs and large tensors stay out, dtypes get their names beside their numbers."""
        import onnx  # slow to import

        kinds, found = onnx.AttributeProto, dict[str, Any]()
        for attribute in node.attribute:
            if attribute.type in (kinds.FLOAT, kinds.INT, kinds.FLOATS, kinds.INTS):
                value = onnx.helper.get_attribute_value(attribute)
                found[attribute.name] = value if isinstance(value, int | float) else list(value)
            elif attribute.type == kinds.STRING:
                found[attribute.name] = attribute.s.decode("utf-8", "replace")
            elif attribute.type == kinds.STRINGS:
                found[attribute.name] = [text.decode("utf-8", "replace") for text in attribute.strings]
            elif attribute.type == kinds.TENSOR and attribute.name == "value" and node.op_type == "ConstantOfShape":
                found["value"] = self._number(attribute.t)
        if node.op_type == "Cast" and "to" in found:
            found["dtype_to"] = _target(found["to"])
        return found

    def _number(self, tensor: Any) -> Any:
        scratch = Draft(source=str(self.path))
        add_tensor(scratch, "value", tensor, self.path)
        found = scratch.small("value")
        if found is None or found.size != 1:
            raise GatewiseError(f"{self.path}: a ConstantOfShape holds no single number")
        return found.reshape(-1)[0].item() if found.dtype == np.bool_ else found.reshape(-1)

    def _nested(self, node: Any, inputs: Sequence[str], part: tuple[str, Any], path: str, names: Names) -> list[str]:
        """Add the nodes of a nested graph, and say which values it gives back."""
        attribute, graph = part
        prefix, inside = f"{path}/{attribute}", ChainMap[str, str]({}, dict(names))
        own = {tensor.name for tensor in graph.initializer}
        for place, value in enumerate(value for value in graph.input if value.name not in own):
            name = self._new(inside, value.name, prefix)
            given = inputs[place : place + 1] if len(inputs) > place and inputs[place] else []
            about = {"inside": node.op_type, "input": place}
            self.draft.emit(node.op_type, prefix, given, name, kind=Kind.OTHER, attributes=about)
            describe(self.draft, name, value)
        self.graph(graph, inside, prefix, graph.initializer)
        missing = [value.name for value in graph.output if value.name not in inside]
        if missing:
            raise GatewiseError(f"{self.path}: the value {missing[0]!r} of {prefix!r} is never made")
        return [inside[value.name] for value in graph.output]

    def _control(self, op: Op, inner: Sequence[Sequence[str]]) -> None:
        """One node for each output of an If, Loop or Scan: it reads what the nested graphs give for it."""
        skipped = 1 if op.name == "Loop" else 0  # the first value of a loop's body says whether to go on
        for place in range(len(op.outputs)):
            given = [values[place + skipped] for values in inner if place + skipped < len(values)]
            first = op.inputs[:1] if op.name == "If" else op.inputs
            op.emit(Kind.OTHER, [*first, *given], place, output=place)


def describe(draft: Draft, name: str, value: Any) -> None:
    """Enter the shape and dtype that a ValueInfoProto tells."""
    if not value.type.HasField("tensor_type"):
        return
    kind = value.type.tensor_type
    if kind.elem_type in dtype_names():
        draft.dtypes[name] = dtype_names()[kind.elem_type]
    if kind.HasField("shape"):
        sizes: Shape = tuple(
            int(dim.dim_value) if dim.HasField("dim_value") and dim.dim_value >= 0 else None for dim in kind.shape.dim
        )
        draft.shapes[name] = sizes


def _target(to: int | str) -> str:
    """The name of a cast's dtype; the first operator sets wrote it as text."""
    renamed = {"float": "float32", "double": "float64"}
    return renamed.get(to.lower(), to.lower()) if isinstance(to, str) else dtype_names().get(to, "")


def _label(node: Any) -> str:
    return f"{node.op_type} {node.name}".strip() or "a node"


def _path(node: Any, prefix: str) -> str:
    """The node's name behind the modules it stands in, where the exporter wrote them down (torch's does)."""
    if not node.name:
        return ""
    scopes = next((entry.value for entry in node.metadata_props if entry.key == "pkg.torch.onnx.name_scopes"), "")
    modules = _modules(scopes) if scopes else []
    if modules and not node.name.startswith("/"):
        return "/".join([prefix, *modules, node.name])
    return f"{prefix}/{node.name}" if prefix else node.name


def _modules(scopes: str) -> list[str]:
    """['', 'layers.0', 'layers.0.act', 'gelu'] as ['layers.0', 'act']: each module within the one before."""
    try:
        found = ast.literal_eval(scopes[:4096])
    except (ValueError, SyntaxError, RecursionError, MemoryError):
        return []
    names = [name for name in found[:-1] if isinstance(name, str)] if isinstance(found, list) else []
    parts: list[str] = []
    before = ""
    for name in names:
        inside = name[len(before) + 1 :] if before and name.startswith(f"{before}.") else name
        parts.extend([inside] if inside and name != before else [])
        before = name or before
    return parts
