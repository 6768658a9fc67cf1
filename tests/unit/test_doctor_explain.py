"""`gatewise doctor --explain`: which kernels run, what was chosen by which times, and how to force it."""

import io
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from rich.console import Console

from gatewise import doctor
from gatewise.cli import main
from gatewise.core import GatewiseError
from gatewise.kernels import _choice, _choice_file
from gatewise.kernels._choice_file import Choice

CHOICES = (
    Choice(
        question="linear.forward",
        key=(("dtype", "float32"), ("in", 384), ("out", 1024), ("rows", 512), ("threads", 1)),
        chosen="onednn",
        source="measured",
        times_s={"torch": 0.0055, "onednn": 0.0045},
        rounds=10,
        at="2026-01-02T03:04:05+00:00",
    ),
    Choice(
        question="linear.forward",
        key=(("dtype", "float32"), ("in", 384), ("out", 1024), ("rows", 64), ("threads", 1)),
        chosen="torch",
        source="measured",
        times_s={"torch": 5e-6, "onednn": 1.5},
        rounds=3,
        at="2026-01-02T03:04:06+00:00",
        note="packed failed: no memory",
    ),
)


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GATEWISE_CHOOSE", raising=False)
    _choice.forget()
    yield
    _choice.forget()


def keep() -> None:
    for each in CHOICES:
        _choice_file.store(each)
    _choice.forget()


def page(width: int = 200) -> str:
    out = io.StringIO()
    doctor.show(doctor.explain(), Console(file=out, width=width))
    return out.getvalue()


def test_choices_are_told_with_their_times_smallest_first() -> None:
    keep()
    lines = [line for line in page().splitlines() if line.startswith("  linear.forward") and "measured" in line]
    assert lines == [
        "  linear.forward      torch for dtype float32, in 384, out 1024, rows 64, threads 1: 5 µs "
        "(others: onednn 1.5 s), median of 3, measured 2026-01-02T03:04:06+00:00; packed failed: no memory",
        "  linear.forward      onednn for dtype float32, in 384, out 1024, rows 512, threads 1: 4.5 ms "
        "(others: torch 5.5 ms), median of 10, measured 2026-01-02T03:04:05+00:00",
    ]


def test_the_document_is_the_same_facts(capsys: pytest.CaptureFixture[str]) -> None:
    keep()
    assert main(["doctor", "--explain", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["schema"], found["kind"]) == ("gatewise.doctor/1", "explain")
    assert [each["key"]["rows"] for each in found["choices"]] == [64, 512]
    assert found["choices"][1]["times_s"] == {"torch": 0.0055, "onednn": 0.0045}
    assert found["questions"]["linear.forward"] == ["torch", "onednn", "split"]
    assert found["forced"] == {}
    assert found["machine"] == _choice_file.machine()
    kept = found["kept"]
    assert kept["reason"] is None
    assert Path(kept["path"]).is_file()
    assert set(found["native_kernels"]) == {"instruction_set", "path", "reason"}


def test_nothing_chosen_yet(tmp_path: Path) -> None:
    shown = page()
    assert "none yet" in shown
    assert str(tmp_path / "cache") in shown
    assert not (tmp_path / "cache").exists()  # looking writes nothing


def test_what_is_forced_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GATEWISE_CHOOSE", "linear=onednn")
    _choice.forget()
    assert "  forced now          linear: onednn\n" in page()
    with _choice.forced({"ffn.training": "torch"}):
        assert doctor.explain()["forced"] == {"linear": "onednn", "ffn.training": "torch"}


def test_what_is_wrong_with_the_file_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    keep()
    (path,) = (tmp_path / "cache").glob("*.json")
    path.write_text("{")
    assert f"  but                 {path.name} could not be read and is begun anew: " in page(400)
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    _choice.forget()
    shown = page()
    assert "  not kept            GATEWISE_CACHE=off\n" in shown
    assert "forget(stored=True)" not in shown


def test_every_question_is_listed_with_its_ways() -> None:
    shown = page()
    for question, ways in _choice.QUESTIONS.items():
        assert f"  {question:<20}{', '.join(ways)}\n" in shown


def test_absent_kernels_are_said_and_torch_is_not_imported() -> None:
    code = (
        "import sys; from gatewise.cli import main; code = main(['doctor', '--explain']); "
        "assert 'torch' not in sys.modules; sys.exit(code)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={"GATEWISE_NATIVE": "off", "GATEWISE_CACHE": "off", "PATH": "", "COLUMNS": "200"},
        capture_output=True,
        text=True,
        encoding="utf-8",
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "  absent              torch computes: GATEWISE_NATIVE=off\n" in done.stdout
    assert "native kernels absent" in done.stdout


def test_bad_requests_are_refused(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--explain", "--aa"]) == 2
    assert "--explain and --aa" in capsys.readouterr().err
    assert main(["doctor", "--explain", "--studies", "3"]) == 2
    assert "--studies must stand beside --aa" in capsys.readouterr().err
    monkeypatch.setenv("GATEWISE_CHOOSE", "linear=onedn")
    _choice.forget()
    with pytest.raises(GatewiseError, match="did you mean 'onednn'"):
        doctor.explain()
    assert main(["doctor", "--explain", "--json"]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert "valid: onednn, packed, split, torch, turned" in shown.err
