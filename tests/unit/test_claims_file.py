"""Claim files: what is taken, and what is refused in one line that says what is valid."""

import math
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

from gatewise import activations, claims
from gatewise.core import GatewiseError
from gatewise.workloads import WORKLOADS

GOOD = """
[[claim]]
id = "A1"
sentence = "GELU is faster than ReLU."
source = "a blog"
relation = [{ metric = "latency", arm = "gelu", than = "relu", is = "better", margin = 0.02 }]
[claim.plan.study]
arms = ["relu", "gelu"]
[claim.plan.subject]
workload = "operator"
[claim.plan.measure]
metrics = ["latency"]
batch = [1, 8]
"""
RELATION = 'relation = [{ metric = "latency", arm = "gelu", than = "relu", is = "better", margin = 0.02 }]'

# What is replaced, what stands there instead, and what the refusal must say.
BROKEN = {
    "no relation": (RELATION, "", "needs a relation"),
    "empty relations": (RELATION, "relation = []", "needs a relation"),
    "relation without metric": ('metric = "latency", ', "", "metric missing"),
    "relation without than": ('than = "relu", ', "", "than missing"),
    "unknown metric": ('"latency", arm', '"latncy", arm', "did you mean 'latency'"),
    "metric that the plan lacks": ('"latency", arm', '"peak_memory", arm', "does not measure peak_memory"),
    "exact count": ('"latency", arm', '"parameters", arm', "exact count"),
    "unknown relation": ('is = "better"', 'is = "faster"', "unknown relation 'faster'"),
    "negative margin": ("margin = 0.02", "margin = -0.1", "margin must be a number from 0"),
    "margin as text": ("margin = 0.02", 'margin = "2 %"', "margin must be a number"),
    "margin not a number": ("margin = 0.02", "margin = nan", "margin must be a number"),
    "infinite margin": ("margin = 0.02", "margin = inf", "margin must be a number"),
    "margin of ten": ("margin = 0.02", "margin = 10", "margin must be a number"),
    "true margin": ("margin = 0.02", "margin = true", "margin must be a number"),
    "equivalent within nothing": ('is = "better", margin = 0.02', 'is = "equivalent", margin = 0.0', "margin of 0"),
    "unknown arm": ('arm = "gelu"', 'arm = "gelo"', "did you mean 'gelu'"),
    "arm against itself": ('than = "relu"', 'than = "gelu"', "compared with itself"),
    "no plan": (GOOD[GOOD.index("[claim.plan.study]") :], "", "needs a plan"),
    "plan with an unknown key": ("batch = [1, 8]", "batches = [1]", "did you mean 'batch'"),
    "shared plan that is not there": (GOOD[GOOD.index("[claim.plan.study]") :], 'plan = "x"', "unknown plan"),
    "no sentence": ('sentence = "GELU is faster than ReLU."', "", "needs a sentence"),
    "no source": ('source = "a blog"', "", "needs a source"),
    "no id": ('id = "A1"', "", "needs an id"),
    "odd id": ('id = "A1"', 'id = "../x"', "short word"),
    "unknown key": ('source = "a blog"', 'source = "a blog"\ngrade = "supported"', "unknown key"),
    "unknown key in a relation": ("margin = 0.02", "margins = 0.02", "did you mean 'margin'"),
    "unknown condition": ("margin = 0.02", "where = { bach = 1 }", "did you mean 'batch'"),
    "condition that the plan lacks": ("margin = 0.02", "where = { batch = 3 }", "valid: 1, 8"),
    "unknown part": ("margin = 0.02", 'part = "x"', "unknown part"),
    "over nothing": ("margin = 0.02", 'over = "width"', "unknown thing to go over"),
    "over a single value": ("margin = 0.02", 'over = "tokens"', "at least two values"),
    "over parts that are not there": ("margin = 0.02", 'over = "part"', "at least two parts"),
    "spread of times": ("margin = 0.02", 'over = "batch", form = "spread"', "training"),
    "unknown form": ("margin = 0.02", 'over = "batch", form = "steep"', "unknown form"),
    "cost without a price": ('"latency", arm', '"cost", arm', "[cost]"),
    "condition as a table": ("margin = 0.02", "where = { batch = { a = 1 } }", "a value of the plan"),
    "empty condition": ("margin = 0.02", "where = { batch = [] }", "a value of the plan"),
    "condition as a truth": ("margin = 0.02", "where = { batch = true }", "a value of the plan"),
    "condition as a fraction": ("margin = 0.02", "where = { batch = 1.0 }", "a value of the plan"),
    "over one value that is left": ("margin = 0.02", 'over = "batch", where = { batch = 1 }', "at least two values"),
    "arm twice": ('arm = "gelu"', 'arm = ["gelu", "gelu"]', "names an arm twice"),
    "alpha of nothing": (RELATION, RELATION + "\nalpha = 0", "between 0 and 0.5"),
    "alpha as text": (RELATION, RELATION + '\nalpha = "5 %"', "must be a number"),
    "option that is no number": (
        'workload = "operator"',
        'workload = "operator"\noptions = { dim = nan }',
        "finite number",
    ),
    "waits and has a plan": (RELATION, 'waits_for = "robustness"', "cannot have a plan"),
    "follows itself": (GOOD[GOOD.index("relation") :], 'follows = "A1"', "follows itself"),
    "long id": ('id = "A1"', f'id = "{"x" * 500}"', "short word"),
    "deep nesting": ('id = "A1"', f'id = "A1"\nx = {"[" * 3000}{"]" * 3000}', "too deeply"),
    "ranking by a table that is not there": (RELATION, RELATION + '\nranking = "shazer-2020"', "published table"),
    "waits for nothing known": (GOOD[GOOD.index("relation") :], 'waits_for = "rain"', "waits for one of"),
    "follows nobody": (GOOD[GOOD.index("relation") :], 'follows = "A9"', "unknown claim"),
    "relation as text": (RELATION, 'relation = "better"', "two brackets"),
    "otherwise as text": (RELATION, RELATION + '\notherwise = "x"', "list of sentences"),
    "broken TOML": ('id = "A1"', "id = ", "not valid TOML"),
    "no claims": (GOOD, "", "has no claims"),
    "single brackets": (GOOD, '[claim]\nid = "A1"', "[[claim]]"),
}


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "my.toml"
    path.write_text(text, encoding="utf-8")
    return path


def test_good_file_is_taken(tmp_path: Path) -> None:
    (claim,) = claims.ledger(written(tmp_path, GOOD))
    assert claim.relations[0].margin == 0.02
    assert claim.plan is not None
    assert claim.plan.parts[0].subject.workload == "operator"


@pytest.mark.parametrize("case", BROKEN)
def test_bad_file_is_refused_in_one_line(tmp_path: Path, case: str) -> None:
    old, new, expected = BROKEN[case]
    assert old in GOOD
    with pytest.raises(GatewiseError) as error:
        claims.ledger(written(tmp_path, GOOD.replace(old, new, 1)))
    assert expected in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


def test_a_trend_needs_numbers(tmp_path: Path) -> None:
    options = 'options = { data = "x" }\n[claim.plan.measure]'
    text = GOOD.replace("margin = 0.02", 'over = "data"').replace("[claim.plan.measure]", options)
    with pytest.raises(GatewiseError, match="needs numbers above 0"):
        claims.ledger(written(tmp_path, text))


def test_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="cannot read the claims"):
        claims.ledger(tmp_path / "none.toml")


MISTAKEN = {
    "workload": ('workload = "operator"', 'workload = "nope"', "unknown workload 'nope'"),
    "option": ('workload = "operator"', 'workload = "operator"\noptions = { dims = 3 }', "did you mean 'dim'"),
    "value of an option": ('workload = "operator"', 'workload = "operator"\noptions = { dim = "x" }', "dim"),
    "runtime": ("batch = [1, 8]", 'batch = [1, 8]\nruntimes = ["tensorrt"]', "unknown runtime"),
    "arm": ('["relu", "gelu"]', '["relu", "gelu", "gelo"]', "unknown activation 'gelo'"),
    "own function": ('workload = "operator"', 'model = "nowhere:build"', "cannot import 'nowhere'"),
}


@pytest.mark.parametrize("case", MISTAKEN)
def test_mistake_in_a_plan_is_refused_before_anything_runs(tmp_path: Path, case: str) -> None:
    old, new, expected = MISTAKEN[case]
    assert old in GOOD
    found = claims.ledger(written(tmp_path, GOOD.replace(old, new, 1)))
    with pytest.raises(GatewiseError) as error:
        claims.check_plans(found)
    assert str(error.value).startswith("claim A1: ")
    assert expected in str(error.value), str(error.value)
    assert "\n" not in str(error.value)


def test_ledger_has_no_mistake() -> None:
    claims.check_plans(claims.ledger())


def test_ring_of_claims_is_refused(tmp_path: Path) -> None:
    ring = "".join(
        f'[[claim]]\nid = "R{i}"\nsentence = "x"\nsource = "y"\nfollows = "R{(i + 1) % 3}"\n' for i in range(3)
    )
    with pytest.raises(GatewiseError, match="follows itself"):
        claims.ledger(written(tmp_path, ring))


def test_byte_order_mark_is_no_mistake(tmp_path: Path) -> None:
    path = tmp_path / "my.toml"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert [claim.id for claim in claims.ledger(path)] == ["A1"]


def test_two_claims_of_one_id_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="two claims have the id A1"):
        claims.ledger(written(tmp_path, GOOD + GOOD))


def test_unknown_id_names_the_nearest() -> None:
    with pytest.raises(GatewiseError, match="unknown claim 'G77'; did you mean 'G7'"):
        claims.chosen(claims.ledger(), ["G77"])


ROWS = [f"G{i}" for i in range(1, 12)] + [f"S{i}" for i in range(1, 13)] + ["X1", "X2"]


def test_ledger_has_every_row_in_order() -> None:
    assert [claim.id for claim in claims.ledger()] == ROWS


@pytest.mark.parametrize("claim", claims.ledger(), ids=lambda claim: claim.id)
def test_ledger_row_is_runnable_or_says_what_it_waits_for(claim: claims.Claim) -> None:
    if claim.waits_for or claim.follows:
        assert claim.plan is None
        return
    assert claim.plan is not None
    assert any(not relation.control for relation in claim.relations)
    for part in claim.plan.parts:
        assert part.subject.workload in WORKLOADS
        for arm in part.arms:
            assert arm.name in ("stochastic_gelu", "original") or activations.get(arm.name).name == arm.name


def test_following_claim_brings_the_one_it_follows() -> None:
    assert [claim.id for claim in claims.chosen(claims.ledger(), ["G10"])] == ["G10", "G5"]


def test_listing_has_every_row_as_plain_data() -> None:
    document = claims.listing(claims.ledger())
    assert [row["id"] for row in document["claims"]] == ROWS
    assert {row["status"] for row in document["claims"]} >= {"runs", "waits for robustness"}


def test_documentation_shows_the_ledger_as_it_is() -> None:
    page = (Path(__file__).parents[2] / "docs" / "claims.md").read_text(encoding="utf-8")
    shown = [line.strip("|").split(" | ") for line in page.splitlines() if re.match(r"\| [GSX]\d+ \|", line)]
    known = [[claim.id, claim.sentence, status(claim)] for claim in claims.ledger()]
    assert [[cell.strip() for cell in row] for row in shown] == known


def status(claim: claims.Claim) -> str:
    return (
        f"waits for {claim.waits_for}" if claim.waits_for else f"follows {claim.follows}" if claim.follows else "runs"
    )


def test_equal_plans_of_two_files_are_one() -> None:
    plans = {claim.id: claim.plan for claim in claims.ledger() if claim.plan}
    assert plans["G4"].fingerprint == plans["S1"].fingerprint
    assert plans["G4"].fingerprint != plans["X1"].fingerprint


@pytest.mark.parametrize("value", [math.nan, math.inf, -1, "x", None, True, 10])
def test_no_margin_that_means_nothing(value: Any) -> None:
    if value is None:
        return
    with pytest.raises(GatewiseError):
        claims.Relation(metric="latency", arm=("a",), than=("b",), says="better", margin=value)


def test_good_file_is_valid_toml() -> None:
    assert tomllib.loads(GOOD)["claim"][0]["id"] == "A1"
