"""The FFNs of model families, each built from its config: found by structure, swapped, swapped back, saved, loaded."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from gatewise import surgery

transformers = pytest.importorskip("transformers")

IDS = torch.arange(10).reshape(2, 5)
TEXT = {"input_ids": IDS}
PAIR = {"input_ids": IDS, "decoder_input_ids": IDS}
WORDS = {"vocab_size": 40, "max_position_embeddings": 32}
BODY = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 32}
VISION = {**BODY, "image_size": 16, "patch_size": 8}
T5 = {"vocab_size": 40, "d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 2, "num_heads": 2}
SEQ2SEQ = {
    "vocab_size": 40,
    "d_model": 16,
    "encoder_layers": 2,
    "decoder_layers": 2,
    "encoder_attention_heads": 2,
    "decoder_attention_heads": 2,
    "encoder_ffn_dim": 32,
    "decoder_ffn_dim": 32,
}
OPT = {**WORDS, **BODY, "ffn_dim": 32, "word_embed_proj_dim": 16}
WHISPER = {"max_source_positions": 10, "max_target_positions": 16, "num_mel_bins": 4, "decoder_start_token_id": 1}
SPECIAL = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def images() -> dict[str, Any]:
    return {"pixel_values": torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)}


def sounds() -> dict[str, Any]:
    return {"input_features": torch.linspace(-1, 1, 2 * 4 * 20).reshape(2, 4, 20), "decoder_input_ids": IDS}


# name: (class, settings, inputs, number of FFNs, what they compute, whether gated)
Family = tuple[str, dict[str, Any], "dict[str, Any] | Callable[[], dict[str, Any]]", int, str, bool]
FAMILIES: dict[str, Family] = {
    "gpt2": ("GPT2", {"vocab_size": 40, "n_embd": 16, "n_layer": 2, "n_head": 2}, TEXT, 2, "gelu_tanh", False),
    "vit": ("ViT", VISION, images, 2, "gelu", False),
    "t5": ("T5", T5, PAIR, 4, "relu", False),
    "t5 gated": ("T5", {**T5, "feed_forward_proj": "gated-gelu"}, PAIR, 4, "geglu_tanh", True),
    "t5 gated silu": ("T5", {**T5, "feed_forward_proj": "gated-silu"}, PAIR, 4, "swiglu", True),
    "albert": ("Albert", {**WORDS, **BODY, "embedding_size": 8}, TEXT, 1, "gelu_tanh", False),
    "albert in chunks": (
        "Albert",
        {**WORDS, **BODY, "intermediate_size": 16, "embedding_size": 8, "chunk_size_feed_forward": 1},
        TEXT,
        1,
        "gelu_tanh",
        False,
    ),
    "opt": ("OPT", OPT, TEXT, 2, "relu", False),
    "opt square": ("OPT", {**OPT, "ffn_dim": 16}, TEXT, 2, "relu", False),
    "llama": ("Llama", {**WORDS, **BODY}, TEXT, 2, "swiglu", True),
    "mistral": ("Mistral", {**WORDS, **BODY, "num_key_value_heads": 2}, TEXT, 2, "swiglu", True),
    "qwen2": ("Qwen2", {**WORDS, **BODY, "num_key_value_heads": 2}, TEXT, 2, "swiglu", True),
    "qwen3": ("Qwen3", {**WORDS, **BODY, "num_key_value_heads": 2, "head_dim": 8}, TEXT, 2, "swiglu", True),
    "gemma": ("Gemma", {**WORDS, **BODY, "num_key_value_heads": 2, "head_dim": 8}, TEXT, 2, "geglu_tanh", True),
    "phi": ("Phi", {**WORDS, **BODY}, TEXT, 2, "gelu_tanh", False),
    "phi3": ("Phi3", {**WORDS, **BODY, "pad_token_id": 0}, TEXT, 2, "swiglu", True),
    "gpt-neox": ("GPTNeoX", {**WORDS, **BODY}, TEXT, 2, "gelu", False),
    "falcon": ("Falcon", {**WORDS, **BODY, "ffn_hidden_size": 32}, TEXT, 2, "gelu", False),
    "bert relu": ("Bert", {**WORDS, **BODY, "hidden_act": "relu"}, TEXT, 2, "relu", False),
    "roberta": ("Roberta", {**WORDS, **BODY}, TEXT, 2, "gelu", False),
    "deberta": ("Deberta", {**WORDS, **BODY}, TEXT, 2, "gelu", False),
    "modernbert": (
        "ModernBert",
        {**WORDS, **BODY, **SPECIAL, "cls_token_id": 1, "sep_token_id": 2},
        TEXT,
        2,
        "geglu",
        True,
    ),
    "distilbert": (
        "DistilBert",
        {**WORDS, "dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2},
        TEXT,
        2,
        "gelu",
        False,
    ),
    "bart": ("Bart", {**SEQ2SEQ, "max_position_embeddings": 32}, PAIR, 4, "gelu", False),
    "whisper": ("Whisper", {**SEQ2SEQ, **WHISPER, **SPECIAL}, sounds, 4, "gelu", False),
    "clip vision": ("CLIPVision", VISION, images, 2, "quick_gelu", False),
    "dinov2": ("Dinov2", {**VISION, "mlp_ratio": 2}, images, 2, "gelu", False),
    "dinov2 gated": ("Dinov2", {**VISION, "mlp_ratio": 2, "use_swiglu_ffn": True}, images, 2, "swiglu", True),
    "convnext": (
        "ConvNext",
        {"hidden_sizes": [8, 16], "depths": [1, 1], "num_stages": 2, "patch_size": 2, "layer_scale_init_value": 1.0},
        images,
        2,
        "gelu",
        False,
    ),
}


def made(name: str) -> tuple[nn.Module, dict[str, Any]]:
    cls, settings, inputs, *_ = FAMILIES[name]
    torch.manual_seed(0)
    model = getattr(transformers, f"{cls}Model")(getattr(transformers, f"{cls}Config")(**settings)).eval()
    return model, inputs() if callable(inputs) else inputs


def run(model: nn.Module, inputs: dict[str, Any]) -> torch.Tensor:
    with torch.no_grad():
        return model(**inputs).last_hidden_state


def ffns(model: nn.Module) -> list[surgery.Site]:
    return [site for site in surgery.find_sites(model) if site.kind == "ffn"]


@pytest.mark.parametrize("name", FAMILIES)
def test_every_ffn_of_a_family_is_found_and_swapped_and_nothing_else(name, tmp_path):
    model, inputs = made(name)
    count, before, gated = FAMILIES[name][3:]
    found = ffns(model)
    assert [(site.before, site.gated, site.gateable) for site in found] == [(before, gated, True)] * count
    reference = run(model, inputs)
    # Every Linear that is named belongs to an FFN: what it holds is part of the model and of no other site.
    assert sum(site.parameters for site in found) < sum(parameter.numel() for parameter in model.parameters())
    only = [site.path for site in found]
    new, report = surgery.swap(model, "reglu" if gated else "mish", only=only)
    assert [change.path for change in report.sites] == only
    assert report.weights_state == "grafted"
    changed = run(new, inputs)
    assert not torch.allclose(changed, reference, atol=1e-6)
    assert torch.equal(run(model, inputs), reference)
    surgery.save(new, tmp_path)
    back = surgery.load(tmp_path)
    assert torch.equal(run(back, inputs), changed)
    assert surgery.find_sites(back) == surgery.find_sites(new)
    again, _ = surgery.swap(back, before, only=only)
    # The table's own function may round apart from the family's.
    torch.testing.assert_close(run(again, inputs), reference, rtol=0, atol=4e-6)


@pytest.mark.parametrize("name", ["gpt2", "opt", "t5 gated", "albert", "phi3", "modernbert"])
def test_each_site_alone_moves_the_output(name):
    model, inputs = made(name)
    reference = run(model, inputs)
    to = "reglu" if FAMILIES[name][5] else "mish"
    for site in ffns(model):
        new, report = surgery.swap(model, to, only=site.path)
        assert [change.path for change in report.sites] == [site.path]
        assert not torch.equal(run(new, inputs), reference)


@pytest.mark.parametrize("name", ["phi3", "modernbert"])
def test_a_gate_with_one_input_matrix_can_be_rebuilt_whole(name, tmp_path):
    model, inputs = made(name)
    new, report = surgery.swap(model, "relu")
    assert report.weights_state == "untrained"
    for change in report.sites:
        assert change.hidden_before == 32
        assert abs(change.parameters_after / change.parameters_before - 1) < 0.05
    surgery.save(new, tmp_path)
    assert torch.equal(run(surgery.load(tmp_path), inputs), run(new, inputs))


def test_a_model_whose_weights_start_truncated_is_rebuilt_whatever_the_memory_holds(tmp_path, monkeypatch):
    """`trunc_normal_` draws until all numbers lie within bounds: on memory that is never filled it would not end."""
    model, _ = made("vit")
    empty = torch.empty

    def full_of_noise(*args: Any, **kwargs: Any) -> torch.Tensor:
        made_here = empty(*args, **kwargs)
        return made_here.fill_(1e30) if made_here.is_floating_point() and not made_here.is_meta else made_here

    monkeypatch.setattr(torch, "empty", full_of_noise)
    surgery.save(model, tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors", "recipe.json"}


class Noisy(nn.Linear):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) * 1.001


def test_a_linear_that_computes_something_else_takes_no_gate():
    model = nn.Sequential(nn.Linear(4, 8), nn.GELU(), Noisy(8, 4))
    (site,) = ffns(model)
    assert (site.gateable, site.obstacle) == (False, "its down layer is a Noisy, not a plain nn.Linear")
