"""`gatewise train` in one process: what it writes, and what it says of input that cannot be."""

import json
from pathlib import Path

import pytest
import torch

import gatewise
from gatewise.cli import main

SETTINGS = ("data=synthetic", "dim=8", "context=16", "heldout_windows=8", "batch=2")
WORDS = ["train", "--steps", "6", *(word for setting in SETTINGS for word in ("--set", setting))]


@pytest.fixture(autouse=True)
def _no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK"):
        monkeypatch.delenv(name, raising=False)


def test_it_writes_curve_model_and_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "run"
    words = [*WORDS, "--arm", "swiglu", "--out", str(out), "--set", "train.learning_rate=0.02"]
    assert main(words) == 0
    document = json.loads((out / "train.json").read_text())
    result = document["result"]
    assert [step for step, _ in result["curve"]] == [1, 2, 3, 4, 5, 6]
    assert (result["arm"], result["steps"], result["failure"]) == ("swiglu", 6, None)
    assert document["plan"]["learning_rate"] == 0.02
    assert document["processes"] == {"words": "one process", "ranks": 1, "device": "cpu"}
    assert document["ways"] == ["one process"]
    printed = capsys.readouterr()
    assert f"{result['final_loss']:.6f}" in printed.out
    assert printed.err == ""
    model = gatewise.load(out / document["model"])
    with torch.inference_mode():
        assert model(torch.zeros(1, 4, dtype=torch.long)).shape == (1, 4, 256)
    # What has ended is read again, and not run again.
    held = sorted(path.read_bytes() for path in (out / "checkpoints").rglob("*.*"))
    assert main([*words, "--resume"]) == 0
    assert json.loads((out / "train.json").read_text())["result"] | {"seconds": 0} == result | {"seconds": 0}
    assert sorted(path.read_bytes() for path in (out / "checkpoints").rglob("*.*")) == held


def test_divergence_is_a_result(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*WORDS, "--out", str(tmp_path / "run"), "--set", "train.learning_rate=1e30"]) == 0
    document = json.loads((tmp_path / "run" / "train.json").read_text())
    assert "NaN/inf" in document["result"]["failure"]
    assert document["result"]["final_loss"] is document["model"] is None
    assert "ended early: NaN/inf" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--parallel ddp", "torchrun --standalone --nproc-per-node 2 -m gatewise train"),
        ("--parallel dpd", "did you mean 'ddp'"),
        ("--arm swigluu", "did you mean 'swiglu'"),
        ("--workload byte-ml", "did you mean 'byte-lm'"),
        ("--workload ffn", "valid: byte-lm"),
        ("--steps 0", "train.steps must be"),
        ("--seed -1", "--seed must be 0 or more"),
        ("--precision f16", "unknown precision"),
        ("--checkpoint-every 0", "at least 1"),
        ("--checkpoint-every soon", "soon"),
        ("--set dmi=8", "did you mean 'dim'"),
        ("--set train.learning_rat=1", "did you mean 'learning_rate'"),
        ("--set train.learning_rate=big", "train.learning_rate must be a number"),
        ("--set train.batch=[2]", "train.batch must be a number"),
        ("--set train.steps=9", "not both"),
        ("--set dim", "--set takes KEY=VALUE"),
        ("--set matching=width", "unknown matching"),
    ],
)
def test_bad_input_is_one_or_two_lines(
    words: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = WORDS[:3] if "--workload" in words else WORDS
    assert main([*base, "--out", str(tmp_path / "run"), *words.split()]) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.startswith("gatewise: ")
    assert len(error.splitlines()) <= 2
    assert not (tmp_path / "run").exists()


def test_a_folder_with_a_run_in_it_is_not_touched(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = [*WORDS, "--out", str(tmp_path / "run")]
    assert main([*words, "--resume"]) == 0
    assert "holds nothing to resume" in capsys.readouterr().err
    assert main(words) == 2
    assert "holds a run already" in capsys.readouterr().err
    assert main([*words, "--resume", "--seed", "1"]) == 2
    assert "seed is 0 there and 1 here" in capsys.readouterr().err
