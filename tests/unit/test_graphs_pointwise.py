"""Each line of the table of pointwise operations against other people's code, through a file of one operation."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from onnx.reference import ReferenceEvaluator

from gatewise.graphs import Kind
from gatewise.graphs._onnx import read_onnx
from gatewise.graphs._pointwise import POINTWISE

Values = NDArray[Any]
NEWEST_ORT = 23
NEWER = {"Swish": 24, "SwiGLU": 28}
"""Operations of later operator sets than the other cases use."""
NOT_ONNX = {"Cast", "Full", "IsFinite", "NotEqual", "SquaredDifference"}
"""Lines for other formats: the tests of OpenVINO's and of casts hold them to the same."""
NO_RUNTIME = {"SwiGLU", "Swish"}
"""What the installed ONNX Runtime has no CPU code for."""

PLAIN = (
    "Abs Acos Acosh Asin Asinh Atan Atanh Ceil Celu Cos Cosh Elu Erf Exp Floor Gelu HardSigmoid HardSwish IsInf IsNaN "
    "LeakyRelu Log Mish Neg Reciprocal Relu Round Selu Shrink Sigmoid Sign Sin Sinh Softplus Softsign Sqrt Swish "
    "Tan Tanh ThresholdedRelu com.microsoft.FastGelu com.microsoft.Gelu com.microsoft.QuickGelu"
)
PAIRS = (
    "Add Div Equal Greater GreaterOrEqual Less LessOrEqual Max Min Mean Mul PRelu Pow Sub Sum SwiGLU "
    "com.microsoft.BiasGelu com.microsoft.FastGelu"
)
WITH: dict[str, list[dict[str, Any]]] = {
    "Celu": [{"alpha": 0.3}],
    "Elu": [{"alpha": 0.3}, {"alpha": 2.0}],
    "Gelu": [{"approximate": "tanh"}, {"approximate": "none"}],
    "HardSigmoid": [{"alpha": 0.3, "beta": 0.1}, {"alpha": 1 / 6}],
    "IsInf": [{"detect_negative": 0}, {"detect_positive": 0}],
    "LeakyRelu": [{"alpha": 0.25}, {"alpha": -0.5}],
    "Mod": [{"fmod": 1}],
    "Selu": [{"alpha": 1.1, "gamma": 2.0}],
    "Shrink": [{"lambd": 1.0, "bias": 0.25}],
    "SwiGLU": [{"alpha": 1.5}],
    "Swish": [{"alpha": 1.702}, {"alpha": -0.5}],
    "ThresholdedRelu": [{"alpha": -0.25}, {"alpha": 2.0}],
    "com.microsoft.QuickGelu": [{"alpha": 1.0}, {"alpha": 1.6}],
}


def _x(seed: int = 0) -> Values:
    random = np.random.default_rng(seed).normal(0, 3, (6, 9)).astype(np.float32)
    fixed = [0, -0.0, 0.5, -0.5, 1.5, -1.5, 2.5, 1, -1, 3, -3, 6, -6, 20, -20, np.inf, -np.inf, np.nan]
    return np.concatenate([random, np.array(fixed, dtype=np.float32).reshape(2, 9)])


def _bits(seed: int) -> Values:
    return np.random.default_rng(seed).integers(0, 2, (5, 7)).astype(bool)


def _whole(seed: int) -> Values:
    return np.random.default_rng(seed).integers(1, 50, (5, 7)).astype(np.int32)


def _cases() -> list[Any]:
    found: list[tuple[str, list[Values | None], dict[str, Any]]] = []
    for op in PLAIN.split():
        found += [(op, [_x()], attributes) for attributes in ({}, *WITH.get(op, []))]
    for op in PAIRS.split():
        bias = _x(1)[0] if op.startswith("com.microsoft") else _x(1)
        found += [(op, [_x(), bias], attributes) for attributes in ({}, *WITH.get(op, []))]
    low, high = np.array(-1.5, dtype=np.float32), np.array(2, dtype=np.float32)
    found += [("Clip", [_x(), *limits], {}) for limits in ([], [low], [low, high], [None, high])]
    found += [(op, [_bits(0), _bits(1)], {}) for op in ("And", "Or", "Xor")]
    found += [(op, [_whole(0), _whole(1)], {}) for op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor", "Div", "Mod")]
    found += [("Not", [_bits(0)], {}), ("Where", [_bits(0), _whole(0), _whole(1)], {})]
    found += [("Max", [_x(), _x(1), _x(2)], {}), ("Mean", [_x(), _x(1), _x(2)], {}), ("Sum", [_x()], {})]
    found += [("Mod", [_x(), _x(1)], {"fmod": 1}), ("Mod", [-_whole(0), _whole(1)], {})]
    found += [("Where", [_bits(0), np.full((5, 1), np.nan, "f"), np.ones(7, "f")], {})]
    return [
        pytest.param(*case, id="-".join([case[0], str(len(case[1])), *map(str, case[2].values())])) for case in found
    ]


CASES = _cases()


def _model(op: str, inputs: list[Values | None], attributes: dict[str, Any], out: int) -> onnx.ModelProto:
    domain, _, name = op.rpartition(".")
    names = [f"x{place}" if x is not None else "" for place, x in enumerate(inputs)]
    node = helper.make_node(name, names, ["y"], "it", domain=domain, **attributes)
    values = [
        helper.make_tensor_value_info(label, helper.np_dtype_to_tensor_dtype(x.dtype), x.shape)
        for label, x in zip(names, inputs, strict=True)
        if x is not None
    ]
    graph = helper.make_graph([node], "one", values, [helper.make_tensor_value_info("y", out, None)])
    opsets = [helper.make_opsetid("", NEWER.get(op, NEWEST_ORT)), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def _ours(path: Path, given: list[Values]) -> Values:
    graph = read_onnx(path)
    (node,) = graph.nodes
    assert node.kind is Kind.POINTWISE
    assert node.evaluate is not None
    assert list(node.inputs) == list(graph.inputs)
    return node.evaluate([x.astype(np.float64) for x in given])


def _out(op: str, inputs: list[Values | None]) -> int:
    truths = ("And", "Or", "Xor", "Not", "Equal", "IsInf", "IsNaN", "Greater", "GreaterOrEqual", "Less", "LessOrEqual")
    last = next(x for x in reversed(inputs) if x is not None)
    return TensorProto.BOOL if op in truths else helper.np_dtype_to_tensor_dtype(last.dtype)


@pytest.mark.parametrize(("op", "inputs", "attributes"), CASES)
def test_an_operation_computes_what_the_reference_and_the_runtime_compute(
    op: str, inputs: list[Values | None], attributes: dict[str, Any], tmp_path: Path
) -> None:
    model = _model(op, inputs, attributes, _out(op, inputs))
    onnx.save(model, tmp_path / "one.onnx")
    feeds = {f"x{place}": x for place, x in enumerate(inputs) if x is not None}
    ours = _ours(tmp_path / "one.onnx", list(feeds.values()))
    others: dict[str, Values] = {}
    if not op.startswith("com.microsoft"):
        with np.errstate(all="ignore"):
            others["reference"] = np.asarray(ReferenceEvaluator(model).run(None, feeds)[0])
    if op not in NO_RUNTIME:
        session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
        others["runtime"] = np.asarray(session.run(None, feeds)[0])
    assert others
    finite = np.logical_and.reduce(
        [np.broadcast_to(np.isfinite(x), ours.shape) for x in np.broadcast_arrays(*feeds.values(), ours)[:-1]]
    )
    for name, other in others.items():
        # Beyond finite inputs the others disagree among themselves; tests of the activations pin the limits.
        np.testing.assert_allclose(ours[finite], other[finite], rtol=3e-6, atol=4e-7, err_msg=name)


def test_every_line_of_the_table_has_a_case() -> None:
    assert {case.values[0] for case in CASES} | NOT_ONNX == set(POINTWISE)
    assert not NOT_ONNX & {case.values[0] for case in CASES}
