"""The HTML page: balanced, escaped, offline, in order, and the same for refused, failed and empty studies."""

import copy
import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gatewise import report
from gatewise.core import GatewiseError

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"
VOID = {"meta", "link", "br", "hr", "img", "input"}


class Page(HTMLParser):
    """A strict reader: every tag is closed by its own name; collects texts, ids, references and table cells."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.texts: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.cells: list[str] = []
        self.headings: list[int] = []
        self.scripts: list[str] = []
        self.script_types: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert len(given) == len(attrs), f"an attribute twice in <{tag}>"
        assert not any(name.startswith("on") for name in given)
        if tag not in VOID:
            self.open.append(tag)
        self.ids += [given["id"]] if given.get("id") else []
        self.links += [given[name] or "" for name in ("src", "href", "xlink:href", "action", "srcset") if name in given]
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag in ("td", "th"):
            self.cells.append("")
        if tag == "script":
            self.script_types.append(given.get("type") or "")

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts.append(data)
        elif "style" not in self.open:
            self.texts.append(data)
            if "td" in self.open or "th" in self.open:
                self.cells[-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


def test_the_page_is_balanced_offline_and_in_order(document: dict[str, Any]) -> None:
    source = report.html(document)
    page = Page(source)
    assert len(page.ids) == len(set(page.ids))
    assert all(link.startswith("#") or link == "data:," for link in page.links)
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert "url(" not in source.split("</style>")[0]
    assert "@import" not in source
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    order = [
        document["verdict"]["headline"],
        document["verdict"]["recommendation"],
        "What would settle the rest",
        "Warnings",
        "Dropped to keep the budget",
        "What the verdicts rest on",
        "time per call lower is better",
        "Activation curves",
        "What each arm is.",
        "What was not measured, and why",
        "How to read this",
        "Set-up",
        "Environment",
        "Replay",
    ]
    body = page.text.replace("\N{NO-BREAK SPACE}", " ")
    places = [body.index(each) for each in order]
    assert places == sorted(places)
    assert document["replay"] in body


def test_every_label_of_the_document_is_referenced_by_its_svg(document: dict[str, Any]) -> None:
    source = report.html(document)
    named = re.findall(r'<svg role="img" aria-labelledby="(\S+) (\S+)"', source)
    assert len(named) > 10
    ids = set(Page(source).ids)
    assert {name for both in named for name in both} <= ids


def test_the_document_is_inside_and_cannot_end_its_script(document: dict[str, Any]) -> None:
    document["study"]["question"] = "</script><script>alert(1)</script><!--"
    page = Page(report.html(document))
    assert page.script_types == ["application/json"]
    assert json.loads("".join(page.scripts)) == document
    assert "<" not in "".join(page.scripts)


def test_text_of_the_document_is_text(document: dict[str, Any]) -> None:
    hostile = '<img src=x onerror="a()">&amp;\'"'
    text = json.dumps(document).replace("swiglu wide", hostile.replace('"', '\\"'))
    page = Page(report.html(json.loads(text)))
    assert "img" not in page.links
    assert page.text.count(hostile) >= 5


def test_refused_comparisons_have_their_reason_and_no_interval(document: dict[str, Any]) -> None:
    page = Page(report.html(document))
    assert "refused" in [cell.strip() for cell in page.cells]
    assert "zero-width spread: all 40 values are equal" in page.text
    reason = next(c["reason"] for c in document["comparisons"] if c["metric"] == "quality")
    # Once below its panel, although four rows have it.
    assert page.text.count(f"Refused , all arms: {reason}") == 1
    assert page.text.count(reason) <= 2  # and where the document itself lists what was not measured


def test_the_twin_the_margin_and_the_dots_are_drawn(document: dict[str, Any]) -> None:
    source = report.html(document)
    latency = source[source.index('id="p0-0-w-t"') : source.index('id="p0-0-n-t"')]
    assert latency.count('class="stripe"') == 2
    assert latency.count('class="band"') == 12
    assert latency.count('class="zero"') == 1
    assert latency.count('class="dot"') == 120  # ten processes, twelve rows
    assert latency.count(" twin") == 2


def test_a_failed_arm_and_an_interruption_stand_in_the_warnings(document: dict[str, Any]) -> None:
    document["study"]["interrupted"] = True
    document["arms"][3]["failure"] = "loss is not finite at step 40"
    page = Page(report.html(document))
    assert "The study was interrupted" in page.text
    assert "quick_gelu failed" not in page.text
    assert f"{document['arms'][3]['label']} (inference) failed. loss is not finite at step 40" in page.text


def test_a_number_that_is_not_finite_is_refused_with_its_place(document: dict[str, Any]) -> None:
    document["measurements"][2]["values"][1] = float("nan")
    with pytest.raises(GatewiseError, match=r"measurements\[2\]\.values\[1\]"):
        report.html(document)


def test_pairs_that_repeat_within_a_process_are_taken_together(document: dict[str, Any]) -> None:
    """A block A B B A holds two values of an arm under one pair."""
    doubled = copy.deepcopy(document)
    for each in doubled["measurements"]:
        if each["pairs"] and each["metric"] == "latency":
            each["values"] = [v * f for v in each["values"] for f in (0.5, 1.5)]
            each["pairs"] = [p for p in each["pairs"] for _ in "ab"]
    dots = re.compile(r'<circle cx="[^"]+" cy="[^"]+" r="1.8" class="dot">')
    assert dots.findall(report.html(doubled)) == dots.findall(report.html(document))


@pytest.mark.parametrize("key", ["study", "environment", "arms", "measurements", "comparisons", "verdict", "replay"])
@pytest.mark.parametrize("value", [None, "absent"])
def test_a_document_without_a_field_still_has_a_page(document: dict[str, Any], key: str, value: str | None) -> None:
    if value is None:
        document[key] = None
    else:
        del document[key]
    assert "How to read this" in Page(report.html(document)).text


def test_thirty_arms_with_long_names(document: dict[str, Any]) -> None:
    base = next(c for c in document["comparisons"] if c["metric"] == "latency")
    names = [f"{index} " + "a very long name 非常に長い名前 " * 6 for index in range(30)]
    curves = [m for m in document["measurements"] if m["metric"] == "heldout_curve"][:1]
    document["comparisons"] = [{**base, "arm": name.strip(), "twin": False} for name in names]
    document["measurements"] = [{**curves[0], "arm": name.strip()} for name in names]
    page = Page(report.html(document))
    assert all(" ".join(name.split()) in page.text for name in names)
