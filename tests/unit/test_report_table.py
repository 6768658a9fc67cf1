"""An own file's page in every format: it says what was judged, in plain words, and nothing that was not."""

import copy
import io
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.console import Console
from test_report_html import Page

from gatewise.core import GatewiseError
from gatewise.report._table import table_terminal, write_table
from gatewise.report._table_html import render as html
from gatewise.report._table_markdown import render as markdown
from gatewise.report._table_view import build

LEARNERS = ("guess", "linear", "trees", "gelu", "swiglu")
PAIRS = (
    *(("guess", name, "guess") for name in LEARNERS[1:]),
    ("worth", "trees", "linear"),
    *(("worth", arm, base) for arm in LEARNERS[3:] for base in ("linear", "trees")),
    ("arm", "swiglu", "gelu"),
)
CLASSES = [{"name": "no", "rows": 360}, {"name": "yes", "rows": 40}]


def split(name: str = "random", **said: str) -> dict[str, Any]:
    """A split whose comparisons are undecided but for those that are `said`, as `arm_baseline="better"`."""
    comparisons = [
        {
            "question": question,
            "arm": arm,
            "baseline": base,
            "verdict": said.get(f"{arm}_{base}", "inconclusive"),
            "estimate": 0.02,
            "interval": [-0.01, 0.05],
        }
        for question, arm, base in PAIRS
    ]
    worth = [arm for arm in LEARNERS[3:] if said.get(f"{arm}_linear") == said.get(f"{arm}_trees") == "better"]
    learner = worth[0] if worth else "trees" if said.get("trees_linear") == "better" else "linear"
    useful = [name for name in LEARNERS[1:] if said.get(f"{name}_guess", "better") == "better"]
    scores = {name: {"value": 0.8, "interval": [0.7, 0.9]} for name in ("auc", "top_tenth", "accuracy", "log_loss")}
    entry = {"runs": [0.1, 0.2], "removes": 0.15, "scores": scores}
    kinds = {name: "neural" if name in LEARNERS[3:] else name for name in LEARNERS}
    bins = [{"rows": 50, "predicted": p, "found": p, "interval": [p / 2, p * 2], "holds": p < 0.3} for p in (0.1, 0.4)]
    return {
        "name": name,
        "since": "2024-05-01" if name == "time" else None,
        "train_rows": 300,
        "heldout_rows": 100,
        "seeds": 6,
        "learners": [{"name": name, "kind": kinds[name], **entry} for name in LEARNERS],
        "comparisons": comparisons,
        "recommended": {"learner": learner, "useful": useful, "worth": worth},
        "calibration": {"of": "the chance of 'yes'", "shares": True, "bins": bins},
        "slices": {
            "looked_at": 12,
            "too_small": 3,
            "fewest_rows": 30,
            "harder": [{"column": "town", "says": "Bonn", "rows": 40, "here": 0.3, "rest": 0.1}],
            "off": [],
            "more": 0,
        },
    }


def document(*splits: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {
        "schema": "gatewise.table/1",
        "file": {"name": "customers.csv", "rows_used": 400, "encoding": "utf-8", "separator": "comma"},
        "target": {
            "name": "churn",
            "task": "classify",
            "classes": [{"name": n, "rows": r} for n, r in (("no", 360), ("yes", 40))],
        },
        "plan": {"arms": ["gelu", "swiglu"], "seeds": 6},
        "columns": [{"name": "id", "kind": "identifier", "used": False, "why": "It numbers the rows.", "missing": 0}],
        "findings": ["2 rows are copies of another row."],
        "leaks": [{"columns": ["closed"], "share": 1.0, "says": "'closed' alone removes 100 % of the guesswork."}],
        "splits": list(splits) or [split()],
        "matching": {"block_parameters": {"gelu": 32768, "swiglu": 32640}, "largest_difference": 0.0039},
        "predictions": None,
        "warnings": [],
        "replay": "gatewise table customers.csv --target churn",
        **changes,
    }


ALL_WORSE = {f"{arm}_{base}": "worse" for arm in LEARNERS[3:] for base in ("linear", "trees")}


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({}, "No neural network was shown to be worth it: none is better than both the linear model"),
        (ALL_WORSE, "No neural network is worth it here: all of them lose to the linear model and the boosted"),
        (
            {"gelu_trees": "worse", "swiglu_trees": "worse", "trees_linear": "better"},
            "No neural network is worth it here: all of them lose to the boosted trees. Use the boosted trees.",
        ),
        (
            {"gelu_trees": "worse"},
            "No neural network is worth it here: gelu loses to the boosted trees, and swiglu was not shown to be",
        ),
        (
            {"swiglu_linear": "better", "swiglu_trees": "better"},
            "A neural network is worth it here: with swiglu it beats the linear model and the boosted trees. "
            "Use the network with swiglu.",
        ),
        ({f"{name}_guess": "worse" for name in LEARNERS[1:]}, "Nothing was shown to be better than guessing."),
    ],
)
def test_the_first_sentence_is_about_the_networks(said: dict[str, str], words: str) -> None:
    assert build(document(split(**said))).headline.startswith(words)


@pytest.mark.parametrize(
    ("verdict", "words"),
    [
        ("better", "swiglu is better than gelu"),
        ("worse", "swiglu is worse than gelu"),
        ("equivalent", "swiglu is in practice the same as gelu"),
        ("inconclusive", "no difference from gelu was shown for swiglu"),
    ],
)
def test_the_activations_are_never_told_apart_where_they_were_not(verdict: str, words: str) -> None:
    assert any(words in each for each in build(document(split(swiglu_gelu=verdict))).lead)


def test_one_run_alone_is_no_answer() -> None:
    view = build(document(split() | {"seeds": 1}))
    assert view.headline.startswith("Too little was finished to judge")
    assert not any("How sure" in each for each in view.lead)


def test_a_rare_class_is_told_by_the_top_tenth_and_a_frequent_one_by_right_answers() -> None:
    assert "of all 'yes'" in " ".join(build(document()).lead)
    frequent = [{"name": "no", "rows": 10}, {"name": "yes", "rows": 12}]
    said = " ".join(build(document(target={"name": "churn", "classes": frequent})).lead)
    assert "of its answers are right" in said
    assert "tenth" not in said


def test_the_split_by_time_is_told_apart() -> None:
    view = build(document(split(), split("time", trees_linear="better")))
    assert any("since 2024-05-01" in each and "the boosted trees would be" in each for each in view.lead)
    assert "time" in [section.ident for section in view.sections]


def test_a_leak_and_a_column_left_out_are_said_in_every_format() -> None:
    found = document()
    assert "closed" in html(found)
    assert "It numbers the rows." in html(found)
    assert "closed" in markdown(found)
    assert "closed" in printed(found)


def printed(found: dict[str, Any], width: int = 80) -> str:
    buffer = io.StringIO()
    table_terminal(found, Console(file=buffer, width=width))
    return buffer.getvalue()


@pytest.mark.parametrize("width", [60, 80, 140])
def test_the_terminal_keeps_to_its_width(width: int) -> None:
    found = document(split(), split("time"), replay="")
    assert max(cell_len(line) for line in printed(found, width).splitlines()) <= width


def test_texts_of_the_file_are_text_on_the_page() -> None:
    evil = "<script>alert(1)</script>"
    found = document()
    found["columns"][0]["name"] = found["splits"][0]["slices"]["harder"][0]["says"] = evil
    page = html(found)
    assert evil not in page
    assert "&lt;script&gt;alert(1)" in page
    assert "<script>" not in markdown(found)
    assert not Page(page).open


def test_files_are_written_whole_and_another_schema_is_refused(tmp_path: Path) -> None:
    paths = write_table(document(), tmp_path, {"predictions.csv": "a\n1\n"})
    assert sorted(path.name for path in paths) == ["predictions.csv", "table.html", "table.json", "table.md"]
    assert json.loads((tmp_path / "table.json").read_text(encoding="utf-8")) == document()
    with pytest.raises(GatewiseError, match=r"valid: gatewise\.table/1"):
        write_table({"schema": "gatewise.dilution/1"}, tmp_path)


@settings(suppress_health_check=[HealthCheck.too_slow], max_examples=60)
@given(st.data())
def test_a_document_with_holes_still_makes_a_page(data: st.DataObject) -> None:
    """Whatever is missing or null (a study that was interrupted), a page is made and none says nan or None."""
    found = copy.deepcopy(document(split(), split("time")))
    for _ in range(data.draw(st.integers(1, 6))):
        at: Any = found
        while True:
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            if not keys:
                break
            key = data.draw(st.sampled_from(keys))
            if key == "schema":
                break
            if isinstance(at[key], dict | list) and data.draw(st.booleans()):
                at = at[key]
                continue
            at[key] = data.draw(st.sampled_from([None, [], {}, "x"]))
            break
    for page in (html(found), markdown(found), printed(found)):
        text = page.partition('<script type="application/json"')[0].lower()
        assert " nan" not in text
        assert ">none<" not in text
