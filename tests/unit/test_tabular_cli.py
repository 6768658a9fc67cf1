"""`gatewise table`: what it takes, what it refuses, what it writes."""

import argparse
import json
from pathlib import Path

import pytest
from tabular_examples import customers

from gatewise import report
from gatewise.cli import _table, _table_arguments
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
        "--set", "drop=since", "--set", "drop=spent", "--json",
    )  # fmt: skip
    assert _table.run(asked) == 0
    document = json.loads(capsys.readouterr().out)
    assert document == json.loads((out / "table.json").read_text(encoding="utf-8"))
    assert {each["name"] for each in document["columns"] if each["used"]} == {"age", "town"}
    assert len((out / "predictions.csv").read_text(encoding="utf-8").splitlines()) == 161
    assert "Is a neural network worth it?" in (out / "table.html").read_text(encoding="utf-8")
    assert document["replay"].endswith("--arms relu --seeds 2 --set drop=since --set drop=spent")


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
