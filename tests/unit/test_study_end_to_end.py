"""The main job through the command line, on a small model of the user's own: the document, resuming, bad input."""

import json
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import validate

from gatewise.cli import main
from gatewise.core import Store, environment
from gatewise.study import to_plan

SCHEMA = json.loads((Path(__file__).parents[2] / "docs" / "result.schema.json").read_text(encoding="utf-8"))

MODEL = """
import torch
from torch import nn

def make():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(32, 128), nn.GELU(), nn.Linear(128, 8)), torch.randn(64, 32)

def broken():
    return nn.Linear(3, 3), torch.randn(64, 3)

def wrong():
    return 1

def fails():
    raise RuntimeError("boom\\nsecond line")

def narrow():
    return make()[0], torch.randn(64, 3)

def none():
    return make()[0], torch.randn(0, 32)
"""

PLAN = """
[study]
arms = ["gelu", {name = "gelu", label = "same"}, {name = "gelu", label = "slow", slowdown = 0.5}, "relu", "swiglu"]
budget = "45s"
[subject]
model = "tiny_model:make"
[measure]
metrics = ["latency", "output_difference"]
batch = [4]
"""


def filled(folder: Path) -> Path:
    (folder / "tiny_model.py").write_text(MODEL)
    (folder / "plan.toml").write_text(PLAN)
    (folder / "weights.pt").write_bytes(b"PK")
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return filled(tmp_path)


def gatewise(folder: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "gatewise", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=240, check=False)


def read(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "out" / "result.json").read_text(encoding="utf-8"))


Study = tuple[Path, dict[str, Any]]
"""The folder of a study, and what `--json` printed at its end."""


@pytest.fixture(scope="module")
def study(tmp_path_factory: pytest.TempPathFactory) -> Study:
    """One study, killed four times at random moments and resumed to its end: what holds of any study holds of it."""
    folder = filled(tmp_path_factory.mktemp("study"))
    rng, kills = random.Random(4), 4
    command = [sys.executable, "-m", "gatewise", "evaluate", "plan.toml", "--out", "out"]
    for attempt in range(kills):
        child = subprocess.Popen(
            [*command, *(["--resume"] if (folder / "out" / "study.sqlite").exists() else [])],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        time.sleep(rng.uniform(0.5, 9.0) + attempt)
        os.kill(child.pid, signal.SIGKILL)
        child.wait()
    done = gatewise(folder, "evaluate", "plan.toml", "--out", "out", "--resume", "--json")
    assert done.returncode == 0, done.stderr
    return folder, json.loads(done.stdout)


@pytest.mark.alone
@pytest.mark.slow
def test_the_whole_way(study: Study) -> None:
    folder, document = study
    validate(document, SCHEMA)
    assert document == read(folder)
    assert (folder / "out" / "report.html").stat().st_size > 5_000
    verdicts = {c["arm"]: c["verdict"] for c in document["comparisons"] if c["metric"] == "latency"}
    assert verdicts["same"] not in ("better", "worse")
    assert verdicts["slow"] in ("worse", "inconclusive")  # inconclusive only where the twin says so
    if verdicts["gelu (twin)"] == "equivalent":
        assert verdicts["slow"] == "worse"
    states = {arm["label"]: arm["weights_state"] for arm in document["arms"]}
    assert states == {
        "gelu": "original",
        "gelu (twin)": "original",
        "same": "original",
        "slow": "original",
        "relu": "grafted",
        "swiglu": "untrained",
    }
    moved = {c["arm"]: c for c in document["comparisons"] if c["metric"] == "output_difference"}
    assert moved["relu"]["verdict"] == "worse"
    assert "random" in moved["swiglu"]["reason"]
    assert [arm["output_identical"] for arm in document["arms"] if arm["label"] == "same"] == [True]
    again = gatewise(folder, "report", "out", "--json")
    assert json.loads(again.stdout)["comparisons"] == document["comparisons"]


@pytest.mark.alone
@pytest.mark.slow
def test_killed_at_random_moments_and_resumed_every_cell_stands_once(study: Study) -> None:
    folder, document = study
    database = sqlite3.connect(folder / "out" / "study.sqlite")
    rows = database.execute("SELECT part, cell, process FROM cells").fetchall()
    database.close()
    assert max(Counter(rows).values()) == 1
    processes = sorted(process for _, _, process in rows)
    assert processes == list(range(len(processes)))
    assert len(processes) >= 8
    assert document["study"]["interrupted"] is False


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder as the current one; what a command imports from it is forgotten afterwards."""
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [str(folder), *sys.path])
    yield folder
    sys.modules.pop("tiny_model", None)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "none.toml"], "cannot read the plan"),
        (["evaluate", "tiny_model:nothing"], "no function 'nothing'"),
        (["evaluate", "no_such_module:f"], "cannot import"),
        (["evaluate", "./nowhere"], "no model './nowhere'"),
        (["evaluate", "sentence-encodr"], "did you mean 'sentence-encoder'"),
        (["evaluate", "tiny_model:make", "--arms", "gelu,rellu"], "did you mean 'relu'"),
        (["evaluate", "tiny_model:broken", "--arms", "gelu,relu"], "no"),
        (["evaluate", "tiny_model:wrong", "--arms", "gelu,relu"], "must return"),
        (["evaluate", "tiny_model:fails", "--arms", "gelu,relu"], "RuntimeError: boom"),
        (["evaluate", "tiny_model:narrow", "--arms", "gelu,relu"], "the model fails on its inputs"),
        (["evaluate", "tiny_model:none", "--arms", "gelu,relu"], "returns no inputs"),
        (["evaluate", "", "--arms", "gelu,relu"], "name is empty"),
        (["evaluate", "plan.toml", "--out", ""], "--out needs a folder"),
        (["evaluate", "tiny_model:make", "--budget", "3s"], "cannot give one verdict"),
        (["evaluate", "tiny_model:make", "--budget", "never"], "time span"),
        (["evaluate", "tiny_model:make", "--set", "measure.bach=[1]"], "did you mean 'batch'"),
        (["evaluate", "--workload", "byte-ml", "--arms", "gelu,relu"], "did you mean 'byte-lm'"),
        (["evaluate", "tiny_model:make", "--set", 'measure.runtimes=["eagr"]'], "did you mean 'eager'"),
        (["evaluate", "tiny_model:make", "--seeds", "4"], "cannot be trained from scratch"),
        (["evaluate", "weights.pt"], "pickle"),
        (["report", "nothing"], "holds no gatewise study"),
        (["swap", "nowhere", "--to", "relu", "--out", "x"], "no model 'nowhere'"),
    ],
)
def test_bad_input_is_two_lines_and_exit_2(
    here: Path, arguments: list[str], words: str, capfd: pytest.CaptureFixture[str]
) -> None:
    # In this process: a start costs more than most of these refusals. Below, three of them end a process of their own.
    code = main(arguments)
    printed = capfd.readouterr().err
    assert code == 2, printed
    assert words in printed
    assert len(printed.strip().splitlines()) <= 3
    assert "Traceback" not in printed


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["evaluate", "tiny_model:make", "--arms", "gelu,rellu", "--out", "out"], "did you mean 'relu'"),
        (["evaluate", "tiny_model:fails", "--arms", "gelu,relu", "--out", "out"], "RuntimeError: boom"),
        (["swap", "nowhere", "--to", "relu", "--out", "out"], "no model 'nowhere'"),
    ],
)
def test_a_program_given_bad_input_leaves_two_lines_and_exit_code_2_and_nothing_else(
    folder: Path, arguments: list[str], words: str
) -> None:
    done = gatewise(folder, *arguments)
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert len(done.stderr.strip().splitlines()) <= 3
    assert "Traceback" not in done.stderr
    assert not (folder / "out").exists()


def test_a_study_is_not_overwritten_and_not_resumed_by_another(folder: Path) -> None:
    out = folder / "out"
    out.mkdir()
    tables = {"study": {"arms": ["gelu", "relu"]}, "subject": {"model": "tiny_model:make"}}
    store = Store(out / "study.sqlite")
    store.put("plan", to_plan(tables).to_json())
    store.put("environment", environment())
    store.close()
    arguments = ["evaluate", "tiny_model:make", "--arms", "gelu,silu", "--out", "out"]
    second = gatewise(folder, *arguments)
    assert second.returncode == 2
    assert "already holds a study" in second.stderr
    other = gatewise(folder, *arguments, "--resume")
    assert other.returncode == 2
    assert "another plan" in other.stderr
    store = Store(out / "study.sqlite")
    store.put("environment", environment() | {"cpu": "another"})
    store.close()
    moved = gatewise(folder, "evaluate", "tiny_model:make", "--arms", "gelu,relu", "--out", "out", "--resume")
    assert moved.returncode == 2
