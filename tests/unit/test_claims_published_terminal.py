"""What `gatewise claims --published` prints, and the document it prints with --json."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise import claims
from gatewise.cli._claims_published import show

OWN = """
[[table]]
name = "widths \\u00d7 depths [red]bold[/red]"
better = "lower"
unmatched = ["parameters"]
arms = [
  { name = "a", mean = 1.00, sd = 0.01, n = 5 },
  { name = "b", mean = 1.20, sd = 0.02, n = 5 },
]
"""


@pytest.fixture
def own(tmp_path: Path) -> Path:
    path = tmp_path / "own.toml"
    path.write_text(OWN, encoding="utf-8")
    return path


def printed(capsys: pytest.CaptureFixture[str], file: Path | None = None) -> str:
    assert show(file, as_json=False) == 0
    return capsys.readouterr().out


def test_json_is_the_document_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(None, as_json=True) == 0
    assert json.loads(capsys.readouterr().out) == claims.published()


@pytest.mark.parametrize("width", ["80", "100", "160"])
def test_lines_fit(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], width: str) -> None:
    monkeypatch.setenv("COLUMNS", width)
    lines = printed(capsys).splitlines()
    assert max(len(line) for line in lines) <= int(width)
    assert not any(line.endswith(" ") for line in lines)


def test_every_source_and_every_word_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys)
    document = claims.published()
    for source in document["tables"]:
        assert text.count(f"{source['source']} · ") == 1
    flat = " ".join(text.split())
    for each in document["results"]:
        if each["value"] is None or "pair" not in each["detail"]:
            assert " ".join(each["reason"].split()) in flat
    for figure in ("17 of 28 pairs", "12 of 12 pairs", "0.9524", "0.8571", "1.643", "6.44e-05", "1.0170", "1.0080"):
        assert figure in flat
    assert "\x1b" not in text


def test_pairs_stand_in_order_of_p_with_their_word(capsys: pytest.CaptureFixture[str]) -> None:
    lines = printed(capsys).splitlines()
    start = next(i for i, line in enumerate(lines) if "Swish vs ReGLU" in line)
    rows = lines[start : start + 28]
    assert [row.split()[-1].rstrip("*") for row in rows] == ["established"] * 28
    assert ["not established" in row for row in rows] == [False] * 17 + [True] * 11


def test_colour_only_where_it_is_wanted(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "gatewise", "claims", "--published"]
    base = {"PATH": "", "TERM": "xterm-256color", "FORCE_COLOR": "1", "PYTHONPATH": ":".join(sys.path)}
    coloured, plain = (
        subprocess.run(command, capture_output=True, text=True, timeout=120, check=True, env=base | extra).stdout
        for extra in ({}, {"NO_COLOR": "1"})
    )
    assert "\x1b[" in coloured
    assert "\x1b[3" not in plain


def test_own_names_are_never_markup(own: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = printed(capsys, own)
    assert "widths × depths [red]bold[/red]" in text
    assert "NOT matched: parameters" in text
    assert "cannot tell" in text


def test_an_output_that_is_not_utf8(own: Path) -> None:
    command = [sys.executable, "-m", "gatewise", "claims", "--published", "--file", str(own)]
    settings = {"PATH": "", "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0", "PYTHONPATH": ":".join(sys.path)}
    done = subprocess.run(command, capture_output=True, timeout=120, check=False, env=settings)
    assert done.returncode == 0, done.stderr
    assert "widths ? depths" in done.stdout.decode("ascii")
