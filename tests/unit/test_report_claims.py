"""The claims' documents in words and numbers: every claim and every comparison, whatever the document lacks."""

import copy
import io
import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.console import Console

from gatewise import report
from gatewise.claims import MEANING, merge
from gatewise.core import METRICS, GatewiseError

EXAMPLE = Path(__file__).parents[1] / "data" / "claims-example.json"
GRADES = ["supported", "refuted", "equivalent", "inconclusive", "not testable here"]
VERDICTS = ("better", "worse", "equivalent", "inconclusive")


@pytest.fixture
def document() -> dict[str, Any]:
    return json.loads(EXAMPLE.read_text("utf-8"))


@pytest.fixture
def merged(document: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """Two machines: the second grades E1 otherwise and did not run E5."""
    other = copy.deepcopy(document)
    other["environment"]["cpu"], other["written"] = "another example processor", "2026-01-03T00:00:00+00:00"
    other["claims"][0]["grade"] = "inconclusive"
    del other["claims"][4]
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for path, each in zip(paths, (document, other), strict=True):
        path.write_text(json.dumps(each), "utf-8")
    return merge(paths)


def terminal(document: dict[str, Any], width: int = 80) -> str:
    buffer = io.StringIO()
    report.claims_terminal(document, Console(file=buffer, width=width))
    return buffer.getvalue()


class Cells(HTMLParser):
    """The rows of all tables, the texts and the links of a page; every tag is closed by its own name."""

    def __init__(self, source: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.rows: list[list[str]] = []
        self.texts: list[str] = []
        self.links: list[str] = []
        self.ids: list[str] = []
        self.script_types: list[str] = []
        self.headings: list[int] = []
        self.scripts = ""
        self.numbers: list[str] = []
        self.feed(source)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        assert not any(name.startswith("on") for name in given)
        self.script_types += [given.get("type") or ""] if tag == "script" else []
        self.headings += [int(tag[1])] if re.fullmatch("h[1-6]", tag) else []
        self.links += [given[name] or "" for name in ("src", "href") if name in given]
        self.ids += [given["id"]] if given.get("id") else []
        self.numbers += [value or "" for name, value in attrs if name in ("d", "x", "y", "x1", "x2", "cx", "width")]
        if tag not in ("meta", "link"):
            self.open.append(tag)
        if tag == "tr":
            self.rows.append([])
        if tag in ("td", "th"):
            self.rows[-1].append("")

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "script" in self.open:
            self.scripts += data
        elif "style" not in self.open:
            self.texts.append(data)
            if {"td", "th"} & set(self.open):
                self.rows[-1][-1] += data

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.texts).split())

    @property
    def compared(self) -> list[str]:
        """The rows of the tables of comparisons."""
        return [" ".join(" ".join(row).split()) for row in self.rows if row and " vs " in row[0]]


def written(document: dict[str, Any], folder: Path) -> tuple[str, Cells]:
    report.write_claims(document, folder)
    return (folder / "claims.md").read_text("utf-8"), Cells((folder / "claims.html").read_text("utf-8"))


def pair(comparison: dict[str, Any]) -> str:
    return f"{comparison['arm']} vs {comparison['than']}"


def compared(document: dict[str, Any]) -> list[dict[str, Any]]:
    entries = [result for row in document["claims"] for result in row.get("results", [row])]
    return [each for entry in entries for each in entry["comparisons"]]


def test_every_comparison_is_a_row_of_the_page_and_of_the_markdown(document: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(document, tmp_path)
    lines = [line for line in markdown.splitlines() if line.startswith("| ") and " vs " in line]
    wanted = sorted(f"{pair(each)} {each['verdict']} {each['n']:,}" for each in compared(document))
    for rows in (lines, page.compared):
        found = [
            re.search(rf"(\S+ vs \S+).*({'|'.join(VERDICTS)})[^a-z].* ([\d,]+)(?: \||$| gelu)", row) for row in rows
        ]
        assert sorted(" ".join(each.groups()) for each in found if each) == wanted


def test_every_comparison_is_a_line_of_the_terminal(document: dict[str, Any]) -> None:
    blocks = re.split(r"(?m)^(?=E\d)", terminal(document))[1:]
    assert len(blocks) == len(document["claims"])
    for block, entry in zip(blocks, document["claims"], strict=True):
        assert block.startswith(entry["id"])
        assert f" {entry['grade']} " in block.splitlines()[0]
        text = " ".join(block.split())
        assert " ".join(entry["sentence"].split()[:4]) in text
        assert entry["reason"] in text
        rows = re.findall(rf"(?m)[✓✗=?] ({'|'.join(VERDICTS)})\b.* ([\d,]+)$", block)
        assert sorted(rows) == sorted((each["verdict"], f"{each['n']:,}") for each in entry["comparisons"])
        assert all(pair(each) in text for each in entry["comparisons"])


def test_numbers_are_written_as_in_the_main_report(document: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(document, tmp_path)
    row = next(row for row in page.compared if "operator, batch 64" in row)
    assert row == "gelu vs relu operator, batch 64 +93.3 % +87.8 % to +98.8 % worse for it 7.7 % 10"
    assert "| gelu vs relu | operator, batch 64 | worse | +93.3 % | +87.8 to +98.8 % | ±2 % | ✗ worse |" in markdown
    assert re.search(r"operator, batch 64 +\+93\.3 % +\+87\.8 to \+98\.8 % +✗ worse +for it +10", terminal(document))


def test_each_of_the_refuting_and_supporting_ones_says_so(document: dict[str, Any], tmp_path: Path) -> None:
    judged = [each for each in compared(document) if not each["control"]]
    sides = {"for it": "supported", "against it": "refuted"}
    _, page = written(document, tmp_path)
    text = terminal(document)
    for side, grade in sides.items():
        wanted = sum(each["grade"] == grade for each in judged)
        assert wanted > 1
        assert sum(f" {side} " in row for row in page.compared) == wanted
        assert len(re.findall(rf"(?m) {side} +[\d,]+$", text)) == wanted


def test_a_control_is_no_evidence_for_the_claim(document: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(document, tmp_path)
    for text in (page.text, " ".join(markdown.split()), " ".join(terminal(document).split())):
        assert "Control: repeated calls that differ in any bit" in text
    row = next(row for row in page.compared if "stochastic_gelu" in row)
    assert "control" in row
    assert " found " in row
    document["claims"][2]["comparisons"][-1]["grade"] = "refuted"
    assert " not found" in terminal(document)


def test_refused_comparisons_say_why_and_show_no_interval(document: dict[str, Any], tmp_path: Path) -> None:
    _, page = written(document, tmp_path)
    text = " ".join(terminal(document).split())
    for reason in ("width 128: the baseline's twin is not equivalent", "n = 1: a single run has no spread to judge by"):
        assert "Refused , gelu" in page.text
        assert reason in page.text
        assert reason in text
    assert sum("refused" in row for row in page.compared) == 2


def test_an_unmatched_pair_is_unfair_on_its_own_line(document: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(document, tmp_path)
    note = next(each["notes"][0] for each in compared(document) if each["notes"])
    assert re.search(r"swiglu-wide vs gelu\n.*equivalent, unfair", terminal(document))
    assert any("swiglu-wide vs gelu unfair" in row for row in page.compared)
    assert "= equivalent, unfair" in markdown
    for text in (markdown, page.text, " ".join(terminal(document).split())):
        assert note in text


def test_a_cost_is_shown_with_its_price_and_utilisation_or_not_at_all(document: dict[str, Any], tmp_path: Path) -> None:
    def texts() -> list[str]:
        markdown, page = written(document, tmp_path)
        return [
            " ".join(each.replace("\N{NO-BREAK SPACE}", " ").split())
            for each in (markdown, page.text, terminal(document))
        ]

    for text in texts():
        assert "gelu 0.913, relu 0.912" in text
        assert "at a price of 0.4 an hour and a utilisation of 30 %" in text
    for unsaid in ({"price_per_hour": 0.4, "utilisation": 0.0}, {"price_per_hour": 0.4}, {"utilisation": 0.3}, None):
        document["claims"][3]["subjects"][0]["cost"] = unsaid
        for text in texts():
            assert "0.913" not in text
            assert "the document does not say at which price and utilisation" in text


def test_what_the_reader_must_know_stands_before_the_claims(document: dict[str, Any], tmp_path: Path) -> None:
    document["meaning"] = MEANING
    markdown, page = written(document, tmp_path)
    headline = (
        "Of 7 claims, 1 holds, 3 are refuted, 1 makes no practical difference, 1 stays open "
        "and 1 could not be tested here."
    )
    told = [headline, "never from the text", "holds for this machine", "at its own error rate", *MEANING.values()]
    for text in (" ".join(markdown.split()), page.text):
        first = text.index(document["claims"][0]["sentence"])
        assert all(text.index(each) < first for each in told)
        assert "an example processor, 2 cores, torch 2.0" in text
        assert "The largest model measured here has 4.72 M parameters." in text
    text = " ".join(terminal(document).split())
    assert all(each in text for each in told)


def test_a_claim_has_all_that_belongs_to_it(document: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(document, tmp_path)
    for text in (markdown, page.text.replace("\N{NO-BREAK SPACE}", " ")):
        for entry in document["claims"]:
            for each in (entry["source"], entry["replay"], *entry["otherwise"], entry["study"] or ""):
                assert each in text
            for each in entry["left_out"]:
                assert each["reason"] in text
        assert "no kernels of its own" in text
        assert "4.72 M parameters in each arm" in text
        assert "robustness" in text
    assert "#claim-E3" in page.links
    assert {link[1:] for link in page.links if link.startswith("#")} <= set(page.ids)
    assert len(page.ids) == len(set(page.ids))


def test_a_grade_on_kernels_of_our_own_stands_beside_the_grade_with_its_reason(
    document: dict[str, Any], tmp_path: Path
) -> None:
    entry = document["claims"][0]
    before = entry["grade"]
    entry["columns"] |= {"gatewise": "equivalent", "gatewise_reason": "on ours nothing moved", "gatewise_study": None}
    markdown, page = written(document, tmp_path)
    for text in (markdown, page.text.replace("\N{NO-BREAK SPACE}", " "), " ".join(terminal(document).split())):
        assert "on ours nothing moved" in text
        assert before in text


@pytest.mark.parametrize("which", ["document", "merged"])
def test_the_page_has_its_headings_in_order_and_names_its_figures(
    which: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    _, page = written(request.getfixturevalue(which), tmp_path)
    source = (tmp_path / "claims.html").read_text("utf-8")
    assert page.headings[0] == 1
    assert page.headings.count(1) == 1
    assert all(after <= before + 1 for before, after in zip(page.headings, page.headings[1:], strict=False))
    named = re.findall(r'<svg role="img" aria-labelledby="(\S+) (\S+)"', source)
    assert len(named) > 10
    assert {name for both in named for name in both} <= set(page.ids)
    assert "url(" not in source.split("</style>")[0]


def test_a_plot_on_a_phone_has_room_for_the_words_beside_its_edge(document: dict[str, Any], tmp_path: Path) -> None:
    """All of E1 lies to the right of no effect; the word to the left of that line stays on the drawing."""
    written(document, tmp_path)
    source = (tmp_path / "claims.html").read_text("utf-8")
    places = re.findall(r'<text x="([-\d.]+)" y="18" class="side" text-anchor="end">← (\w+)', source)
    assert len(places) > 10
    assert all(float(x) > 6 * len(word) for x, word in places)


def test_machines_stand_side_by_side_and_have_no_grade_together(merged: dict[str, Any], tmp_path: Path) -> None:
    markdown, page = written(merged, tmp_path)
    assert len(page.compared) == len(compared(merged))
    assert sum(line.startswith("| ") and " vs " in line for line in markdown.splitlines()) == len(compared(merged))
    grid = {row[0].split()[0]: row for row in page.rows if re.match(r"E\d ", row[0])}
    assert [cell.split() for cell in grid["E1"][1:]] == [["≠", "differ"], ["✓", "supported"], ["?", "inconclusive"]]
    assert grid["E2"][1] == "alike"
    assert grid["E5"][1:] == ["one machine", "= equivalent", "not run there"]
    names = [machine["name"] for machine in merged["machines"]]
    assert all(name in page.text and name in markdown for name in names)
    text = terminal(merged)
    assert re.search(r"(?m)^E1 +✓ supported +\? inconclusive +differ$", text)
    assert re.search(r"(?m)^E2 +✗ refuted +✗ refuted$", text)
    assert re.search(r"(?m)^E5 += equivalent +not run there +one machine$", text)
    assert "never averaged" in page.text
    assert "never averaged" in " ".join(text.split())
    assert all(row["sentence"] in " ".join(text.split()) for row in merged["claims"])


def test_a_sentence_that_differs_between_machines_is_shown_for_each(merged: dict[str, Any], tmp_path: Path) -> None:
    merged["claims"][1]["results"][1]["sentence"] = "Another sentence under the same id."
    for text in (written(merged, tmp_path)[0], written(merged, tmp_path)[1].text):
        assert "Another sentence under the same id." in text


def test_the_list_shows_every_row_with_what_it_waits_for() -> None:
    rows = [("A1", "runs", None, 360.0), ("A2", "waits for data quality", None, None), ("A3", "runs", "A1", None)]
    entries = [
        {"id": name, "status": status, "follows": follows, "budget_s": budget, "sentence": f"What {name} says."}
        for name, status, follows, budget in rows
    ]
    lines = terminal({"schema": "gatewise.claims-list/1", "claims": entries}).splitlines()
    assert [line.split("  ")[0] for line in lines[1:4]] == ["A1", "A2", "A3"]
    assert re.search(r"^A1 +runs +6 min +What A1 says\.$", lines[1])
    assert re.search(r"^A2 +waits for data quality +– +What A2 says\.$", lines[2])
    assert re.search(r"^A3 +follows A1 +– +What A3 says\.$", lines[3])


def test_writing_is_all_or_nothing(document: dict[str, Any], merged: dict[str, Any], tmp_path: Path) -> None:
    paths = report.write_claims(document, tmp_path / "out")
    assert sorted(path.name for path in paths) == ["claims.html", "claims.json", "claims.md"]
    assert sorted(paths) == sorted((tmp_path / "out").iterdir())
    assert json.loads(paths[0].read_text("utf-8")) == document
    before = [path.read_bytes() for path in paths]
    document["claims"][1]["seconds"] = float("nan")
    with pytest.raises(GatewiseError, match=r"claims\[1\]\.seconds"):
        report.write_claims(document, tmp_path / "out")
    with pytest.raises(GatewiseError, match="a machine's own result"):
        report.write_claims(merged, tmp_path / "out")
    assert [path.read_bytes() for path in paths] == before
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write the claims"):
        report.write_claims(merged, tmp_path / "file" / "out")


@pytest.mark.parametrize("show", [report.claims_terminal, lambda document: report.write_claims(document, Path("x"))])
def test_another_document_is_refused_in_one_line(show: Callable[[Any], object]) -> None:
    with pytest.raises(GatewiseError, match=r"no document of claims: schema gatewise\.result/1; valid: gatewise"):
        show({"schema": "gatewise.result/1"})


# Any document


WORD = st.text(st.characters(categories=["Lu", "Nd", "Sm", "Po", "Lo"], exclude_characters="NI"), min_size=1)
TEXT = WORD.map(lambda raw: " ".join(raw.split())).filter(bool)
ODD = st.sampled_from(["<script>alert(1)</script>", "[bold]x[/]\x1b[2J", "| a | **b** `c`", "日本 " * 40, "&amp;"])
ANY = TEXT | ODD
NUMBER = st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(10**9), 10**9) | st.floats(0.5, 2.0)
MAYBE = st.none() | NUMBER
PAIR = st.none() | st.tuples(NUMBER, NUMBER).map(sorted)
COMPARISON = st.fixed_dictionaries(
    {
        "metric": st.sampled_from([*METRICS, "SOMETHING ELSE"]),
        "arm": ANY,
        "than": ANY,
        "is": st.sampled_from(["better", "worse", "equivalent", "not worse"]),
        "verdict": st.sampled_from(VERDICTS),
        "grade": st.sampled_from(GRADES),
        "estimate": MAYBE,
        "interval": PAIR,
        "n": st.integers(0, 9),
    },
    optional={
        "label": st.none() | ANY,
        "part": st.none() | ANY,
        "conditions": st.none()
        | st.dictionaries(
            st.sampled_from(["batch", "parts", "part"]), st.none() | NUMBER | st.lists(ANY | NUMBER, max_size=3)
        ),
        "over": st.sampled_from([None, "batch", "part", "learning_rate"]),
        "form": st.sampled_from([None, "slope", "change", "spread"]),
        "kind": st.sampled_from(["ratio", "difference"]),
        "margin": MAYBE,
        "limits": PAIR,
        "alpha": st.none() | st.floats(0.001, 0.5),
        "smallest_detectable": MAYBE,
        "control": st.booleans(),
        "notes": st.lists(ANY | st.just("unmatched: 2 against 1"), max_size=2),
        "reason": st.none() | ANY,
        "cost": st.none() | st.dictionaries(ANY, MAYBE, max_size=2),
        "implementation": st.none() | ANY,
        "unknown": MAYBE,
    },
)
RELATION = st.fixed_dictionaries(
    {"metric": st.sampled_from(list(METRICS)), "arm": st.lists(ANY, max_size=2), "than": st.lists(ANY, max_size=2)},
    optional={"is": ANY, "margin": MAYBE, "over": st.none() | ANY, "where": st.dictionaries(ANY, ANY, max_size=1)},
)
SUBJECT = st.fixed_dictionaries(
    {},
    optional={
        "part": ANY,
        "parameters": st.none() | st.dictionaries(ANY, MAYBE, max_size=3),
        "flops": st.dictionaries(ANY, MAYBE, max_size=3),
        "options": st.none() | st.dictionaries(ANY, MAYBE, max_size=2),
        "cost": st.none() | st.fixed_dictionaries({"price_per_hour": MAYBE, "utilisation": MAYBE}),
    },
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    """Claims documents with every oddity, and keys that nobody knows."""
    entry = {
        "sentence": ANY,
        "grade": st.sampled_from([*GRADES, "something else", None]),
        "comparisons": st.lists(COMPARISON, max_size=5),
    }
    optional = {
        "source": ANY,
        "reason": st.none() | ANY,
        "columns": st.none() | st.fixed_dictionaries({"stock": ANY, "gatewise": st.sampled_from([None, *GRADES])}),
        "alpha": MAYBE,
        "relations": st.lists(RELATION, max_size=2),
        "subjects": st.none() | st.lists(SUBJECT, max_size=2),
        "left_out": st.lists(st.fixed_dictionaries({"what": ANY, "reason": ANY}), max_size=1),
        "otherwise": st.none() | st.lists(ANY, max_size=2),
        "follows": st.sampled_from([None, "C0", "X"]),
        "waits_for": st.none() | ANY,
        "seconds": MAYBE,
        "replay": st.none() | TEXT,
        "unknown": st.dictionaries(ANY, MAYBE, max_size=1),
    }
    claims = draw(st.lists(st.fixed_dictionaries(entry, optional=optional), max_size=3))
    found = {"schema": "gatewise.claims/1", "claims": [{"id": f"C{i}"} | each for i, each in enumerate(claims)]}
    facts = {
        "environment": st.none() | st.dictionaries(ANY, MAYBE | ANY, max_size=2),
        "budget_s": MAYBE,
        "meaning": st.none(),
    }
    return found | draw(st.fixed_dictionaries({}, optional=facts))


def merged_of(document: dict[str, Any]) -> dict[str, Any]:
    rows = [
        {"id": each["id"], "sentence": each["sentence"], "results": [each | {"machine": "one"}]}
        for each in document["claims"]
    ]
    return {"schema": "gatewise.claims-merged/1", "machines": [{"name": "one"}, {"name": "two"}], "claims": rows}


NO_NUMBER = re.compile(r"(?<![a-zA-Z])(nan|None|inf|NaN|Infinity)(?![a-zA-Z])")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(documents(), st.sampled_from([30, 80, 200]))
def test_any_document_is_shown_whole(
    tmp_path_factory: pytest.TempPathFactory, document: dict[str, Any], width: int
) -> None:
    folder = tmp_path_factory.mktemp("any")
    for each in (document, merged_of(document)):
        markdown, page = written(each, folder / each["schema"])
        text = terminal(each, width)
        assert not NO_NUMBER.search(" ".join([page.text, markdown, text, *page.numbers]))
        assert "\x1b" not in text
        assert page.script_types == ["application/json"]
        assert "<script>alert" not in markdown
        assert json.loads(page.scripts) == each
        assert all(link.startswith("#") or link == "data:," for link in page.links)
        assert len(page.ids) == len(set(page.ids))
        assert len(page.compared) == len(compared(each))
        for claim in each["claims"]:
            assert claim["id"] in text
            assert claim["id"] in markdown
    bare = document | {"claims": [each | {"comparisons": []} for each in document["claims"]]}
    rows = re.compile(rf"[✓✗=?] (?:{'|'.join(VERDICTS)})(?:, unfair)?(?: |$)", re.MULTILINE)
    found, rest = (len(rows.findall(terminal(each, 200))) for each in (document, bare))
    assert found - rest == len(compared(document))
