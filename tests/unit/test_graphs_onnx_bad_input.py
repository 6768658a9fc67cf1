"""ONNX files with something wrong: always one or two clear lines, never another exception."""

import struct
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.graphs import Graph
from gatewise.graphs._onnx import read_onnx

Change = Callable[[onnx.ModelProto], None]


def _model() -> onnx.ModelProto:
    weight = numpy_helper.from_array(np.ones((4, 4), dtype=np.float32), "w")
    large = numpy_helper.from_array(np.ones((64, 64), dtype=np.float32), "large")
    nodes = [
        helper.make_node("MatMul", ["x", "w"], ["h"], "mm"),
        helper.make_node("Relu", ["h"], ["r"], "act"),
        helper.make_node("Add", ["r", "r"], ["y"], "add"),
        helper.make_node("MatMul", ["z", "large"], ["q"], "big"),
    ]
    infos = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("x", 4), ("z", 64))]
    outs = [helper.make_tensor_value_info(name, 1, ["n", size]) for name, size in (("y", 4), ("q", 64))]
    graph = helper.make_graph(nodes, "g", infos, outs, [weight, large])
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _refused(path: Path) -> str:
    with pytest.raises(GatewiseError) as caught:
        read_onnx(path)
    message = str(caught.value)
    assert len(message.splitlines()) <= 2
    assert path.name in message or path.parent.name in message
    return message


def _opset(version: int) -> Change:
    def change(model: onnx.ModelProto) -> None:
        model.opset_import[0].version = version

    return change


def _ir(model: onnx.ModelProto) -> None:
    model.ir_version = 99


def _cycle(model: onnx.ModelProto) -> None:
    model.graph.node[0].input[0] = "r"


def _unknown_op(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Relux"


def _too_new_op(model: onnx.ModelProto) -> None:
    model.graph.node[1].op_type = "Gelu"


def _bad_attribute(model: onnx.ModelProto) -> None:
    model.graph.node[1].attribute.append(helper.make_attribute("colour", 3))


def _no_output(model: onnx.ModelProto) -> None:
    model.graph.output[0].name = "nowhere"


def _no_input(model: onnx.ModelProto) -> None:
    model.graph.node[1].input[0] = "nowhere"


def _twice(model: onnx.ModelProto) -> None:
    model.graph.node[1].output[0] = "h"


def _short(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].raw_data = b"\0" * 100


def _negative(model: onnx.ModelProto) -> None:
    model.graph.initializer[1].dims[0] = -64


def _dtype(model: onnx.ModelProto) -> None:
    model.graph.initializer[0].data_type = 777


def _no_opset(model: onnx.ModelProto) -> None:
    del model.opset_import[:]


def _no_graph(model: onnx.ModelProto) -> None:
    model.ClearField("graph")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (_opset(99), "operator set 99 of ai.onnx, which is not known here; known: 1 to "),
        (_opset(0), "operator set 0"),
        (_ir, "IR version 99"),
        (_cycle, "not sorted or has a cycle"),
        (_unknown_op, "no operation 'Relux' in operator set ai.onnx 17; did you mean 'Relu'?"),
        (_too_new_op, "no operation 'Gelu' in operator set ai.onnx 17"),
        (_bad_attribute, "colour"),
        (_no_output, "'nowhere' is never made"),
        (_no_input, "'nowhere', which is never made"),
        (_twice, "made twice"),
        (_short, "16,384 bytes and holds 100"),
        (_negative, "impossible shape"),
        (_dtype, "dtype (777)"),
        (_no_opset, "which operator set"),
        (_no_graph, "no ONNX graph"),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_a_damaged_model_is_refused(change: Change, words: str, tmp_path: Path) -> None:
    model = _model()
    change(model)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert words in _refused(tmp_path / "m.onnx")


def test_what_is_no_onnx_file_is_refused(tmp_path: Path) -> None:
    assert "no such file" in _refused(tmp_path / "m.onnx")
    assert "is a folder" in _refused(tmp_path)
    for content, words in ((b"", "is empty"), (b"hello, world\n" * 9, "ONNX"), (b"\x80\x02}q\x00.", "ONNX")):
        (tmp_path / "m.onnx").write_bytes(content)
        assert words in _refused(tmp_path / "m.onnx")
    (tmp_path / "half.onnx").write_bytes(_model().SerializeToString()[:5000])
    assert "cut off" in _refused(tmp_path / "half.onnx")


def _external(folder: Path, **entries: str) -> Path:
    model = _model()
    onnx.save(model, folder / "m.onnx", save_as_external_data=True, location="m.data", size_threshold=1024)
    changed = onnx.load(folder / "m.onnx", load_external_data=False)
    for entry in changed.graph.initializer[1].external_data:
        entry.value = entries.get(entry.key, entry.value)
    (folder / "m.onnx").write_bytes(changed.SerializeToString())
    return folder / "m.onnx"


def test_external_data_is_read_when_asked_for(tmp_path: Path) -> None:
    graph = read_onnx(_external(tmp_path))
    np.testing.assert_array_equal(graph.constants["large"].load(), np.ones((64, 64)))


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"location": "gone.data"}, "'gone.data', which is missing"),
        ({"location": "../outside.data"}, "outside the model's folder"),
        ({"location": "/etc/passwd"}, "outside the model's folder"),
        ({"location": "link.data"}, "outside the model's folder"),
        ({"location": ""}, "outside the model's folder"),
        ({"offset": "4096"}, "cut off or belongs to another model"),
        ({"offset": "-4"}, "cut off or belongs to another model"),
        ({"length": "12"}, "declared: 12"),
        ({"offset": "many"}, "no number"),
    ],
)
def test_external_data_elsewhere_or_too_short_is_refused(entries: dict[str, str], words: str, tmp_path: Path) -> None:
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "outside.data").write_bytes(b"\0" * 20_000)
    (folder / "link.data").symlink_to(tmp_path / "outside.data")
    message = _refused(_external(folder, **entries))
    assert words in message


def test_external_data_cut_off_after_saving_names_the_file(tmp_path: Path) -> None:
    path = _external(tmp_path)
    data = tmp_path / "m.data"
    data.write_bytes(data.read_bytes()[:-1])
    assert "m.data has 16,383 bytes" in _refused(path)


def _fine_or_refused(path: Path, content: bytes) -> None:
    path.write_bytes(content)
    message = "one line"
    try:
        assert isinstance(read_onnx(path), Graph)
    except GatewiseError as error:
        message = str(error)
    assert 1 <= len(message.splitlines()) <= 2


WHOLE = _model().SerializeToString()
SLOW = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@SLOW
@given(length=st.integers(0, len(WHOLE) - 1))
def test_a_truncation_is_refused_or_still_a_graph(length: int, tmp_path: Path) -> None:
    _fine_or_refused(tmp_path / "m.onnx", WHOLE[:length])


@SLOW
@given(place=st.integers(0, 700), byte=st.integers(0, 255))
def test_a_flipped_byte_is_refused_or_still_a_graph(place: int, byte: int, tmp_path: Path) -> None:
    """The first and the last bytes: nodes and descriptions, not the weights."""
    where = place if place < 350 else len(WHOLE) - (place - 349)
    _fine_or_refused(tmp_path / "m.onnx", WHOLE[:where] + struct.pack("B", byte) + WHOLE[where + 1 :])


def test_a_weight_of_text_does_no_harm(tmp_path: Path) -> None:
    labels: Any = helper.make_tensor("labels", TensorProto.STRING, [2], [b"a", b"b"])
    model = _model()
    model.graph.initializer.append(labels)
    (tmp_path / "m.onnx").write_bytes(model.SerializeToString())
    assert len(read_onnx(tmp_path / "m.onnx").nodes) == 4


def test_without_the_extra_the_line_says_how_to_get_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gatewise\[onnx\]'"):
        read_onnx(tmp_path / "m.onnx")


def test_a_constant_too_large_for_memory_is_not_made(tmp_path: Path) -> None:
    """A few bytes that stand for 8 terabytes."""
    shape = numpy_helper.from_array(np.array([10**6, 10**6]), "shape")
    nodes = [
        helper.make_node("ConstantOfShape", ["shape"], ["huge"], "c"),
        helper.make_node("Neg", ["huge"], ["n"], "n"),
        helper.make_node("Gather", ["n", "i"], ["row"], "g"),
        helper.make_node("Gather", ["row", "i"], ["one"], "h"),
        helper.make_node("Add", ["x", "one"], ["y"], "a"),
    ]
    infos = [helper.make_tensor_value_info(name, 1, [1]) for name in ("x", "y")]
    index = numpy_helper.from_array(np.array(0), "i")
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], [shape, index])
    (tmp_path / "m.onnx").write_bytes(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    )
    found = read_onnx(tmp_path / "m.onnx")
    assert found.nodes[-1].op == "Add"
    with pytest.raises(GatewiseError, match="too large"):
        found.constants["one"].load()
