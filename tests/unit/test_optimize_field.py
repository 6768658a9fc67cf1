"""Fusion repair on what users bring: bad data, read-only folders, quantised files, noise."""

from collections.abc import Callable
from pathlib import Path
from typing import Any
from zipfile import ZipFile

import numpy as np
import pytest

from gatewise.core import Comparison, GatewiseError
from gatewise.optimize import Optimized, _measure, optimize

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxruntime")
helper, FLOAT = onnx.helper, onnx.TensorProto.FLOAT


def model(*, cube: float = 0.044715) -> Any:
    numbers = {"three": 3.0, "cube": cube, "slope": 0.7978845608, "one": 1.0, "half": 0.5}
    constants = [onnx.numpy_helper.from_array(np.float32(value).reshape(()), name) for name, value in numbers.items()]
    weights = np.random.default_rng(0).standard_normal((8, 8)).astype(np.float32)
    constants.append(onnx.numpy_helper.from_array(weights, "w"))
    steps = [
        ("MatMul", "x", "w"), ("Pow", "MatMul", "three"), ("Mul", "Pow", "cube"), ("Add", "MatMul", "Mul"),
        ("Mul2", "Add", "slope"), ("Tanh", "Mul2"), ("Add2", "Tanh", "one"), ("Mul3", "MatMul", "Add2"),
        ("Mul4", "Mul3", "half"),
    ]  # fmt: skip
    nodes = [helper.make_node(name.rstrip("234"), list(inputs), [name], name=name) for name, *inputs in steps]
    inputs = [helper.make_tensor_value_info("x", FLOAT, ["rows", 8])]
    outputs = [helper.make_tensor_value_info("Mul4", FLOAT, ["rows", 8])]
    graph = helper.make_graph(nodes, "field", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def run(folder: Path, *, data: Path | None = None, cube: float = 0.044715) -> Optimized:
    onnx.save(model(cube=cube), str(folder / "m.onnx"))
    return optimize(folder / "m.onnx", folder / "out.onnx", data=data, timed=False, tell=lambda _: None)


def refused(folder: Path, values: np.ndarray[Any, Any]) -> str:
    np.savez(folder / "data.npz", x=values)
    with pytest.raises(GatewiseError) as caught:
        run(folder, data=folder / "data.npz")
    assert not (folder / "out.onnx").exists()
    assert not list(folder.glob("*.partial"))
    return str(caught.value)


def test_data_that_prove_nothing_are_refused(tmp_path: Path) -> None:
    assert "holds NaN" in refused(tmp_path, np.full((2, 8), np.nan, dtype=np.float32))
    assert "no finite number" in refused(tmp_path, np.full((2, 8), np.inf, dtype=np.float32))
    assert "has shape" in refused(tmp_path, np.zeros((2, 7), dtype=np.float32))


def test_data_cut_off(tmp_path: Path) -> None:
    with ZipFile(tmp_path / "cut.npz", "w") as file:
        file.writestr("x.npy", b"0" * 500)
    raw = (tmp_path / "cut.npz").read_bytes()
    (tmp_path / "cut.npz").write_bytes(raw[: len(raw) // 2])
    with pytest.raises(GatewiseError, match=r"cannot read .*cut\.npz"):
        run(tmp_path, data=tmp_path / "cut.npz")
    with pytest.raises(GatewiseError, match="there is no file"):
        run(tmp_path, data=tmp_path / "none.npz")


@pytest.mark.parametrize("cube", [0.044715, 0.04], ids=["fused", "copied"])
def test_out_that_cannot_be_written(cube: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(GatewiseError, match=r"cannot write .*out.onnx: No space left"):
        run(tmp_path, cube=cube)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["m.onnx"]


def test_near_function_is_left_with_its_distance(tmp_path: Path) -> None:
    found = run(tmp_path, cube=0.04)
    assert found.replaced == ()
    assert "no function of the table (gelu_tanh is nearest, 1.6e-03 away)" in found.repairs[0].reason
    assert (tmp_path / "out.onnx").read_bytes() == (tmp_path / "m.onnx").read_bytes()


def noise(spread: float) -> Callable[[Any], dict[str, float]]:
    rng = np.random.default_rng(0)
    return lambda _: {"after": 0.8, "twin": float(np.exp(rng.normal() * spread))}


def measured(monkeypatch: pytest.MonkeyPatch, spread: float) -> tuple[Comparison, Comparison, int]:
    count = 0
    made = noise(spread)

    def process(job: Any) -> dict[str, float]:
        nonlocal count
        count += 1
        return made(job)

    monkeypatch.setattr(_measure, "_process", process)
    after, twin = _measure.gain(Path("a"), Path("b"), {"x": np.zeros(1)}, threads=1)
    return after, twin, count


def test_processes_are_added_until_the_twin_is_equivalent(monkeypatch: pytest.MonkeyPatch) -> None:
    _, twin, count = measured(monkeypatch, 0.001)
    assert (twin.verdict, count) == ("equivalent", _measure.PROCESSES)
    _, twin, count = measured(monkeypatch, 0.025)
    assert twin.verdict == "equivalent"
    assert _measure.PROCESSES < count <= _measure.MOST
    _, twin, count = measured(monkeypatch, 1.0)
    assert twin.verdict != "equivalent"
    assert count == _measure.MOST
