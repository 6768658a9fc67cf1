"""Shapes of the values of an ONNX model, behind ONNX Runtime's own operations too."""

from collections.abc import Iterator, Sequence, Set
from typing import Any

from ._onnx_file import OnnxFile, first_line

_LIKE_FIRST = (
    "BiasAdd",
    "BiasGelu",
    "FastGelu",
    "Gelu",
    "GroupNorm",
    "LayerNormalization",
    "QLinearLeakyRelu",
    "QLinearSigmoid",
    "QuickGelu",
    "SimplifiedLayerNormalization",
    "SkipLayerNormalization",
    "SkipSimplifiedLayerNormalization",
)
"""Operations whose outputs, but for statistics, have the shape and dtype of the first input."""
_LIKE_STANDARD = {
    "FusedConv": "Conv",
    "FusedGemm": "Gemm",
    "FusedMatMul": "MatMul",
    "TransposeMatMul": "MatMul",
    "FusedMatMulActivation": "MatMul",
}
_ATTRIBUTES = {
    "Conv": ("auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"),
    "Gemm": ("transA", "transB"),
    "MatMul": (),
}


def infer_shapes(file: OnnxFile) -> tuple[Any, str]:
    """The model with the shapes and dtypes that can be inferred; where that fails, as it is, and why."""
    import onnx  # slow to import
    import onnx.shape_inference

    standin = onnx.ModelProto()
    standin.CopyFrom(file.model)
    matrices = {tensor.name for tensor in file.tensors.values() if len(tensor.dims) == 2}
    for graph in _graphs(standin.graph):
        replaced = [other for node in graph.node for other in _replaced(onnx, node, matrices)]
        del graph.node[:]
        graph.node.extend(replaced)
    try:
        found = onnx.shape_inference.infer_shapes(standin, data_prop=True)
    except (onnx.shape_inference.InferenceError, RuntimeError, ValueError, TypeError) as error:
        return file.model, first_line(error)
    for ours, theirs in zip(_graphs(file.model.graph), _graphs(found.graph), strict=True):
        for field in ("value_info", "output"):
            del getattr(ours, field)[:]
            getattr(ours, field).extend(getattr(theirs, field))
    return file.model, ""


def _graphs(graph: Any) -> Iterator[Any]:
    yield graph
    for node in graph.node:
        for attribute in node.attribute:
            for nested in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                yield from _graphs(nested)


def _replaced(onnx: Any, node: Any, matrices: Set[str]) -> Sequence[Any]:
    """Standard operations with outputs of the same shape; the node itself where it is one, or nothing is known."""
    make = onnx.helper.make_node
    if node.domain != "com.microsoft" or not node.input or not node.output:
        return [node]
    if node.op_type in _LIKE_FIRST:
        same = [name for place, name in enumerate(node.output) if place in (0, 3) and name]
        return [make("Identity", [node.input[0]], [name]) for name in same]
    like = _LIKE_STANDARD.get(node.op_type)
    if like is None:
        return [node]
    given = {attribute.name: attribute for attribute in node.attribute}
    flags = [bool(given[name].i) if name in given else False for name in ("transA", "transB")]
    if any(name in given and given[name].i for name in ("transBatchA", "transBatchB")):
        return [node]
    if like == "MatMul" and any(flags):
        left = ("" if node.input[0] in matrices else "...") + ("ji" if flags[0] else "ij")
        right = ("" if node.input[1] in matrices else "...") + ("kj" if flags[1] else "jk")
        batch = "..." if "..." in left + right else ""
        return [make("Einsum", node.input[:2], node.output[:1], equation=f"{left},{right}->{batch}ik")]
    standard = make(like, node.input[: 2 if like == "MatMul" else 3], node.output[:1])
    standard.attribute.extend(given[name] for name in _ATTRIBUTES[like] if name in given)
    return [standard]
