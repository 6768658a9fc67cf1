"""One activation at five levels: the same function in each, the same inputs for every arm, options and bad input."""

import json
from pathlib import Path

import pytest
import torch

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.workloads import Workload, workload
from gatewise.workloads._levels import BODY, LEVELS

SIZES = {"dim": 16, "layers": 1, "heads": 2, "context": 32}


def level(name: str, **sizes: int) -> Workload:
    return workload(name="levels", options={"level": name, **SIZES, **sizes})


def built(made: Workload, arm: str, seed: int = 0, matching: str = "params") -> torch.nn.Module:
    model, report = made.build(arm, matching=matching, seed=seed)
    assert report is None
    assert not model.training
    return model


def ran(made: Workload, model: torch.nn.Module, batch: int = 2, tokens: int = 5, seed: int = 0) -> torch.Tensor:
    with torch.inference_mode():
        return made.run(model, made.inputs(batch, tokens, seed))


@pytest.mark.parametrize("name", LEVELS)
@pytest.mark.parametrize("arm", ["gelu", "identity", "relu", "swiglu"])
def test_every_arm_saves_loads_and_gives_the_same_bits(name: str, arm: str, tmp_path: Path) -> None:
    made = level(name)
    model = built(made, arm, seed=3)
    made.save(model, tmp_path)
    loaded = made.load(tmp_path).eval()
    one = ran(made, model)
    assert one.shape[0] == 2
    assert torch.isfinite(one).all()
    assert torch.equal(one, ran(made, loaded))
    assert surgery.weights_state(loaded) == "untrained"


@pytest.mark.parametrize("name", LEVELS)
def test_the_activation_is_really_in_every_level(name: str) -> None:
    made = level(name)
    outputs = {arm: ran(made, built(made, arm)) for arm in ("gelu", "relu", "identity")}
    assert not torch.equal(outputs["gelu"], outputs["relu"])
    assert not torch.equal(outputs["gelu"], outputs["identity"])


def test_the_operator_computes_the_function_on_the_width_of_its_block() -> None:
    made = level("operator")
    given = made.inputs(2, 5, 0)
    assert given["x_BTH"].shape == (2, 5, 64)
    gelu = torch.nn.functional.gelu(given["x_BTH"]).flatten(1)
    assert torch.equal(made.run(built(made, "gelu"), given), gelu)
    gate, up = given["gate_BTH"], given["up_BTH"]
    hidden = built(level("ffn"), "swiglu").part.down.weight.shape[1]
    assert gate.shape[-1] == hidden == activations.matched_hidden(16, 64, "params")
    wanted = (torch.nn.functional.silu(gate) * up).flatten(1)
    torch.testing.assert_close(made.run(built(made, "swiglu"), given), wanted, rtol=0, atol=0)


@pytest.mark.parametrize("name", ["ffn", "layer", "model"])
def test_a_gate_has_as_many_parameters_as_the_function(name: str) -> None:
    scalar, gate = (
        sum(parameter.numel() for parameter in built(level(name), arm).parameters()) for arm in ("gelu", "swiglu")
    )
    assert abs(scalar - gate) <= 3 * 16  # at most one hidden unit's three rows


def test_a_request_is_the_model_on_the_text_of_the_json() -> None:
    asked, inner = level("request"), level("model")
    bodies = asked.inputs(3, 7, 0)
    assert bodies.dtype == torch.uint8
    texts = [json.loads(bytes(body))["text"] for body in bodies.tolist()]
    assert [len(text) for text in texts] == [7, 7, 7]
    ids = inner.inputs(3, 7, 0)
    assert [list(text.encode()) for text in texts] == ids.tolist()
    assert bodies.shape[1] == 7 + sum(map(len, BODY))
    with torch.inference_mode():
        logits_BTV = inner.run(built(inner, "relu"), ids).view(3, 7, -1)
        torch.testing.assert_close(asked.run(built(asked, "relu"), bodies), logits_BTV[:, -1], rtol=0, atol=0)


def test_the_layer_is_the_models_own() -> None:
    """A model of one layer, between its table of bytes and its last norm, is the layer of that seed's shape."""
    layer, model = built(level("layer"), "gelu"), built(level("model"), "gelu")
    block = model.part.blocks[0]
    assert {name: p.shape for name, p in layer.part.named_parameters()} == {
        name: p.shape for name, p in block.named_parameters()
    }
    with torch.inference_mode():
        layer.part.load_state_dict(block.state_dict())
        x_BTD = level("layer").inputs(2, 5, 0)
        cos, sin = model.part.get_buffer("cos_TK")[:5], model.part.get_buffer("sin_TK")[:5]
        assert torch.equal(layer(x_BTD), block(x_BTD, cos, sin))


@pytest.mark.parametrize("name", LEVELS)
def test_inputs_and_weights_follow_the_seed_and_the_global_generator_stays(name: str) -> None:
    made = level(name)
    before = torch.random.get_rng_state()
    one, again, other = (ran(made, built(made, "gelu"), seed=seed) for seed in (0, 0, 1))
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    if name != "operator":
        assert not torch.equal(one, ran(made, built(made, "gelu", seed=1)))
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", LEVELS)
def test_bfloat16_runs_and_lies_near_float32(name: str) -> None:
    made = level(name)
    model, given = built(made, "gelu"), made.inputs(1, 4, 0)
    cast = {key: tensor.bfloat16() for key, tensor in given.items()} if isinstance(given, dict) else given
    if isinstance(cast, torch.Tensor) and cast.is_floating_point():
        cast = cast.bfloat16()
    with torch.inference_mode():
        exact = made.run(model, given)
        near = made.run(model.bfloat16(), cast)
    torch.testing.assert_close(near.float(), exact, rtol=0.1, atol=0.1)
    assert not torch.equal(near.float(), exact)  # it really ran in bfloat16


@pytest.mark.parametrize("name", LEVELS)
def test_a_short_context_still_has_a_probe(name: str) -> None:
    made = level(name, context=4)
    assert len(made.probe()) > 1
    model = built(made, "gelu")
    with torch.inference_mode():
        assert all(torch.isfinite(made.run(model, given)).all() for given in made.probe())


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"level": "modle"}, "did you mean 'model'"),
        ({"dim": 0}, "levels: dim must be a whole number"),
        ({"dim": 18, "heads": 4}, "multiple of 2 x heads"),
        ({"widht": 3}, "unknown option of levels"),
        ({"context": 0}, "levels: context"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        workload(name="levels", options=options)
    assert len(str(caught.value).splitlines()) <= 2


def test_what_does_not_fit_is_refused() -> None:
    with pytest.raises(GatewiseError, match="at most 32 tokens"):
        level("ffn").inputs(1, 33, 0)
    with pytest.raises(GatewiseError, match="matching = params"):
        level("operator").build("swiglu", matching="flops", seed=0)
    with pytest.raises(GatewiseError, match="unknown matching"):
        level("operator").build("swiglu", matching="parms", seed=0)
    with pytest.raises(GatewiseError, match="did you mean 'gelu'"):
        level("model").build("gellu", matching="params", seed=0)
