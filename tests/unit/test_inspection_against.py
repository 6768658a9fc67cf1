"""Planted mismatches are found with their site, identical models have none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from planted_models import (
    PLANTED,
    beta,
    clamped,
    erf_form,
    export,
    gelu,
    gelu_tanh,
    inputs,
    net,
    reference,
    swapped,
    swiglu,
    tanh_form,
    unfused_swiglu,
)
from torch import Tensor, nn
from torch.nn import functional

from gatewise.inspection import Difference, Inspection, against, inspect


def look(model: nn.Module, items: int = 4) -> Inspection:
    return inspect(model, inputs=inputs(items))


def kinds(found: Difference) -> list[str]:
    return [mismatch.kind for mismatch in found.mismatches]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_in_pytorch(name: str) -> None:
    one, other, kind, block = PLANTED[name]
    found = against(look(one()), look(other()))
    assert kinds(found) == [kind]
    (mismatch,) = found.mismatches
    path = mismatch.path_b if kind == "added" else mismatch.path_a
    assert path is not None
    assert path.split(".")[0] == block
    assert found.notes == ()


@pytest.mark.parametrize("name", PLANTED)
def test_planted_in_an_export(name: str, tmp_path: Path) -> None:
    one, other, kind, block = PLANTED[name]
    found = against(look(one()), inspect(export(other(), tmp_path / "served.onnx", dynamo=False)))
    assert kinds(found) == [kind]
    path = found.mismatches[0].path_b if kind == "added" else found.mismatches[0].path_a
    assert path is not None
    assert path.strip("/").replace("/", ".").split(".")[0] == block


def test_distance_and_place_of_tanh_for_erf() -> None:
    one, other, _, _ = PLANTED["tanh for erf"]
    (mismatch,) = against(look(one()), look(other())).mismatches
    x = np.linspace(-8, 8, 160_001)
    erf = torch.nn.functional.gelu(torch.from_numpy(x)).numpy()
    tanh = torch.nn.functional.gelu(torch.from_numpy(x), approximate="tanh").numpy()
    worst = (np.abs(erf - tanh) / np.maximum(1, np.abs(x))).max()
    assert mismatch.distance is not None
    assert 0.8 * worst <= mismatch.distance <= worst
    assert 2.0 < abs(mismatch.at[0]) < 3.0


SAME: dict[str, tuple[Callable[[], nn.Module], Callable[[], nn.Module]]] = {
    "again": (reference, reference),
    "tanh form unfused": (lambda: net([gelu_tanh] * 2), lambda: net([tanh_form(0.044715)] * 2)),
    "erf form unfused": (reference, lambda: net([erf_form] * 3, [swiglu, unfused_swiglu], [unfused_swiglu, clamped])),
    "in half": (lambda: net([beta(1.6)] * 2).half(), lambda: net([beta(1.6)] * 2).half()),
}


@pytest.mark.parametrize("name", SAME)
def test_same_functions_have_no_mismatch(name: str, tmp_path: Path) -> None:
    one, other = SAME[name]
    first, second = one(), other()
    x = inputs().to(next(first.parameters()).dtype)
    found = against(inspect(first, inputs=x), inspect(second, inputs=x[:1]))
    assert kinds(found) == []
    if x.dtype == torch.float32:
        assert kinds(against(inspect(first, inputs=x), inspect(export(second, tmp_path / "m.onnx")))) == []


def test_half_export_has_no_mismatch(tmp_path: Path) -> None:
    model = net([beta(1.6), gelu_tanh, tanh_form(0.044715)]).half()
    path = export(model, tmp_path / "half.onnx")
    assert kinds(against(inspect(model, inputs=inputs().half()), inspect(path))) == []


def test_threads_and_batch_do_not_matter() -> None:
    first = look(reference())
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if threads == 1 else 1)
    try:
        second = look(reference(), items=7)
    finally:
        torch.set_num_threads(threads)
    assert kinds(against(first, second)) == []
    assert [site.to_json() for site in first.sites] == [site.to_json() for site in second.sites]


def test_renamed_and_transposed_export_has_no_mismatch(tmp_path: Path) -> None:
    one = export(reference(), tmp_path / "one.onnx")
    model = onnx.load(str(one))
    renamed = {tensor.name: f"w_{index}" for index, tensor in enumerate(model.graph.initializer)}
    renamed |= {name: f"v_{index}" for index, name in enumerate(n for node in model.graph.node for n in node.output)}
    for value in model.graph.output:
        renamed.pop(value.name, None)
    for node in model.graph.node:
        node.name = ""
        for names in (node.input, node.output):
            names[:] = [renamed.get(name, name) for name in names]
    turned = 0
    for tensor in model.graph.initializer:
        tensor.name = renamed[tensor.name]
    tensors = {tensor.name: tensor for tensor in model.graph.initializer}
    for node in model.graph.node:
        flag = next((a for a in node.attribute if a.name == "transB"), None)
        if node.op_type == "Gemm" and flag is not None and flag.i == 1:
            old = tensors[node.input[1]]
            old.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(old).T.copy(), old.name))
            flag.i = 0
            turned += 1
    del model.graph.value_info[:]
    assert turned > 0
    onnx.checker.check_model(model)
    onnx.save(model, str(tmp_path / "two.onnx"))
    found = against(inspect(one), inspect(tmp_path / "two.onnx"))
    assert (kinds(found), found.notes) == ([], ())


def zeros_like(x: Tensor) -> Tensor:
    return torch.where(x > 0, x, torch.zeros_like(x))


def full_like(x: Tensor) -> Tensor:
    return 0.5 * x * (torch.full_like(x, 1.0) + torch.erf(x / 2**0.5))


@pytest.mark.parametrize("any_items", [False, True])
def test_numbers_in_the_shape_of_a_value_are_part_of_the_spelling(tmp_path: Path, *, any_items: bool) -> None:
    plain, written = net([functional.relu, gelu]), net([zeros_like, full_like])
    assert kinds(against(look(plain), look(written))) == []
    for dynamo in (False, True):
        path = export(written, tmp_path / f"{dynamo}.onnx", dynamo=dynamo, any_items=any_items)
        assert kinds(against(look(plain), inspect(path))) == []


def test_gate_weights_stored_under_each_others_names_are_told_so() -> None:
    crossed = net(gates=[swiglu])
    block = crossed[0]
    block.gate_proj, block.up_proj = block.up_proj, block.gate_proj
    found = against(look(net(gates=[swiglu])), look(crossed))
    assert kinds(found) == ["swapped"]
    assert "gate_proj.weight holds what 0.up_proj.weight held" in found.mismatches[0].text


def test_other_weights_are_a_note() -> None:
    found = against(look(net([gelu] * 2, seed=0)), look(net([gelu] * 2, seed=1)))
    assert kinds(found) == []
    assert found.notes == ("other weights at 2 of 2 sites, first 0.act",)


def test_other_dtype_of_the_whole_model_is_a_mismatch_at_each_site_and_a_note() -> None:
    found = against(look(net([gelu] * 2)), inspect(net([gelu] * 2).bfloat16(), inputs=inputs().bfloat16()))
    assert kinds(found) == ["dtype", "dtype"]
    assert found.notes == ("weights stored in bfloat16, not in float32, at 2 sites",)


def test_several_plants_are_all_found() -> None:
    found = against(look(reference()), look(net([gelu_tanh, gelu, lambda x: x], [swapped, swiglu], [swiglu, swiglu])))
    assert sorted((m.kind, str(m.path_a).split(".")[0]) for m in found.mismatches) == [
        ("function", "0"),
        ("function", "6"),
        ("lost", "2"),
        ("swapped", "3"),
    ]


def exchanged(model: nn.Sequential) -> nn.Sequential:
    """The halves of the packed weight of the sixth block in the other order."""
    both = model[5].both
    with torch.no_grad():
        for parameter in (both.weight, both.bias):
            parameter.copy_(parameter.roll(24, dims=0))
    return model


def test_exchanged_halves_are_a_swap_and_a_repacked_gate_is_none() -> None:
    weights_only = against(look(reference()), look(exchanged(reference())))
    assert [(mismatch.kind, mismatch.path_a) for mismatch in weights_only.mismatches] == [("swapped", "5")]
    both = net([gelu] * 3, [swiglu] * 2, [swapped, clamped])
    assert kinds(against(look(reference()), look(exchanged(both)))) == []


def test_one_packed_gate_against_two_projections() -> None:
    packed, apart, crossed = net(packed=[swiglu]), net(gates=[swiglu]), net(gates=[swapped])
    apart[0].gate_proj, apart[0].up_proj = nn.Linear(16, 24, bias=False), nn.Linear(16, 24, bias=False)
    crossed[0].gate_proj, crossed[0].up_proj = apart[0].gate_proj, apart[0].up_proj
    for model in (apart, crossed):
        model[0].down_proj = packed[0].down
    with torch.no_grad():
        apart[0].gate_proj.weight.copy_(packed[0].both.weight[:24])
        apart[0].up_proj.weight.copy_(packed[0].both.weight[24:])
    assert kinds(against(look(packed), look(apart))) == []
    assert kinds(against(look(packed), look(crossed))) == ["swapped"]


class Headed(nn.Module):
    """Two outputs: the body's, and that of a head behind it."""

    def __init__(self, *, with_head: bool) -> None:
        super().__init__()
        self.body = net([gelu] * 2)
        self.head = nn.Linear(16, 16)
        self.with_head = with_head

    def forward(self, x: torch.Tensor) -> object:
        x = self.body(x)
        return (x, torch.tanh(self.head(x))) if self.with_head else x


def test_head_that_was_not_exported_is_a_note(tmp_path: Path) -> None:
    torch.manual_seed(0)
    full = look(Headed(with_head=True))
    served = inspect(export(Headed(with_head=False).eval(), tmp_path / "body.onnx", dynamo=False))
    assert [site.found.name for site in full.sites] == ["gelu", "gelu", "tanh"]
    for found in (against(full, served), against(served, full)):
        assert kinds(found) == []
        assert len(found.notes) == 1
        assert "tanh leads only to outputs" in found.notes[0]
    missing = net([gelu, lambda x: x])
    cut = Headed(with_head=False)
    cut.body = missing
    assert kinds(against(full, look(cut))) == ["lost"]
