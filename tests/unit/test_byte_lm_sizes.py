"""Sizes of `byte-lm` by name, and a text of one's own."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from gatewise import train
from gatewise.core import GatewiseError
from gatewise.workloads import _byte_lm as byte_lm
from gatewise.workloads import workload
from gatewise.workloads._byte_lm import ByteLM, ByteLMWorkload

PARAMETERS = {"tiny": 104_688, "small": 918_656, "medium": 11_015_040, "base": 85_740_288}
"""As docs/training.md states them."""


# -- sizes


@pytest.mark.parametrize("size", byte_lm.SIZES)
def test_every_size_has_the_parameters_that_the_docs_state(size: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_lm, "initialise", lambda model, seed: None)
    made = workload(name="byte-lm", options={"size": size})
    assert isinstance(made, ByteLMWorkload)
    with torch.device("meta"):
        model = ByteLM(made.config("gelu"))
        gated = ByteLM(made.config("swiglu"))
    assert model.num_parameters == PARAMETERS[size]
    assert gated.num_parameters == pytest.approx(model.num_parameters, rel=0.005)
    docs = Path(__file__).parents[2] / "docs" / "training.md"
    assert f"{model.num_parameters:,}" in docs.read_text(encoding="utf-8")


def test_sizes_grow_and_their_rates_fall() -> None:
    made = [workload(name="byte-lm", options={"size": size}) for size in byte_lm.SIZES]
    dims = [each.dim for each in made if isinstance(each, ByteLMWorkload)]
    rates = [each.learning_rate for each in made if isinstance(each, ByteLMWorkload)]
    assert len(dims) >= 3
    assert dims == sorted(set(dims))
    assert {384, 768} <= set(dims)
    assert rates == sorted(set(rates), reverse=True)


def test_what_is_named_beside_a_size_wins() -> None:
    made = workload(name="byte-lm", options={"layers": 2, "size": "medium", "dim": 96})
    assert made == ByteLMWorkload(dim=96, layers=2, heads=6, context=256, batch=16, learning_rate=1.5e-3)
    assert workload(name="byte-lm", options={"size": "tiny"}) == ByteLMWorkload()


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("byte-lm", {"size": "smal"}, "unknown size of byte-lm 'smal'; did you mean 'small'"),
        ("byte-lm", {"size": 3}, "unknown size of byte-lm 3"),
        ("byte-lm", {"sise": "small"}, "did you mean 'size'"),
        ("ffn", {"size": "small"}, "unknown option of ffn 'size'"),
        ("vit", {"size": "small"}, "vit: size must be a whole number"),
    ],
)
def test_unknown_sizes_are_refused(name: str, options: dict[str, object], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        workload(name=name, options=options)
    assert len(str(caught.value).splitlines()) <= 2


# -- a text of one's own


def small(path: Path) -> ByteLMWorkload:
    made = workload(
        name="byte-lm",
        options={"file": str(path), "dim": 16, "layers": 1, "context": 32, "batch": 4, "heldout_windows": 16},
    )
    assert isinstance(made, ByteLMWorkload)
    return made


def write(path: Path, lines: int = 1000) -> Path:
    path.write_text(
        "".join(f"{n} sheep and {n + 1} sheep are {2 * n + 1} sheep, says the shepherd\n" for n in range(lines))
    )
    return path


def test_a_text_of_ones_own_is_cut_once_and_described(tmp_path: Path) -> None:
    path = write(tmp_path / "sheep.txt")
    made = small(path)
    facts = json.loads(json.dumps(made.facts()))["data"]
    content = path.read_bytes()
    assert facts["source"] == "the user's own text sheep.txt"
    assert facts["train_bytes"] + facts["heldout_bytes"] == len(content)
    assert 0.08 < facts["heldout_bytes"] / len(content) < 0.12
    assert facts["heldout_lines_trained_on"] == 0
    heldout = content[facts["train_bytes"] :]
    assert content[: facts["train_bytes"]].endswith(b"\n")
    assert all(bytes(row.tolist()) in heldout for x, _ in made.heldout_batches() for row in x)
    x, _ = made.train_batch(0, 0)
    assert all(bytes(row.tolist()) in content[: facts["train_bytes"]] for row in x)


def test_copied_lines_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "copies.txt"
    path.write_text("the very same line, again and again and again\n" * 1000)
    assert small(path).facts()["data"]["heldout_lines_trained_on"] == 1.0


def test_arms_train_on_it_with_the_same_data_and_know_its_slices(tmp_path: Path) -> None:
    made = small(write(tmp_path / "sheep.txt"))
    plan = train.TrainPlan(steps=60, eval_every=60)
    run = train.TrainRun(workload=made, arm="relu", seed=0, plan=plan, diagnostics=("slice_gap",))
    runs = [run.train(), replace(run, arm="swiglu").train()]
    assert all(run.final_loss is not None and run.final_loss < 4 for run in runs)
    assert runs[0].data_order_sha256 == runs[1].data_order_sha256
    assert {"slice_loss.letters", "slice_loss.digits", "slice_loss.space"} <= runs[0].diagnostics.keys()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "cannot read the text"),
        (b"short\n", "valid: from 20,000"),
        (b"\xff" * 30_000, r"not UTF-8 text \(byte 0\)"),
    ],
)
def test_what_is_no_text_is_refused(content: bytes | None, words: str, tmp_path: Path) -> None:
    path = tmp_path / "own.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(GatewiseError, match=words) as caught:
        small(path).facts()
    assert len(str(caught.value).splitlines()) <= 2


def test_a_folder_and_another_kind_of_text_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="is no file"):
        small(tmp_path).facts()
    with pytest.raises(GatewiseError, match="leave out shifted_loss"):
        small(write(tmp_path / "sheep.txt")).shifted_batches()


def test_one_endless_line_is_cut_all_the_same(tmp_path: Path) -> None:
    path = tmp_path / "line.txt"
    path.write_text("ab" * 20_000)
    assert small(path).facts()["data"]["heldout_bytes"] == 4_000


def test_too_many_windows_say_how_many_fit(tmp_path: Path) -> None:
    path = write(tmp_path / "sheep.txt", lines=500)
    made = workload(name="byte-lm", options={"file": str(path)})
    with pytest.raises(GatewiseError, match=r"too few for 512 windows of 128\nvalid: heldout_windows of at most \d+"):
        made.heldout_batches()  # pyright: ignore[reportAttributeAccessIssue]
