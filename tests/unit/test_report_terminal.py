"""The terminal report: narrow, wide, piped, without colour, without UTF-8, with hostile labels."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gatewise import report

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


def printed(document: dict[str, Any], width: int, **settings: Any) -> str:
    buffer = io.StringIO()
    report.terminal(document, Console(file=buffer, width=width, **settings))
    return buffer.getvalue()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal(document: dict[str, Any], width: int) -> None:
    assert max(map(len, printed(document, width).splitlines())) <= width


def test_the_verdict_comes_first(document: dict[str, Any]) -> None:
    text = " ".join(printed(document, 80).split())
    headline = document["verdict"]["headline"]
    places = [text.index(" ".join(part.split())) for part in (headline, document["verdict"]["next"][0], "Warnings")]
    assert places[0] == 0
    assert places == sorted(places)
    assert text.index("time per call") < text.index("Not measured") < text.index("Environment") < text.index("Replay")


def test_a_pipe_gets_plain_text_without_boxes_or_escapes(document: dict[str, Any]) -> None:
    text = printed(document, 80)
    assert "\x1b" not in text
    assert not any(0x2500 <= ord(sign) <= 0x259F for sign in text)


def test_no_color_is_honoured(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;36m" in printed(document, 80, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;36m" not in printed(document, 80, force_terminal=True)


def test_numbers_are_right_aligned_at_eighty_columns(document: dict[str, Any]) -> None:
    lines = printed(document, 80).splitlines()
    start = next(index for index, line in enumerate(lines) if line.startswith("inference: time per call"))
    top = next(index for index, line in enumerate(lines) if index > start and "estimate" in line)
    end = next(index for index, line in enumerate(lines) if index > top and not line.strip())
    head, table = lines[top], lines[top + 1 : end]
    edge = head.index("estimate") + len("estimate")
    rows = [line for line in table if "processes" in line]
    assert len(rows) == 10
    assert all(line[edge - 1] == "%" and line[edge] == " " for line in rows)


def test_an_output_that_is_not_utf8_gets_what_it_can_encode(document: dict[str, Any]) -> None:
    document["arms"][2]["label"] = document["comparisons"][1]["arm"] = "日本"
    raw = io.BytesIO()
    wrapper = io.TextIOWrapper(raw, encoding="ascii")
    report.terminal(document, Console(file=wrapper, width=80))
    wrapper.flush()
    text = raw.getvalue().decode("ascii")
    assert "x worse" in text
    assert "-14.1 %" in text


def test_labels_are_no_markup_and_no_escape_codes(document: dict[str, Any]) -> None:
    document["verdict"]["answers"] = [
        {"part": "p", "arm": "[bold red]x[/]\x1b[2J", "verdict": "better", "text": "[link=file:///x]y[/link]"}
    ]
    text = printed(document, 120)
    assert "[bold red]x[/]\N{REPLACEMENT CHARACTER}[2J" in text
    assert "[link=file:///x]y[/link]" in text
    assert "\x1b" not in text


def test_without_a_console_it_prints_to_stdout(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    report.terminal(document)
    assert document["replay"] in " ".join(capsys.readouterr().out.split())
