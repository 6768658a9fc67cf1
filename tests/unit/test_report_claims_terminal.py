"""Claims in a terminal: narrow, wide, piped, without colour, without UTF-8, with hostile texts."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.cells import cell_len
from rich.console import Console

from gatewise import report

EXAMPLE = Path(__file__).parents[1] / "data" / "claims-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


def schemas(document: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The same claims as a result, as a list, and as the results of four machines."""
    names = ["a machine", "another machine", "a third one", "a machine with a very long name of its own"]
    rows = [
        {"id": each["id"], "sentence": each["sentence"], "results": [each | {"machine": name} for name in names]}
        for each in document["claims"]
    ]
    listed = [each | {"status": "waits for data quality", "budget_s": 360.0} for each in document["claims"]]
    machines = [{"name": name} for name in names]
    return {
        "result": document,
        "list": {"schema": "gatewise.claims-list/1", "claims": listed},
        "merged": {"schema": "gatewise.claims-merged/1", "machines": machines, "claims": rows},
    }


def printed(document: dict[str, Any], width: int, **settings: Any) -> str:
    buffer = io.StringIO()
    report.claims_terminal(document, Console(file=buffer, width=width, **settings))
    return buffer.getvalue()


@pytest.mark.parametrize("width", [60, 80, 100, 120, 200])
@pytest.mark.parametrize("schema", ["result", "list", "merged"])
def test_no_line_is_wider_than_the_terminal(document: dict[str, Any], schema: str, width: int) -> None:
    lines = [line for line in printed(schemas(document)[schema], width).splitlines() if "  again  " not in line]
    assert max(map(cell_len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)
    assert not any("…" in line for line in lines)  # nothing is cut, neither a label nor a sentence


@pytest.mark.parametrize("width", [80, 100, 120])
def test_every_row_keeps_its_interval_and_its_n(document: dict[str, Any], width: int) -> None:
    rows = [
        line for line in printed(document, width).splitlines() if re.search(r"[✓✗=?] \w+(, unfair)? .* [\d,]+$", line)
    ]
    wanted = [each for entry in document["claims"] for each in entry["comparisons"]]
    assert len(rows) == len(wanted)
    refused = sum(each["interval"] is None for each in wanted)
    assert sum(" to " in row for row in rows) == len(wanted) - refused
    assert sum(" refused " in row for row in rows) == refused


def test_numbers_are_right_aligned(document: dict[str, Any]) -> None:
    lines = printed(document, 80).splitlines()
    top = next(index for index, line in enumerate(lines) if line.startswith("  at "))
    edges = [lines[top].index(head) + len(head) for head in ("change", "interval")]
    assert all(line[edge - 1] == "%" and line[edge] == " " for line in lines[top + 1 : top + 9] for edge in edges)


def test_four_machines_that_do_not_fit_stand_below_each_other(document: dict[str, Any]) -> None:
    merged = schemas(document)["merged"]
    merged["claims"][0]["results"][2]["grade"] = "inconclusive"
    lines = printed(merged, 80).splitlines()
    top = next(index for index, line in enumerate(lines) if line.startswith("E1"))
    assert lines[top].split() == ["E1", "differ"]
    assert [line.split()[0] for line in lines[top + 1 : top + 5]] == ["A", "B", "C", "D"]
    assert lines[top + 3].split()[1:] == ["?", "inconclusive"]
    wide = printed(merged, 120)
    assert re.search(r"(?m)^E1 +✓ supported +✓ supported +\? inconclusive +✓ supported +differ$", wide)


def test_several_rows_of_several_pairs_stand_below_their_pair(document: dict[str, Any]) -> None:
    first = document["claims"][0]["comparisons"]
    first += [each | {"arm": "silu"} for each in first]
    lines = printed(document, 80).splitlines()
    for name in ("gelu vs relu", "silu vs relu"):
        top = lines.index(f"  {name}")
        assert "operator, batch 1 " in lines[top + 1]
        assert "model, batch 64 " in lines[top + 8]


def test_rows_that_nothing_sets_apart_are_numbered(document: dict[str, Any]) -> None:
    first = document["claims"][0]["comparisons"]
    document["claims"][0]["comparisons"] = [first[0], first[0] | {"n": 9}]
    text = printed(document, 80)
    assert re.search(r"(?m)^  no\. 1 .* 10$", text)
    assert re.search(r"(?m)^  no\. 2 .* 9$", text)


def test_a_pipe_gets_plain_text_and_no_color_is_honoured(
    document: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    text = printed(document, 80)
    assert "\x1b" not in text
    assert not any(0x2500 <= ord(sign) <= 0x259F for sign in text)
    monkeypatch.setenv("TERM", "xterm-256color")
    monkeypatch.delenv("NO_COLOR", raising=False)
    assert "\x1b[1;36m✓ supported" in printed(document, 80, force_terminal=True)
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b[1;36m" not in printed(document, 80, force_terminal=True)


@pytest.mark.parametrize("schema", ["result", "list", "merged"])
def test_an_output_that_is_not_utf8_gets_what_it_can_encode(document: dict[str, Any], schema: str) -> None:
    document["claims"][0]["sentence"] = "日本 – a sentence"
    raw = io.BytesIO()
    wrapper = io.TextIOWrapper(raw, encoding="ascii")
    report.claims_terminal(schemas(document)[schema], Console(file=wrapper, width=80))
    wrapper.flush()
    text = raw.getvalue().decode("ascii")
    assert "?? - a sentence" in text
    if schema != "list":
        assert "+ supported" in text
        assert "x refuted" in text
        assert "- not testable here" in text
    if schema == "result":
        assert "-2.2 to -1.2 %" in text


def test_texts_are_no_markup_and_no_escape_codes(document: dict[str, Any]) -> None:
    document["claims"][0]["sentence"] = "[bold red]x[/]\x1b[2J"
    document["claims"][0]["comparisons"][0]["arm"] = "[link=file:///x]y[/link]"
    text = printed(document, 200)
    assert "[bold red]x[/]\N{REPLACEMENT CHARACTER}[2J" in text
    assert "[link=file:///x]y[/link] vs relu" in text
    assert "\x1b" not in text


def test_without_a_console_it_prints_to_stdout(document: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> None:
    report.claims_terminal(document)
    out = capsys.readouterr().out
    assert all(f"  again  {entry['replay']}\n" in out for entry in document["claims"] if entry["replay"])


def test_no_claims_at_all() -> None:
    for schema in ("claims/1", "claims-list/1", "claims-merged/1"):
        assert printed({"schema": f"gatewise.{schema}"}, 80).strip()
