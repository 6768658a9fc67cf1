"""A changed model in its family's own layout: transformers' own loader reads it, or the recipe says why it cannot."""

import json
import re

import pytest
import torch

from gatewise import surgery
from gatewise.core import GatewiseError

transformers = pytest.importorskip("transformers")

IDS = torch.arange(14).reshape(2, 7)
TEXT, PAIR = {"input_ids": IDS}, {"input_ids": IDS, "decoder_input_ids": IDS}
WORDS = {"vocab_size": 50, "max_position_embeddings": 32}
BODY = {"hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 40}
T5 = {"vocab_size": 50, "d_model": 24, "d_kv": 8, "d_ff": 40, "num_layers": 2, "num_heads": 3}
IMAGE = {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)}
VISION = {**BODY, "image_size": 16, "patch_size": 8}

Made = tuple[str, str, dict[str, object], dict[str, torch.Tensor]]
FAMILIES: dict[str, Made] = {
    "bert": ("BertModel", "BertConfig", {**WORDS, **BODY}, TEXT),
    "masked": ("BertForMaskedLM", "BertConfig", {**WORDS, **BODY}, TEXT),
    "gpt2": ("GPT2LMHeadModel", "GPT2Config", {"vocab_size": 50, "n_embd": 24, "n_layer": 2, "n_head": 2}, TEXT),
    "t5": ("T5ForConditionalGeneration", "T5Config", T5, PAIR),
    "t5 tanh": ("T5Model", "T5Config", {**T5, "feed_forward_proj": "gelu_new"}, PAIR),
    "t5 silu": ("T5Model", "T5Config", {**T5, "feed_forward_proj": "silu"}, PAIR),
    "umt5 relu2": ("UMT5Model", "UMT5Config", {**T5, "feed_forward_proj": "relu2"}, PAIR),
    "t5 gated": ("T5Model", "T5Config", {**T5, "feed_forward_proj": "gated-gelu"}, PAIR),
    "llama": ("LlamaForCausalLM", "LlamaConfig", {**WORDS, **BODY}, TEXT),
    "phi3": ("Phi3Model", "Phi3Config", {**WORDS, **BODY, "pad_token_id": 0}, TEXT),
    "vit": ("ViTForImageClassification", "ViTConfig", VISION, IMAGE),
    "dinov2": ("Dinov2Model", "Dinov2Config", {**VISION, "mlp_ratio": 4}, IMAGE),
    "dinov2 silu": ("Dinov2Model", "Dinov2Config", {**VISION, "mlp_ratio": 4, "hidden_act": "silu"}, IMAGE),
    "dinov3": ("DINOv3ViTModel", "DINOv3ViTConfig", {**VISION, "hidden_size": 32}, IMAGE),
}


def made(name, dtype=torch.float32):
    torch.manual_seed(0)
    cls, config, settings, inputs = FAMILIES[name]
    model = getattr(transformers, cls)(getattr(transformers, config)(**settings)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model.to(dtype), {
        key: value.to(dtype) if value.is_floating_point() else value for key, value in inputs.items()
    }


def answer(model, inputs):
    with torch.inference_mode():
        out = model(**inputs)
    return out.logits if "logits" in out else out.last_hidden_state


def said(folder):
    return json.loads((folder / "recipe.json").read_text())["ecosystem"]


def both(new, model, inputs, folder):
    """What our loader and the family's own give for a saved model."""
    surgery.save(new, folder)
    assert said(folder)["reads"], said(folder)["reason"]
    assert said(folder)["loader"] == f"transformers.{type(model).__name__}.from_pretrained"
    read, info = type(model).from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"]
    assert not info["mismatched_keys"]
    assert read.dtype == model.dtype
    return answer(surgery.load(folder), inputs), answer(read, inputs)


@pytest.mark.parametrize(
    ("name", "to", "field", "value"),
    [
        ("bert", "silu", "hidden_act", "silu"),
        ("masked", "relu", "hidden_act", "relu"),
        ("gpt2", "relu", "activation_function", "relu"),
        ("t5", "silu", "feed_forward_proj", "silu"),
        ("t5 gated", "swiglu", "feed_forward_proj", "gated-silu"),
        ("t5", "geglu", "feed_forward_proj", "gated-gelu_python"),
        ("t5", "geglu_tanh", "feed_forward_proj", "gated-gelu_pytorch_tanh"),
        ("llama", "reglu", "hidden_act", "relu"),
        ("phi3", "geglu", "hidden_act", "gelu"),
        ("vit", "mish", "hidden_act", "mish"),
        ("dinov2", "swiglu", "use_swiglu_ffn", True),
        ("dinov3", "reglu", "use_gated_mlp", True),
    ],
)
def test_a_swap_is_read_by_the_ecosystem_where_its_config_can_say_it(name, to, field, value, tmp_path):
    model, inputs = made(name)
    matching = {"matching": "none"} if name == "dinov2" else {}
    new, _ = surgery.swap(model, to, **matching)
    ours, theirs = both(new, model, inputs, tmp_path)
    assert torch.equal(ours, answer(new, inputs))
    # The family's own code of a function may round apart from ours.
    torch.testing.assert_close(theirs, ours, rtol=1e-5, atol=1e-5)
    assert not torch.allclose(theirs, answer(model, inputs), rtol=1e-3, atol=1e-3)
    assert json.loads((tmp_path / "config.json").read_text())[field] == value


@pytest.mark.parametrize(
    ("name", "to"),
    [("t5 silu", "glu"), ("umt5 relu2", "reglu"), ("dinov3", "geglu"), ("dinov2 silu", "swiglu")],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_kept_function_is_read_where_the_family_has_a_gated_block_for_it(name, to, dtype, tmp_path):
    model, inputs = made(name, dtype)
    new, report = surgery.swap(model, to, keep_function=True)
    assert report.weights_state == "converted"
    ours, theirs = both(new, model, inputs, tmp_path)
    assert torch.equal(ours, answer(new, inputs))
    eps = torch.finfo(dtype).eps
    for given in (ours, theirs):
        error = (given - answer(model, inputs)).abs().max() / answer(model, inputs).abs().max()
        assert float(error) < 16 * eps


@pytest.mark.parametrize(
    ("name", "to", "arguments", "why"),
    [
        ("t5", "reglu", {"keep_function": True}, "no bias.*b_up = 1"),
        ("t5 tanh", "geglu_tanh", {"keep_function": True}, "no bias.*b_up = 1"),
        ("bert", "geglu", {"keep_function": True}, "no gated feed-forward block"),
        ("bert", "silu", {"only": "encoder.layer.0*"}, "one function for all its blocks"),
        ("llama", "relu", {}, "no place for"),
        ("dinov2", "swiglu", {"multiple_of": 5}, r"is \[\d+, 24\], and in Dinov2Model"),
        ("vit", "elu", {}, "one function"),
    ],
)
def test_where_the_ecosystem_cannot_read_it_the_recipe_says_why_and_no_config_misleads(
    name, to, arguments, why, tmp_path
):
    model, inputs = made(name)
    surgery.save(model, tmp_path)
    assert said(tmp_path)["reads"]
    new, _ = surgery.swap(model, to, **arguments)
    surgery.save(new, tmp_path)
    assert not said(tmp_path)["reads"]
    assert re.search(why, said(tmp_path)["reason"])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["model.safetensors", "recipe.json"]
    assert torch.equal(answer(surgery.load(tmp_path), inputs), answer(new, inputs))


def test_a_model_that_nothing_was_done_to_keeps_its_layout(tmp_path):
    model, inputs = made("masked")
    model.cls.predictions.decoder.bias.requires_grad_(False)
    ours, theirs = both(model, model, inputs, tmp_path)
    assert torch.equal(ours, answer(model, inputs))
    assert torch.equal(theirs, ours)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "recipe.json"}


def test_a_recipe_whose_names_do_not_fit_is_refused(tmp_path):
    model, _ = made("dinov3")
    new, _ = surgery.swap(model, "geglu", keep_function=True)
    surgery.save(new, tmp_path)
    path = tmp_path / "recipe.json"
    recipe = json.loads(path.read_text())
    names = recipe["tensors"]["names"]
    first, second = list(names)[:2]
    for wrong, message in (
        ({**names, first: names[second]}, "do not fit|one name"),
        ({first: names[first]}, "do not fit"),
        ([first], "must be a dict"),
        ({**names, first: 3}, "text"),
    ):
        recipe["tensors"]["names"] = wrong
        path.write_text(json.dumps(recipe))
        with pytest.raises(GatewiseError, match=message):
            surgery.load(tmp_path)
