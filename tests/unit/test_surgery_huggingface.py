"""Hugging Face models: from their folders, offline and without their code, and round through our own format."""

import json
import socket
import subprocess
import sys

import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.core import GatewiseError, MissingExtraError
from gatewise.surgery.builders import huggingface

transformers = pytest.importorskip("transformers")

KW = {
    "vocab_size": 30,
    "hidden_size": 8,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 16,
}
IDS = torch.arange(12).reshape(2, 6)


def bert(cls="BertModel", **extra):
    torch.manual_seed(0)
    return getattr(transformers, cls)(transformers.BertConfig(**KW, **extra)).eval()


def output(model, ids=IDS):
    with torch.no_grad():
        return model(ids)[0]


@pytest.fixture
def folder(tmp_path):
    bert("BertForMaskedLM").save_pretrained(tmp_path)
    return tmp_path


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*_args, **_kwargs):
        raise AssertionError("the network was asked")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


def edit_config(folder, **parts):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **parts}))


def test_a_folder_gives_the_class_of_its_config(folder, capfd):
    model = surgery.load(folder)
    assert type(model) is transformers.BertForMaskedLM
    assert not model.training
    assert surgery.weights_state(model) == "original"
    assert torch.equal(output(model), output(bert("BertForMaskedLM")))
    assert model.cls.predictions.decoder.weight is model.bert.embeddings.word_embeddings.weight
    assert capfd.readouterr().err == ""


def test_its_parameters_lie_in_memory_of_their_own(folder):
    for parameter in surgery.load(folder).parameters():
        assert parameter.untyped_storage().nbytes() == parameter.numel() * parameter.element_size()
        assert parameter.untyped_storage().resizable()


@pytest.mark.parametrize("architectures", [None, [], ["NoSuchModel"], ["os"]])
def test_without_a_known_class_the_model_type_decides(folder, architectures):
    edit_config(folder, architectures=architectures)
    assert type(surgery.load(folder)) is transformers.BertModel


def test_weights_that_are_missing_make_the_model_untrained(folder):
    edit_config(folder, architectures=["BertModel"])
    state = torch.random.get_rng_state()
    one, two = surgery.load(folder), surgery.load(folder)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert surgery.weights_state(one) == "untrained"
    assert "pooler.dense.weight" in surgery.describe(one)["surgeries"][0]["note"]
    assert torch.equal(one.pooler.dense.weight, two.pooler.dense.weight)


def test_sharded_weights(tmp_path):
    model = bert()
    model.save_pretrained(tmp_path, max_shard_size="2KB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    assert torch.equal(output(surgery.load(tmp_path)), output(model))
    index = tmp_path / "model.safetensors.index.json"
    data = json.loads(index.read_text())
    name = next(iter(data["weight_map"]))
    shard = data["weight_map"][name]
    for bad, message in (("../x.safetensors", "outside its folder"), ("gone.safetensors", "missing")):
        data["weight_map"][name] = bad
        index.write_text(json.dumps(data))
        with pytest.raises(GatewiseError, match=message):
            surgery.load(tmp_path)
    data["weight_map"][name] = shard
    index.write_text(json.dumps(data))
    with (tmp_path / shard).open("r+b") as file:
        file.truncate(100)
    with pytest.raises(GatewiseError, match="truncated"):
        surgery.load(tmp_path)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_the_dtype_of_the_file_is_kept(tmp_path, dtype):
    bert().to(dtype).save_pretrained(tmp_path)
    assert {parameter.dtype for parameter in surgery.load(tmp_path).parameters()} == {dtype}


def test_pickled_weights_are_refused_with_the_way_out(folder):
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(GatewiseError, match=r"(?s)pytorch_model\.bin.*save_pretrained"):
        surgery.load(folder)


def test_folders_that_lack_something(folder):
    (folder / "model.safetensors").rename(folder / "weights.safetensors")
    with pytest.raises(GatewiseError, match=r"did you mean 'model\.safetensors'"):
        surgery.load(folder)
    (folder / "weights.safetensors").unlink()
    with pytest.raises(GatewiseError, match="has no weights"):
        surgery.load(folder)
    (folder / "config.json").unlink()
    with pytest.raises(GatewiseError, match=r"no config\.json"):
        surgery.load_huggingface(folder)


@pytest.mark.parametrize("text", ["{", "[]", ""])
def test_a_config_that_is_none(folder, text):
    (folder / "config.json").write_text(text)
    with pytest.raises(GatewiseError, match=r"config\.json"):
        surgery.load(folder)


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"attn_implementation": "somebody/kernel"}, "somebody/kernel"),
        ({"_attn_implementation": "somebody/kernel"}, "somebody/kernel"),
        ({"text_config": {"attn_implementation": {"": "a/b"}}}, "a/b"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "quantised"),
        ({"architectures": ["X"], "model_type": "no-such-type"}, "transformers cannot load"),
        (
            {"architectures": ["X"], "model_type": "no-such-type", "auto_map": {"AutoModel": "evil.Evil"}},
            "transformers cannot load",
        ),
        ({"hidden_size": 12}, "transformers cannot load"),
        ({"hidden_act": "no-such-function"}, "transformers cannot load"),
    ],
)
def test_configs_that_ask_for_what_must_not_or_cannot_be(folder, parts, message):
    (folder / "evil.py").write_text("raise SystemExit('the code of a folder was run')")
    edit_config(folder, **parts)
    with pytest.raises(GatewiseError, match=message) as caught:
        surgery.load(folder)
    assert len(str(caught.value).splitlines()) <= 2


@pytest.mark.parametrize("cls", ["BertModel", "BertForMaskedLM", "BertForSequenceClassification"])
@pytest.mark.parametrize("to", [None, "silu", "reglu"])
def test_round_through_our_own_format(cls, to, tmp_path):
    model = bert(cls)
    if to:
        model, _ = surgery.swap(model, to)
    surgery.save(model, tmp_path)
    back = surgery.load(tmp_path)
    assert type(back) is type(model)
    assert torch.equal(output(back), output(model))
    assert [name for name, _ in back.named_parameters()] == [name for name, _ in model.named_parameters()]
    assert {name: b.dtype for name, b in back.named_buffers()} == {name: b.dtype for name, b in model.named_buffers()}
    assert torch.equal(back.get_buffer(_position_ids(back)), model.get_buffer(_position_ids(model)))


def _position_ids(model):
    return next(name for name, _ in model.named_buffers() if name.endswith("position_ids"))


def test_rotary_buffers_in_another_dtype_come_back(tmp_path):
    torch.manual_seed(0)
    model = transformers.LlamaModel(transformers.LlamaConfig(**KW, num_key_value_heads=2)).eval().to(torch.bfloat16)
    assert any(name.endswith("inv_freq") for name, _ in model.named_buffers())
    surgery.save(model, tmp_path)
    assert torch.equal(output(surgery.load(tmp_path)), output(model))


def test_shared_layers_stay_shared(tmp_path):
    torch.manual_seed(0)
    model = transformers.AlbertModel(transformers.AlbertConfig(**KW, embedding_size=4)).eval()
    new, report = surgery.swap(model, "swiglu")
    assert len(report.sites) == 1
    surgery.save(new, tmp_path)
    assert torch.equal(output(surgery.load(tmp_path)), output(new))


def test_the_attention_implementation_is_kept(tmp_path):
    model = bert(attn_implementation="eager")
    surgery.save(model, tmp_path)
    back = surgery.load(tmp_path)
    assert back.config._attn_implementation == "eager"
    recipe = json.loads((tmp_path / "recipe.json").read_text())
    recipe["builder"]["config"]["attention"] = "somebody/kernel"
    (tmp_path / "recipe.json").write_text(json.dumps(recipe))
    with pytest.raises(GatewiseError, match="somebody/kernel"):
        surgery.load(tmp_path)


@pytest.mark.parametrize("name", ["pipeline", "os", "AutoModel", "BertConfig", "__import__", "PreTrainedModel.x", ""])
def test_only_model_classes_of_transformers_are_built(name):
    assert huggingface.architecture(name) is None


def test_a_subclass_of_somebody_is_refused(tmp_path):
    class Mine(transformers.BertModel):
        pass

    with pytest.raises(GatewiseError, match="not a class of transformers itself"):
        surgery.save(Mine(transformers.BertConfig(**KW)), tmp_path)


def test_a_config_that_no_longer_tells_the_truth_is_refused(tmp_path):
    model = bert()
    model.encoder.layer[0].intermediate.intermediate_act_fn = nn.ReLU()
    with pytest.raises(GatewiseError, match="intermediate_act_fn is torch"):
        surgery.save(model, tmp_path)


def test_without_transformers_the_pip_line_is_shown(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'gatewise\[hf\]'"):
        surgery.load(folder)


def test_plain_models_need_no_transformers(tmp_path):
    """Importing, swapping, saving and loading plain models imports no transformers."""
    code = f"""
import sys
from torch import nn
from gatewise import surgery
model, _ = surgery.swap(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 2)), "gelu")
surgery.save(model, {str(tmp_path)!r})
surgery.load({str(tmp_path)!r})
assert not [name for name in sys.modules if name.partition(".")[0] in ("transformers", "huggingface_hub")]
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
