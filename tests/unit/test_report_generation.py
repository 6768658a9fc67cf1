"""Continuations side by side: every arm under every prompt, as text and never as markup."""

import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_examples import generation
from rich.console import Console
from test_report_html import Page

from gatewise import report
from gatewise.core import METRICS
from gatewise.report._generation import generations, written

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8")) | {"generation": [generation()]}


def printed(document: dict[str, Any]) -> str:
    buffer = io.StringIO()
    report.terminal(document, Console(file=buffer, width=80))
    return buffer.getvalue()


def test_older_documents_have_none() -> None:
    for nothing in ([], None, "x", {}, [{}], [{"texts": []}], [{"texts": [{"prompt": "x", "by_arm": {}}]}]):
        assert generations({"generation": nothing}) == ()


def test_prompt_arm_and_text_stand_in_every_format(document: dict[str, Any]) -> None:
    for text in (printed(document), report.markdown(document), Page(report.html(document)).text):
        flat = " ".join(text.split())
        assert "def main(" in flat
        assert "<b>self</b>.x & 1" in flat
        assert "greedy" in flat or text == printed(document)
        places = [flat.index("def main("), flat.index("self):"), flat.index("args):"), flat.index("# a fence")]
        assert places == sorted(places)


def test_a_text_keeps_its_lines_in_the_page(document: dict[str, Any]) -> None:
    assert "self):\n    return &lt;b&gt;self&lt;/b&gt;.x &amp; 1" in report.html(document)


def test_no_escape_code_reaches_a_terminal_and_no_markup_the_page(document: dict[str, Any]) -> None:
    assert "\x1b" not in printed(document)
    source = report.html(document).split("<script")[0]
    assert "\x1b" not in source
    assert "<b>self" not in source
    page = Page(report.html(document))
    assert len(page.ids) == len(set(page.ids))


def test_a_fence_in_a_text_does_not_close_the_one_around_it(document: dict[str, Any]) -> None:
    lines = report.markdown(document).splitlines()
    inside = lines.index("# a fence")
    assert lines[inside - 2 : inside] == ["````text", "```"]
    assert lines[inside + 1] == "````"


@given(st.text())
def test_what_was_written_keeps_every_sign_that_can_be_shown(raw: str) -> None:
    shown = written(raw)
    assert [sign for sign in shown if sign.isprintable() and sign != "\N{REPLACEMENT CHARACTER}"] == [
        sign for sign in raw.replace("\t", "    ") if sign.isprintable() and sign != "\N{REPLACEMENT CHARACTER}"
    ]
    assert not any(ord(sign) < 32 and sign != "\n" for sign in shown)


METRICS_SHOWN = [
    ("size_bytes", "B", 23.1e6, "23.1 MB"),
    ("kv_cache_bytes", "B", 393_216.0, "393 kB"),
    ("time_to_first_token", "s", 0.0123, "12.3 ms"),
    ("decode_time", "s", 0.25, "250 ms"),
    ("tokens_per_second", "1/s", 64.0, "64.0/s"),
]


@pytest.mark.parametrize(("metric", "unit", "value", "shown"), METRICS_SHOWN)
def test_what_generation_measures_is_shown_in_its_unit(metric: str, unit: str, value: float, shown: str) -> None:
    cell = {"part": "main", "arm": "gelu", "metric": metric, "unit": unit, "values": [value], "conditions": {}}
    document = {"arms": [{"part": "main", "label": "gelu"}], "measurements": [cell]}
    for text in (printed(document), Page(report.html(document)).text):
        assert shown in text
        assert METRICS[metric].label in text
    assert METRICS[metric].unit == unit
