"""What moves the time: both bars on one scale, right under the headline, in every format, or nothing."""

import io
import json
import math
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import move, moved
from rich.cells import cell_len
from rich.console import Console
from test_report_html import Page

from gatewise import report
from gatewise.report._moves import MOST_DRAWN, moves, plot

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"
TITLE = "What moves the time: the runtime or the activation?"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


def printed(document: dict[str, Any], width: int = 80) -> str:
    buffer = io.StringIO()
    report.terminal(document, Console(file=buffer, width=width))
    return buffer.getvalue()


def widths(source: str) -> list[float]:
    """The lengths of the bars in a figure."""
    return [float(each) for each in re.findall(r'<rect [^>]*?width="([\d.]+)"[^>]*class="weight"', source)]


def test_older_documents_have_none_and_say_nothing(document: dict[str, Any]) -> None:
    for text in (printed(document), report.markdown(document), report.html(document)):
        assert TITLE not in text
    for nothing in ([], None, "x", [None], [{}], [{"runtime": {"estimate": 0.0}, "activation": {}}]):
        assert moves({"moves": nothing}) == ()


def test_it_stands_between_the_headline_and_the_first_answer(document: dict[str, Any]) -> None:
    document["moves"] = [move()]
    verdict = document["verdict"]
    for text in (printed(document), report.markdown(document), Page(report.html(document)).text):
        flat = " ".join(text.split())
        places = [flat.index(each) for each in (verdict["recommendation"], TITLE, verdict["answers"][0]["text"])]
        assert places == sorted(places)


def test_names_factors_intervals_and_the_sentence_stand_in_every_format(document: dict[str, Any]) -> None:
    document["moves"] = [move()]
    wanted = ["2.40×", "2.33× to 2.47×", "1.040×", "1.009× to 1.072×", "gelu/onnxruntime", "relu/eager", "1.25×"]
    wanted += ["no interval yet", "At batch 1, tokens 16, the runtime moves the time of a call 2.40 times"]
    for text in (printed(document, 120), report.markdown(document), Page(report.html(document)).text):
        flat = " ".join(text.split())
        assert [each for each in wanted if each not in flat] == []


def test_the_documents_own_sentence_is_the_one_that_is_shown(document: dict[str, Any]) -> None:
    document["moves"] = [move() | {"text": "the runtime it is <b>"}]
    for text in (printed(document), Page(report.html(document)).text):
        assert "the runtime it is <b>" in text
    assert "<b>" not in report.html(document).split("<script")[0]


def test_a_move_that_is_not_shown_says_so() -> None:
    held = move(activation=0.99)
    told = moves({"moves": [held]})[0].told
    assert "relu/eager faster than gelu/eager (its interval does not rule out no change)" in told
    assert told.count("rule out") == 1
    held["runtime"] = moved("gelu/onnxruntime", "gelu/eager", 0.5, None)
    assert moves({"moves": [held]})[0].told.count("rule out") == 2


@given(st.floats(0.05, 20.0), st.floats(0.05, 20.0))
def test_bars_share_one_scale_of_factors(runtime: float, activation: float) -> None:
    held = move() | {"runtime": moved("a", "b", runtime, 0.01), "activation": moved("c", "b", activation, 0.01)}
    for narrow in (False, True):
        first, second = widths(str(plot(moves({"moves": [held]}), "m", narrow=narrow)))
        logs = [abs(math.log(each)) for each in (runtime, activation)]
        if min(logs) > 0.05:
            assert first / second == pytest.approx(logs[0] / logs[1], rel=0.1)


@given(st.floats(0.05, 20.0), st.floats(0.0, 0.9))
def test_twice_as_fast_and_twice_as_slow_are_as_long(estimate: float, width: float) -> None:
    there, back = moved("a", "b", estimate, width), moved("a", "b", 1 / estimate, width)
    one, other = (moves({"moves": [move() | {"runtime": each}]})[0].runtime for each in (there, back))
    assert one.factor == pytest.approx(other.factor)
    assert one.reach is not None
    assert one.reach[0] <= one.factor * (1 + 1e-12)
    assert one.factor <= one.reach[1] * (1 + 1e-12)


def test_of_many_conditions_some_are_drawn_and_all_are_in_the_table(document: dict[str, Any]) -> None:
    document["moves"] = [move(batch) for batch in range(1, MOST_DRAWN + 3)]
    source = report.html(document)
    assert len(widths(source)) == 2 * 2 * MOST_DRAWN  # wide and narrow
    assert "Further conditions are in the table" in source
    for text in (Page(source).text, report.markdown(document), printed(document)):
        assert all(f"batch {batch}, tokens 16" in text for batch in range(1, MOST_DRAWN + 3))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(document: dict[str, Any], width: int) -> None:
    document["moves"] = [move(), move(32)]
    lines = [line for line in printed(document, width).splitlines() if document["replay"] not in line]
    assert max(map(cell_len, lines)) <= width
