"""The terminal report: narrow, wide, piped, without colour, without UTF-8, with hostile labels."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
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


def table(text: str, title: str) -> list[str]:
    """The head and the rows of one table, and the remarks below it that look like rows."""
    lines = text.splitlines()
    start = lines.index(title)
    top = next(index for index in range(start, len(lines)) if lines[index].startswith("  arm "))
    end = next(index for index in range(top, len(lines)) if not lines[index].startswith("  "))
    return [line for line in lines[top:end] if re.search(r"  (.|better|worse|equivalent|inconclusive)", line)]


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
def test_no_line_is_wider_than_the_terminal(document: dict[str, Any], width: int) -> None:
    lines = [line for line in printed(document, width).splitlines() if document["replay"] not in line]
    assert max(map(cell_len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)


@pytest.mark.parametrize("width", [60, 80, 120])
def test_every_row_is_one_line_with_whole_words(document: dict[str, Any], width: int) -> None:
    rows = table(printed(document, width), "inference: time per call")[1:13]
    arms = [c["arm"] for c in document["comparisons"] if c["metric"] == "latency"]
    assert [row.split("  ")[1] for row in rows] == arms
    assert all("batch 1 " in row or "batch 32 " in row for row in rows)


def test_the_verdict_comes_first_and_the_machine_in_one_line_last(document: dict[str, Any]) -> None:
    text = " ".join(printed(document, 80).split())
    verdict = document["verdict"]
    order = [verdict["headline"], verdict["recommendation"], verdict["answers"][0]["text"]]
    order += ["What would settle the rest", *verdict["next"], "Warnings", "inference: time per call lower is better"]
    order += ["Not judged or not measured", "What the verdicts rest on", "machine AMD", "again gatewise"]
    places = [text.index(each) for each in order]
    assert places[0] == 0
    assert places == sorted(places)
    assert "AMD EPYC 7763, 2 cores, torch 2.13.0, took 5 min 32 s" in text
    assert "How to read this" not in text


def test_a_reason_is_said_once(document: dict[str, Any]) -> None:
    text = " ".join(printed(document, 120).split())
    refused = {(c["part"], c["metric"], c["reason"]) for c in document["comparisons"] if not c["interval"]}
    assert len(refused) >= 4
    for reason in {reason for _, _, reason in refused}:
        tables = sum(other == reason for _, _, other in refused)
        assert text.count(reason) == tables, reason


def test_what_makes_a_row_unfair_stands_on_its_line(document: dict[str, Any]) -> None:
    text = printed(document, 80)
    rows = [line for line in table(text, "training: held-out loss at equal steps") if "swiglu wide" in line]
    assert len(rows) == 1
    assert "better, unfair" in rows[0]
    assert "gelu slow: slowed 10 % on purpose" in text


def test_a_long_label_is_cut_and_hides_no_number(document: dict[str, Any]) -> None:
    long = "a label 非常に長い名前 " * 9
    text = printed(json.loads(json.dumps(document).replace("quick_gelu", long.strip())), 80)
    rows = [line for line in table(text, "inference: time per call") if "a label" in line]
    assert len(rows) == 2
    assert all("…  batch" in row and cell_len(row) <= 80 for row in rows)
    assert "+5.4 to +6.2 %  ✗ worse" in rows[1]


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
    head, *rows = table(printed(document, 80), "inference: time per call")
    edge = head.index("change") + len("change")
    assert all(row[edge - 1] == "%" and row[edge] == " " for row in rows[:12])


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
