"""ONNX Runtime's own operations, and weights that it packs: against what it computes itself."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gatewise.graphs import Graph, Kind
from gatewise.graphs._onnx import read_onnx

RANDOM = np.random.default_rng(5)


def _read(folder: Path, nodes: list[Any], shapes: dict[str, Any], constants: dict[str, Any], **rest: int) -> Graph:
    """The graph of a model with one input `x` and one output `y`, saved and read."""
    values = [helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name, shape in shapes.items()]
    tensors = [numpy_helper.from_array(np.asarray(x), name) for name, x in constants.items()]
    graph = helper.make_graph(nodes, "g", values[:-1], values[-1:], tensors)
    opsets = [helper.make_opsetid("", rest.get("opset", 21)), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=rest.get("ir", 10))
    onnx.save(model, folder / "m.onnx")
    return read_onnx(folder / "m.onnx")


def _runtime(folder: Path, **feeds: NDArray[Any]) -> NDArray[Any]:
    session = onnxruntime.InferenceSession(folder / "m.onnx", providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, feeds)[0])


def _f32(*shape: int) -> NDArray[np.float32]:
    return RANDOM.normal(size=shape).astype(np.float32)


def ms(op: str, inputs: list[str], outputs: list[str], **attributes: Any) -> onnx.NodeProto:
    return helper.make_node(op, inputs, outputs, f"/{op}", domain="com.microsoft", **attributes)


@pytest.mark.parametrize(("bits", "with_zero"), [(4, False), (4, True), (8, False), (8, True)])
def test_packed_weights_are_the_matrix_that_the_runtime_multiplies_by(
    bits: int, with_zero: bool, tmp_path: Path
) -> None:
    rows, columns, block = 64, 12, 32
    blocks, per = rows // block, 8 // bits
    packed = RANDOM.integers(0, 256, (columns, blocks, block // per)).astype(np.uint8)
    constants: dict[str, Any] = {"b": packed, "s": np.abs(_f32(columns, blocks)) + 0.1}
    names = ["x", "b", "s"]
    if with_zero:
        zeros = RANDOM.integers(0, 256, (columns, -(-blocks // per))).astype(np.uint8)
        constants["z"] = zeros
        names.append("z")
    node = ms("MatMulNBits", names, ["y"], K=rows, N=columns, bits=bits, block_size=block)
    graph = _read(tmp_path, [node], {"x": [rows, rows], "y": [rows, columns]}, constants)
    (linear,) = graph.nodes
    weight = graph.constants[linear.inputs[1]]
    assert (linear.kind, weight.shape, weight.dtype) == (Kind.LINEAR, (rows, columns), f"uint{bits}")
    expected = _runtime(tmp_path, x=np.eye(rows, dtype=np.float32))
    np.testing.assert_allclose(weight.load(), expected, rtol=1e-5, atol=1e-5)


def test_the_scale_of_a_quantised_product_is_part_of_its_weights(tmp_path: Path) -> None:
    stored = RANDOM.integers(-90, 90, (4, 3)).astype(np.int8)
    scale = np.array([0.5, 1, 2], dtype=np.float32)
    zero = np.zeros(3, dtype=np.int8)
    node = ms("DynamicQuantizeMatMul", ["x", "w", "s", "z"], ["y"])
    graph = _read(tmp_path, [node], {"x": [4, 4], "y": [4, 3]}, {"w": stored, "s": scale, "z": zero})
    weight = graph.constants[graph.nodes[0].inputs[1]]
    assert (graph.nodes[0].kind, weight.dtype) == (Kind.LINEAR, "int8")
    np.testing.assert_array_equal(weight.load(), stored * scale)
    np.testing.assert_allclose(_runtime(tmp_path, x=np.eye(4, dtype=np.float32)), weight.load(), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [0, 1])
def test_weights_that_are_rounded_when_the_model_runs_are_one_constant(axis: int, tmp_path: Path) -> None:
    scale = np.array([0.01, 0.02, 0.5, 0.003], dtype=np.float32)
    nodes = [
        helper.make_node("QuantizeLinear", ["w", "s", "z"], ["q"], axis=axis),
        helper.make_node("DequantizeLinear", ["q", "s", "z"], ["d"], axis=axis),
        helper.make_node("MatMul", ["x", "d"], ["y"]),
    ]
    constants = {"w": _f32(4, 4), "s": scale, "z": np.array([0, 3, -2, 1], dtype=np.int8)}
    graph = _read(tmp_path, nodes, {"x": [4, 4], "y": [4, 4]}, constants)
    assert [(node.op, node.kind) for node in graph.nodes] == [("MatMul", Kind.LINEAR)]
    expected = _runtime(tmp_path, x=np.eye(4, dtype=np.float32))
    np.testing.assert_allclose(graph.constants["d"].load(), expected, rtol=1e-6, atol=1e-7)


def test_shapes_are_known_behind_operations_that_only_the_runtime_knows(tmp_path: Path) -> None:
    nodes = [
        ms("FusedMatMul", ["x", "w"], ["h"], transB=1, alpha=0.5),
        ms("BiasGelu", ["h", "b"], ["g"]),
        ms("SkipLayerNormalization", ["g", "g", "gamma", "beta"], ["n", "", "", "s"]),
        helper.make_node("Reshape", ["n", "rows"], ["r"]),
        ms("FusedGemm", ["r", "v"], ["f"], activation="Relu"),
        helper.make_node("ReduceSum", ["s", "last"], ["t"], keepdims=0),
        helper.make_node("Concat", ["f", "f"], ["y"], axis=-1),
    ]
    constants = {
        "w": _f32(6, 4),
        "b": _f32(6),
        "gamma": _f32(6),
        "beta": _f32(6),
        "v": _f32(6, 5),
        "rows": np.array([-1, 6]),
        "last": np.array([-1]),
    }
    graph = _read(tmp_path, nodes, {"x": ["n", 3, 4], "y": ["m", 10]}, constants)
    assert {name: graph.shapes[name] for name in ("h", "g", "n", "s", "t", "r", "f", "y")} == {
        "h": (None, 3, 6),
        "g": (None, 3, 6),
        "n": (None, 3, 6),
        "s": (None, 3, 6),
        "t": (None, 3),
        "r": (None, 6),
        "f": (None, 5),
        "y": (None, 10),
    }
    assert [node.op for node in graph.nodes if node.attributes.get("inside")] == ["Sum", "Relu"]
    assert graph.nodes[-1].kind is Kind.OTHER


def test_a_norm_with_a_residual_reads_the_sum(tmp_path: Path) -> None:
    nodes = [ms("SkipLayerNormalization", ["x", "k", "gamma", "beta", "b"], ["y"])]
    constants = {"gamma": _f32(4), "beta": _f32(4), "b": _f32(4), "k": _f32(1, 3, 4)}
    graph = _read(tmp_path, nodes, {"x": [1, 3, 4], "y": [1, 3, 4]}, constants)
    total, norm = graph.nodes
    assert (total.op, total.inputs, norm.kind, norm.inputs[0]) == ("Sum", ("x", "k", "b"), Kind.NORM, total.output)


def test_quantised_steps_compute_on_the_numbers_they_stand_for(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        ms("QLinearSigmoid", ["q", "s", "z", "so", "z"], ["a"]),
        ms("QLinearMul", ["a", "so", "z", "c", "s", "z", "s", "z"], ["m"]),
        helper.make_node("DequantizeLinear", ["m", "s", "z"], ["y"]),
    ]
    constants = {
        "s": np.float32(0.05),
        "so": np.float32(1 / 256),
        "z": np.uint8(0),
        "c": np.array([20, 40], dtype=np.uint8),
    }
    graph = _read(tmp_path, nodes, {"x": [3, 2], "y": [3, 2]}, constants)
    assert [node.kind for node in graph.nodes] == [Kind.CAST, Kind.POINTWISE, Kind.POINTWISE, Kind.CAST]
    x = np.array([[0.5, 1], [2, 3], [5, 0.05]], dtype=np.float32)
    sigmoid, product = (node.evaluate for node in graph.nodes[1:3])
    assert sigmoid is not None
    assert product is not None
    ours = product([sigmoid([x.astype(np.float64)]), graph.constants[graph.nodes[2].inputs[1]].load()])
    np.testing.assert_allclose(ours, _runtime(tmp_path, x=x), atol=0.05)


def test_old_operator_sets_align_a_bias_to_an_axis(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Add", ["x", "b"], ["h"], axis=1, broadcast=1),
        helper.make_node("PRelu", ["h", "slope"], ["y"]),
    ]
    constants = {"b": _f32(3), "slope": _f32(3)}
    graph = _read(tmp_path, nodes, {"x": [2, 3, 4], "y": [2, 3, 4]}, constants, opset=6, ir=3)
    x = _f32(2, 3, 4).astype(np.float64)
    for node, name in zip(graph.nodes, constants, strict=True):
        assert node.evaluate is not None
        aligned = graph.constants[node.inputs[1]].load()
        assert aligned.shape == (3, 1)
        np.testing.assert_array_equal(aligned[:, 0], constants[name])
        x = node.evaluate([x, aligned])
    assert x.shape == (2, 3, 4)


def test_halves_of_old_operator_sets_are_attributes(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Split", ["x"], ["a", "b"], axis=1),
        helper.make_node("Slice", ["x"], ["c"], axes=[1], starts=[4], ends=[8]),
        helper.make_node("Sum", ["a", "b", "c"], ["s"]),
        helper.make_node("Clip", ["s"], ["t"], min=-1.0, max=1.0),
        helper.make_node("Dropout", ["t"], ["y"], is_test=1),
    ]
    graph = _read(tmp_path, nodes, {"x": [2, 8], "y": [2, 4]}, {}, opset=6, ir=3)
    assert [node.attributes["part"] for node in graph.nodes if node.kind is Kind.SELECT] == [(0, 2), (1, 2), (1, 2)]
    clip = graph.nodes[4]
    assert clip.evaluate is not None
    np.testing.assert_array_equal(clip.evaluate([np.array([-3, 0.5, 3])]), [-1, 0.5, 1])
    assert graph.nodes[5].kind is Kind.COPY


def test_a_gated_unit_in_one_operation_is_its_steps(tmp_path: Path) -> None:
    packed, scales = RANDOM.integers(0, 256, (32, 1, 16)).astype(np.uint8), np.abs(_f32(32, 1))
    names = ["x", "", "", "gate", "gs", "", "up", "us", ""]
    node = ms("MatMulNBitsMlp", names, ["y"], K=32, N=32, bits=4, block_size=32, activation="silu")
    constants = {"gate": packed, "gs": scales, "up": packed + 1, "us": scales}
    graph = _read(tmp_path, [node], {"x": [2, 32], "y": [2, 32]}, constants)
    assert [(node.op.rpartition(".")[2], node.kind) for node in graph.nodes] == [
        ("MatMulNBitsMlp", Kind.LINEAR),
        ("MatMulNBitsMlp", Kind.LINEAR),
        ("Swish", Kind.POINTWISE),
        ("Mul", Kind.POINTWISE),
    ]
    weights = [graph.constants[node.inputs[1]] for node in graph.nodes[:2]]
    assert [(weight.shape, weight.dtype) for weight in weights] == [((32, 32), "uint4")] * 2


def test_a_file_that_the_runtime_optimised_has_the_same_weights(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Add", ["h", "b"], ["g"]),
        helper.make_node("Gelu", ["g"], ["y"]),
    ]
    plain = _read(tmp_path, nodes, {"x": ["n", 64], "y": ["n", 64]}, {"w": _f32(64, 64), "b": _f32(64)})
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
    options.optimized_model_filepath = str(tmp_path / "optimised.onnx")
    onnxruntime.InferenceSession(tmp_path / "m.onnx", options, providers=["CPUExecutionProvider"])
    ours = read_onnx(tmp_path / "optimised.onnx")
    assert len(ours.nodes) < len(plain.nodes)
    assert {constant.fingerprint for constant in ours.constants.values()} == {
        constant.fingerprint for constant in plain.constants.values()
    }
    assert ours.shapes["y"] == (None, 64)
