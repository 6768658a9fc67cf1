"""Mismatches and forms of models as the field has them: quantised, optimised, converted files."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from planted_models import clamped, erf_form, export, gelu, inputs, net, swapped, swiglu
from torch import Tensor, nn
from torch.nn import functional

from gatewise.core import GatewiseError
from gatewise.inspection import Difference, Inspection, against, check, inspect, lock, lock_path

runtime = pytest.importorskip("onnxruntime")
Scalar = Callable[[Tensor], Tensor]


def look(model: nn.Module, items: int = 4) -> Inspection:
    return inspect(model, inputs=inputs(items))


def kinds(found: Difference) -> list[str]:
    return [mismatch.kind for mismatch in found.mismatches]


SCALED: dict[str, tuple[Scalar, str]] = {
    "before": (lambda x: functional.gelu(1.1 * x), "the input is multiplied by 1.1"),
    "after": (lambda x: 1.7 * functional.gelu(x), "the output is multiplied by 1.7"),
    "moved before": (lambda x: functional.gelu(x + 0.1), "the input is moved by 0.1"),
    "moved after": (lambda x: functional.gelu(x) + 0.1, "the output is moved by 0.1"),
}


@pytest.mark.parametrize("name", SCALED)
def test_scale_beside_an_activation_is_seen(name: str, tmp_path: Path) -> None:
    function, words = SCALED[name]
    planted = net([gelu, function, gelu])
    for other in (look(planted), inspect(export(planted, tmp_path / "m.onnx", dynamo=False))):
        found = against(look(net([gelu] * 3)), other)
        assert kinds(found) == ["scale"]
        assert words in found.mismatches[0].text
        assert (found.mismatches[0].distance or 0.0) > 0.05


def test_scale_that_went_into_the_weights_is_none() -> None:
    plain, folded = net([gelu] * 2), net([lambda x: functional.gelu(1.1 * x), gelu])
    with torch.no_grad():
        folded[0].up.weight /= 1.1
        folded[0].up.bias /= 1.1
    assert kinds(against(look(plain), look(folded))) == []


def test_scale_that_a_function_lets_through_is_none() -> None:
    one = net([lambda x: functional.relu(2.0 * x)] * 2)
    other = net([lambda x: 2.0 * functional.relu(x)] * 2)
    assert kinds(against(look(one), look(other))) == []


def test_scale_of_a_gate_is_seen() -> None:
    found = against(look(net(gates=[swiglu] * 2)), look(net(gates=[swiglu, lambda g, u: swiglu(2.0 * g, u)])))
    assert kinds(found) == ["scale"]
    assert "the gate's input is multiplied by 2" in found.mismatches[0].text


@pytest.mark.parametrize(
    "function",
    [lambda x: functional.gelu(x).bfloat16().float(), lambda x: functional.gelu(x.half().float())],
    ids=["after", "before"],
)
def test_rounding_beside_an_activation_is_a_dtype(function: Scalar, tmp_path: Path) -> None:
    planted = net([gelu, function])
    one = net([gelu] * 2)
    assert kinds(against(look(one), look(planted))) == ["dtype"]
    files = [export(model, tmp_path / f"{index}.onnx", dynamo=False) for index, model in enumerate((one, planted))]
    assert kinds(against(inspect(files[0]), inspect(files[1]))) == ["dtype"]


def test_plain_product_is_not_swapped() -> None:
    one = net(gates=[lambda g, u: g * u], packed=[lambda g, u: g * u])
    other = net(gates=[lambda g, u: u * g], packed=[lambda g, u: u * g])
    assert kinds(against(look(one), look(other))) == []


def test_activation_that_moved_to_another_layer_is_seen() -> None:
    def nothing(x: Tensor) -> Tensor:
        return x

    found = against(look(net([gelu, nothing, gelu])), look(net([nothing, gelu, gelu])))
    assert sorted(kinds(found)) == ["added", "lost"]


def test_other_limit_of_a_clamped_gate_has_its_name() -> None:
    def gate(limit: float) -> Callable[[Tensor, Tensor], Tensor]:
        def f(g: Tensor, u: Tensor) -> Tensor:
            g = g.clamp(max=limit)
            return (u.clamp(-limit, limit) + 1) * (g * torch.sigmoid(1.702 * g))

        return f

    (site,) = look(net(gates=[gate(10.0)])).sites
    assert (site.found.name, dict(site.found.settings)) == ("swiglu_clamped", {"limit": 10.0})
    assert kinds(against(look(net(gates=[gate(7.0)])), look(net(gates=[gate(10.0)])))) == ["function"]


def test_lock_sees_a_scale(tmp_path: Path) -> None:
    path = export(net([erf_form] * 2), tmp_path / "m.onnx", dynamo=False)
    lock(path)
    assert check(path).changes == []
    export(net([erf_form, lambda x: erf_form(1.1 * x)]), path, dynamo=False)
    assert [mismatch.kind for mismatch in check(path).mismatches] == ["scale"]


EDITS: dict[tuple[object, ...], object] = {
    ("path",): 3,
    ("settings",): [],
    ("feeding", 0, "fingerprint"): [1],
    ("before", 0, "factor"): "x",
    ("after", "dtypes"): None,
    ("curve", 3): {},
}


@pytest.mark.parametrize("place", EDITS, ids=str)
def test_lock_that_was_edited_by_hand_is_refused(place: tuple[object, ...], tmp_path: Path) -> None:
    path = export(net([gelu] * 2), tmp_path / "m.onnx", dynamo=False)
    lock(path)
    file = lock_path(path)
    document: Any = json.loads(file.read_text(encoding="utf-8"))
    inner: Any = document["sites"][0]
    for key in place[:-1]:
        inner = inner[key]
    inner[place[-1]] = EDITS[place]
    file.write_text(json.dumps(document), encoding="utf-8")
    with pytest.raises(GatewiseError, match=r"an entry of 'sites' is not whole .number 1: "):
        check(path)


def optimised(path: Path, level: str) -> Path:
    options = runtime.SessionOptions()
    options.graph_optimization_level = getattr(runtime.GraphOptimizationLevel, level)
    options.optimized_model_filepath = str(path.with_suffix(f".{level}.onnx"))
    options.log_severity_level = 4
    runtime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return path.with_suffix(f".{level}.onnx")


class Convolved(nn.Module):
    def __init__(self, function: Scalar) -> None:
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(8, 8, 3, padding=1), nn.BatchNorm2d(8), nn.Conv2d(8, 8, 1)
        nn.init.uniform_(self.norm.weight, 0.5, 1.5)
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.function(self.norm(self.first(x))))


def convolved(*functions: Scalar) -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(*(Convolved(function) for function in functions)).eval()


IMAGE = torch.randn(2, 8, 8, 8, generator=torch.Generator().manual_seed(0))
HINGES: tuple[Scalar, ...] = (functional.relu, functional.relu6, functional.hardtanh, functional.silu, functional.relu)


@pytest.mark.parametrize("level", ["ORT_ENABLE_EXTENDED", "ORT_ENABLE_ALL"])
def test_convolutions_in_blocks_keep_their_sites(level: str, tmp_path: Path) -> None:
    reference = inspect(convolved(*HINGES), inputs=IMAGE)
    path = export(convolved(*HINGES), tmp_path / "same.onnx", dynamo=False, example=IMAGE)
    assert kinds(against(reference, inspect(optimised(path, level)))) == []
    planted = (HINGES[0], functional.relu, *HINGES[2:])
    path = export(convolved(*planted), tmp_path / "planted.onnx", dynamo=False, example=IMAGE)
    found = against(reference, inspect(optimised(path, level)))
    assert [(mismatch.kind, mismatch.path_a) for mismatch in found.mismatches] == [("function", "1")]


def test_norm_that_onnx_runtime_fused_in_an_old_operator_set(tmp_path: Path) -> None:
    path = export(net([gelu] * 2), tmp_path / "m.onnx", dynamo=False)
    model = onnx.load(str(path))
    for opset in model.opset_import:
        opset.version = 13
    onnx.save(model, str(path))  # LayerNormalization is of operator set 17
    assert [site.found.name for site in inspect(path).sites] == ["gelu", "gelu"]


def test_nodes_in_any_order_are_read(tmp_path: Path) -> None:
    path = export(net([gelu] * 2), tmp_path / "m.onnx", dynamo=False)
    model = onnx.load(str(path))
    nodes = list(model.graph.node)[::-1]
    del model.graph.node[:]
    model.graph.node.extend(nodes)
    onnx.save(model, str(tmp_path / "turned.onnx"))
    assert runtime.InferenceSession(str(tmp_path / "turned.onnx"), providers=["CPUExecutionProvider"])
    assert kinds(against(inspect(path), inspect(tmp_path / "turned.onnx"))) == []


def quantised(path: Path, example: Tensor, form: str) -> Path:
    quantization = pytest.importorskip("onnxruntime.quantization")

    class Reader(quantization.CalibrationDataReader):
        def __init__(self) -> None:
            self.rows = iter([{"x": example.numpy()}])

        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(self.rows, None)

    out = path.with_suffix(f".{form}.onnx")
    kind = quantization.QuantFormat[form]
    quantization.quantize_static(
        str(path), str(out), Reader(), quant_format=kind, weight_type=quantization.QuantType.QInt8
    )
    return out


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_hinges_left_to_a_quantiser_are_notes(form: str, tmp_path: Path) -> None:
    reference = inspect(convolved(*HINGES), inputs=IMAGE)
    path = export(convolved(*HINGES), tmp_path / "same.onnx", dynamo=False, example=IMAGE)
    found = against(reference, inspect(quantised(path, IMAGE, form)))
    assert kinds(found) == []
    assert len([note for note in found.notes if "is left to a quantiser" in note]) == 4
    planted = (*HINGES[:2], lambda x: x, *HINGES[3:])
    path = export(convolved(*planted), tmp_path / "planted.onnx", dynamo=False, example=IMAGE)
    found = against(reference, inspect(quantised(path, IMAGE, form)))
    assert [(mismatch.kind, mismatch.path_a) for mismatch in found.mismatches] == [("lost", "2")]


@pytest.mark.filterwarnings("ignore")
def test_leaky_relu_is_not_left_to_a_quantiser(tmp_path: Path) -> None:
    reference = inspect(convolved(functional.leaky_relu, functional.silu), inputs=IMAGE)
    model = convolved(functional.relu, functional.silu)
    path = export(model, tmp_path / "planted.onnx", dynamo=False, example=IMAGE)
    assert kinds(against(reference, inspect(quantised(path, IMAGE, "QDQ")))) == ["lost"]


def test_scale_behind_a_batch_norm_is_seen() -> None:
    planted = convolved(functional.relu, lambda x: functional.silu(1.2 * x))
    found = against(inspect(convolved(functional.relu, functional.silu), inputs=IMAGE), inspect(planted, inputs=IMAGE))
    assert [(mismatch.kind, mismatch.path_a) for mismatch in found.mismatches] == [("scale", "1")]


def test_near_function_with_its_last_factor_apart() -> None:
    def near(x: Tensor) -> Tensor:
        return x * (1 + torch.tanh(0.7978845608028654 * (x + 0.04 * x**3))) * 0.5

    (site,) = look(net([near])).sites
    assert (site.found.name, site.found.nearest) == (None, "gelu_tanh")
    assert site.found.distance < 0.01


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("form", ["QDQ", "QOperator"])
def test_quantised_gates(form: str, tmp_path: Path) -> None:
    reference = look(net([gelu], [swiglu], [swiglu, clamped]))
    path = export(net([gelu], [swiglu], [swiglu, clamped]), tmp_path / "same.onnx", dynamo=False)
    assert kinds(against(reference, inspect(quantised(path, inputs(), form)))) == []
    path = export(net([gelu], [swapped], [swiglu, clamped]), tmp_path / "planted.onnx", dynamo=False)
    found = against(reference, inspect(quantised(path, inputs(), form)))
    assert [(mismatch.kind, mismatch.path_a) for mismatch in found.mismatches] == [("swapped", "1")]
