"""ONNX files: read, and refused with a clear line where something is wrong with them."""

import heapq
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, MissingExtraError

_LARGE = 1024
_CONTRIB = ("SimplifiedLayerNormalization", "SkipSimplifiedLayerNormalization", "ATen")
"""Operations of ONNX Runtime that some of its files hold under the standard's own name."""
_LATER = {"LayerNormalization": 17}
"""Those that the standard has since some operator set."""


@dataclass(frozen=True, kw_only=True, eq=False)
class OnnxFile:
    """A model without its large weights.

    Attributes:
        model: the ModelProto; each large initializer is an input of the graph instead.
        tensors: all initializers of the main graph, by name: TensorProtos.
        inputs: names of the true inputs.
    """

    path: Path
    model: Any
    tensors: dict[str, Any]
    inputs: tuple[str, ...]


def open_onnx(path: Path) -> OnnxFile:
    """Read the file without external data. Raises `GatewiseError` where it is no whole ONNX model known here."""
    try:
        import onnx  # an optional extra, and slow to import
        from google.protobuf.message import DecodeError
    except ImportError:
        raise MissingExtraError("onnx", "onnx") from None
    raw = read_bytes(path, "ONNX")
    try:
        model = onnx.ModelProto.FromString(raw)
    except DecodeError:
        raise GatewiseError(
            f"{path} cannot be read as ONNX: it is cut off or is another kind of file ({len(raw):,} bytes)"
        ) from None
    if not model.HasField("graph") or not (model.graph.node or model.graph.output):
        raise GatewiseError(f"{path} holds no ONNX graph: it is cut off, empty or another kind of file")
    check_versions(path, model)
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    true_inputs = tuple(value.name for value in model.graph.input if value.name not in tensors)
    _sort(model.graph)
    _move_large(onnx, model, tensors)
    _rename_contrib(model)
    if model.functions:
        model = _inline(onnx, path, model)
    return OnnxFile(path=path, model=model, tensors=tensors, inputs=true_inputs)


def read_bytes(path: Path, what: str) -> bytes:
    """The file's bytes. Raises `GatewiseError` where there is no such file, or nothing in it."""
    try:
        raw = path.read_bytes()
    except FileNotFoundError:
        raise GatewiseError(f"no such file: {path}") from None
    except IsADirectoryError:
        raise GatewiseError(f"{path} is a folder; give the {what} file in it") from None
    except OSError as error:
        raise GatewiseError(f"{path} cannot be read: {error.strerror or error}") from None
    if not raw:
        raise GatewiseError(f"{path} is empty")
    return raw


def check_versions(path: Path, model: Any) -> None:
    """Raise `GatewiseError` where the model is newer than the installed onnx knows."""
    import onnx  # slow to import

    if model.ir_version > onnx.IR_VERSION or model.ir_version < 1:
        raise GatewiseError(
            f"{path} has IR version {model.ir_version}, which is not known here; "
            f"known: 1 to {onnx.IR_VERSION} (onnx {onnx.__version__})"
        )
    if not model.opset_import and model.ir_version >= 3:
        raise GatewiseError(f"{path} does not say which operator set it uses: it is cut off or damaged")
    newest: dict[str, int] = {}
    for schema in onnx.defs.get_all_schemas_with_history():
        newest[schema.domain] = max(newest.get(schema.domain, 0), schema.since_version)
    newest[""] = onnx.defs.onnx_opset_version()
    for opset in model.opset_import:
        domain = "" if opset.domain == "ai.onnx" else opset.domain
        if domain in newest and not 1 <= opset.version <= newest[domain]:
            raise GatewiseError(
                f"{path} uses operator set {opset.version} of {domain or 'ai.onnx'}, which is not known here; "
                f"known: 1 to {newest[domain]} (onnx {onnx.__version__})"
            )


def _move_large(onnx: Any, model: Any, tensors: dict[str, Any]) -> None:
    """Take large and external weights out of the graph, so that what follows costs nothing for them."""
    present = {value.name for value in model.graph.input}
    kept: list[Any] = []
    for tensor in tensors.values():
        size = 1
        for dim in tensor.dims:
            size *= dim
        if size <= _LARGE and tensor.data_location != onnx.TensorProto.EXTERNAL:
            kept.append(tensor)
        elif tensor.name not in present:
            model.graph.input.append(onnx.helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)


def _rename_contrib(model: Any) -> None:
    """Give ONNX Runtime's own operations their own domain back.

    Its optimiser writes some under the standard's name, LayerNormalization before the standard had one too.
    """
    opset = max((entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")), default=1)
    own = (*_CONTRIB, *(name for name, since in _LATER.items() if opset < since))
    for node in nodes(model.graph):
        if node.op_type in own and node.domain in ("", "ai.onnx"):
            node.domain = "com.microsoft"


def _sort(graph: Any) -> None:
    """Put each node behind what it reads, as ONNX Runtime does: converters append their casts at the end.

    What cannot be sorted stays as it is, for a message on what is wrong.
    """
    made = {name: index for index, node in enumerate(graph.node) for name in node.output if name}
    needs = [{made[name] for name in _reads(node) if name in made} for node in graph.node]
    if all(place < index for index, places in enumerate(needs) for place in places):
        return
    readers: dict[int, list[int]] = {}
    for index, places in enumerate(needs):
        for place in places:
            readers.setdefault(place, []).append(index)
    waiting = [len(places) for places in needs]
    ready = [index for index, count in enumerate(waiting) if not count]
    heapq.heapify(ready)
    order: list[int] = []
    while ready:
        index = heapq.heappop(ready)
        order.append(index)
        for reader in readers.get(index, ()):
            waiting[reader] -= 1
            if not waiting[reader]:
                heapq.heappush(ready, reader)
    if len(order) == len(needs):
        found = [graph.node[index] for index in order]
        copies = [type(node).FromString(node.SerializeToString()) for node in found]
        del graph.node[:]
        graph.node.extend(copies)


def _reads(node: Any) -> set[str]:
    """The values that a node reads, those that its nested graphs take from outside too."""
    found = set(node.input)
    for attribute in node.attribute:
        for nested in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
            found |= {name for inner in nested.node for name in _reads(inner)}
            found |= {value.name for value in nested.output}
    return found - {""}


def nodes(graph: Any) -> Iterator[Any]:
    """All nodes, those of nested graphs too."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            for nested in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from nodes(nested)


def _inline(onnx: Any, path: Path, model: Any) -> Any:
    """The model with the functions it brings along written out; those of the standard stay one operation."""
    from onnx.inliner import inline_local_functions  # not loaded with onnx itself

    try:
        return inline_local_functions(model, True)
    except (RuntimeError, ValueError, onnx.checker.ValidationError) as error:
        raise GatewiseError(f"{path}: its functions cannot be written out: {first_line(error)}") from None


def first_line(error: BaseException) -> str:
    """The first line of an error's text, cut to a readable length."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return (lines[0] if lines else type(error).__name__)[:200]


def check_node(path: Path, node: Any, opsets: dict[str, int], ir_version: int) -> None:
    """Raise `GatewiseError` where a standard operation is unknown in the operator set or written wrongly."""
    import difflib  # only for errors

    import onnx  # slow to import

    domain = "" if node.domain == "ai.onnx" else node.domain
    if domain not in ("", "ai.onnx.ml") or domain not in opsets:
        return
    label = f"{domain or 'ai.onnx'} {opsets[domain]}"
    try:
        schema = onnx.defs.get_schema(node.op_type, opsets[domain], domain)
    except onnx.defs.SchemaError:
        known = {schema.name for schema in onnx.defs.get_all_schemas_with_history() if schema.domain == domain}
        nearest = [name for name in difflib.get_close_matches(node.op_type, known, n=1) if name != node.op_type]
        hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
        raise GatewiseError(f"{path}: no operation {node.op_type!r} in operator set {label}{hint}") from None
    if schema.deprecated or any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
        return
    context = onnx.checker.C.CheckerContext()
    context.ir_version, context.opset_imports = ir_version, opsets
    try:
        onnx.checker.check_node(node, context)
    except onnx.checker.ValidationError as error:
        raise GatewiseError(
            f"{path}: the {node.op_type} {node.name!r} is not valid in {label}: {first_line(error)}"
        ) from None
