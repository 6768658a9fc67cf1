"""`gatewise lock` and `gatewise check` on the command line."""

import json
import shutil
from pathlib import Path

import pytest
from planted_models import export, gelu, gelu_tanh, net

from gatewise.cli import main


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("files")
    one = export(net([gelu] * 2), folder / "one.onnx", dynamo=False)
    return one, export(net([gelu, gelu_tanh]), folder / "tanh.onnx", dynamo=False)


def test_lock_check_change_explain(
    exports: tuple[Path, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model = tmp_path / "model.onnx"
    shutil.copy(exports[0], model)
    assert main(["check", str(model)]) == 2
    assert "there is no lock" in capsys.readouterr().err
    assert main(["lock", str(model)]) == 0
    assert capsys.readouterr().out == f"locked: {model}.lock.json\n"
    assert main(["check", str(model)]) == 0
    assert "as locked" in capsys.readouterr().out

    shutil.copy(exports[1], model)
    assert main(["check", str(model)]) == 1
    assert "/1/act: gelu became gelu_tanh" in capsys.readouterr().out.replace("\n", " ")
    assert main(["check", str(model), "--json"]) == 1
    document = json.loads(capsys.readouterr().out)
    assert (document["schema"], document["passed"]) == ("gatewise.check/1", False)
    assert main(["lock", str(model)]) == 2
    assert "say why with --because" in capsys.readouterr().err
    assert main(["lock", str(model), "--because", "faster on the phone", "--json"]) == 0
    locked = json.loads(capsys.readouterr().out)
    assert locked["history"][-1]["because"] == "faster on the phone"
    assert main(["check", str(model)]) == 0

    Path(f"{model}.lock.json").write_text("{", encoding="utf-8")
    capsys.readouterr()
    assert main(["check", str(model)]) == 2
    captured = capsys.readouterr()
    assert (captured.out, len(captured.err.splitlines())) == ("", 1)
