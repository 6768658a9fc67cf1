"""Markdown: text is text, tables keep their shape."""

import json
import re
from pathlib import Path
from typing import Any

import pytest

from gatewise import report
from gatewise.report._markdown import escape

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


@pytest.mark.parametrize(
    ("raw", "shown"),
    [
        ("gelu_tanh", "gelu_tanh"),
        ("_emphasis_", "\\_emphasis\\_"),
        ("a|b", "a\\|b"),
        ("<b>&", "&lt;b&gt;&amp;"),
        ("# no heading", "\\# no heading"),
        ("[x](y)", "\\[x\\](y)"),
        ("`code` *bold*", "\\`code\\` \\*bold\\*"),
        ("1. no list", "1\\. no list"),
    ],
)
def test_text_is_no_markup(raw: str, shown: str) -> None:
    assert escape(raw) == shown


def columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line))


def test_every_row_of_a_table_has_the_columns_of_its_head(document: dict[str, Any]) -> None:
    text = json.dumps(document).replace("swiglu wide", "a|b \\n<i>*`")
    blocks = [block for block in report.markdown(json.loads(text)).split("\n\n") if block.startswith("| ")]
    assert len(blocks) >= 8
    for block in blocks:
        assert len({columns(line) for line in block.splitlines()}) == 1


def test_the_verdict_comes_first_and_the_command_last(document: dict[str, Any]) -> None:
    text = report.markdown(document)
    assert text.startswith(f"# {document['verdict']['headline']}\n")
    assert text.endswith(f"```sh\n{document['replay']}\n```\n")
    places = [text.index(f"## {each}") for each in ("Warnings", "Dropped", "inference: time per call", "Arms")]
    assert places == sorted(places)


def test_a_command_with_backticks_stays_in_its_block(document: dict[str, Any]) -> None:
    document["replay"] = "gatewise evaluate '```'"
    assert report.markdown(document).endswith("````sh\ngatewise evaluate '```'\n````\n")
