"""Which one to take: the sentence, the scatter, its table twin; nothing where a document has no selection."""

import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import relative_selection, selection
from rich.cells import cell_len
from rich.console import Console
from test_report_html import Page

from gatewise import report
from gatewise.report._scatter import scatter
from gatewise.report._selection import selections

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


def printed(document: dict[str, Any], width: int = 80) -> str:
    buffer = io.StringIO()
    report.terminal(document, Console(file=buffer, width=width))
    return buffer.getvalue()


def drawn(held: dict[str, Any], *, narrow: bool = False) -> str:
    return str(scatter(selections({"selection": [held]})[0], "s", narrow=narrow))


def marks(source: str) -> dict[str, tuple[float, float]]:
    """Where the middle of each candidate's mark is."""
    found: dict[str, tuple[float, float]] = {}
    for group in re.findall(r"<g [^>]*>(?:(?!</g>).)*</g>|<g>(?:(?!</g>).)*</g>", source):
        name = re.findall(r"<title>([^:]*):", group)[0]
        disc = re.findall(r'<circle cx="([\d.]+)" cy="([\d.]+)" r="6"', group)
        square = re.findall(r'<rect x="([\d.]+)" y="([\d.]+)" width="8"', group)
        x, y = (float(each) + (0 if disc else 4) for each in (disc or square)[0])
        found[name] = (x, y)
    return found


def test_older_documents_have_none() -> None:
    for nothing in ([], None, "x", [None], [{}], {}, [{"points": []}]):
        assert selections({"selection": nothing}) == ()


def test_one_selection_may_stand_without_a_list() -> None:
    assert selections({"selection": selection()}) == selections({"selection": [selection()]})


def test_the_recommendation_and_every_number_stand_in_every_format(document: dict[str, Any]) -> None:
    document["selection"] = [selection()]
    wanted = ["Take gelu/onnxruntime.", "it is the fastest whose outputs do not move", "8.40 ms", "1.00×10⁻⁷"]
    wanted += ["90.9 MB", "on the front", "dominated by gelu/onnxruntime, relu/onnxruntime"]
    for text in (printed(document, 200), report.markdown(document), Page(report.html(document)).text):
        flat = " ".join(text.split())
        assert [each for each in wanted if each not in flat] == []


def test_without_a_recommendation_there_is_no_clear_winner(document: dict[str, Any]) -> None:
    document["selection"] = [selection() | {"recommendation": None, "reasons": ["nothing separates a, b"]}]
    for text in (printed(document), report.markdown(document), Page(report.html(document)).text):
        assert "No clear winner." in text
        assert "nothing separates a, b" in text
        assert "recommended" not in text.replace("Ring: recommended", "")


def test_time_runs_to_the_right_and_the_output_difference_upwards() -> None:
    held = selections({"selection": [selection()]})[0]
    assert held.axes is not None
    assert [axis.name for axis in held.axes] == ["latency", "output_difference"]
    with_quality = selection()
    with_quality["objectives"].append({"name": "quality", "unit": "accuracy", "direction": "higher"})
    for index, point in enumerate(with_quality["points"]):
        point["values"]["quality"] = {"estimate": 0.5 + index / 10, "interval": None}
    axes = selections({"selection": [with_quality]})[0].axes
    assert axes is not None
    assert [axis.name for axis in axes] == ["latency", "quality"]


@pytest.mark.parametrize("narrow", [False, True])
def test_marks_stand_in_the_order_of_their_values(narrow: bool) -> None:
    held = selection()
    source = drawn(held, narrow=narrow)
    places = marks(source)
    assert set(places) == {point["label"] for point in held["points"]}
    for axis, index, turn in (("latency", 0, 1), ("output_difference", 1, -1)):
        by_value = sorted(held["points"], key=lambda point: point["values"][axis]["estimate"])
        shown = [turn * places[point["label"]][index] for point in by_value]
        assert shown == sorted(shown)
        assert len(set(shown)) > 2
    assert source.count('class="halo"') == 1
    assert len(re.findall(r'<rect [^>]*class="spot"', source)) == 2  # the dominated ones


def test_values_against_the_baseline_are_factors_and_differences(document: dict[str, Any]) -> None:
    document["selection"] = [relative_selection()]
    wanted = ["0.417×", "baseline 1×", "1.00×10⁻⁷", "output_difference at most 0.001: not met (0.021); on the front"]
    for text in (report.markdown(document), Page(report.html(document)).text):
        flat = " ".join(text.split())
        assert [each for each in wanted if each not in flat] == []
    source = drawn(relative_selection())
    assert len(re.findall('class="candidate c-out"', source)) == 1
    assert ">0.4×<" in source


def test_conditions_set_the_selections_of_a_part_apart(document: dict[str, Any]) -> None:
    first = relative_selection() | {"conditions": {"batch": 1, "tokens": 16}}
    document["selection"] = [first, relative_selection()]
    for text in (printed(document), report.markdown(document), Page(report.html(document)).text):
        assert "batch 1, tokens 16" in text
        assert "batch 32, tokens 16" in text
    labels = re.findall(r'aria-label="(Table: which one[^"]*)"', report.html(document))
    assert len(labels) == len(set(labels)) == 2


def test_one_objective_or_one_point_has_a_table_and_no_scatter(document: dict[str, Any]) -> None:
    held = selection()
    held["objectives"] = held["objectives"][:1]
    assert drawn(held) == ""
    alone = selection()
    alone["points"] = alone["points"][:1]
    assert drawn(alone) == ""
    document["selection"] = [held]
    source = report.html(document)
    assert 'class="scattered"' not in source
    assert "8.40 ms" in Page(source).text


def test_the_page_with_hostile_labels_is_balanced_and_escaped(document: dict[str, Any]) -> None:
    held = selection()
    held["points"][0]["label"] = held["recommendation"] = "<img src=x> & \x1b[31m"
    held["reasons"] = ["<b>"]
    document["selection"] = [held, held | {"part": "training"}]
    source = report.html(document)
    page = Page(source)
    assert len(page.ids) == len(set(page.ids))
    assert "<img" not in source
    assert "\x1b" not in printed(document)


VALUE = st.none() | st.fixed_dictionaries(
    {
        "estimate": st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.floats(0.001, 2.0),
        "interval": st.none() | st.tuples(st.floats(0.001, 2.0), st.floats(0.001, 2.0)).map(list),
    }
)
POINT = st.fixed_dictionaries(
    {
        "label": st.text("ABC/", max_size=40),
        "values": st.fixed_dictionaries({"latency": VALUE, "quality": VALUE}) | st.none(),
        "dominated_by": st.lists(st.just("ABC"), max_size=2),
        "front": st.booleans(),
    }
)


@given(st.lists(POINT, max_size=6), st.sampled_from([None, "ABC", "A"]))
def test_any_selection_is_drawn_with_numbers_that_are_numbers(points: list[dict[str, Any]], best: str | None) -> None:
    objectives = [{"name": "latency", "unit": "s"}, {"name": "quality", "unit": "accuracy", "direction": "higher"}]
    held = {"objectives": objectives, "points": points, "recommendation": best}
    for found in selections({"selection": [held]}):
        for narrow in (False, True):
            source = str(scatter(found, "s", narrow=narrow))
            assert not re.search(r"(?i)(?<![a-z])(nan|none|inf)(?![a-z])", source.replace('"none"', ""))


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(document: dict[str, Any], width: int) -> None:
    document["selection"] = [selection()]
    lines = [line for line in printed(document, width).splitlines() if document["replay"] not in line]
    assert max(map(cell_len, lines)) <= width
