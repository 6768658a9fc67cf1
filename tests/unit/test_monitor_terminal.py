"""The terminal view: the same words as the page, for any width and any encoding."""

import io
from typing import Any

import pytest
from monitor_examples import Story, example, written
from rich.console import Console

from gatewise.monitor import Record
from gatewise.monitor._cost import Machine
from gatewise.monitor._status import StatusSettings, status_of
from gatewise.monitor._terminal import render, status_terminal


@pytest.fixture(scope="module")
def found() -> dict[str, Any]:
    told = Story(requests=600, minutes=4.0, shadowed=0.5, slower=1.3)
    settings = StatusSettings(machine=Machine(cores=2, price_per_hour=0.2))
    return status_of(written(*example(told)), settings, folder="records")


def test_what_is_wrong_comes_first_and_then_what_to_do(found: dict[str, Any]) -> None:
    lines = render(found).splitlines()
    assert lines[0] == "encoder: v1 live, v2 shadow"
    assert lines[1] == "! encoder v2 is slower than v1."
    text = "\n".join(lines)
    assert text.index("Do not promote it") < text.index(found["alarms"][0]["replay"]) < text.index("Comparisons")


def test_every_table_of_the_page_but_the_timeline_is_there(found: dict[str, Any]) -> None:
    text = render(found)
    for title in ("Comparisons", "Versions", "Latency", "Labels", "Machine time", "Cost"):
        assert f"\n{title}\n" in text
    assert "Over time" not in text


@pytest.mark.parametrize("width", [80, 100, 140])
def test_no_line_is_wider_than_the_window_but_commands(found: dict[str, Any], width: int) -> None:
    commands = ("  gatewise ",)
    assert [
        line for line in render(found, width).splitlines() if len(line) > width and not line.startswith(commands)
    ] == []


def test_a_narrow_window_keeps_the_verdicts(found: dict[str, Any]) -> None:
    assert "✗ worse" in render(found, 80)


def test_an_old_encoding_gets_plain_signs(found: dict[str, Any]) -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    status_terminal(found, Console(file=stream, width=100, color_system=None))
    stream.flush()
    text = raw.getvalue().decode("ascii")
    assert "x worse" in text
    assert "+/-2 %" in text


def test_nothing_at_all_is_a_sentence() -> None:
    assert render(status_of([], StatusSettings(), folder="records")).strip() == "No request has been recorded yet."


def test_text_from_records_is_never_read_as_markup_or_as_an_escape_code() -> None:
    record = Record(request="a", at_ns=1, model="[red]m", version="v\x1b[31m", digest="d", role="live")
    text = render(status_of([record], StatusSettings(), folder="records"))
    assert "[red]m" in text
    assert "\x1b" not in text


@pytest.mark.parametrize("width", [80, 120])
def test_a_long_reason_stands_whole_under_its_row(width: int) -> None:
    why = "input: " + " ".join(f"word{at}" for at in range(40))
    record = Record(
        request="a", at_ns=1, model="m", version="v1", digest="d", role="live", status="refused", reason=why
    )
    text = render(status_of([record], StatusSettings(), folder="records"), width).partition("Not answered\n")[2]
    assert why in " ".join(text.split())
    assert max(len(line) for line in text.splitlines()) <= width
