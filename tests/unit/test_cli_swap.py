"""`gatewise swap` on the command line, with and without keeping the function."""

import argparse
import json
import re

import numpy as np
import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.cli import _swap_arguments as arguments
from gatewise.cli._swap import run
from gatewise.core import GatewiseError

SENTENCES = [f"sentence {i} is about the {word}" for i in range(40) for word in ("sea", "sky", "sun")]


def mlp():
    """A model with inputs, as `package.module:function` gives it."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.GELU(), nn.Linear(32, 8)).eval()
    return model, torch.randn(64, 8)


def nearest(rows):
    """The ten nearest other rows of each row by cosine, in plain NumPy."""
    unit = rows.double().numpy()
    unit = unit / np.linalg.norm(unit, axis=1, keepdims=True)
    likeness = unit @ unit.T
    np.fill_diagonal(likeness, -np.inf)
    return np.argsort(-likeness, axis=1, kind="stable")[:, :10].tolist()


@pytest.fixture
def swap(capsys):
    top = argparse.ArgumentParser()
    arguments.swap(top.add_subparsers(dest="command").add_parser)

    def call(*words):
        assert run(top.parse_args(["swap", *map(str, words)])) == 0
        return capsys.readouterr().out

    return call


@pytest.fixture
def calibration(tmp_path):
    path = tmp_path / "inputs.npz"
    np.savez(path, input_0=np.random.default_rng(0).standard_normal((1024, 8)).astype(np.float32))
    return path


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A tiny BERT with a tokenizer, in the ecosystem's own layout."""
    transformers = pytest.importorskip("transformers")
    tokenizers = pytest.importorskip("tokenizers")
    folder = tmp_path_factory.mktemp("bert")
    words = sorted({word for text in SENTENCES for word in text.split()})
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *words])}
    tokenizer = tokenizers.Tokenizer(tokenizers.models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = tokenizers.pre_tokenizers.Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        initializer_range=0.5,
    )
    transformers.BertModel(config).save_pretrained(folder)
    return folder


def test_an_exact_swap(swap, tmp_path):
    text = swap(f"{__name__}:mlp", "--to", "geglu", "--keep-function", "--out", tmp_path / "out")
    assert "weights: converted" in text
    model, x = mlp()
    assert torch.equal(surgery.load(tmp_path / "out")(x), model(x))


def test_a_fitted_swap_of_arrays(swap, tmp_path, calibration):
    out = tmp_path / "out"
    words = (f"{__name__}:mlp", "--to", "swiglu", "--keep-function", "--calibration", calibration)
    report = json.loads(swap(*words, "--out", out, "--json"))
    assert [step["name"] for step in report["steps"]] == ["plain", "fitted"]
    assert report["steps"][0]["rows"] == 768
    assert report["held_out"]["items"] == 256
    assert report["steps"][1]["relative"] < report["steps"][0]["relative"]
    model, _ = mlp()
    x = torch.from_numpy(np.load(calibration)["input_0"])[3::4]
    with torch.no_grad():
        cosine = torch.nn.functional.cosine_similarity(model(x).double(), surgery.load(out)(x).double())
    assert report["held_out"]["cosine_mean"] == pytest.approx(float(cosine.mean()), abs=1e-9)
    assert report["held_out"]["cosine_least"] == pytest.approx(float(cosine.min()), abs=1e-9)
    text = swap(*words, "--out", tmp_path / "again")
    assert "held out, 256 items" in text
    assert "whole model after the fit, on the inputs that it was fitted on (768 rows): error" in text
    assert re.search(r"error \S+ % before the fit, \S+ % after the fit", text)


def test_a_fitted_and_reduced_swap_of_texts(swap, tmp_path, bert):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join([*SENTENCES, "", " "]) + "\n", encoding="utf-8")
    out = tmp_path / "out"
    words = (bert, "--to", "swiglu", "--keep-function", "--calibration", texts, "--matching", "params")
    report = json.loads(swap(*words, "--out", out, "--json"))
    assert [step["name"] for step in report["steps"]] == ["plain", "fitted", "reduced"]
    assert report["steps"][0]["rows"] == 90 * 6
    assert report["held_out"]["items"] == 30
    assert report["ecosystem"]["reads"] is False
    assert "no gated feed-forward block" in report["ecosystem"]["reason"]
    near = report["held_out"]["neighbours"]
    assert near["items"] == 30
    assert 0 <= near["top1"] <= 1
    assert 0.5 < near["top10"] <= 1
    assert abs(report["parameters_after"] / report["parameters_before"] - 1) < 0.02
    assert (out / "tokenizer.json").exists()
    assert surgery.weights_state(surgery.load(out)) == report["weights_state"]


def test_a_healed_swap(swap, tmp_path, calibration):
    words = ("--to", "swiglu", "--keep-function", "--calibration", calibration, "--matching", "params", "--heal", 20)
    out = tmp_path / "out"
    report = json.loads(swap(f"{__name__}:mlp", *words, "--out", out, "--json"))
    assert report["healing"]["after"]["rms"] <= report["healing"]["before"]["rms"]
    model, _ = mlp()
    x = torch.from_numpy(np.load(calibration)["input_0"])[3::4]
    with torch.no_grad():
        for told, new in ((report["held_out"], surgery.load(out)),):
            one, other = (nearest(each(x)) for each in (model, new))
            shared = [len(set(a) & set(b)) / 10 for a, b in zip(one, other, strict=True)]
            same = [a[0] == b[0] for a, b in zip(one, other, strict=True)]
            assert told["neighbours"]["top10"] == pytest.approx(sum(shared) / len(shared), abs=1e-9)
            assert told["neighbours"]["top1"] == pytest.approx(sum(same) / len(same), abs=1e-9)
    assert report["held_out_before_healing"]["items"] == report["held_out"]["items"] == 256
    assert sorted(path.name for path in tmp_path.iterdir()) == ["inputs.npz", "out"]
    assert "healed: stopped by" in swap(f"{__name__}:mlp", *words, "--out", tmp_path / "again")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--to", "swiglu", "--keep-function"), "calibration set"),
        (("--to", "geglu_tanh", "--keep-function"), "geglu keeps it exactly"),
        (("--to", "swiglu", "--calibration", "x.npz"), "--keep-function"),
        (("--to", "geglu", "--keep-function", "--heal", "5"), "--calibration"),
        (("--to", "swiglu", "--keep-function", "--calibration", "x.csv"), "x.csv"),
        (("--to", "swiglu", "--keep-function", "--calibration", "missing.npz"), "missing.npz"),
        (("--to", "swiglu", "--keep-function", "--calibration", "missing.txt"), "missing.txt"),
    ],
)
def test_bad_input_writes_nothing(swap, tmp_path, words, message):
    with pytest.raises(GatewiseError, match=message):
        swap(f"{__name__}:mlp", *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_texts_for_a_model_without_a_tokenizer_are_refused(swap, tmp_path):
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(SENTENCES), encoding="utf-8")
    with pytest.raises(GatewiseError, match="tokenizer"):
        swap(f"{__name__}:mlp", "--to", "swiglu", "--keep-function", "--calibration", texts, "--out", tmp_path / "out")


def test_a_scalar_swap_is_read_by_transformers_too(swap, tmp_path, bert):
    transformers = pytest.importorskip("transformers")
    text = swap(bert, "--to", "relu", "--out", tmp_path / "out")
    assert "transformers.BertModel.from_pretrained reads it too" in text
    assert transformers.AutoModel.from_pretrained(tmp_path / "out").config.hidden_act == "relu"


BROKEN = {
    "binary.txt": (b"\xff\xfe\x00\x01", "cannot read"),
    "empty.txt": (b"\n\n  \n", "0 texts"),
    "short.txt": (b"one\n\ntwo\n", "2 texts"),
    "binary.npz": (b"no archive", "cannot read"),
    "empty.npz": (b"", "cannot read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_calibration_file_is_named_in_two_lines_at_most(swap, tmp_path, bert, name):
    content, message = BROKEN[name]
    (tmp_path / name).write_bytes(content)
    words = ("--to", "swiglu", "--keep-function", "--calibration", tmp_path / name)
    with pytest.raises(GatewiseError, match=message) as caught:
        swap(bert, *words, "--out", tmp_path / "out")
    assert name in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    assert sorted(path.name for path in tmp_path.iterdir()) == [name]


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"input_ids": (64, 8)}, "no array for the model's input attention_mask"),
        ({"input_ids": (64, 8), "attention_mask": (32, 8)}, "same number of items"),
        ({"input_ids": (64, 8), "attention_mask": (64, 8), "labels": (64, 8)}, "unknown input"),
        ({"input_ids": (12, 8), "attention_mask": (12, 8)}, r"reads 72 rows.*at least 512"),
    ],
)
def test_arrays_that_do_not_fit_are_named(swap, tmp_path, bert, arrays, message):
    path = tmp_path / "inputs.npz"
    rng = np.random.default_rng(0)
    ids = {
        name: rng.integers(0, 20, shape) if name == "input_ids" else np.ones(shape, int)
        for name, shape in arrays.items()
    }
    np.savez(path, **ids)
    words = ("--to", "swiglu", "--keep-function", "--calibration", path)
    with pytest.raises(GatewiseError, match=message) as caught:
        swap(bert, *words, "--out", tmp_path / "out")
    assert len(str(caught.value).splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def conv():
    """Nothing to convert: an activation that stands alone."""
    return nn.Sequential(nn.Conv1d(2, 2, 1), nn.Flatten()).eval(), torch.randn(4, 2, 3)


def test_a_model_without_a_site_and_the_healing_of_another_model_lose_nothing(swap, tmp_path, calibration):
    with pytest.raises(GatewiseError, match="no activation or FFN found"):
        swap(f"{__name__}:conv", "--to", "geglu", "--keep-function", "--out", tmp_path / "out")
    words = ("--to", "swiglu", "--keep-function", "--calibration", calibration, "--matching", "params", "--heal", 4)
    state = tmp_path / ".out.healing"
    state.mkdir()
    told = {"schema": "gatewise.healing/1", "fingerprint": "another", "step": 1}
    (state / "healing.json").write_text(json.dumps(told))
    with pytest.raises(GatewiseError, match="another healing") as caught:
        swap(f"{__name__}:mlp", *words, "--out", tmp_path / "out")
    assert len(str(caught.value).splitlines()) <= 2
    assert json.loads((state / "healing.json").read_text()) == told
    assert not (tmp_path / "out").exists()


def test_a_swap_without_keeping_the_function_is_as_before(swap, tmp_path):
    text = swap(f"{__name__}:mlp", "--to", "swiglu", "--out", tmp_path / "out")
    assert "weights: untrained" in text
    assert surgery.load(tmp_path / "out")[0].gate.out_features == 21


def test_a_repeat_never_stands_on_both_sides(swap, tmp_path, bert):
    x = np.random.default_rng(0).standard_normal((800, 8)).astype(np.float32)
    np.savez(tmp_path / "twice.npz", input_0=np.repeat(x, 2, axis=0))
    words = ("--to", "swiglu", "--keep-function", "--calibration")
    report = json.loads(swap(f"{__name__}:mlp", *words, tmp_path / "twice.npz", "--out", tmp_path / "a", "--json"))
    assert report["steps"][0]["rows"] == 600
    assert report["held_out"]["items"] == 200
    assert report["repeats_left_out"] == 800
    model, _ = mlp()
    unseen = torch.from_numpy(x[3::4])
    with torch.no_grad():
        pair = model(unseen).double(), surgery.load(tmp_path / "a")(unseen).double()
    cosine = torch.nn.functional.cosine_similarity(*pair)
    assert report["held_out"]["cosine_least"] == pytest.approx(float(cosine.min()), abs=1e-9)
    texts = tmp_path / "texts.txt"
    texts.write_text("\n".join(SENTENCES * 2), encoding="utf-8")
    text = swap(bert, *words, texts, "--out", tmp_path / "b")
    assert "held out, 30 items" in text
    assert "120 inputs stand in the calibration file more than once: each was used once" in text


@pytest.mark.parametrize(
    ("items", "words", "message"),
    [
        (np.zeros((400, 8)), (), r"400 items \(1 without repeats\); every 4th is held out"),
        (np.arange(24).reshape(3, 8), (), "3 items; every 4th is held out"),
        (np.arange(240).reshape(30, 8), ("--heal", "5"), "too small for --heal"),
        (np.arange(2400).reshape(300, 8), ("--heal", "0"), "steps must be a whole number of at least 1"),
    ],
)
def test_what_cannot_be_held_out_or_healed_is_said_before_the_fit(swap, tmp_path, monkeypatch, items, words, message):
    monkeypatch.setattr(surgery, "swap", None)  # the fit is never reached
    np.savez(tmp_path / "inputs.npz", input_0=items.astype(np.float32))
    given = ("--to", "swiglu", "--keep-function", "--calibration", tmp_path / "inputs.npz", *words)
    with pytest.raises(GatewiseError, match=message) as caught:
        swap(f"{__name__}:mlp", *given, "--out", tmp_path / "out")
    assert len(str(caught.value).splitlines()) <= 2
    assert not (tmp_path / "out").exists()


def test_outputs_that_are_not_finite_are_said(swap, tmp_path, calibration, monkeypatch):
    from gatewise.cli import _swap_held_out as module

    told = {"items": 256, "cosine_mean": None, "cosine_least": None}
    monkeypatch.setattr(module, "held_out", lambda *_: told)
    words = ("--to", "swiglu", "--keep-function", "--calibration", calibration)
    text = swap(f"{__name__}:mlp", *words, "--out", tmp_path / "out")
    assert "held out, 256 items: the outputs are not finite" in text


def test_the_note_of_a_site_that_is_not_kept_is_printed(swap, tmp_path, calibration):
    words = (f"{__name__}:mlp", "--to", "relu", "--keep-function", "--calibration", calibration)
    (site,) = json.loads(swap(*words, "--out", tmp_path / "a", "--json"))["sites"]
    assert site["weights_state"] == "grafted"
    assert "of the output is not kept, so the weights count as grafted" in site["note"]
    assert f"    {site['note']}" in swap(*words, "--out", tmp_path / "b").splitlines()


def test_the_lines_of_a_healing_say_what_came_back(swap, tmp_path, calibration):
    words = ("--to", "geglu", "--keep-function", "--calibration", calibration, "--heal", 4)
    text = swap(f"{__name__}:mlp", *words, "--out", tmp_path / "out")
    assert "whole model as converted, on the calibration inputs (768 rows): error 0 %" in text
    assert "whole model before healing, on those of them that healing checks itself on (192 rows): error 0 %" in text
    assert "stopped by steps after 4 steps; it brought no gain, so the weights are those from before it" in text
    assert "weights: converted" in text


@pytest.mark.parametrize("words", [("--multiple-of", 0), ("--matching", "paramz"), ("--multiple-of", -8)])
@pytest.mark.parametrize("to", ["geglu", "gelu_tanh"])
def test_a_width_rule_that_is_none_is_refused_also_where_it_would_not_be_used(swap, tmp_path, words, to):
    with pytest.raises(GatewiseError, match=r"multiple_of|paramz"):
        swap(f"{__name__}:mlp", "--to", to, "--keep-function", *words, "--out", tmp_path / "out")
    assert not (tmp_path / "out").exists()
