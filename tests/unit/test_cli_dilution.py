"""`gatewise dilution`: what it asks of the study, what it writes and prints, and bad input."""

import argparse
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from test_dilution_table import study as measured

from gatewise import study
from gatewise.cli._arguments import parser
from gatewise.cli._dilution import run
from gatewise.core import METRICS, GatewiseError


def parsed(*arguments: str) -> argparse.Namespace:
    return parser("0").parse_args(["dilution", *arguments])


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[dict[str, Any]]:
    """What the study was asked for; it answers at once with an invented document."""
    found: list[dict[str, Any]] = []

    def evaluate(plan: study.Plan, out: Path, **more: Any) -> dict[str, Any]:
        found.append({"plan": plan, "out": out} | more)
        return measured() | {"replay": more["replay"]}

    monkeypatch.setattr(study, "evaluate", evaluate)
    monkeypatch.chdir(tmp_path)
    return found


def test_without_arguments_the_whole_way_in_a_quarter_of_an_hour(asked: list[dict[str, Any]]) -> None:
    assert run(parsed()) == 0
    plan = asked[0]["plan"]
    assert plan.budget_s == 900
    assert len(plan.parts) == 10
    assert str(asked[0]["out"]) == "gatewise-dilution"
    assert asked[0]["resume"] is False


def test_every_option_reaches_the_plan_and_the_command_that_repeats_it(
    asked: list[dict[str, Any]], tmp_path: Path
) -> None:
    words = ["--arms", "silu, geglu", "--budget", "5m", "--threads", "2", "--out", str(tmp_path / "x"), "--resume"]
    words += ["--set", "tokens=[1, 8]", "--set", "levels=operator,model", "--set", 'dtypes=["float32"]']
    words += ["--set", "dim=16", "--set", "layers=1", "--set", "heads=2", "--set", "seed=3"]
    assert run(parsed(*words)) == 0
    plan = asked[0]["plan"]
    assert [part.name for part in plan.parts] == ["operator/float32", "model/float32"]
    assert [arm.name for arm in plan.parts[0].arms] == ["gelu", "identity", "silu", "geglu"]
    assert plan.parts[0].measure.tokens == (1, 8)
    assert plan.parts[0].measure.threads == (2,)
    assert (plan.budget_s, plan.seed) == (300.0, 3)
    sizes = plan.parts[0].subject.options
    assert (sizes["dim"], sizes["layers"], sizes["heads"]) == (16, 1, 2)
    assert asked[0]["resume"] is True
    again = asked[0]["replay"]
    assert again.startswith("gatewise dilution --arms 'silu, geglu' --budget 5m --threads 2 --set 'tokens=[1, 8]'")
    assert "--resume" not in again


def test_the_files_and_the_table(asked: list[dict[str, Any]], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert run(parsed("--out", "here")) == 0
    names = sorted(path.name for path in (tmp_path / "here").iterdir())
    assert names == ["dilution.html", "dilution.json", "dilution.md", "result.json"]
    out = capsys.readouterr().out
    assert "2.50 times as fast as gelu" in out
    assert "whole model" in out
    assert "written: here/result.json, here/dilution.json, here/dilution.md, here/dilution.html" in out


def test_json_is_one_document_and_nothing_else(asked: list[dict[str, Any]], capsys: pytest.CaptureFixture) -> None:
    assert run(parsed("--json")) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["schema"] == "gatewise.dilution/1"
    assert len(printed["rows"]) == 4


def test_a_study_that_is_stopped_leaves_what_it_has(
    asked: list[dict[str, Any]], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def stopped(*given: Any, **more: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(study, "evaluate", stopped)
    monkeypatch.setattr(study, "read_study", lambda out: measured())
    with pytest.raises(KeyboardInterrupt):
        run(parsed("--out", "here"))
    assert (tmp_path / "here" / "dilution.html").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--set", "token=1"], "did you mean 'tokens'"),
        (["--set", "tokens"], "--set takes KEY=VALUE"),
        (["--set", "tokens=many"], "tokens= takes whole numbers"),
        (["--set", "tokens=1,,2"], "tokens=1,128"),
        (["--set", "tokens="], "tokens=1,128"),
        (["--set", "tokens=0"], "whole numbers above 0"),
        (["--set", "dim=wide"], "dim= takes whole numbers"),
        (["--set", "levels=modle"], "did you mean 'model'"),
        (["--set", "dtypes=float23"], "did you mean 'float32'"),
        (["--arms", ","], "at least one arm beside gelu"),
        (["--arms", "gelu"], "at least one arm beside gelu"),
        (["--arms", "relu,relu"], "two arms have the label"),
        (["--threads", "0"], "threads"),
        (["--budget", "soon"], "a time span looks like"),
        (["--out", " "], "--out needs a folder's name"),
    ],
)
def test_bad_input_is_refused_in_at_most_two_lines(asked: list[dict[str, Any]], words: list[str], said: str) -> None:
    with pytest.raises(GatewiseError) as caught:
        run(parsed(*words))
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) <= 2
    assert asked == []


@pytest.mark.slow
@pytest.mark.usefixtures("short_looks")
def test_a_small_dilution_from_end_to_end(
    tmp_path: Path, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A margin that the first look settles: the budget is a bound here, not the time that it takes.
    monkeypatch.setitem(METRICS, "latency", replace(METRICS["latency"], margin=9.0))
    words = ["--arms", "relu", "--budget", "5m", "--out", str(tmp_path / "out"), "--json"]
    for setting in ("dim=16", "layers=1", "heads=2", "tokens=1,8", "levels=operator,ffn", "dtypes=float32"):
        words += ["--set", setting]
    assert run(parsed(*words)) == 0
    document = json.loads(capsys.readouterr().out)
    assert [(row["level"], row["tokens"]) for row in document["rows"]] == [
        (level, tokens) for level in ("operator", "ffn") for tokens in (1, 8)
    ]
    for row in document["rows"]:
        assert row["share"] is not None
        assert row["ratios"]["relu"]["n"] >= 8
        assert min(row["times_s"].values()) > 0
    assert (tmp_path / "out" / "dilution.html").exists()
