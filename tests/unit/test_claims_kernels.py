"""The column of gatewise's own kernels: the same plans, run apart, and never part of a claim's grade."""

from pathlib import Path
from typing import Any

import pytest

from gatewise import claims, kernels
from gatewise.claims._kernels import on_kernels
from gatewise.claims._looks import looks
from gatewise.claims._trial import Trial, trials_of
from gatewise.core import GatewiseError, Store
from gatewise.kernels._library import Status
from gatewise.study import STORE, Plan

CLAIM = """
[[claim]]
id = "free"
sentence = "GELU costs nothing beside SiLU."
source = "a colleague"

[[claim.relation]]
metric = "latency"
arm = "gelu"
than = "silu"
is = "equivalent"

[claim.plan.study]
arms = ["silu", { name = "gelu", label = "gelu" }]

[claim.plan.subject]
workload = "ffn"
options = { dim = 32 }

[claim.plan.measure]
metrics = ["latency"]
runtimes = ["eager", "onnxruntime"]
"""
HERE = Status(path=Path("library.so"), instruction_set="avx2")


@pytest.fixture
def known(tmp_path: Path) -> Any:
    (tmp_path / "claims.toml").write_text(CLAIM)
    return claims.ledger(str(tmp_path / "claims.toml"))


def graded(known: Any, out: Path, monkeypatch: pytest.MonkeyPatch, *, own: bool) -> tuple[dict[str, Any], list[Plan]]:
    """The claim's entry where every study fails with what it ran, and the plans in order."""
    ran: list[Plan] = []

    def fail(trial: Trial, folder: Path, budget_s: float, progress: object) -> None:
        assert trial.plan is not None
        ran.append(trial.plan)
        trial.failure = f"a study of {', '.join(sorted({arm.kernel for arm in trial.plan.parts[0].arms}))} failed"

    monkeypatch.setattr("gatewise.claims._run._run", fail)
    document = claims.run_claims(known, out, budget_s=10.0, progress=lambda *_: None, replay={}, own=own)
    return document["claims"][0], ran


def test_without_being_asked_nothing_runs_on_our_kernels_and_the_column_says_how(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "status", lambda: HERE)
    entry, ran = graded(known, tmp_path / "out", monkeypatch, own=False)
    assert [{arm.kernel for arm in plan.parts[0].arms} for plan in ran] == [{"stock"}]
    assert entry["columns"] == {
        "stock": entry["grade"],
        "gatewise": None,
        "gatewise_reason": "not run on native kernels; gatewise claims free --kernels gatewise does",
        "gatewise_study": None,
    }


def test_asked_for_the_plan_runs_a_second_time_and_its_grade_stands_in_the_column_alone(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "status", lambda: HERE)
    entry, (stock, ours) = graded(known, tmp_path / "out", monkeypatch, own=True)
    assert {arm.kernel for arm in stock.parts[0].arms} == {"stock"}
    assert [(arm.label, arm.kernel) for arm in ours.parts[0].arms] == [("silu", "gatewise"), ("gelu", "gatewise")]
    assert ours.parts[0].measure is not None
    assert ours.parts[0].measure.runtimes == ("eager",)
    assert stock.fingerprint != ours.fingerprint
    assert entry["reason"] == "a study of stock failed"
    assert entry["columns"]["gatewise"] == "not testable here"
    assert entry["columns"]["gatewise_reason"] == "a study of gatewise failed"


def test_where_there_are_no_kernels_asking_is_refused_and_the_column_says_why(
    known: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kernels, "status", lambda: Status(reason="nobody built them"))
    with pytest.raises(GatewiseError, match="native kernels are absent: nobody built them"):
        graded(known, tmp_path / "out", monkeypatch, own=True)
    entry, _ = graded(known, tmp_path / "out", monkeypatch, own=False)
    assert entry["columns"]["gatewise_reason"] == "native kernels are absent here: nobody built them"


def test_what_is_left_out_on_our_kernels_is_said(known: Any) -> None:
    (trial,) = trials_of(known)
    own = on_kernels(trial)
    assert own is not None
    assert {"what": "part main, runtime onnxruntime", "reason": "it runs no native kernels"} in own.left_out


def test_a_study_on_our_kernels_is_no_look_at_the_claim_and_one_from_before_kernels_still_is(tmp_path: Path) -> None:
    training = next(claim for claim in claims.ledger() if claim.plan and claim.plan.parts[0].train)
    (trial,) = trials_of([training])
    own = on_kernels(trial)
    assert trial.plan is not None
    assert own is not None
    assert own.plan is not None
    old: dict[str, Any] = trial.plan.to_json()
    for part in old["parts"]:
        for arm in part["arms"]:
            del arm["kernel"]
        for table in ("measure", "train"):
            (part[table] or {}).pop("kernels", None)
    for name, content in (("old", old), ("ours", own.plan.to_json())):
        (tmp_path / name).mkdir()
        store = Store(tmp_path / name / STORE)
        store.put("plan", content)
        store.add(content["parts"][0]["name"], 0, {"train:a": {}})
        store.close()
    assert [each["study"] for each in looks(trial.plan, tmp_path)] == ["old"]
    assert [each["study"] for each in looks(own.plan, tmp_path)] == ["ours"]
