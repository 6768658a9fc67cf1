"""The workloads that are parts of a model: one FFN block, and the activation alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.workloads import Workload, workload

FFN = workload(name="ffn", options={"dim": 24})
OPERATOR = workload(name="operator", options={"dim": 40})
PARTS = pytest.mark.parametrize("made", [FFN, OPERATOR], ids=["ffn", "operator"])


def built(made: Workload, arm: str, seed: int = 0, matching: str = "params") -> torch.nn.Module:
    model, report = made.build(arm, matching=matching, seed=seed)
    assert report is None
    assert not model.training
    return model


@PARTS
@pytest.mark.parametrize("arm", activations.names())
def test_every_arm_saves_loads_and_gives_the_same_bits(made: Workload, arm: str, tmp_path: Path) -> None:
    model = built(made, arm, seed=3)
    made.save(model, tmp_path)
    loaded = made.load(tmp_path)
    inputs = made.inputs(3, 5, 0)
    with torch.inference_mode():
        one, other = made.run(model, inputs), made.run(loaded, inputs)
    assert one.shape == (3, 5 * (24 if made is FFN else 40))
    assert torch.equal(one, other)
    assert surgery.weights_state(loaded) == surgery.weights_state(model)
    assert loaded.state_dict().keys() == model.state_dict().keys()


@PARTS
def test_inputs_follow_the_seed_and_the_global_generator_stays(made: Workload) -> None:
    before = torch.random.get_rng_state()
    one, again, other = (
        torch.cat([_flat(x)]) for x in (made.inputs(2, 4, 0), made.inputs(2, 4, 0), made.inputs(2, 4, 1))
    )
    built(made, "gelu")
    built(made, "swiglu")
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def _flat(inputs: torch.Tensor | dict[str, torch.Tensor]) -> torch.Tensor:
    tensors = [inputs] if isinstance(inputs, torch.Tensor) else list(inputs.values())
    return torch.cat([tensor.flatten() for tensor in tensors])


@PARTS
def test_facts_are_plain_and_probe_runs(made: Workload) -> None:
    assert json.loads(json.dumps(made.facts()))["workload"] == made.name
    with torch.inference_mode():
        rows = [made.run(made.original(), inputs) for inputs in made.probe()]
    assert [len(row) for row in rows] == [16] * 4


@PARTS
def test_wrong_arms_and_rules_are_refused(made: Workload) -> None:
    with pytest.raises(GatewiseError, match="did you mean 'gelu'"):
        made.build("gelo", matching="params", seed=0)
    with pytest.raises(GatewiseError, match="did you mean 'params'"):
        made.build("swiglu", matching="param", seed=0)


# -- ffn


def _weights(arm: str, seed: int = 0) -> dict[str, torch.Tensor]:
    return dict(built(FFN, arm, seed).named_parameters())


def test_scalar_arms_share_all_weights_and_gates_theirs() -> None:
    gelu, relu, swiglu, geglu, other = (
        _weights(*key) for key in (("gelu",), ("relu",), ("swiglu",), ("geglu",), ("gelu", 1))
    )
    assert gelu.keys() == relu.keys() == {"up.weight", "down.weight"}
    assert all(torch.equal(gelu[name], relu[name]) for name in gelu)
    assert swiglu.keys() == {"unit.gate.weight", "unit.up.weight", "down.weight"}
    assert all(torch.equal(swiglu[name], geglu[name]) for name in swiglu)
    assert not any(torch.equal(gelu[name], other[name]) for name in gelu)
    assert not torch.equal(swiglu["unit.gate.weight"], swiglu["unit.up.weight"])


def test_gates_have_as_many_parameters_unless_matching_is_none() -> None:
    made = workload(name="ffn")
    counts = {arm: sum(p.numel() for p in built(made, arm).parameters()) for arm in ("gelu", "swiglu")}
    assert counts["gelu"] == counts["swiglu"] == 2 * 384 * 1536
    wide = built(made, "swiglu", matching="none")
    assert sum(p.numel() for p in wide.parameters()) == 3 * 384 * 1536


def test_the_block_computes_its_formula_and_says_that_it_is_untrained() -> None:
    model = built(FFN, "relu")
    x = FFN.inputs(2, 3, 0)
    weights = _weights("relu")
    with torch.no_grad():
        expected = torch.relu(x @ weights["up.weight"].T) @ weights["down.weight"].T
        torch.testing.assert_close(FFN.run(model, x), expected.flatten(1))
    assert surgery.weights_state(model) == "untrained"
    # Fan-in scaling keeps the pre-activations where activations bend.
    assert 0.8 < (x @ weights["up.weight"].T).std().item() < 1.2


# -- operator


def test_a_scalar_bends_x_and_a_gate_the_halves_of_its_own_tensor() -> None:
    inputs = OPERATOR.inputs(2, 3, 0)
    x, gate_up = inputs["x_BTD"], inputs["gate_up_BTE"]
    assert gate_up.shape == (2, 3, 80)
    assert torch.equal(gate_up[..., :40], x)
    assert not torch.equal(gate_up[..., 40:], x)
    scalar = OPERATOR.run(built(OPERATOR, "silu"), inputs)
    gated = OPERATOR.run(built(OPERATOR, "swiglu"), inputs)
    assert torch.equal(scalar, torch.nn.functional.silu(x).flatten(1))
    torch.testing.assert_close(gated, (torch.nn.functional.silu(x) * gate_up[..., 40:]).flatten(1))
    assert not list(OPERATOR.original().parameters())


def test_the_builder_takes_only_its_own_key() -> None:
    from gatewise.workloads._operator import build

    with pytest.raises(GatewiseError, match="did you mean 'name'"):
        build({"nam": "gelu"})


def test_parts_bring_no_transformers(tmp_path: Path) -> None:
    script = f"""
import json, sys
from pathlib import Path
from gatewise.workloads import workload
for name in ("ffn", "operator"):
    made = workload(name=name, options={{"dim": 8}})
    made.save(made.build("swiglu", matching="params", seed=0)[0], Path({str(tmp_path)!r}) / name)
    made.run(made.load(Path({str(tmp_path)!r}) / name), made.inputs(1, 1, 0))
print(json.dumps(sorted(sys.modules)))
"""
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=120, check=True)
    heavy = {"transformers", "tokenizers", "scipy.stats", "sklearn", "pandas", "torch._dynamo", "torch._inductor"}
    assert not heavy & set(json.loads(done.stdout.splitlines()[-1]))
