"""OpenVINO IR files as graphs, against OpenVINO itself; and IR files with something wrong."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import openvino
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import helper, numpy_helper
from openvino import opset13 as ops

from gatewise.core import GatewiseError
from gatewise.graphs import Graph, Kind
from gatewise.graphs._openvino import read_openvino
from gatewise.graphs._openvino_rules import NAMES

Values = NDArray[Any]


def _save(folder: Path, outputs: list[Any], inputs: list[Any], *, compress: bool = False) -> Path:
    openvino.save_model(openvino.Model(outputs, inputs), folder / "m.xml", compress_to_fp16=compress)
    return folder / "m.xml"


def _x(seed: int = 0) -> Values:
    random = np.random.default_rng(seed).normal(0, 3, (4, 9)).astype(np.float32)
    fixed = np.array([0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1, -1], dtype=np.float32)
    return np.concatenate([random, fixed[None]])


def _whole(seed: int) -> Values:
    return np.random.default_rng(seed).integers(1, 50, (5, 7)).astype(np.int32)


def _bits(seed: int) -> Values:
    return np.random.default_rng(seed).integers(0, 2, (5, 7)).astype(bool)


Case = tuple[str, Callable[..., Any], list[Values]]
UNARY = {
    "Abs": "abs",
    "Acos": "acos",
    "Acosh": "acosh",
    "Asin": "asin",
    "Asinh": "asinh",
    "Atan": "atan",
    "Atanh": "atanh",
    "Ceiling": "ceiling",
    "Cos": "cos",
    "Cosh": "cosh",
    "Erf": "erf",
    "Exp": "exp",
    "Floor": "floor",
    "HSigmoid": "hsigmoid",
    "HSwish": "hswish",
    "Log": "log",
    "Mish": "mish",
    "Negative": "negative",
    "ReLU": "relu",
    "Sigmoid": "sigmoid",
    "Sign": "sign",
    "Sin": "sin",
    "Sinh": "sinh",
    "SoftPlus": "softplus",
    "SoftSign": "softsign",
    "Sqrt": "sqrt",
    "Swish": "swish",
    "Tan": "tan",
    "Tanh": "tanh",
}
BINARY = {
    "Add": "add",
    "Divide": "divide",
    "Equal": "equal",
    "FloorMod": "floor_mod",
    "Greater": "greater",
    "GreaterEqual": "greater_equal",
    "Less": "less",
    "LessEqual": "less_equal",
    "Maximum": "maximum",
    "Minimum": "minimum",
    "Mod": "mod",
    "Multiply": "multiply",
    "NotEqual": "not_equal",
    "Power": "power",
    "SquaredDifference": "squared_difference",
    "Subtract": "subtract",
}
f32 = np.float32
CASES: list[Case] = [
    *((op, getattr(ops, name), [_x()]) for op, name in UNARY.items()),
    *((op, getattr(ops, name), [_x(), _x(1)]) for op, name in BINARY.items()),
    ("Clamp", lambda x: ops.clamp(x, -1.5, 2.0), [_x()]),
    ("Elu", lambda x: ops.elu(x, 0.3), [_x()]),
    ("Gelu", lambda x: ops.gelu(x, "erf"), [_x()]),
    ("Gelu", lambda x: ops.gelu(x, "tanh"), [_x()]),
    ("Gelu", openvino.opset4.gelu, [_x()]),
    ("HardSigmoid", lambda x: ops.hard_sigmoid(x, f32(0.3), f32(0.1)), [_x()]),
    ("PReLU", lambda x: ops.prelu(x, np.arange(9, dtype=f32)), [_x()]),
    ("PReLU", lambda x: ops.prelu(x, np.arange(3, dtype=f32)), [np.ones((2, 3, 3, 3), dtype=f32) * -2]),
    ("Round", lambda x: ops.round(x, "HALF_TO_EVEN"), [_x()]),
    ("Round", lambda x: ops.round(x, "HALF_AWAY_FROM_ZERO"), [_x()]),
    ("Selu", lambda x: ops.selu(x, f32(1.1), f32(2.0)), [_x()]),
    ("Swish", lambda x: ops.swish(x, f32(1.702)), [_x()]),
    ("Divide", ops.divide, [_whole(0), _whole(1)]),  # of negative numbers the CPU rounds otherwise than is specified
    ("Mod", ops.mod, [-_whole(0), _whole(1)]),
    ("IsFinite", ops.is_finite, [np.array([1, np.inf, -np.inf, np.nan], dtype=f32)]),
    ("IsNaN", ops.is_nan, [np.array([1, np.inf, -np.inf, np.nan], dtype=f32)]),
    ("IsInf", ops.is_inf, [np.array([1, np.inf, -np.inf, np.nan], dtype=f32)]),
    *((op, getattr(ops, name), [_bits(0), _bits(1)]) for op, name in (("LogicalAnd", "logical_and"),)),
    ("LogicalOr", ops.logical_or, [_bits(0), _bits(1)]),
    ("LogicalXor", ops.logical_xor, [_bits(0), _bits(1)]),
    ("LogicalNot", ops.logical_not, [_bits(0)]),
    ("Select", ops.select, [_bits(0), _whole(0), _whole(1)]),
    ("BitwiseAnd", ops.bitwise_and, [_whole(0), _whole(1)]),
    ("BitwiseOr", ops.bitwise_or, [_whole(0), _whole(1)]),
    ("BitwiseXor", ops.bitwise_xor, [_whole(0), _whole(1)]),
]
OTHER_SPELLINGS = {"PRelu", "Xor"}
"""Names of the same operations in older files."""


@pytest.mark.parametrize("case", CASES, ids=lambda case: case[0])
def test_an_operation_computes_what_openvino_computes(case: Case, tmp_path: Path) -> None:
    op, make, given_values = case
    inputs = [ops.parameter(x.shape, x.dtype, name=f"x{place}") for place, x in enumerate(given_values)]
    path = _save(tmp_path, [make(*inputs)], inputs)
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    with np.errstate(all="ignore"):
        expected = np.asarray(compiled(given_values)[0], dtype=np.float64)
    graph = read_openvino(path)
    node = graph.nodes[-1]
    assert (node.op, node.kind) == (op, Kind.POINTWISE)
    assert node.evaluate is not None
    known = dict(zip(graph.inputs, given_values, strict=True))
    known |= {name: constant.load() for name, constant in graph.constants.items()}
    ours = node.evaluate([np.asarray(known[name], dtype=np.float64) for name in node.inputs])
    np.testing.assert_allclose(ours, expected, rtol=3e-5, atol=4e-7)


def test_every_name_has_a_case() -> None:
    assert {case[0] for case in CASES} | OTHER_SPELLINGS == set(NAMES)


def _gated(folder: Path, *, compress: bool = False) -> Path:
    x = ops.parameter([-1, 8], np.float32, name="x")
    random = np.random.default_rng(0)
    packed = ops.matmul(x, random.normal(size=(32, 8)).astype(f32), False, True)
    halves = ops.split(packed, np.int64(1), 2)
    gate = ops.multiply(ops.gelu(halves.output(0), "tanh"), halves.output(1))
    back = ops.matmul(gate, random.normal(size=(16, 8)).astype(f32), False, False)
    return _save(folder, [back], [x], compress=compress)


@pytest.mark.parametrize("compress", [False, True])
def test_weights_keep_the_dtype_they_are_stored_in(compress: bool, tmp_path: Path) -> None:
    graph = read_openvino(_gated(tmp_path, compress=compress))
    assert [node.kind for node in graph.nodes] == [
        Kind.LINEAR,
        Kind.SELECT,
        Kind.SELECT,
        Kind.POINTWISE,
        Kind.POINTWISE,
        Kind.LINEAR,
    ]
    weights = [graph.constants[node.inputs[1]] for node in graph.nodes if node.kind is Kind.LINEAR]
    assert {weight.dtype for weight in weights} == {"float16" if compress else "float32"}
    assert [weight.shape for weight in weights] == [(32, 8), (16, 8)]
    assert [node.attributes["part"] for node in graph.nodes if node.kind is Kind.SELECT] == [(0, 2), (1, 2)]
    assert all(graph.dtypes[node.output] == "float32" for node in graph.nodes)


def test_compressed_weights_are_one_constant(tmp_path: Path) -> None:
    x = ops.parameter([2, 4], np.float32, name="x")
    stored = np.arange(12, dtype=np.uint8).reshape(3, 4)
    scale = np.array([[0.5], [1], [2]], dtype=np.float16)
    wide = ops.convert(ops.constant(stored), "f16")
    weight = ops.multiply(ops.subtract(wide, ops.convert(ops.constant(np.uint8(6)), "f16")), ops.constant(scale))
    path = _save(tmp_path, [ops.matmul(x, ops.convert(weight, "f32"), False, True)], [x])
    graph = read_openvino(path)
    (node,) = graph.nodes
    constant = graph.constants[node.inputs[1]]
    assert (node.kind, constant.dtype, constant.shape) == (Kind.LINEAR, "uint8", (3, 4))
    np.testing.assert_array_equal(constant.load(), (stored.astype(f32) - 6) * scale.astype(f32))


def test_weights_that_are_rounded_when_the_model_runs_are_one_constant(tmp_path: Path) -> None:
    x = ops.parameter([4, 4], np.float32, name="x")
    weight = np.random.default_rng(0).normal(size=(4, 4)).astype(f32)
    low, high = (np.full((4, 1), edge, dtype=f32) for edge in (-1.5, 1.25))
    rounded = ops.fake_quantize(ops.constant(weight), low, high, low * 2, high * 2, 16)
    path = _save(tmp_path, [ops.matmul(x, rounded, False, False)], [x])
    graph = read_openvino(path)
    (node,) = graph.nodes
    compiled = openvino.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    expected = compiled([np.eye(4, dtype=f32)])[0]
    np.testing.assert_allclose(graph.constants[node.inputs[1]].load(), expected, rtol=1e-5, atol=1e-6)


def test_a_converted_onnx_file_computes_what_openvino_computes(tmp_path: Path) -> None:
    """Half of a packed projection through a quick GELU written as operations, the other half clamped."""
    random = np.random.default_rng(2)
    constants = {
        "w": random.normal(size=(8, 32)),
        "b": random.normal(size=32),
        "beta": 1.702,
        "low": -2,
        "high": 2,
    }
    node = helper.make_node
    nodes = [
        node("MatMul", ["x", "w"], ["h"], "/up"),
        node("Add", ["h", "b"], ["hb"], "/bias"),
        node("Split", ["hb"], ["g", "u"], "/split", axis=-1, num_outputs=2),
        node("Mul", ["g", "beta"], ["z"], "/act/Mul"),
        node("Sigmoid", ["z"], ["s"], "/act/Sigmoid"),
        node("Mul", ["g", "s"], ["a"], "/act/Mul_1"),
        node("Clip", ["u", "low", "high"], ["c"], "/clip"),
        node("Mul", ["a", "c"], ["y"], "/product"),
    ]
    infos = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 8), ("y", 16))]
    tensors = [numpy_helper.from_array(np.asarray(number, dtype=f32), name) for name, number in constants.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], tensors)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), tmp_path / "m.onnx")
    openvino.save_model(openvino.convert_model(tmp_path / "m.onnx"), tmp_path / "m.xml", compress_to_fp16=False)
    found = read_openvino(tmp_path / "m.xml")
    x = random.normal(size=(5, 8)).astype(f32)
    compiled = openvino.Core().compile_model(tmp_path / "m.xml", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    np.testing.assert_allclose(_run(found, x), compiled([x])[0], rtol=2e-5, atol=2e-5)
    swish = next(node for node in found.nodes if node.op == "Swish")
    assert swish.path.startswith("/act/")
    assert found.shapes[found.outputs[0]] == (None, 16)


def _run(graph: Graph, x: Values) -> Values:
    known: dict[str, Values] = {graph.inputs[0]: x.astype(np.float64)}
    known |= {name: np.asarray(constant.load(), dtype=np.float64) for name, constant in graph.constants.items()}
    for node in graph.nodes:
        xs = [known[name] for name in node.inputs]
        if node.kind is Kind.LINEAR:
            known[node.output] = xs[0] @ (xs[1].T if node.attributes["transpose_b"] else xs[1])
        elif node.kind is Kind.SELECT:
            index, count = node.attributes["part"]
            known[node.output] = np.split(xs[0], count, axis=-1)[index]
        else:
            assert node.evaluate is not None
            known[node.output] = node.evaluate(xs)
    return known[graph.outputs[0]]


def test_four_bit_weights_are_read(tmp_path: Path) -> None:
    x = ops.parameter([2, 4], np.float32, name="x")
    packed = openvino.Tensor(np.array([0x10, 0x32, 0x54, 0x76], dtype=np.uint8), [2, 4], openvino.Type.u4)
    path = _save(tmp_path, [ops.matmul(x, ops.convert(ops.constant(packed), "f32"), False, True)], [x])
    graph = read_openvino(path)
    constant = graph.constants[graph.nodes[0].inputs[1]]
    assert constant.dtype == "uint4"
    np.testing.assert_array_equal(constant.load(), [[0, 1, 2, 3], [4, 5, 6, 7]])


def test_branches_stand_in_line(tmp_path: Path) -> None:
    x = ops.parameter([4], np.float32, name="x")
    flag = ops.parameter([], np.bool_, name="flag")
    inner = [ops.parameter([4], np.float32, name="inner") for _ in range(2)]
    bodies = [openvino.Model([make(p)], [p]) for make, p in zip((ops.relu, ops.tanh), inner, strict=True)]
    choice = ops.if_op(flag)
    choice.set_then_body(bodies[0])
    choice.set_else_body(bodies[1])
    choice.set_input(x.output(0), inner[0], inner[1])
    output = choice.set_output(bodies[0].get_results()[0], bodies[1].get_results()[0])
    graph = read_openvino(_save(tmp_path, [ops.sigmoid(output)], [x, flag]))
    assert [node.op for node in graph.nodes if node.kind is Kind.POINTWISE] == ["ReLU", "Tanh", "Sigmoid"]
    made = {node.output for node in graph.nodes} | set(graph.inputs) | set(graph.constants)
    assert all(name in made for node in graph.nodes for name in node.inputs)
    assert len({node.output for node in graph.nodes}) == len(graph.nodes)
    relu, tanh = (next(node for node in graph.nodes if node.op == op) for op in ("ReLU", "Tanh"))
    assert "then_body" in relu.path
    assert "else_body" in tanh.path
    control = next(node for node in graph.nodes if node.op == "If")
    assert {relu.output, tanh.output} <= set(control.inputs)


def _refused(path: Path) -> str:
    with pytest.raises(GatewiseError) as caught:
        read_openvino(path)
    assert len(str(caught.value).splitlines()) <= 2
    return str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ('version="11"', 'version="7"', "IR version 7; known: 10 and 11"),
        ("opset7", "opset99", "opset99, which is not known here; known: opset1 to"),
        ('<?xml version="1.0"?>', '<?xml version="1.0"?><!DOCTYPE n [<!ENTITY a "aaaa">]>', "document type"),
        ('to-layer="2"', 'to-layer="777"', "'777', which does not exist"),
        ('from-port="2"', 'from-port="9"', "does not exist"),
        ('offset="0"', 'offset="-8"', "from byte -8"),
        ('element_type="f32"', 'element_type="f33"', "dtype"),
        ('shape="32, 8"', 'shape="32, 8000"', "cut off"),
        ("<dim>32</dim>", "<dim>x</dim>", "damaged"),
    ],
)
def test_a_damaged_ir_is_refused(old: str, new: str, words: str, tmp_path: Path) -> None:
    path = _gated(tmp_path)
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    assert words in _refused(path)


def test_what_is_no_ir_is_refused(tmp_path: Path) -> None:
    assert "no such file" in _refused(tmp_path / "m.xml")
    assert "is a folder" in _refused(tmp_path)
    for content, words in (("", "is empty"), ("hello", "not a whole XML file"), ("<net/>", "not an OpenVINO IR")):
        (tmp_path / "m.xml").write_text(content)
        assert words in _refused(tmp_path / "m.xml")


def test_missing_and_short_weights_are_refused(tmp_path: Path) -> None:
    path = _gated(tmp_path)
    weights = path.with_suffix(".bin")
    weights.write_bytes(weights.read_bytes()[:-1])
    assert "cut off or belongs to another model" in _refused(path)
    weights.unlink()
    assert "'m.bin', which is missing" in _refused(path)


def test_a_cycle_is_refused(tmp_path: Path) -> None:
    path = _gated(tmp_path)
    text = path.read_text()
    loop = '<edges>\n\t\t<edge from-layer="{0}" from-port="2" to-layer="{0}" to-port="0" />'
    product = text.split('type="Multiply"')[0].rpartition('<layer id="')[2].split('"')[0]
    lines = [line for line in text.splitlines() if f'to-layer="{product}" to-port="0"' not in line]
    path.write_text("\n".join(lines).replace("<edges>", loop.format(product)))
    assert "cycle" in _refused(path)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return _gated(tmp_path_factory.mktemp("ir"))


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_truncation_or_a_flipped_byte_is_refused_or_still_a_graph(data: Any, whole: Path, tmp_path: Path) -> None:
    content = whole.read_bytes()
    place = data.draw(st.integers(0, len(content) - 1))
    end = b"" if data.draw(st.booleans()) else bytes([data.draw(st.integers(0, 255))]) + content[place + 1 :]
    (tmp_path / "m.xml").write_bytes(content[:place] + end)
    shutil.copy(whole.with_suffix(".bin"), tmp_path / "m.bin")
    message = "one line"
    try:
        assert isinstance(read_openvino(tmp_path / "m.xml"), Graph)
    except GatewiseError as error:
        message = str(error)
    assert 1 <= len(message.splitlines()) <= 2
