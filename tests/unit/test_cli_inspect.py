"""`gatewise inspect` on the command line: the table, one JSON document, exit codes."""

import json
from pathlib import Path

import pytest
from planted_models import export, gelu, gelu_tanh, net, reference

from gatewise.cli import main
from gatewise.inspection import inspect, show


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("files")
    models = {"one": net([gelu] * 2), "same": net([gelu] * 2), "tanh": net([gelu, gelu_tanh]), "all": reference()}
    return {name: str(export(model, folder / f"{name}.onnx", dynamo=False)) for name, model in models.items()}


def test_table(files: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    assert main(["inspect", files["all"]]) == 0
    shown = capsys.readouterr().out
    lines = shown.splitlines()
    assert "7 sites" in lines[0]
    assert lines[1].split() == ["site", "computes", "fused", "ops", "width", "params", "FLOPs", "bytes"]
    assert lines[2].split()[:2] == ["/0/act", "gelu"]
    assert any("none (nearest swiglu" in line and "high 7" in line for line in lines)
    assert "\x1b" not in shown


def test_long_paths_fit_into_100_columns_and_keep_the_layer(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    show(inspect("sentence-encoder"))
    rows = [line for line in capsys.readouterr().out.splitlines() if " gelu " in line]
    assert len(rows) == 6
    assert max(len(row) for row in rows) <= 100
    assert [row.split("…")[0] for row in rows] == [f"encoder.layer.{layer}" for layer in range(6)]


def test_json_is_one_document(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", files["one"], "--json"]) == 0
    captured = capsys.readouterr()
    assert json.loads(captured.out)["schema"] == "gatewise.inspect/1"
    assert captured.err == ""


def test_against(files: dict[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", files["one"], "--against", files["same"], "--fail-on", "mismatch"]) == 0
    assert "every site computes the same" in capsys.readouterr().out
    assert main(["inspect", files["one"], "--against", files["tanh"]]) == 0
    assert "gelu became gelu_tanh" in capsys.readouterr().out
    assert main(["inspect", files["one"], "--against", files["tanh"], "--fail-on", "mismatch", "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert [entry["kind"] for entry in document["mismatches"]] == ["function"]
    assert document["mismatches"][0]["path_b"] == "/1/act"


@pytest.mark.parametrize(
    "arguments",
    [
        ["inspect", "no-such-model"],
        ["inspect", "x.pt"],
        ["inspect", "gone.onnx"],
        ["inspect", "byte-lm", "--fail-on", "mismatch"],
        ["inspect", "byte-lm", "--data", "gone.npz"],
    ],
)
def test_bad_input(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(arguments) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert 1 <= len(captured.err.splitlines()) <= 2
    assert captured.err.startswith("gatewise: ")


def test_no_colour_where_none_is_wanted(
    files: dict[str, str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    main(["inspect", files["one"], "--against", files["tanh"]])
    assert "\x1b[31m" in capsys.readouterr().out
    monkeypatch.setenv("NO_COLOR", "1")
    main(["inspect", files["one"], "--against", files["tanh"]])
    assert "\x1b[3" not in capsys.readouterr().out


def test_reference_page_is_current() -> None:
    page = (Path(__file__).parents[2] / "docs" / "cli.md").read_text(encoding="utf-8")
    assert all(f"## gatewise {name}\n" in page for name in ("inspect", "lock", "check"))
