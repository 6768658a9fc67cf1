"""Language models in the shapes of three families: their arms, their widths, their cache, their limits."""

import json
from pathlib import Path

import pytest
import torch

from gatewise import activations, measure, surgery
from gatewise.core import GatewiseError
from gatewise.surgery.builders import BUILDERS
from gatewise.workloads import _causal_lm as causal_lm
from gatewise.workloads import workload
from gatewise.workloads._causal_families import FAMILIES, ffn_hidden
from gatewise.workloads._causal_lm import CausalLMWorkload

pytest.importorskip("transformers")

OWN = {"llama": "swiglu", "gpt2": "gelu_tanh", "qwen": "swiglu"}
ARMS = ("original", "relu", "gelu", "gelu_tanh", "silu", "swiglu", "geglu", "reglu")
EACH = pytest.mark.parametrize("family", FAMILIES)


def small(family: str = "llama", **options: object) -> CausalLMWorkload:
    made = workload(
        name="causal-lm",
        options={"family": family, "dim": 48, "layers": 2, "heads": 4, "vocab": 97, "context": 40, **options},
    )
    assert isinstance(made, CausalLMWorkload)
    return made


def built(made: CausalLMWorkload, arm: str, seed: int = 0, matching: str = "params") -> torch.nn.Module:
    return made.build(arm, matching=matching, seed=seed)[0]


@pytest.fixture(autouse=True)
def _known_builder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(BUILDERS.table, "causal-lm", "gatewise.workloads._causal_lm:build")


@EACH
@pytest.mark.parametrize("arm", ARMS)
def test_every_arm_saves_and_loads_without_a_pickle(family: str, arm: str, tmp_path: Path) -> None:
    made = small(family)
    model = built(made, arm, seed=3)
    made.save(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} - {"config.json"} == {"model.safetensors", "recipe.json"}
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    assert recipe["builder"]["name"] == ("huggingface" if arm == "original" else "causal-lm")
    loaded = made.load(tmp_path)
    one, other = model.state_dict(), loaded.state_dict()
    assert one.keys() == other.keys()
    assert all(torch.equal(one[name], other[name]) for name in one)
    assert surgery.weights_state(loaded) == "untrained"
    inputs = made.inputs(3, 7, 0)
    with torch.inference_mode():
        # The matrix library may round by where a tensor lies in memory.
        torch.testing.assert_close(made.run(loaded, inputs), made.run(model, inputs), rtol=1e-5, atol=1e-5)
        assert made.run(model, inputs).shape == (3, 97)


@EACH
def test_the_arm_of_the_own_function_computes_what_the_own_code_computes(family: str) -> None:
    made = small(family)
    inputs = made.inputs(2, 9, 0)
    with torch.inference_mode():
        rows = {arm: made.run(built(made, arm), inputs) for arm in ("original", *ARMS[1:])}
    torch.testing.assert_close(rows[OWN[family]], rows["original"], rtol=1e-4, atol=1e-5)
    others = [arm for arm in rows if arm not in ("original", OWN[family])]
    assert all(not torch.allclose(rows[arm], rows["original"], rtol=1e-5, atol=3e-5) for arm in others)


@EACH
def test_arms_have_equal_parameters_and_share_what_they_have_in_common(family: str) -> None:
    made = small(family, dim=96)
    counts = {arm: measure.parameters(built(made, arm)) for arm in ARMS}
    assert all(abs(count / counts["original"] - 1) < 0.01 for count in counts.values())
    models = [dict(built(made, arm).named_parameters()) for arm in ("relu", "gelu")]
    assert models[0].keys() == models[1].keys()
    assert all(torch.equal(models[0][name], models[1][name]) for name in models[0])
    gate, other_seed = (dict(built(made, "geglu", seed).named_parameters()) for seed in (0, 1))
    shared = [name for name in gate if ".mlp." not in name]
    assert shared
    assert all(torch.equal(gate[name], models[0][name]) for name in shared)
    assert all(torch.equal(gate[name], other_seed[name]) == (gate[name].dim() == 1) for name in gate)


@pytest.mark.parametrize("matching", ["params", "flops"])
@EACH
def test_the_widths_undo_each_other(family: str, matching: str) -> None:
    shape = FAMILIES[family]
    for own in (128, 1000, 1024, 11008):
        to_other = "relu" if shape.gate else "swiglu"
        other = ffn_hidden(shape, 384, own, to_other, matching)
        scalar, gated = (other, own) if shape.gate else (own, other)
        back = activations.matched_hidden(384, scalar, matching, bias=shape.bias)
        assert abs(back - gated) <= 1
        assert ffn_hidden(shape, 384, own, OWN[family], matching) == own
    assert ffn_hidden(shape, 384, 1024, "relu", "none") == ffn_hidden(shape, 384, 1024, "swiglu", "none") == 1024
    with pytest.raises(GatewiseError, match="did you mean 'params'"):
        ffn_hidden(shape, 384, 1024, "relu", "param")


@EACH
def test_the_cache_gives_what_the_whole_text_gives(family: str) -> None:
    made = small(family)
    model = built(made, "geglu")
    ids = made.inputs(2, 12, 0)["input_ids"]
    with torch.inference_mode():
        logits, cache = made.prefill(model, {"input_ids": ids[:, :5]})
        torch.testing.assert_close(logits, made.run(model, {"input_ids": ids[:, :5]}), rtol=1e-4, atol=1e-5)
        for position in range(5, 12):
            before = cache
            logits, cache = made.decode(model, cache, ids[:, position])
            whole = made.run(model, {"input_ids": ids[:, : position + 1]})
            torch.testing.assert_close(logits, whole, rtol=1e-4, atol=1e-5)
            again, _ = made.decode(model, before, ids[:, position])
            assert torch.equal(again, logits)
    heads = {"gpt2": 4}.get(family, 1)
    assert [tuple(tensor.shape) for tensor in made.cache_tensors(cache)] == [(2, heads, 12, 12)] * 4


def test_the_context_is_a_limit() -> None:
    made = small()
    model = built(made, "original")
    with pytest.raises(GatewiseError, match="1 to 40 tokens, not 41"):
        made.inputs(1, 41, 0)
    with torch.inference_mode():
        _, cache = made.prefill(model, made.inputs(1, 40, 0))
        with pytest.raises(GatewiseError, match="40 are read, 1 more do not fit"):
            made.decode(model, cache, torch.zeros(1, dtype=torch.long))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"family": "lama"}, "did you mean 'llama'"),
        ({"dim": 50}, "dim must be a multiple of 2 x heads = 8, got 50"),
        ({"kv_heads": 3}, "kv_heads must be a divisor of heads = 4, got 3"),
        ({"family": "gpt2", "kv_heads": 2}, "as many as heads for gpt2, got 2"),
        ({"layers": 0}, "causal-lm: layers must be a whole number from 1 to 512"),
        ({"hidden": 0}, "causal-lm: hidden must be"),
        ({"dims": 3}, "did you mean 'dim'"),
    ],
)
def test_wrong_shapes_are_refused_in_at_most_two_lines(options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        small(**options)  # pyright: ignore[reportArgumentType]
    assert len(str(caught.value).splitlines()) <= 2


def test_a_model_beyond_the_memory_is_refused_before_it_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    made = small(dim=8192, heads=64, layers=40, vocab=32_000, context=4096)
    monkeypatch.setattr(causal_lm, "available_memory_bytes", lambda: 2**34)
    with pytest.raises(GatewiseError, match=r"parameters need [\d.]+ GiB .*; 16\.0 GiB are free\nmake layers"):
        made.build("relu", matching="params", seed=0)


def test_facts_say_what_the_weights_are_good_for() -> None:
    facts = json.loads(json.dumps(small("qwen").facts()))
    assert facts["model"]["weights"] == "random: good for time and memory only"
    assert facts["model"]["hidden"] == 128
    assert facts["model"]["kv_heads"] == 1
    assert surgery.weights_state(small().original()) == "untrained"


def test_inputs_follow_the_seed_and_the_global_generator_stays() -> None:
    made, before = small(), torch.random.get_rng_state()
    one, again, other = (made.inputs(2, 30, seed)["input_ids"] for seed in (0, 0, 1))
    built(made, "original")
    built(made, "relu")
    assert torch.equal(one, again)
    assert not torch.equal(one, other)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_unknown_arms_and_builder_keys_are_refused() -> None:
    with pytest.raises(GatewiseError, match="did you mean 'gelu'"):
        built(small(), "gelo")
    with pytest.raises(GatewiseError, match="did you mean 'layers'"):
        causal_lm.build({"layer": 2})
