"""The byte language model, its data, and what its arms share."""

import hashlib
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise import activations, surgery
from gatewise.core import GatewiseError
from gatewise.surgery.builders import BUILDERS
from gatewise.workloads import _byte_lm as byte_lm
from gatewise.workloads import _stdlib_source as stdlib_source
from gatewise.workloads._byte_lm import ByteLM, ByteLMConfig, ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
ARMS = ("gelu", "relu", "swiglu")


# -- data


def test_file_lists_are_sorted_unique_and_disjoint():
    train, heldout = stdlib_source.TRAIN_FILES, stdlib_source.HELDOUT_FILES
    assert list(train) == sorted(set(train))
    assert list(heldout) == sorted(set(heldout))
    assert len(train) > 100
    assert len(heldout) > 10
    assert not set(train) & set(heldout)


def test_this_python_has_every_pinned_file():
    source = stdlib_source.read()
    assert source.train.missing == source.heldout.missing == ()
    assert source.train.files == stdlib_source.TRAIN_FILES


def test_hardly_a_line_of_the_held_out_files_is_trained_on():
    source = stdlib_source.read()
    trained = set(source.train.text.split(b"\n"))
    lines = [line for line in source.heldout.text.split(b"\n") if len(line.strip()) >= 40]
    shared = [line for line in lines if line in trained]
    assert len(lines) > 1000
    assert len(shared) / len(lines) < 0.01


def _library(root: Path, *, size: int, leave_out: str = "") -> Path:
    for name in (*stdlib_source.TRAIN_FILES, *stdlib_source.HELDOUT_FILES):
        if name != leave_out:
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(name.encode() * (size // len(name)))
    return root


def test_a_missing_file_is_reported_and_changes_the_hash(tmp_path: Path):
    whole = stdlib_source.read(_library(tmp_path / "whole", size=20_000))
    again = stdlib_source.read(_library(tmp_path / "again", size=20_000))
    short = stdlib_source.read(_library(tmp_path / "short", size=20_000, leave_out="argparse.py"))
    assert whole.sha256 == again.sha256
    assert short.train.missing == ("argparse.py",)
    assert short.heldout.sha256 == whole.heldout.sha256
    assert short.sha256 != whole.sha256


def test_the_hash_covers_names_and_bytes(tmp_path: Path):
    root = _library(tmp_path, size=20_000)
    split = stdlib_source.read(root).heldout
    expected = "\n".join(split.files).encode() + b"\0"
    for name in split.files:
        expected += (root / name).read_bytes() + b"\0"
    assert split.sha256 == hashlib.sha256(expected).hexdigest()
    assert replace(split, files=(*split.files[:-1], "wav.py")).sha256 != split.sha256
    assert replace(split, text=split.text[:-2] + b"?\0").sha256 != split.sha256


def test_a_python_without_sources_is_refused(tmp_path: Path):
    with pytest.raises(GatewiseError, match=r"found 0 of \d+ training"):
        stdlib_source.read(tmp_path)


def test_data_facts_are_plain_and_state_the_split():
    facts = ByteLMWorkload().data_facts()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["train_bytes"] > 5_000_000
    assert facts["heldout_bytes"] > 400_000
    assert facts["heldout_scored"] == 512 * 128
    assert len(facts["sha256"]) == 64


# -- batches


@given(step=st.integers(0, 10_000), seed=st.integers(0, 100))
@settings(max_examples=20, deadline=None)
def test_a_batch_depends_on_step_and_seed_alone(step: int, seed: int):
    x, y = SMALL.train_batch(step, seed)
    again, _ = replace(SMALL, dim=32).train_batch(step, seed)
    assert torch.equal(x, again)
    assert x.shape == y.shape == (2, 32)
    assert torch.equal(x[:, 1:], y[:, :-1])
    assert not torch.equal(x, SMALL.train_batch(step + 1, seed)[0])
    assert not torch.equal(x, SMALL.train_batch(step, seed + 1)[0])


def test_batches_are_text_of_their_own_side():
    source = stdlib_source.read()
    x, _ = SMALL.train_batch(3, 1, 4)
    assert x.shape == (4, 32)
    assert all(bytes(row.tolist()) in source.train.text for row in x)
    batches = SMALL.heldout_batches()
    assert [len(x) for x, _ in batches] == [4, 4]
    assert all(bytes(row.tolist()) in source.heldout.text for x, _ in batches for row in x)


def test_held_out_windows_are_fixed_distinct_and_spread_over_the_files():
    first, second = ByteLMWorkload().heldout_batches(), ByteLMWorkload().heldout_batches()
    assert all(torch.equal(a, b) for one, two in zip(first, second, strict=True) for a, b in zip(one, two, strict=True))
    windows = [bytes(row.tolist()) for x, _ in first for row in x]
    assert len(set(windows)) == len(windows) == 512
    text = stdlib_source.read().heldout.text
    tenths = {text.index(window) * 10 // len(text) for window in windows[:100]}
    assert tenths == set(range(10))


def test_more_held_out_windows_than_text_are_refused():
    with pytest.raises(GatewiseError, match="too few"):
        replace(SMALL, heldout_windows=10**6).heldout_batches()


# -- model


@pytest.mark.parametrize("name", activations.names())
def test_every_activation_and_gate_builds_runs_and_has_gradients(name: str):
    model = SMALL.fresh(name, seed=0)
    loss = SMALL.loss(model, SMALL.train_batch(0, 0))
    loss.backward()
    assert torch.isfinite(loss)
    assert all(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("arm", ARMS)
def test_arms_of_the_built_in_study_have_equal_parameters(arm: str):
    counts = {name: ByteLMWorkload().fresh(name, seed=0).num_parameters for name in ("gelu", arm)}
    assert abs(counts[arm] / counts["gelu"] - 1) < 0.005
    assert counts[arm] == sum(p.numel() for p in ByteLMWorkload().fresh(arm, seed=0).parameters())


def test_unmatched_gates_are_bigger():
    assert ByteLMWorkload().config("swiglu", "none").ffn_hidden == 192
    assert ByteLMWorkload().config("swiglu").ffn_hidden == 128
    assert replace(ByteLMWorkload(), hidden=96).config("swiglu").ffn_hidden == 64


def test_the_same_seed_starts_shared_parameters_alike_and_another_does_not():
    gelu, relu, swiglu, other = (
        dict(SMALL.fresh(arm, seed=seed).named_parameters())
        for arm, seed in (("gelu", 5), ("relu", 5), ("swiglu", 5), ("gelu", 6))
    )
    assert gelu.keys() == relu.keys() == other.keys()
    assert all(torch.equal(gelu[name], relu[name]) for name in gelu)
    shared = gelu.keys() & swiglu.keys() - {"blocks.0.ffn.down.weight"}
    assert {"bytes.weight", "recent.0.weight", "blocks.0.qkv.weight", "blocks.0.out.weight"} <= shared
    assert all(torch.equal(gelu[name], swiglu[name]) for name in shared)
    assert all(torch.equal(gelu[name], other[name]) == (gelu[name].dim() == 1) for name in gelu)


def test_initialisation_ignores_and_leaves_torch_seeds():
    torch.manual_seed(1)
    one = SMALL.fresh("gelu", seed=0)
    torch.manual_seed(2)
    two = SMALL.fresh("gelu", seed=0)
    assert all(torch.equal(a, b) for a, b in zip(one.parameters(), two.parameters(), strict=True))


@pytest.mark.parametrize("arm", ARMS)
def test_no_position_sees_the_future(arm: str):
    model = SMALL.fresh(arm, seed=0).eval()
    x, _ = SMALL.train_batch(0, 0)
    changed = x.clone()
    changed[:, 20] = (changed[:, 20] + 1) % 256
    with torch.no_grad():
        difference = (model(x) - model(changed)).abs().amax(dim=(0, 2))
    assert difference[:20].max() == 0
    assert difference[20] > 0
    assert difference[31] > 0


@pytest.mark.parametrize("tokens", [1, 2, 3, 32])
def test_a_short_input_is_the_beginning_of_a_long_one(tokens: int):
    model = SMALL.fresh("gelu", seed=0).eval()
    x, _ = SMALL.train_batch(0, 0)
    with torch.no_grad():
        torch.testing.assert_close(model(x[:, :tokens]), model(x)[:, :tokens])


def test_loss_is_in_bits_per_byte():
    model = SMALL.fresh("gelu", seed=0)
    with torch.no_grad():
        model.bytes.weight.zero_()
    assert SMALL.loss(model, SMALL.train_batch(0, 0)).item() == pytest.approx(8.0)
    untrained = SMALL.loss(SMALL.fresh("gelu", seed=0), SMALL.train_batch(0, 0)).item()
    assert untrained == pytest.approx(math.log2(256), rel=0.3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"dim": 0}, "dim must be"),
        ({"heads": 3, "dim": 16}, "multiple of 2 x heads = 6"),
        ({"recent": -1}, "recent must be"),
        ({"hidden": 0}, "hidden must be"),
        ({"activation": "gelo"}, "gelu"),
    ],
)
def test_wrong_sizes_are_refused(wrong: dict[str, object], words: str):
    with pytest.raises(GatewiseError, match=words):
        ByteLMConfig(**wrong)  # pyright: ignore[reportArgumentType]


def test_too_many_tokens_are_refused():
    with pytest.raises(GatewiseError, match="32"):
        SMALL.fresh("gelu", seed=0)(torch.zeros(1, 33, dtype=torch.long))
    with pytest.raises(GatewiseError, match="1 to 32"):
        SMALL.inputs(1, 33, 0)


# -- as a subject


def test_build_takes_its_own_description_and_refuses_unknown_keys():
    model = SMALL.fresh("swiglu", seed=0)
    rebuilt = byte_lm.build(json.loads(json.dumps(model.gatewise_builder["config"])))
    assert rebuilt.config == model.config
    with pytest.raises(GatewiseError, match="did you mean 'layers'"):
        byte_lm.build({"layer": 2})


@pytest.mark.parametrize("arm", ARMS)
def test_save_and_load_go_round_bit_by_bit(arm: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(BUILDERS.table, "byte-lm", "gatewise.workloads._byte_lm:build")
    model = SMALL.fresh(arm, seed=7)
    surgery.save(model, tmp_path)
    loaded = surgery.load(tmp_path)
    assert isinstance(loaded, ByteLM)
    assert loaded.config == model.config
    x, _ = SMALL.train_batch(0, 0)
    with torch.no_grad():
        assert torch.equal(loaded(x), model.eval()(x))


def test_surgery_finds_the_ffns_and_gives_the_size_of_a_fresh_arm():
    model = ByteLMWorkload().original()
    swapped, report = surgery.swap(model, "swiglu")
    assert len(report.sites) == 2
    assert report.parameters_after == ByteLMWorkload().fresh("swiglu", seed=0).num_parameters
    assert swapped is not model


def test_inputs_run_and_probe_fit_together():
    model = SMALL.original()
    assert not model.training
    inputs = SMALL.inputs(3, 16, 0)
    assert torch.equal(inputs["input_ids"], SMALL.inputs(3, 16, 0)["input_ids"])
    assert not torch.equal(inputs["input_ids"], SMALL.inputs(3, 16, 1)["input_ids"])
    with torch.inference_mode():
        assert SMALL.run(model, inputs).shape == (3, 16 * 256)
        assert [len(SMALL.run(model, batch)) for batch in SMALL.probe()] == [4, 4]
    assert SMALL.facts()["workload"] == "byte-lm"
