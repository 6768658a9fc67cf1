"""ONNX files as graphs: what each operation becomes, and that a whole graph computes what ONNX Runtime computes."""

from collections import Counter
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from gatewise.graphs import Graph, Kind, Node
from gatewise.graphs._onnx import read_onnx

F32 = TensorProto.FLOAT


def value(name: str, shape: Any, dtype: int = F32) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, dtype, shape)


def const(name: str, values: Any, dtype: Any = np.float32) -> onnx.TensorProto:
    return numpy_helper.from_array(np.asarray(values, dtype=dtype), name)


def read(folder: Path, nodes: list[Any], inputs: Any, outputs: Any, constants: Any = (), **rest: Any) -> Graph:
    """The graph of a model that is made here, saved and read."""
    graph = helper.make_graph(nodes, "g", inputs, outputs, list(constants))
    opset = rest.pop("opset", 21)
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=10, **rest)
    onnx.save(model, folder / "model.onnx")
    return read_onnx(folder / "model.onnx")


def kinds(graph: Graph) -> list[tuple[str, Kind]]:
    return [(node.op, node.kind) for node in graph.nodes]


def run(graph: Graph, feeds: dict[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
    """Values of a graph of pointwise operations, casts, halves and matrix products."""
    known = {name: np.asarray(x, dtype=np.float64) for name, x in feeds.items()}
    known |= {name: np.asarray(constant.load(), dtype=np.float64) for name, constant in graph.constants.items()}
    for node in graph.nodes:
        xs = [known[name] for name in node.inputs]
        known[node.output] = _step(node, xs)
    return known


def _step(node: Node, xs: list[NDArray[Any]]) -> NDArray[Any]:
    if node.kind is Kind.POINTWISE:
        assert node.evaluate is not None
        return node.evaluate(xs)
    if node.kind is Kind.LINEAR:
        weight = xs[1].T if node.attributes.get("transB") else xs[1]
        return xs[0] @ weight + (xs[2] if len(xs) > 2 else 0)
    if node.kind is Kind.SELECT:
        index, count = node.attributes["part"]
        size = xs[0].shape[-1] // count
        places = slice(index, None, count) if node.attributes.get("interleaved") else slice(index * size, None)
        return xs[0][..., places][..., :size]
    assert node.kind in (Kind.CAST, Kind.COPY)
    return xs[0]


def mlp(seed: int, *, fused: bool) -> onnx.ModelProto:
    """A packed gate written as operations: halves, GELU from erf (or one op), a clamp, a product, a projection back."""
    random = np.random.default_rng(seed)
    constants = [
        const("w", random.normal(size=(8, 32))),
        const("b", random.normal(size=32)),
        const("v", random.normal(size=(16, 8))),
        const("split", [16, 16], np.int64),
        *(const(name, number) for name, number in (("r2", 2**0.5), ("one", 1), ("half", 0.5), ("lo", -2), ("hi", 2))),
    ]
    node = helper.make_node
    gelu = [
        node("Div", ["g", "r2"], ["d"], "/act/Div"),
        node("Erf", ["d"], ["e"], "/act/Erf"),
        node("Add", ["e", "one"], ["a"], "/act/Add"),
        node("Mul", ["g", "a"], ["m"], "/act/Mul"),
        node("Mul", ["m", "half"], ["act"], "/act/Mul_1"),
    ]
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "/up"),
        node("Add", ["h", "b"], ["hb"], "/bias"),
        node("Split", ["hb", "split"], ["g", "u"], "/split", axis=-1),
        *([node("Gelu", ["g"], ["act"], "/act/Gelu")] if fused else gelu),
        node("Clip", ["u", "lo", "hi"], ["c"], "/clip"),
        node("Mul", ["act", "c"], ["p"], "/product"),
        node("MatMul", ["p", "v"], ["y"], "/down"),
    ]
    graph = helper.make_graph(nodes, "g", [value("x", ["n", 8])], [value("y", ["n", 8])], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("fused", [False, True])
def test_a_whole_graph_computes_what_onnx_runtime_computes(fused: bool, tmp_path: Path) -> None:
    model = mlp(3, fused=fused)
    onnx.save(model, tmp_path / "mlp.onnx")
    graph = read_onnx(tmp_path / "mlp.onnx")
    x = np.random.default_rng(1).normal(size=(5, 8)).astype(np.float32)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    np.testing.assert_allclose(run(graph, {"x": x})["y"], expected, rtol=2e-5, atol=2e-5)
    assert Counter(node.kind for node in graph.nodes) == {
        Kind.LINEAR: 2,
        Kind.SELECT: 2,
        Kind.POINTWISE: 4 if fused else 8,
    }
    assert graph.shapes["hb"] == (None, 32)
    assert graph.dtypes["act"] == "float32"
    assert [node.attributes["part"] for node in graph.nodes if node.kind is Kind.SELECT] == [(0, 2), (1, 2)]


def test_real_files_are_read_whole() -> None:
    counts = {
        "magika/models/standard_v3_3/model.onnx": (52, 3, {"Concat": 4, "Shape": 1}),
        "chython_rxnmap/rxnmap.onnx": (
            208,
            61,
            {"Concat": 64, "Shape": 50, "MatMul": 31, "Softmax": 16, "Gather": 4},
        ),
    }
    for place, (pointwise, linear, others) in counts.items():
        package, _, file = place.partition("/")
        spec = find_spec(package)
        if spec is None or not spec.submodule_search_locations:
            pytest.skip(f"{package} is not installed")
        graph = read_onnx(Path(spec.submodule_search_locations[0]) / file)
        found = Counter(node.kind for node in graph.nodes)
        assert (found[Kind.POINTWISE], found[Kind.LINEAR]) == (pointwise, linear)
        assert Counter(node.op for node in graph.nodes if node.kind is Kind.OTHER) == others
        assert all(node.evaluate for node in graph.nodes if node.kind is Kind.POINTWISE)
        weights = {node.inputs[node.attributes["weight"]] for node in graph.nodes if node.kind is Kind.LINEAR}
        assert weights <= set(graph.constants)


def test_quantised_weights_are_one_constant_with_its_stored_dtype(tmp_path: Path) -> None:
    stored = np.arange(-6, 6, dtype=np.int8).reshape(3, 4)
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "s"], ["f"], axis=1),
        helper.make_node("Transpose", ["f"], ["t"], perm=[1, 0]),
        helper.make_node("Cast", ["t"], ["c"], to=TensorProto.FLOAT16),
        helper.make_node("MatMul", ["x", "c"], ["y"]),
    ]
    scale = np.array([1, 2, 4, 8], dtype=np.float32)
    constants = [const("w", stored, np.int8), const("s", scale)]
    graph = read(tmp_path, nodes, [value("x", [2, 4], 10)], [value("y", [2, 3], 10)], constants)
    assert kinds(graph) == [("MatMul", Kind.LINEAR)]
    weight = graph.constants["c"]
    assert (weight.dtype, weight.shape, graph.dtypes["c"]) == ("int8", (4, 3), "float16")
    np.testing.assert_array_equal(weight.load(), (stored * scale).T)
    assert graph.facts["folded"]["c"][0] == "w"


def test_shared_weights_stay_one_constant(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("Identity", ["w"], ["w2"]),
        helper.make_node("Transpose", ["w2"], ["t1"], perm=[1, 0]),
        helper.make_node("Transpose", ["w"], ["t2"], perm=[1, 0]),
        helper.make_node("MatMul", ["x", "t1"], ["h"]),
        helper.make_node("MatMul", ["h", "t2"], ["y"]),
    ]
    constants = [const("w", np.eye(200))]
    graph = read(tmp_path, nodes, [value("x", [2, 200])], [value("y", [2, 200])], constants)
    assert len(graph.nodes) == 2
    assert len(graph.constants) == 1


@pytest.mark.parametrize(
    ("op", "attributes", "activation", "settings"),
    [
        ("FusedGemm", {"activation": "LeakyRelu", "activation_alpha": 0.25}, "LeakyRelu", {"alpha": 0.25}),
        ("FusedGemm", {"activation": "Relu"}, "Relu", {}),
        ("FusedConv", {"activation": "Clip", "activation_params": [0.0, 6.0]}, "Clip", {"min": 0.0, "max": 6.0}),
        ("FusedConv", {"activation": "HardSigmoid", "activation_params": [0.25, 0.5]}, "HardSigmoid", {"beta": 0.5}),
    ],
)
def test_a_fused_activation_is_a_node_of_its_own(
    op: str, attributes: dict[str, Any], activation: str, settings: dict[str, float], tmp_path: Path
) -> None:
    conv = op == "FusedConv"
    random = np.random.default_rng(0)
    weight = random.normal(size=(3, 4, 1, 1) if conv else (4, 3)).astype(np.float32)
    shape, out = ([2, 4, 5, 5], [2, 3, 5, 5]) if conv else ([2, 4], [2, 3])
    nodes = [helper.make_node(op, ["x", "w", "b"], ["y"], "it", domain="com.microsoft", **attributes)]
    constants = [const("w", weight), const("b", random.normal(size=3))]
    graph = read(tmp_path, nodes, [value("x", shape)], [value("y", out)], constants)
    linear, active = graph.nodes
    assert (linear.kind, linear.attributes["weight"], linear.attributes["bias"]) == (Kind.LINEAR, 1, 2)
    assert (active.op, active.kind, active.attributes["inside"]) == (activation, Kind.POINTWISE, f"com.microsoft.{op}")
    assert settings.items() <= active.attributes.items()
    x = random.normal(size=shape).astype(np.float32)
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx", providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"x": x})
    mixed = np.einsum("nchw,oc->nohw", x, weight[:, :, 0, 0]) if conv else x @ weight
    bias = graph.constants["b"].load().reshape([1, -1, 1, 1] if conv else [-1])
    assert active.evaluate is not None
    np.testing.assert_allclose(active.evaluate([mixed + bias]), expected, rtol=1e-5, atol=1e-5)


def test_bias_split_gelu_is_its_steps(tmp_path: Path) -> None:
    nodes = [helper.make_node("BiasSplitGelu", ["x", "b"], ["y"], "it", domain="com.microsoft")]
    graph = read(tmp_path, nodes, [value("x", [2, 3, 2560])], [value("y", [2, 3, 1280])], [const("b", np.ones(2560))])
    assert [op for op, _ in kinds(graph)] == ["Add", "Split", "Split", "Gelu", "Mul"]
    x = np.random.default_rng(0).normal(size=(2, 3, 2560))
    from gatewise.activations import get

    left, right = np.split(x + 1, 2, axis=-1)
    np.testing.assert_allclose(run(graph, {"x": x})["y"], left * get("gelu").reference(right), rtol=1e-12)


def test_branches_stand_in_line_under_their_own_paths(tmp_path: Path) -> None:
    def branch(op: str) -> onnx.GraphProto:
        node = helper.make_node(op, ["x"], ["out"], "act")
        return helper.make_graph([node], op, [], [value("out", [4])])

    nodes = [
        helper.make_node("If", ["c"], ["y"], "/if", then_branch=branch("Relu"), else_branch=branch("Tanh")),
        helper.make_node("Sigmoid", ["y"], ["out"], "act"),
    ]
    graph = read(tmp_path, nodes, [value("x", [4]), value("c", [], TensorProto.BOOL)], [value("out", [4])])
    assert [node.op for node in graph.nodes] == ["Tanh", "Relu", "If", "Sigmoid"]  # attributes are saved by name
    assert [node.path for node in graph.nodes] == ["/if/else_branch/act", "/if/then_branch/act", "/if", "act"]
    assert len({node.output for node in graph.nodes}) == 4
    assert set(graph.nodes[2].inputs) == {"c", graph.nodes[0].output, graph.nodes[1].output}


def test_a_loop_has_its_body_and_no_value_from_nowhere(tmp_path: Path) -> None:
    body = helper.make_graph(
        [helper.make_node("Relu", ["v"], ["v2"], "act"), helper.make_node("Identity", ["go"], ["on"])],
        "body",
        [value("i", [], TensorProto.INT64), value("go", [], TensorProto.BOOL), value("v", [4])],
        [value("on", [], TensorProto.BOOL), value("v2", [4])],
    )
    nodes = [helper.make_node("Loop", ["n", "", "x"], ["y"], "/loop", body=body)]
    graph = read(tmp_path, nodes, [value("x", [4])], [value("y", [4])], [const("n", 3, np.int64)])
    made = {node.output for node in graph.nodes} | set(graph.constants) | set(graph.inputs)
    assert all(name in made for node in graph.nodes for name in node.inputs if name)
    assert [node.op for node in graph.nodes if node.kind is not Kind.OTHER] == ["Relu", "Identity"]


def test_functions_of_the_model_are_written_out_and_those_of_the_standard_are_not(tmp_path: Path) -> None:
    own = helper.make_function(
        "mine", "Act", ["a"], ["b"], [helper.make_node("Gelu", ["a"], ["b"], "g")], [helper.make_opsetid("", 21)]
    )
    graph = helper.make_graph(
        [helper.make_node("Act", ["x"], ["y"], "n", domain="mine")], "g", [value("x", [4])], [value("y", [4])]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("mine", 1)]
    onnx.save(helper.make_model(graph, functions=[own], opset_imports=opsets, ir_version=10), tmp_path / "f.onnx")
    assert [node.op for node in read_onnx(tmp_path / "f.onnx").nodes] == ["Gelu"]


def test_an_unknown_operation_of_somebody_else_is_listed(tmp_path: Path) -> None:
    graph = helper.make_graph(
        [helper.make_node("Thing", ["x"], ["y"], "n", domain="other")], "g", [value("x", [4])], [value("y", [4])]
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("other", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "f.onnx")
    found = read_onnx(tmp_path / "f.onnx")
    assert kinds(found) == [("other.Thing", Kind.OTHER)]
    assert found.facts["unknown_ops"] == {"other.Thing": 1}


def _slice(axis: int, start: int, end: int, step: int) -> tuple[list[Any], list[Any]]:
    names = ("starts", "ends", "axes", "steps")
    made = [const(name, [number], np.int64) for name, number in zip(names, (start, end, axis, step), strict=True)]
    return [helper.make_node("Slice", ["x", *names], ["y"])], made


@pytest.mark.parametrize(
    ("edges", "expected"),
    [
        ((-1, 0, 8, 1), {"part": (0, 2), "size": 8}),
        ((2, 8, 2**63 - 1, 1), {"part": (1, 2), "size": 8}),
        ((2, -8, 2**31 - 1, 1), {"part": (1, 2)}),
        ((2, 0, 2**63 - 1, 2), {"part": (0, 2), "interleaved": True}),
        ((2, 1, 16, 2), {"part": (1, 2), "interleaved": True}),
        ((1, 0, 2, 1), {"part": (0, 3), "size": 2}),
        ((2, 4, 9, 1), {"part": None}),
        ((2, 4, 12, 1), {"part": None}),
    ],
)
def test_a_slice_says_which_part_it_is(edges: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    nodes, constants = _slice(*edges)
    (node,) = read(tmp_path, nodes, [value("x", ["n", 6, 16])], [value("y", None)], constants).nodes
    assert node.kind is Kind.SELECT
    assert {name: node.attributes.get(name) for name in expected} == expected


def test_a_slice_of_all_is_a_copy(tmp_path: Path) -> None:
    nodes, constants = _slice(2, 0, 16, 1)
    graph = read(tmp_path, nodes, [value("x", ["n", 6, 16])], [value("y", None)], constants)
    assert kinds(graph) == [("Slice", Kind.COPY)]


@pytest.mark.parametrize(
    ("places", "expected"),
    [([0, 2, 4], {"part": (0, 2), "interleaved": True}), ([3, 4, 5], {"part": (1, 2)}), (1, {"part": (1, 6)})],
)
def test_a_gather_of_constant_places_is_a_choice(places: Any, expected: dict[str, Any], tmp_path: Path) -> None:
    nodes = [helper.make_node("Gather", ["x", "i"], ["y"], axis=-1)]
    (node,) = read(tmp_path, nodes, [value("x", ["n", 6])], [value("y", None)], [const("i", places, np.int64)]).nodes
    assert node.kind is Kind.SELECT
    assert expected.items() <= node.attributes.items()


def test_sizes_computed_from_a_known_dimension_are_constants(tmp_path: Path) -> None:
    """torch writes chunk(2, -1) as half of the shape, taken from the running model."""
    nodes = [
        helper.make_node("Shape", ["x"], ["s"]),
        helper.make_node("Gather", ["s", "axis"], ["d"]),
        helper.make_node("Div", ["d", "two"], ["half"]),
        helper.make_node("Slice", ["x", "zero", "half", "axis"], ["a"]),
        helper.make_node("Slice", ["x", "half", "d", "axis"], ["b"]),
        helper.make_node("Mul", ["a", "b"], ["y"]),
    ]
    constants = [const(name, [number], np.int64) for name, number in (("axis", 1), ("two", 2), ("zero", 0))]
    graph = read(tmp_path, nodes, [value("x", ["n", 16])], [value("y", ["n", 8])], constants)
    assert [node.attributes.get("part") for node in graph.nodes if node.op == "Slice"] == [(0, 2), (1, 2)]


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        (TensorProto.FLOAT, TensorProto.FLOAT16, Kind.CAST),
        (TensorProto.BOOL, TensorProto.FLOAT, Kind.CAST),
        (TensorProto.FLOAT, TensorProto.INT32, Kind.POINTWISE),
        (TensorProto.FLOAT, TensorProto.BOOL, Kind.POINTWISE),
        (TensorProto.INT64, TensorProto.INT32, Kind.CAST),
    ],
)
def test_a_cast_that_changes_values_is_computed(source: int, target: int, kind: Kind, tmp_path: Path) -> None:
    nodes = [helper.make_node("Cast", ["x"], ["y"], to=target)]
    (node,) = read(tmp_path, nodes, [value("x", [3], source)], [value("y", [3], target)]).nodes
    assert node.kind is kind
    if node.evaluate is not None:
        expected = [1, 1, 0] if target == TensorProto.BOOL else [1, -1, 0]
        np.testing.assert_array_equal(node.evaluate([np.array([1.7, -1.7, 0])]), expected)


def test_a_cast_to_the_dtype_of_another_value_is_a_cast(tmp_path: Path) -> None:
    nodes = [helper.make_node("CastLike", ["x", "like"], ["y"])]
    constants = [const("like", 1, np.float16)]
    assert kinds(read(tmp_path, nodes, [value("x", [3])], [value("y", [3], 10)], constants)) == [
        ("CastLike", Kind.CAST)
    ]


@pytest.mark.parametrize(("training", "kind"), [(None, Kind.COPY), (False, Kind.COPY), (True, Kind.OTHER)])
def test_dropout_is_a_copy_at_inference(training: bool | None, kind: Kind, tmp_path: Path) -> None:
    given = ["x", "", "t"] if training is not None else ["x"]
    constants = [const("t", training, np.bool_)] if training is not None else []
    nodes = [helper.make_node("Dropout", given, ["y"])]
    assert kinds(read(tmp_path, nodes, [value("x", [3])], [value("y", [3])], constants)) == [("Dropout", kind)]


def test_torch_module_paths_are_kept(tmp_path: Path) -> None:
    node = helper.make_node("Gelu", ["x"], ["y"], "node_gelu")
    scopes = "['', 'layers.0', 'layers.0.act', 'gelu']"
    node.metadata_props.append(onnx.StringStringEntryProto(key="pkg.torch.onnx.name_scopes", value=scopes))
    graph = read(tmp_path, [node], [value("x", [3])], [value("y", [3])])
    assert graph.nodes[0].path == "/layers.0/act/node_gelu"
