"""Every adapter keeps the same promises, and every plug-in file stands in its table."""

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.core import GatewiseError
from gatewise.surgery import adapters, builders
from gatewise.surgery._blocks import Adapter, Example

FAMILIES = list(adapters.ADAPTERS)

# In a gated FFN the roles are turned round: another gate keeps the weights, a scalar function needs new ones.
KEEPS = {"gated": "reglu"}
RENEWS = {"gated": "relu"}


def example_of(family: str) -> tuple[Adapter, Example]:
    if family in ("bert", "gated"):
        pytest.importorskip("transformers")
    torch.manual_seed(0)
    adapter = adapters.ADAPTERS[family]
    example = adapter.example()
    example.model.eval()
    return adapter, example


def run(model: nn.Module, example: Example) -> torch.Tensor:
    with torch.no_grad():
        out = model(*example.inputs)
    return out if isinstance(out, torch.Tensor) else out[0]


def tensors(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


@pytest.mark.parametrize(("package", "table"), [(adapters, adapters.ADAPTERS), (builders, builders.BUILDERS)])
def test_every_plugin_file_is_in_its_table(package, table):
    files = {path.stem for path in Path(package.__file__).parent.glob("*.py")} - {"__init__"}
    listed = {entry.partition(":")[0].lstrip(".") for entry in table.table.values()}
    assert files
    assert files == listed


@pytest.mark.parametrize("family", FAMILIES)
def test_finds_exactly_the_sites_of_its_example(family):
    adapter, example = example_of(family)
    found = [site.path for site in surgery.find_sites(example.model) if site.family == family]
    assert found == list(example.paths)
    assert adapter.looked_for


@pytest.mark.parametrize("family", FAMILIES)
def test_a_scalar_swap_reaches_the_output_and_leaves_the_original(family):
    _, example = example_of(family)
    before, reference = tensors(example.model), run(example.model, example)
    to = KEEPS.get(family, "tanh")
    new, report = surgery.swap(example.model, to)
    assert [change.path for change in report.sites] == list(example.paths)
    assert {site.before for site in surgery.find_sites(new) if site.path in example.paths} == {to}
    assert report.weights_state == "grafted"
    assert report.parameters_before == report.parameters_after
    assert not torch.allclose(run(new, example), reference, atol=1e-4)
    assert torch.equal(run(example.model, example), reference)
    after = tensors(example.model)
    assert before.keys() == after.keys()
    assert all(torch.equal(before[name], after[name]) for name in before)


@pytest.mark.parametrize("family", FAMILIES)
def test_a_swap_to_the_same_function_changes_no_bit(family):
    _, example = example_of(family)
    main = next(site.before for site in surgery.find_sites(example.model) if site.path in example.paths)
    new, report = surgery.swap(example.model, main)
    assert report.weights_state == "original"
    assert torch.equal(run(new, example), run(example.model, example))


@pytest.mark.parametrize("family", FAMILIES)
def test_a_gate_matches_the_parameters_or_says_why_not(family):
    _, example = example_of(family)
    sites = [site for site in surgery.find_sites(example.model) if site.path in example.paths]
    if not any(site.gateable for site in sites):
        with pytest.raises(GatewiseError, match=r"swiglu cannot be put at '.*': .+"):
            surgery.swap(example.model, "swiglu")
        return
    to = RENEWS.get(family, "swiglu")
    new, report = surgery.swap(example.model, to, seed=3)
    assert report.weights_state == "untrained"
    for change, site in zip(report.sites, sites, strict=True):
        assert change.parameters_before == site.parameters
        # One unit of width costs less than a quarter of these tiny blocks.
        assert abs(change.parameters_after / change.parameters_before - 1) < 0.13
    assert report.parameters_after == sum(parameter.numel() for parameter in new.parameters())
    again, _ = surgery.swap(example.model, to, seed=3)
    other, _ = surgery.swap(example.model, to, seed=4)
    assert torch.isfinite(run(new, example)).all()
    assert torch.equal(run(new, example), run(again, example))
    assert not torch.equal(run(new, example), run(other, example))


@pytest.mark.parametrize("to", ["relu2", "geglu"])
@pytest.mark.parametrize("family", FAMILIES)
def test_save_and_load_go_round_bit_by_bit(family, to, tmp_path):
    _, example = example_of(family)
    try:
        new, report = surgery.swap(example.model, to)
    except GatewiseError:
        assert to == "geglu"
        assert not any(site.gateable for site in surgery.find_sites(example.model))
        return
    if family == "two-linears":  # a decoder stack is no tree that plain data describes
        with pytest.raises(GatewiseError, match="gatewise_builder"):
            surgery.save(new, tmp_path)
        return
    # The code of a forward that calls functions is the caller's own: so is what builds it.
    builder = (lambda: copy.deepcopy(example.model)) if family == "traced" else None
    surgery.save(new, tmp_path, builder=builder)
    back = surgery.load(tmp_path, builder=builder)
    assert not back.training
    assert surgery.weights_state(back) == report.weights_state
    assert torch.equal(run(back, example), run(new, example))
    assert surgery.find_sites(back) == surgery.find_sites(new)
    # Beside them a config.json, where transformers can read what was saved.
    assert {"model.safetensors", "recipe.json"} == {path.name for path in tmp_path.iterdir()} - {"config.json"}
