"""From a study to the dilution's table: shares turned round, refused apart from not measured, other studies refused."""

import copy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise import dilution
from gatewise.core import GatewiseError


def compared(part: str, tokens: int, arm: str, estimate: float | None, **more: Any) -> dict[str, Any]:
    interval = None if estimate is None else [estimate * 0.99, estimate * 1.01]
    return {
        "part": part,
        "metric": "latency",
        "arm": arm,
        "baseline": "gelu",
        "twin": arm.endswith("(twin)"),
        "conditions": {"batch": 1, "tokens": tokens},
        "estimate": estimate,
        "interval": interval,
        "verdict": "better",
        "n": 10,
        "reason": None,
        "margin": 0.02,
    } | more


def timed(part: str, tokens: int, arm: str, values: list[float]) -> dict[str, Any]:
    conditions = {"batch": 1, "tokens": tokens}
    return {"part": part, "metric": "latency", "arm": arm, "values": values, "conditions": conditions}


def study(names: tuple[str, ...] = ("operator/float32", "model/float32")) -> dict[str, Any]:
    parts = [
        {
            "name": name,
            "arms": [{"label": label} for label in ("gelu", "identity", "relu")],
            "measure": {"tokens": [1, 8], "batch": [1], "threads": [1]},
            "facts": {"model": {"level": name, "dim": 16, "layers": 1}},
            "judge": {"alpha": 0.05, "margin": {}},
        }
        for name in names
    ]
    comparisons = [
        compared(name, tokens, arm, value)
        for name in names
        for tokens in (1, 8)
        for arm, value in (("gelu (twin)", 1.0), ("identity", 0.3), ("relu", 0.4))
    ]
    measurements = [timed(name, tokens, "gelu", [1.0, 3.0, 2.0]) for name in names for tokens in (1, 8)]
    return {
        "gatewise": "0.1.0",
        "study": {"parts": parts, "interrupted": False, "started": "now", "seconds": 3.0, "budget_s": 9.0, "seed": 0},
        "comparisons": comparisons,
        "measurements": measurements,
        "environment": {"cpu": "x"},
        "verdict": {"warnings": ["noisy", "noisy"]},
        "replay": "gatewise dilution",
    }


def test_a_row_for_each_level_and_number_of_tokens_and_the_twin_is_in_none() -> None:
    found = dilution.table(study())
    assert found["schema"] == dilution.SCHEMA
    assert found["arms"] == ["relu"]
    assert found["levels"] == ["operator", "model"]
    assert found["sizes"] == {"dim": 16, "layers": 1, "batch": 1, "threads": 1}
    assert found["judge"] == {"alpha": 0.05, "margin": 0.02}
    assert found["warnings"] == ["noisy"]
    rows = [(row["level"], row["dtype"], row["tokens"]) for row in found["rows"]]
    assert rows == [(level, "float32", tokens) for level in ("operator", "model") for tokens in (1, 8)]
    for row in found["rows"]:
        assert row["ratios"]["relu"]["estimate"] == 0.4
        assert row["times_s"] == {"gelu": 2.0, "identity": None, "relu": None}


@given(st.floats(0.01, 3.0), st.floats(0.0, 0.5), st.floats(0.0, 0.5))
def test_a_share_is_what_the_identity_saves_and_keeps_its_interval_round_it(
    left: float, below: float, above: float
) -> None:
    document = study()
    for row in document["comparisons"]:
        if row["arm"] == "identity":
            row |= {"estimate": left, "interval": [left * (1 - below), left * (1 + above)]}
    for row in dilution.table(document)["rows"]:
        low, high = row["share"]["interval"]
        assert row["share"]["estimate"] == 1.0 - left
        assert low <= row["share"]["estimate"] <= high
        assert high - low == pytest.approx(left * (below + above), abs=1e-9)


def test_refused_is_not_the_same_as_not_measured() -> None:
    document = study()
    twin = "the baseline's twin is not yet equivalent to it"
    for row in document["comparisons"]:
        if row["part"] == "model/float32" and row["conditions"]["tokens"] == 1:
            row |= {"estimate": None, "interval": None, "verdict": "inconclusive", "reason": twin}
        if row["part"] == "model/float32" and row["conditions"]["tokens"] == 8:
            row |= {"estimate": None, "interval": None, "verdict": "inconclusive", "n": 0, "reason": "nothing"}
    refused, missing = (row for row in dilution.table(document)["rows"] if row["level"] == "model")
    for entry in (refused["share"], refused["ratios"]["relu"]):
        assert entry == {"estimate": None, "interval": None, "verdict": "inconclusive", "n": 10, "reason": twin}
    assert missing["share"] is None
    assert missing["ratios"] == {"relu": None}


def test_what_was_never_compared_is_null() -> None:
    document = study()
    document["comparisons"] = []
    document["measurements"] = []
    found = dilution.table(document)
    assert all(row["share"] is None and row["ratios"] == {"relu": None} for row in found["rows"])
    assert all(set(row["times_s"].values()) == {None} for row in found["rows"])
    assert found["judge"]["margin"] is None


def test_the_study_is_left_as_it_was() -> None:
    document = study()
    before = copy.deepcopy(document)
    dilution.table(document)
    assert document == before


@pytest.mark.parametrize(
    "names", [(), ("inference",), ("operator/float32", "training"), ("kernel/float32",), ("ffn/",)]
)
def test_another_study_is_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(GatewiseError, match="no dilution"):
        dilution.table(study(names))
