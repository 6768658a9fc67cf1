"""`gatewise table`: what it takes, what it refuses, what it writes."""

import argparse
import json
from pathlib import Path

import pytest
from tabular_examples import customers

from gatewise import report
from gatewise.cli import _arguments, _table, _table_arguments, _table_plan
from gatewise.core import GatewiseError
from gatewise.report._table import table_terminal, write_table
from gatewise.tabular import _baselines, _network, _scores

pytest.importorskip("sklearn")


def parsed(*arguments: str) -> argparse.Namespace:
    commands = argparse.ArgumentParser().add_subparsers()
    _table_arguments.table(commands.add_parser)
    return commands.choices["table"].parse_args(arguments)


@pytest.fixture(autouse=True)
def _faced(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report, "write_table", write_table, raising=False)
    monkeypatch.setattr(report, "table_terminal", table_terminal, raising=False)
    monkeypatch.setattr(_network, "FEWEST_STEPS", 40)
    monkeypatch.setattr(_network, "EPOCHS", 1)
    monkeypatch.setattr(_network, "RATES", (2e-3,))
    monkeypatch.setattr(_baselines, "ROUNDS", 50)
    monkeypatch.setattr(_baselines, "TREES", ((0.1, 6),))
    monkeypatch.setattr(_scores, "RESAMPLES", 50)


def test_a_file_becomes_a_page_and_answers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, out = customers(tmp_path / "customers.csv", rows=160), tmp_path / "out"
    asked = parsed(
        str(data), "--target", "churn", "--predict", str(data), "--arms", "relu", "--seeds", "2", "--out", str(out),
        "--set", "drop=since", "--set", "drop=spent", "--set", "folds=0", "--json",
    )  # fmt: skip
    assert _table.run(asked) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert {each["name"] for each in document["columns"] if each["used"]} == {"age", "town"}
    assert len((out / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 161
    assert "Is a neural network worth it?" in (out / "table.html").read_text(encoding="utf-8")
    assert document["replay"].endswith("--arms relu --seeds 2 --set drop=since --set drop=spent --set folds=0")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--target", "churn", "--arms", "gelo"], "did you mean 'gelu'"),
        (["--target", "churn", "--task", "classfy"], "did you mean 'classify'"),
        (["--target", "churn", "--seeds", "1"], "from 2 to 100"),
        (["--target", "churn", "--budget", "soon"], "a time span looks like"),
        (["--target", "churn", "--set", "dropp=age"], "did you mean 'drop'"),
        (["--target", "churn", "--set", "drop"], "takes KEY=VALUE"),
        (["--target", "churn", "--set", "drop=agee"], "did you mean 'age'"),
        (["--target", "churn", "--set", "time=age"], "holds no dates"),
        (["--target", "town", "--task", "regress"], "needs numbers"),
        (["--target", "chrn"], "did you mean 'churn'"),
    ],
)
def test_what_cannot_be_is_refused_in_two_lines(tmp_path: Path, arguments: list[str], words: str) -> None:
    data = customers(tmp_path / "customers.csv", rows=80)
    with pytest.raises(GatewiseError, match=words) as caught:
        _table.run(parsed(str(data), *arguments, "--out", str(tmp_path / "out")))
    assert str(caught.value).count("\n") <= 1
    assert not (tmp_path / "out").exists()


def planned(tmp_path: Path, text: str, *options: str) -> argparse.Namespace:
    """The arguments of `gatewise evaluate` for a plan with this text."""
    (tmp_path / "plan.toml").write_text(text, encoding="utf-8")
    given = _arguments.parser("0").parse_args(["evaluate", str(tmp_path / "plan.toml"), *options])
    assert isinstance(given, argparse.Namespace)
    return given


PLAN = """
[study]
arms = ["relu"]
seed = 3
[subject]
data = "customers.csv"
target = "churn"
predict = "customers.csv"
drop = ["since", "spent"]
folds = 0
[train]
seeds = 2
"""


def test_a_plan_file_runs_the_same_study(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = customers(tmp_path / "customers.csv", rows=160)
    assert _table_plan.run_plan(planned(tmp_path, PLAN, "--out", str(tmp_path / "one"), "--json")) == 0
    asked = (
        "--target",
        "churn",
        "--predict",
        str(data),
        "--arms",
        "relu",
        "--seeds",
        "2",
        "--out",
        str(tmp_path / "two"),
    )
    settings = ("--set", "drop=since,spent", "--set", "folds=0", "--set", "seed=3")
    assert _table.run(parsed(str(data), *asked, *settings)) == 0
    one, two = (json.loads((tmp_path / name / "table.json").read_text(encoding="utf-8")) for name in ("one", "two"))
    assert timeless(one) == timeless(two)
    answers = [(tmp_path / name / "predictions.csv").read_bytes() for name in ("one", "two")]
    assert answers[0] == answers[1]
    assert json.loads(capsys.readouterr().out.splitlines()[0]) == one


def timeless(document: dict[str, object]) -> str:
    """The document without what a clock wrote, and the command."""
    kept = {key: value for key, value in document.items() if key not in ("started", "seconds", "environment", "replay")}
    return json.dumps(json.loads(json.dumps(kept), object_hook=lambda each: {**each, "seconds": None}))


def test_what_the_command_line_says_goes_before_the_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[argparse.Namespace] = []
    monkeypatch.setattr(_table, "run", lambda asked: seen.append(asked) or 0)
    customers(tmp_path / "customers.csv", rows=80)
    options = ("--arms", "gelu,silu", "--seeds", "4", "--budget", "9s", "--set", "subject.target=town", "--resume")
    assert _table_plan.run_plan(planned(tmp_path, PLAN, *options)) == 0
    told = seen[0]
    assert (told.arms, told.seeds, told.budget, told.target, told.resume) == ("gelu,silu", 4, "9s", "town", True)
    assert told.data == str(tmp_path / "customers.csv")
    assert told.settings == ["drop=since,spent", "seed=3", "folds=0"]
    _table_plan.run_plan(planned(tmp_path, PLAN.replace('["relu"]', '["relu", "gelu"]\nbaseline = "gelu"')))
    assert seen[1].arms == "gelu,relu"


@pytest.mark.parametrize(
    "subject", ['workload = "byte-lm"', 'model = "here"\ndata = "a.csv"\ntext = "t"\ntarget = "y"', 'dataa = "a.csv"']
)
def test_other_plans_are_left_alone(tmp_path: Path, subject: str) -> None:
    assert _table_plan.run_plan(planned(tmp_path, f"[subject]\n{subject}\n")) is None
    assert _table_plan.run_plan(_arguments.parser("0").parse_args(["evaluate"])) is None


@pytest.mark.parametrize(
    ("old", "new", "options", "words"),
    [
        ('target = "churn"', 'tarket = "churn"', (), "did you mean 'target'"),
        ('target = "churn"', "", (), "needs a target"),
        ('target = "churn"', "target = 3", (), "target must be text"),
        ("[train]", "[measure]", (), "valid: study, subject, train"),
        ("seeds = 2", "seeds = 2.5", (), "seeds must be a whole number"),
        ("folds = 0", "folds = 2", (), "from 3 to 20"),
        ('["relu"]', '["relu"]\nbaseline = "gelu"', (), "baseline"),
        ('["relu"]', '["relo"]', (), "did you mean 'relu'"),
        ("drop = ", "dropp = ", (), "did you mean 'drop'"),
        ("", "", ("--fail-on", "worse"), "--fail-on means nothing"),
        ("", "", ("--on", "dask"), "--on means nothing"),
    ],
)
def test_a_broken_plan_is_refused_in_two_lines(
    tmp_path: Path, old: str, new: str, options: tuple[str, ...], words: str
) -> None:
    customers(tmp_path / "customers.csv", rows=80)
    with pytest.raises(GatewiseError, match=words) as caught:
        _table_plan.run_plan(planned(tmp_path, PLAN.replace(old, new), *options, "--out", str(tmp_path / "out")))
    assert str(caught.value).count("\n") <= 1
    assert not (tmp_path / "out").exists()
