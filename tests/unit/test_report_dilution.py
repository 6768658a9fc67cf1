"""The dilution's table and figure in every format: what is not decided is never shown as if it were."""

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from report_examples import LEVELS, REFUSED, diluted, ratio
from rich.cells import cell_len
from rich.console import Console
from test_report_html import Page

from gatewise import report
from gatewise.core import GatewiseError
from gatewise.report._dilution_html import render as html
from gatewise.report._dilution_markdown import render as markdown

NAN = re.compile(r"(?i)(?<![a-z])(nan|none|inf)(?![a-z])")


def printed(document: dict[str, Any], width: int = 80, **settings: Any) -> str:
    buffer = io.StringIO()
    report.dilution_terminal(document, Console(file=buffer, width=width, **settings))
    return buffer.getvalue()


def headline(document: dict[str, Any]) -> str:
    return markdown(document).splitlines()[0].removeprefix("# ")


def only(document: dict[str, Any], **entries: dict[str, Any] | None) -> dict[str, Any]:
    """The document with relu alone, at 1 token in float32, with these entries by level."""
    rows = [row for row in document["rows"] if row["dtype"] == "float32" and row["tokens"] == 1]
    kept = [row | {"ratios": {"relu": entries[row["level"]]}} for row in rows if row["level"] in entries]
    return document | {"arms": ["relu"], "rows": kept}


def test_the_headline_is_made_of_decided_numbers() -> None:
    found = headline(only(diluted(), operator=ratio(0.3226), model=ratio(0.96)))
    assert found == (
        "At 1 token in float32, relu is 3.10 times as fast as gelu alone, and is 1.042 times as fast as gelu "
        "in the whole model."
    )


@pytest.mark.parametrize(
    ("near", "far", "words"),
    [
        (ratio(0.5), ratio(1.0), "makes no practical difference (1.000 times as fast as gelu) in the whole model."),
        (ratio(1.5), ratio(1.1), "relu takes 1.50 times as long as gelu alone, and takes 1.10 times as long"),
        (
            ratio(0.5),
            ratio(0.99, 0.05),
            "(undecided, estimate 1.010 times as fast as gelu) in the whole",
        ),
        (ratio(0.9, 0.2), ratio(1.0), "Not all of this is decided."),
    ],
)
def test_the_headline_never_sounds_more_certain_than_it_is(near: dict, far: dict, words: str) -> None:
    assert words in headline(only(diluted(), operator=near, model=far))


def test_a_decided_pair_comes_before_a_larger_one_that_is_not() -> None:
    document = diluted(tokens=(1, 16))
    for row in document["rows"]:
        if row["tokens"] == 1 and row["level"] == "operator":
            row["ratios"]["relu"] = ratio(0.01, 0.99) | {"verdict": "inconclusive"}
    found = headline(document)
    assert found.startswith("At 16 tokens in float32, relu is 3.33 times")
    assert "decided" not in found


@pytest.mark.parametrize(
    ("entries", "words"),
    [
        ({"operator": None, "model": None}, "Nothing was decided"),
        ({"operator": REFUSED, "model": REFUSED}, "Nothing was decided"),
        ({"operator": ratio(0.3), "model": REFUSED, "request": None}, "No arm has a number both alone and in a larger"),
        ({"model": ratio(0.9)}, "No arm has a number both alone and in a larger"),
        ({"operator": ratio(0.3), "layer": ratio(0.9)}, "in its layer."),
        ({"operator": ratio(0.3), "model": REFUSED, "request": ratio(0.9)}, "in a whole request."),
    ],
)
def test_what_is_missing_is_not_made_up(entries: dict[str, Any], words: str) -> None:
    assert words in headline(only(diluted(), **entries))


def test_every_row_stands_in_every_format_with_what_became_of_it() -> None:
    document = diluted()
    for text in (markdown(document), printed(document, 200), Page(html(document)).text):
        flat = " ".join(text.split())
        assert "0.300" in flat
        assert "0.299 to 0.301" in flat
        assert "70.6 %" in flat.replace("\N{NO-BREAK SPACE}", " ")
        assert "refused" in flat
        assert "not measured" in flat
        assert "twin is not yet equivalent" in flat
        assert "invented" in flat
    rows = [line for line in markdown(document).splitlines() if re.match(r"\| (float32|bfloat16) \|", line)]
    assert len(rows) == len(document["rows"]) == 2 * len(LEVELS) * 4
    assert sum("not measured" in row for row in rows) == 1
    assert sum("refused" in row for row in rows) == 1
    cells = Page(html(document)).cells
    assert sum(cell.strip() == "not measured" for cell in cells) == 3  # the share and two arms
    assert sum(cell.strip() == "refused" for cell in cells) == 3


def test_undecided_is_seen_as_undecided_and_counted() -> None:
    document = only(diluted(), operator=ratio(0.3), model=ratio(0.99, 0.05))
    assert "| ? 0.990 (0.941 to 1.040) |" in markdown(document)
    assert re.search(r"0\.990 \?", printed(document))
    source = html(document)
    assert "undecided: " in source
    assert re.search(r'class="point open"', source)
    assert re.search(r'class="reach open"', source)
    for text in (printed(document), Page(source).text):
        assert "1 decided, 1 undecided" in text


def test_a_decided_document_has_no_hollow_mark_and_no_undecided_entry() -> None:
    source = html(only(diluted(), operator=ratio(0.3), model=ratio(0.9)))
    assert 'class="point"' in source
    assert 'class="point open"' not in source
    assert "undecided: " not in source


def test_the_line_of_an_arm_breaks_where_there_is_no_number() -> None:
    whole = only(diluted(), operator=ratio(0.3), ffn=ratio(0.8), layer=ratio(0.9), model=ratio(0.95))
    broken = copy.deepcopy(whole)
    broken["rows"][1]["ratios"]["relu"] = REFUSED
    ways = [re.findall(r'<path d="M([^"]*)" class="way s-0">', html(each)) for each in (whole, broken)]
    # One in the wide figure, one in the narrow one.
    assert [way.count("L") for way in ways[0]] == [3, 3]
    assert [way.count("L") for way in ways[1]] == [1, 1]


def test_the_page_is_balanced_escaped_and_offline() -> None:
    document = diluted()
    hostile = "<script>alert(1)</script>"
    document["arms"][0] = hostile
    for row in document["rows"]:
        row["ratios"][hostile] = row["ratios"].pop("relu")
    document["warnings"] = ["</script><b>"]
    source = html(document)
    page = Page(source)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    assert "alert(1)" in page.text
    assert "<script>alert" not in source
    assert page.script_types == ["application/json"]
    assert json.loads("".join(page.scripts)) == document
    assert "\\<script\\>" not in markdown(document)
    assert "<script>" not in markdown(document)
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1


@pytest.mark.parametrize("width", [60, 80, 120])
def test_no_line_is_wider_than_the_terminal(width: int) -> None:
    lines = printed(diluted(), width).splitlines()
    assert max(map(cell_len, lines)) <= width
    assert not any(line.endswith(" ") for line in lines)


def test_a_terminal_without_utf8_has_the_same_numbers() -> None:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding="ascii")
    report.dilution_terminal(diluted(), Console(file=stream, width=80))
    stream.flush()
    assert "0.300 +" in raw.getvalue().decode("ascii")


def test_the_files_are_written_and_another_document_is_refused(tmp_path: Path) -> None:
    document = diluted()
    paths = report.write_dilution(document, {"schema": "gatewise.result/1"}, tmp_path / "new")
    assert [path.name for path in paths] == ["result.json", "dilution.json", "dilution.md", "dilution.html"]
    assert json.loads(paths[1].read_text("utf-8")) == document
    assert json.loads(paths[0].read_text("utf-8")) == {"schema": "gatewise.result/1"}
    before = {path: path.read_bytes() for path in paths}
    with pytest.raises(GatewiseError, match="no dilution: schema gatewise"):
        report.write_dilution({"schema": "gatewise.result/1"}, {}, tmp_path / "new")
    with pytest.raises(GatewiseError, match="not finite at seconds"):
        report.write_dilution(document | {"seconds": float("nan")}, {}, tmp_path / "new")
    assert {path: path.read_bytes() for path in paths} == before
    with pytest.raises(GatewiseError, match="no dilution: schema missing"):
        report.dilution_terminal({})


NUMBER = st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.floats(0.01, 3.0)
ENTRY = st.none() | st.fixed_dictionaries(
    {
        "estimate": NUMBER,
        "interval": st.none() | st.tuples(NUMBER, NUMBER).map(list),
        "verdict": st.sampled_from(["better", "worse", "equivalent", "inconclusive", None, "odd"]),
        "n": st.integers(0, 30),
        "reason": st.none() | st.just("too noisy (1 to 2)"),
    }
)
ROW = st.fixed_dictionaries(
    {
        "level": st.sampled_from([*LEVELS, "unheard of"]),
        "dtype": st.sampled_from(["float32", "bfloat16"]),
        "tokens": st.sampled_from([1, 8, None]),
        "share": ENTRY,
        "ratios": st.fixed_dictionaries({"relu": ENTRY, "swiglu": ENTRY}) | st.just({}) | st.none(),
        "times_s": st.none() | st.just({"gelu": 0.001}),
    }
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(ROW, max_size=7), st.lists(st.sampled_from(["relu", "swiglu", "mish"]), unique=True))
def test_any_document_is_shown_without_a_word_that_is_no_number(rows: list[dict[str, Any]], arms: list[str]) -> None:
    document = {"schema": "gatewise.dilution/1", "rows": rows, "arms": arms}
    source = html(document)
    page = Page(source)
    for text in (
        page.text,
        markdown(document),
        printed(document, 100),
        " ".join(re.findall(r' [dxy]\d?="([^"]*)"', source)),
    ):
        assert not NAN.search(text)
    assert page.headings.count(1) == 1
