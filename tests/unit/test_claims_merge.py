"""Results that were edited by hand: each is refused in one line that names the file and what is wrong with it."""

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gatewise import report
from gatewise.claims import merge
from gatewise.core import GatewiseError

EXAMPLE: dict[str, Any] = json.loads((Path(__file__).parents[1] / "data" / "claims-example.json").read_text("utf-8"))
MISSING = object()
PLACES: dict[str, Callable[[dict[str, Any]], dict[str, Any]]] = {
    "": lambda document: document,
    "environment": lambda document: document["environment"],
    "claim E1": lambda document: document["claims"][0],
    "claim E1: columns": lambda document: document["claims"][0]["columns"],
    "claim E1: comparison no. 1": lambda document: document["claims"][0]["comparisons"][0],
}
WRONG = [
    *(("", "claims", value) for value in ({}, None, "text", [1], [None])),
    *(("", "environment", value) for value in (None, [], 3)),
    *(("", "written", value) for value in ([], None, 3)),
    *(("environment", key, value) for key, value in (("cpu", []), ("cores", "two"), ("packages", []))),
    *(("claim E1", key, MISSING) for key in ("grade", "sentence", "source", "reason", "comparisons")),
    *(("claim E1", "grade", value) for value in ("proven", "", None, [], {})),
    *(("claim E1", "comparisons", value) for value in ("text", {}, None, [1])),
    *(("claim E1", key, 3) for key in ("sentence", "reason", "columns", "relations", "otherwise", "replay", "ranking")),
    ("claim E1: columns", "stock", "proven"),
    *(
        ("claim E1: comparison no. 1", key, MISSING)
        for key in ("metric", "arm", "than", "verdict", "estimate", "interval", "alpha", "margin", "n")
    ),
    *(("claim E1: comparison no. 1", "interval", value) for value in ("text", [1.0], [1.0, "2"], [1.0, True], {})),
    *(("claim E1: comparison no. 1", key, "1") for key in ("estimate", "alpha", "margin", "limits", "n", "control")),
    *(("claim E1: comparison no. 1", "n", value) for value in (-1, 1.5, True, None)),
    *(("claim E1: comparison no. 1", key, []) for key in ("metric", "arm", "verdict", "conditions", "reason", "kind")),
    ("claim E1: comparison no. 1", "estimate", 10**400),
    ("claim E1: comparison no. 1", "verdict", "proven"),
    ("claim E1: comparison no. 1", "grade", "proven"),
]


def refused(folder: Path, text: str) -> str:
    """What merging a good result with this one says; the message is one line and starts with the file."""
    good, bad = folder / "good.json", folder / "bad.json"
    good.write_text(json.dumps(EXAMPLE), "utf-8")
    bad.write_text(text, "utf-8")
    with pytest.raises(GatewiseError) as caught:
        merge([good, bad])
    message = str(caught.value)
    assert "\n" not in message
    assert str(bad) in message
    return message.partition(str(bad))[2]


@pytest.mark.parametrize(("place", "key", "value"), WRONG)
def test_a_field_of_the_wrong_kind_is_named(tmp_path: Path, place: str, key: str, value: object) -> None:
    document = copy.deepcopy(EXAMPLE)
    held = PLACES[place](document)
    if value is MISSING:
        del held[key]
    else:
        held[key] = value
    message = refused(tmp_path, json.dumps(document))
    fault = "is missing; it must be" if value is MISSING else "must be"
    assert message.startswith(f": {place}: {key} {fault} " if place else f": {key} {fault} ")


@pytest.mark.parametrize("value", [MISSING, None, 3, [], " "])
def test_a_claim_needs_an_id(tmp_path: Path, value: object) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["claims"][1] = {key: item for key, item in document["claims"][1].items() if key != "id"}
    document["claims"][1] |= {} if value is MISSING else {"id": value}
    assert refused(tmp_path, json.dumps(document)).startswith(": claim no. 2: id ")


def test_one_claim_twice_is_refused(tmp_path: Path) -> None:
    document = copy.deepcopy(EXAMPLE)
    document["claims"].append(document["claims"][0] | {"grade": "refuted"})
    assert refused(tmp_path, json.dumps(document)) == ': the claim "E1" is there twice'


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e999", "-1e999"])
def test_a_number_that_json_cannot_hold_is_refused(tmp_path: Path, word: str) -> None:
    text = json.dumps(EXAMPLE | {"budget_s": "HERE"}).replace('"HERE"', word)
    assert refused(tmp_path, text) == f" is not JSON: {word} is no number of JSON; a number that is not there is null"


@pytest.mark.parametrize("depth", [40, 900, 200_000])
def test_deep_nesting_is_refused(tmp_path: Path, depth: int) -> None:
    text = json.dumps(EXAMPLE | {"budget_s": "HERE"}).replace('"HERE"', "[" * depth + "]" * depth)
    assert refused(tmp_path, text) == " is nested deeper than 30 levels"


@pytest.mark.parametrize("text", ['"\\ud800"', '{"\\udfff": 1}', "9" * 5000])
def test_what_could_not_be_written_again_is_refused(tmp_path: Path, text: str) -> None:
    assert " is not JSON: " in refused(tmp_path, json.dumps(EXAMPLE | {"budget_s": "HERE"}).replace('"HERE"', text))


def test_a_machine_named_in_an_entry_is_not_believed(tmp_path: Path) -> None:
    paths = [tmp_path / "a.json", tmp_path / "b.json"]
    for index, path in enumerate(paths):
        document: dict[str, Any] = copy.deepcopy(EXAMPLE) | {"environment": {"cpu": f"cpu {index}", "cores": 1}}
        document["claims"][0]["machine"] = "another"
        path.write_text(json.dumps(document), "utf-8")
    made = merge(paths)
    names = ["cpu 0, 1 core", "cpu 1, 1 core"]
    assert [machine["name"] for machine in made["machines"]] == names
    assert all([result["machine"] for result in row["results"]] == names for row in made["claims"])


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(found for key, item in items for found in places(item, (*path, key)))]


JUNK = st.sampled_from([None, True, -1, 1e300, "", "text", [], [[]], [None], {}, {"x": None}, {"x": [1]}])


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(places(EXAMPLE)[1:]), JUNK | st.just(MISSING))
def test_any_edit_is_merged_and_shown_or_refused(tmp_path: Path, path: tuple[Any, ...], junk: object) -> None:
    document: Any = copy.deepcopy(EXAMPLE)
    held = document
    for key in path[:-1]:
        held = held[key]
    if junk is MISSING:
        del held[path[-1]]
    else:
        held[path[-1]] = junk
    other = EXAMPLE | {"written": "2001-01-01T00:00:00+00:00"}
    good, bad = tmp_path / "good.json", tmp_path / "bad.json"
    good.write_text(json.dumps(other), "utf-8")
    bad.write_text(json.dumps(document), "utf-8")
    try:
        made = merge([good, bad])
    except GatewiseError:
        with pytest.raises(GatewiseError, match=f"^(cannot read )?{bad}"):
            merge([good, bad])
        return
    assert all(len(row["grades"]) == len(row["results"]) for row in made["claims"])
    assert report.write_claims(made, tmp_path / "out")
