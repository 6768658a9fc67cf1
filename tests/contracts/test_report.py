"""What every report format promises, over the table of formats and over generated documents."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import validate

from gatewise import report
from gatewise.core import METRICS, GatewiseError

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"
PACKAGE = Path(report.__file__).parent

# Letters that make no word by themselves: what is searched for below (nan, None, inf) can then only come from us.
LABEL = st.text(st.characters(categories=["Lu", "Nd", "Sm", "Po", "Sc", "Lo"], exclude_characters="NI"), min_size=1)
LABEL = LABEL.map(lambda raw: " ".join(raw.split())).filter(bool)
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9) | st.floats(0.5, 2.0)
MAYBE = st.none() | NUMBER
PAIR = st.none() | st.tuples(NUMBER, NUMBER).map(sorted)
METRIC = st.sampled_from([*METRICS, "heldout_curve", "SOMETHING ELSE"])
CONDITIONS = st.dictionaries(st.sampled_from(["batch", "tokens", "device"]), st.sampled_from([1, 32, "cpu", None]))


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Result documents with every oddity that the schema allows."""
    labels = draw(st.lists(LABEL, min_size=1, max_size=6, unique=True))
    parts = draw(st.lists(LABEL, min_size=1, max_size=2, unique=True))
    part, label, text = st.sampled_from(parts), st.sampled_from(labels), st.none() | LABEL
    site = st.fixed_dictionaries({"before": LABEL, "after": LABEL, "hidden_before": MAYBE, "hidden_after": MAYBE})
    numbers = st.lists(NUMBER, max_size=4)
    arm = {
        "name": LABEL,
        "role": st.sampled_from(["baseline", "twin", "arm"]),
        "parameters": MAYBE,
        "flops": MAYBE,
        "weight_bytes": MAYBE,
        "unfair": text,
        "failure": text,
        "planted_slowdown": MAYBE,
        "weights_state": st.sampled_from(["original", "grafted", "untrained", "trained", None]),
        "output_identical": st.none() | st.booleans(),
        "formula": text,
        "implementation": text,
        "sites": st.lists(site, max_size=2),
        "curve": st.none() | st.fixed_dictionaries({"x": numbers, "y": numbers}),
    }
    measurement = {
        "part": part,
        "arm": label,
        "metric": METRIC,
        "unit": st.sampled_from(["s", "B", "bits/byte", "steps", ""]),
        "values": numbers,
        "pairs": st.none() | numbers,
        "seed": st.none() | st.integers(0, 3),
        "process": st.none() | st.integers(0, 3),
        "conditions": CONDITIONS,
    }
    comparison = {
        "part": part,
        "metric": METRIC,
        "arm": label,
        "baseline": label,
        "twin": st.booleans(),
        "conditions": CONDITIONS,
        "kind": st.sampled_from(["ratio", "difference"]),
        "estimate": MAYBE,
        "interval": PAIR,
        "alpha": st.none() | st.floats(0.001, 0.5),
        "margin": st.none() | st.floats(0.0, 1.0),
        "limits": PAIR,
        "smallest_detectable": MAYBE,
        "verdict": st.sampled_from(["better", "worse", "equivalent", "inconclusive"]),
        "n": st.integers(0, 100),
        "evidence": st.sampled_from(["process", "seed", "item"]),
        "reason": text,
        "direction": st.sampled_from(["lower", "higher"]),
        "notes": st.lists(LABEL, max_size=2),
    }
    # A dozen leaves: with the hundred of the default, making them takes ten times as long as what is tested.
    leaf = MAYBE | LABEL | st.booleans()
    facts = st.recursive(leaf, lambda inner: st.dictionaries(LABEL, inner | st.lists(inner)), max_leaves=12)
    plan = {"facts": facts, "subject": facts, "training": facts, "measure": facts, "judge": facts, "processes": MAYBE}
    answer = {"part": part, "arm": label, "verdict": st.sampled_from(["better", "inconclusive", None]), "text": text}
    said = st.lists(LABEL, max_size=2)
    return {
        "schema": "gatewise.result/1",
        "gatewise": "0.1.0",
        "study": {
            "name": draw(LABEL),
            "seed": 0,
            "seconds": draw(MAYBE),
            "interrupted": draw(st.booleans()),
            "parts": [{"name": each, **draw(st.fixed_dictionaries(plan))} for each in parts],
        },
        "environment": draw(st.dictionaries(LABEL, facts, max_size=3)),
        "arms": [{"part": draw(part), "label": each, **draw(st.fixed_dictionaries(arm))} for each in labels],
        "measurements": draw(st.lists(st.fixed_dictionaries(measurement), max_size=6)),
        "comparisons": draw(st.lists(st.fixed_dictionaries(comparison), max_size=6)),
        "verdict": {
            "headline": draw(LABEL),
            "answers": draw(st.lists(st.fixed_dictionaries(answer), max_size=3)),
            "reasons": draw(said),
            "warnings": draw(said),
            "next": draw(said),
        },
        "not_measured": [],
        "replay": draw(LABEL),
    }


class Reader(HTMLParser):
    """Checks that tags are balanced and gathers what is shown and what is referenced."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.shown: list[str] = []
        self.links: list[str] = []
        self.feed(source)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href", "xlink:href", "srcset")]
        # Geometry is part of what is shown: a NaN there is a drawing that fails without a word.
        self.shown += [value or "" for name, value in attrs if name in ("d", "x", "y", "x1", "x2", "cx", "width")]
        if tag not in ("meta", "link"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self.open):
            self.shown.append(data)


SLOW = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large]
)


@SLOW
@given(documents())
def test_any_document_makes_a_balanced_escaped_offline_page(document: dict[str, Any]) -> None:
    source = report.html(document)
    page = Reader(source)
    assert page.open == []
    text = " ".join(" ".join(page.shown).split())
    for arm in document["arms"]:
        assert arm["label"] in text
    assert not re.search(r"(?i)(?<![a-z])(nan|none|inf)(?![a-z])", text.replace("none</", "").replace(" none ", " "))
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    assert "url(" not in source.split("</head>")[0]


@SLOW
@given(documents())
def test_any_document_has_a_text_in_every_format(document: dict[str, Any]) -> None:
    for name in report.FORMATS:
        text = report.FORMATS[name].render(document)
        if name != "json":
            assert not re.search(r"(?<![a-zA-Z])(nan|None|inf|NaN|Infinity)(?![a-zA-Z])", text.split("<script")[0]), (
                name
            )
        assert text.endswith("\n") or name == "html"
        assert len(text) > len(document["verdict"]["headline"])
    assert json.loads(report.FORMATS["json"].render(document)) == document


def test_the_table_of_formats_is_whole() -> None:
    """Every file that defines a format is in the table, the table is not empty, and file names do not collide."""
    defined = {path.stem for path in PACKAGE.glob("_*.py") if re.search(r"^[A-Z]+ = Format\(", path.read_text(), re.M)}
    listed = {target.partition(":")[0].lstrip(".") for target in report.FORMATS.table.values()}
    assert defined == listed
    assert {"json", "markdown", "html", "terminal"} <= set(report.FORMATS)
    names = [report.FORMATS[name].filename for name in report.FORMATS if report.FORMATS[name].filename]
    assert sorted(names) == sorted(set(names)) == ["report.html", "report.md", "result.json"]


def test_write_makes_every_file_in_utf8_and_nothing_else(tmp_path: Path) -> None:
    document = json.loads(EXAMPLE.read_text("utf-8"))
    document["study"]["name"] = "日本 \udc80"  # a file name that was not UTF-8
    paths = report.write(document, tmp_path / "new" / "out")
    assert sorted(paths) == sorted((tmp_path / "new" / "out").iterdir())
    for path in paths:
        assert "日本" in path.read_text("utf-8")
    result = next(path for path in paths if path.name == "result.json")
    assert json.loads(result.read_text("utf-8")) == document


def test_a_document_that_cannot_be_written_leaves_the_old_files(tmp_path: Path) -> None:
    document = json.loads(EXAMPLE.read_text("utf-8"))
    paths = report.write(document, tmp_path)
    before = {path: path.read_bytes() for path in paths}
    document["study"]["seconds"] = float("inf")
    with pytest.raises(GatewiseError, match=r"study\.seconds"):
        report.write(document, tmp_path)
    assert {path: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write the report"):
        report.write(json.loads(EXAMPLE.read_text("utf-8")), tmp_path / "file" / "out")


def test_the_example_is_a_valid_document_and_says_that_it_is_an_example() -> None:
    schema = json.loads((EXAMPLE.parents[2] / "docs" / "result.schema.json").read_text("utf-8"))
    validate(json.loads(EXAMPLE.read_text("utf-8")), schema)
    assert "example" in json.loads(EXAMPLE.read_text("utf-8"))["study"]["name"]
