"""Fusion repair: every spelling becomes one operation, outputs stay, what does not match is not touched."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gatewise.core import GatewiseError
from gatewise.optimize import Optimized, optimize, show, to_json

onnx = pytest.importorskip("onnx")
onnxruntime = pytest.importorskip("onnxruntime")
helper, numpy_helper, FLOAT = onnx.helper, onnx.numpy_helper, onnx.TensorProto.FLOAT

WIDTH, HIDDEN = 16, 32


class Builder:
    """Nodes of one graph, written line by line."""

    def __init__(self) -> None:
        self.nodes: list[Any] = []
        self.constants: list[Any] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        name = f"{kind.lower()}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name=f"/ffn/act/{name}", **attributes))
        return name

    def number(self, value: float) -> str:
        name = f"c{len(self.constants)}"
        self.constants.append(numpy_helper.from_array(np.array(value, dtype=np.float32), name))
        return name

    def matrix(self, rows: int, columns: int) -> str:
        name = f"w{len(self.constants)}"
        rng = np.random.default_rng(len(self.constants))
        values = (rng.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        self.constants.append(numpy_helper.from_array(values, name))
        return name


def erf_gelu(b: Builder, x: str) -> str:
    inner = b.op("Add", b.op("Erf", b.op("Div", x, b.number(2**0.5))), b.number(1.0))
    return b.op("Mul", b.op("Mul", x, inner), b.number(0.5))


def erf_gelu_other_order(b: Builder, x: str) -> str:
    half = b.op("Mul", b.number(0.5), x)
    return b.op("Mul", b.op("Add", b.number(1.0), b.op("Erf", b.op("Mul", x, b.number(0.5**0.5)))), half)


def _tanh_gelu(b: Builder, x: str, cube: str) -> str:
    inner = b.op("Add", x, b.op("Mul", cube, b.number(0.044715)))
    t = b.op("Tanh", b.op("Mul", inner, b.number((2 / np.pi) ** 0.5)))
    return b.op("Mul", b.op("Mul", x, b.number(0.5)), b.op("Add", t, b.number(1.0)))


def tanh_gelu_pow(b: Builder, x: str) -> str:
    return _tanh_gelu(b, x, b.op("Pow", x, b.number(3.0)))


def tanh_gelu_products(b: Builder, x: str) -> str:
    return _tanh_gelu(b, x, b.op("Mul", b.op("Mul", x, x), x))


def quick(b: Builder, x: str) -> str:
    return b.op("Mul", x, b.op("Sigmoid", b.op("Mul", x, b.number(1.702))))


def hardswish(b: Builder, x: str) -> str:
    relu6 = b.op("Clip", b.op("Add", x, b.number(3.0)), b.number(0.0), b.number(6.0))
    return b.op("Div", b.op("Mul", x, relu6), b.number(6.0))


SPELLINGS: dict[str, tuple[Callable[[Builder, str], str], str, set[str]]] = {
    "erf": (erf_gelu, "gelu", {"Gelu"}),
    "erf, another order": (erf_gelu_other_order, "gelu", {"Gelu"}),
    "tanh, Pow": (tanh_gelu_pow, "gelu_tanh", {"FastGelu", "Gelu"}),
    "tanh, x*x*x": (tanh_gelu_products, "gelu_tanh", {"FastGelu", "Gelu"}),
    "sigmoid of 1.702 x": (quick, "quick_gelu", {"QuickGelu"}),
    "relu6 of x + 3": (hardswish, "hardswish", {"HardSwish"}),
}


def ffn(act: Callable[[Builder, str], str], *, opset: int = 17, extra_output: bool = False) -> Any:
    b = Builder()
    hidden = b.op("MatMul", "x", b.matrix(WIDTH, HIDDEN))
    out = act(b, hidden)
    b.op("MatMul", out, b.matrix(HIDDEN, WIDTH))
    outputs = [b.nodes[-1].output[0]]
    if extra_output:
        outputs.append(next(node.output[0] for node in b.nodes if node.op_type in ("Erf", "Tanh")))
    return _model(b, outputs, opset)


def _model(b: Builder, outputs: Sequence[str], opset: int = 17) -> Any:
    values = [helper.make_tensor_value_info(name, FLOAT, ["n", "m"]) for name in outputs]
    x = helper.make_tensor_value_info("x", FLOAT, ["n", WIDTH])
    graph = helper.make_graph(b.nodes, "g", [x], values, b.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=9)


def _run(tmp_path: Path, model: Any, **more: Any) -> tuple[Optimized, Any]:
    source, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save(model, str(source))
    found = optimize(source, out, timed=False, tell=lambda _: None, **more)
    return found, onnx.load(str(out))


def _outputs(model: Any, x: np.ndarray) -> list[np.ndarray]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x})


def _kinds(model: Any) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_spelling_becomes_one_operation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spelling: str) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)  # tests decide nothing by seconds
    act, name, ops = SPELLINGS[spelling]
    model = ffn(act)
    found, fused = _run(tmp_path, model)
    assert [repair.site.found.name for repair in found.replaced] == [name]
    assert _kinds(fused)[0] == _kinds(fused)[-1] == "MatMul"
    assert len(fused.graph.node) == 3
    assert fused.graph.node[1].op_type in ops
    onnx.checker.check_model(fused, full_check=False)
    x = np.random.default_rng(1).standard_normal((9, WIDTH)).astype(np.float32) * 3
    np.testing.assert_allclose(_outputs(fused, x)[0], _outputs(model, x)[0], rtol=0, atol=1e-5)
    assert 0 <= found.difference <= 1e-5
    assert found.source.read_bytes() == model.SerializeToString()  # the source is as it was


def test_slower_operation_is_not_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 0.0)
    found, _ = _run(tmp_path, ffn(erf_gelu))
    assert not found.replaced
    assert "alone it is slower" in found.repairs[0].reason
    assert found.out.read_bytes() == found.source.read_bytes()


def test_nothing_matched_changes_nothing(tmp_path: Path) -> None:
    found, _ = _run(tmp_path, ffn(lambda b, x: b.op("Relu", x)))
    assert not found.repairs
    assert found.out.read_bytes() == found.source.read_bytes()
    assert "byte by byte" in show(found)


def test_near_miss_is_left(tmp_path: Path) -> None:
    def wrong(b: Builder, x: str) -> str:
        inner = b.op("Add", x, b.op("Mul", b.op("Pow", x, b.number(3.0)), b.number(0.04)))
        t = b.op("Tanh", b.op("Mul", inner, b.number((2 / np.pi) ** 0.5)))
        return b.op("Mul", b.op("Mul", x, b.number(0.5)), b.op("Add", t, b.number(1.0)))

    found, _ = _run(tmp_path, ffn(wrong))
    assert not found.replaced
    assert "gelu_tanh is nearest" in found.repairs[0].reason
    assert found.out.read_bytes() == found.source.read_bytes()


def test_value_read_elsewhere_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)
    model = ffn(erf_gelu, extra_output=True)
    found, fused = _run(tmp_path, model)
    assert len(found.replaced) == 1
    assert "Erf" in _kinds(fused)
    x = np.random.default_rng(1).standard_normal((4, WIDTH)).astype(np.float32)
    for one, other in zip(_outputs(fused, x), _outputs(model, x), strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5)


def test_gate_of_silu_keeps_its_product(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)
    b = Builder()
    gate, up = b.op("MatMul", "x", b.matrix(WIDTH, HIDDEN)), b.op("MatMul", "x", b.matrix(WIDTH, HIDDEN))
    silu = b.op("Mul", gate, b.op("Div", b.number(1.0), b.op("Add", b.number(1.0), b.op("Exp", b.op("Neg", gate)))))
    b.op("MatMul", b.op("Mul", silu, up), b.matrix(HIDDEN, WIDTH))
    model = _model(b, [b.nodes[-1].output[0]])
    found, fused = _run(tmp_path, model)
    assert [repair.site.found.name for repair in found.replaced] == ["swiglu"], found.repairs
    assert sorted(_kinds(fused)) == ["MatMul", "MatMul", "MatMul", "Mul", "QuickGelu"]
    x = np.random.default_rng(1).standard_normal((5, WIDTH)).astype(np.float32)
    np.testing.assert_allclose(_outputs(fused, x)[0], _outputs(model, x)[0], rtol=0, atol=1e-5)


def test_standard_operation_where_the_opset_has_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)
    found, _ = _run(tmp_path, ffn(erf_gelu, opset=20))
    assert {candidate.op.domain for candidate in found.repairs[0].tried} == {"", "com.microsoft"}


def test_json_has_what_was_tried(tmp_path: Path) -> None:
    found, _ = _run(tmp_path, ffn(tanh_gelu_pow))
    content = to_json(found)
    entry = [*content["replaced"], *content["left"]][0]
    assert entry["identity"] == "gelu_tanh"
    assert entry["tried"][0]["difference"] <= 1e-5


def test_real_inputs_are_checked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)
    data = tmp_path / "x.npz"
    np.savez(data, x=np.ones((3, WIDTH), dtype=np.float32))
    found, _ = _run(tmp_path, ffn(tanh_gelu_pow), data=data)
    assert len(found.replaced) == 1
    assert found.checked == "the given inputs, batch 3"


@pytest.mark.parametrize(
    ("arrays", "words"),
    [
        ({"y": np.ones((3, WIDTH), np.float32)}, "unknown input"),
        ({"x": np.ones((3, WIDTH), np.float64)}, "float32"),
        ({"x": np.ones((3, WIDTH + 1), np.float32)}, "shape"),
    ],
)
def test_data_that_does_not_fit_is_refused(tmp_path: Path, arrays: dict[str, Any], words: str) -> None:
    data = tmp_path / "x.npz"
    np.savez(data, **arrays)
    with pytest.raises(GatewiseError, match=words):
        _run(tmp_path, ffn(tanh_gelu_pow), data=data)
    assert not (tmp_path / "out.onnx").exists()


def test_out_that_exists_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out.onnx"
    out.write_text("mine")
    with pytest.raises(GatewiseError, match="there already"):
        _run(tmp_path, ffn(erf_gelu))
    assert out.read_text() == "mine"


def test_half_a_file_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "in.onnx"
    source.write_bytes(ffn(erf_gelu).SerializeToString()[:700])
    with pytest.raises(GatewiseError):
        optimize(source, tmp_path / "out.onnx", timed=False, tell=lambda _: None)
    assert not (tmp_path / "out.onnx").exists()


def test_external_weights_follow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.optimize._optimize.NOT_SLOWER", 1e9)
    model = ffn(erf_gelu)
    x = np.random.default_rng(1).standard_normal((5, WIDTH)).astype(np.float32)
    wanted = _outputs(model, x)[0]
    source, out = tmp_path / "in.onnx", tmp_path / "new" / "out.onnx"
    out.parent.mkdir()
    onnx.save_model(model, str(source), save_as_external_data=True, location="in.data", size_threshold=0)
    assert len(optimize(source, out, timed=False, tell=lambda _: None).replaced) == 1
    assert sorted(path.name for path in out.parent.iterdir()) == ["out.onnx", "out.onnx.data"]
    assert (out.parent / "out.onnx.data").stat().st_mode == out.stat().st_mode  # readable by whom the file is
    (tmp_path / "in.data").unlink()
    session = onnxruntime.InferenceSession(str(out), providers=["CPUExecutionProvider"])
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=0, atol=1e-5)


def test_weights_of_another_file_are_never_written_to(tmp_path: Path) -> None:
    source, out = tmp_path / "in.onnx", tmp_path / "out.onnx"
    onnx.save_model(ffn(erf_gelu), str(source), save_as_external_data=True, location="in.data", size_threshold=0)
    (tmp_path / "out.onnx.data").write_bytes(b"somebody's")
    told: list[str] = []
    with pytest.raises(GatewiseError, match=r"out\.onnx\.data is there already"):
        optimize(source, out, timed=False, tell=told.append)
    assert not told  # said before any work
    assert (tmp_path / "out.onnx.data").read_bytes() == b"somebody's"
