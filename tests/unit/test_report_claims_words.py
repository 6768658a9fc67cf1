"""The words of a claims report that a reader stumbles over: what a trend is a change of, and one of a thing."""

import copy
import io
import json
import re
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gatewise import report
from gatewise.core import METRICS

EXAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "claims-example.json").read_text("utf-8"))


def shown(document: dict[str, Any], folder: Path) -> dict[str, str]:
    """All formats, each as one line."""
    buffer = io.StringIO()
    report.claims_terminal(document, Console(file=buffer, width=200))
    report.write_claims(document, folder)
    texts = {name: (folder / name).read_text("utf-8") for name in ("claims.md", "claims.html")}
    texts["claims.html"] = texts["claims.html"].partition('<script type="application/json"')[0]
    return {name: " ".join(text.split()) for name, text in (texts | {"terminal": buffer.getvalue()}).items()}


def only(over: str, form: str, metric: str) -> dict[str, Any]:
    """The example with one claim, of one comparison along a condition."""
    document = copy.deepcopy(EXAMPLE)
    first = next(each for each in document["claims"] if each["comparisons"])
    known: dict[str, Any] = next(c for each in document["claims"] for c in each["comparisons"] if c["estimate"])
    trend = {"over": over, "form": form, "arm": "gelu", "than": "relu"}
    facts = METRICS[metric]
    first["comparisons"] = [known | trend | {"metric": metric, "label": facts.label, "kind": facts.kind}]
    document["claims"] = [first]
    return document


@pytest.mark.parametrize(
    ("over", "form", "metric", "wanted"),
    [
        ("batch", "slope", "latency", "how the ratio gelu / relu changes with each doubling of batch"),
        ("part", "slope", "latency", "how the ratio gelu / relu changes from part to part"),
        ("part", "change", "latency", "the ratio gelu / relu in the last part against the first"),
        (
            "learning_rate",
            "change",
            "latency",
            "the ratio gelu / relu at the largest learning rate against the smallest",
        ),
        ("part", "change", "generalisation_gap", "the difference gelu − relu in the last part against the first"),
        (
            "learning_rate",
            "spread",
            "heldout_loss",
            "how far each arm's own values range along learning rate, gelu against relu",
        ),
    ],
)
def test_a_trend_says_what_it_is_a_change_of(tmp_path: Path, over: str, form: str, metric: str, wanted: str) -> None:
    document = only(over, form, metric)
    document["claims"][0]["relations"] = [
        {"metric": metric, "arm": ["gelu"], "than": ["relu"], "is": "worse", "over": over, "form": form}
    ]
    for name, text in shown(document, tmp_path).items():
        plain = text.replace("&#39;", "'").replace("\\", "")
        assert plain.count(wanted) >= (1 if name == "terminal" else 2)  # the heading, and what would support it
        assert "change against relu" not in plain


def test_a_trend_of_several_pairs_names_none(tmp_path: Path) -> None:
    document = only("batch", "slope", "latency")
    rows = document["claims"][0]["comparisons"]
    rows.append(rows[0] | {"arm": "silu"})
    for text in shown(document, tmp_path).values():
        assert "how the ratio of each pair changes with each doubling of batch" in text


def test_one_of_a_thing_is_singular(tmp_path: Path) -> None:
    document = only("", "", "latency")
    claim = document["claims"][0]
    silent = {"gelu": {"silent": 1, "units": 1, "tokens": 1}}
    claim["subjects"] = [{"part": "one", "workload": "w", "parameters": {"gelu": 1, "relu": 1}, "silent_units": silent}]
    for text in shown(document, tmp_path / "one").values():
        assert "The largest model measured here has 1 parameter." in text
        assert not re.search(r"(?<![\d.,])1 (parameters|tokens|hidden units|claims|cores)\b", text)
    page = shown(document, tmp_path / "one")["claims.md"]
    assert "1 parameter in each arm" in page
    assert "1 of 1 hidden unit never positive over 1 token" in page
    results = [claim | {"machine": name} for name in ("one", "two")]
    rows = [{"id": "E1", "sentence": "s", "results": results}]
    merged = {"schema": "gatewise.claims-merged/1", "machines": [{"name": "one"}, {"name": "two"}], "claims": rows}
    for text in shown(merged, tmp_path / "two").values():
        assert "1 claim on 2 machines: the one that was tested on several came out alike." in text


def test_claims_without_a_grade_are_counted_in_a_sentence(tmp_path: Path) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["claims"] = [each | {"grade": None} for each in document["claims"][:2]]
    assert "All 2 claims have no grade." in shown(document, tmp_path)["terminal"]
