"""What a machine lacks is left out of a claim's plan and said with the grade; it is never a mistake of the claim's."""

from pathlib import Path
from typing import Any

import pytest

from gatewise import claims
from gatewise.claims import Claim, Relation
from gatewise.claims._available import available
from gatewise.claims._run import graded
from gatewise.claims._trial import trials_of
from gatewise.core import GatewiseError
from gatewise.runtimes import RUNTIMES
from gatewise.study import Plan, to_plan

REASON = "it is not installed; it comes with: pip install it"


def plan(*, arms: list[Any] | None = None, **measure: Any) -> Plan:
    return to_plan(
        {
            "study": {"arms": arms or ["relu", "gelu"], "budget": "60s"},
            "subject": {"workload": "operator"},
            "measure": {"metrics": ["latency"], "batch": [1]} | measure,
        }
    )


def claim(made: Plan, arm: str = "gelu") -> Claim:
    relation = Relation(metric="latency", arm=(arm,), than=("relu",), says="better")
    return Claim(id="A1", sentence="x", source="y", plan=made, relations=(relation,))


def lacks(monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    there = {name: REASON if name in names else None for name in RUNTIMES.table}
    monkeypatch.setattr("gatewise.runtimes.availability", lambda: there)


@pytest.mark.parametrize("name", RUNTIMES.table)
def test_every_runtime_that_is_not_here_is_left_out_with_its_reason(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    lacks(monkeypatch, name)
    other = "eager" if name != "eager" else "compile"
    found, left_out = available(plan(runtimes=[other, name]))
    assert found is not None
    assert found.parts[0].measure is not None
    assert found.parts[0].measure.runtimes == (other,)
    assert left_out == [{"what": "part main, runtime " + name, "reason": REASON}]


def test_what_is_here_stays_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "zentorch")
    made = plan(runtimes=["eager", "openvino"])
    assert available(made) == (made, [])


def test_a_part_without_any_of_its_runtimes_is_not_testable(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "onnxruntime", "openvino")
    made = claim(plan(runtimes=["onnxruntime", "openvino"]))
    (trial,) = trials_of([made])
    assert trial.plan is None
    assert [entry["what"] for entry in trial.left_out] == [
        "part main, runtime onnxruntime",
        "part main, runtime openvino",
    ]
    (entry,) = graded([made], [trial], Path("nowhere"), budget_s=None, replay={})["claims"]
    assert (entry["grade"], entry["reason"]) == ("not testable here", REASON)


def test_an_arm_with_a_runtime_of_its_own_goes_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "openvino")
    served = {"name": "gelu", "label": "served", "runtime": "openvino"}
    found, left_out = available(plan(arms=["relu", "gelu", served]))
    assert found is not None
    assert [arm.label for arm in found.parts[0].arms] == ["relu", "gelu"]
    assert [entry["what"] for entry in left_out] == ["part main, runtime openvino"]
    for arms in (["relu", served], [{"name": "relu", "runtime": "openvino"}, "gelu", "silu"]):
        found, left_out = available(plan(arms=arms))
        assert found is None
        assert left_out


def test_arms_that_all_have_their_own_do_not_need_the_plans(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "openvino")
    own = [{"name": name, "runtime": "onnxruntime"} for name in ("relu", "gelu")]
    found, _ = available(plan(arms=own, runtimes=["openvino"]))
    assert found is not None
    assert [arm.runtime for arm in found.parts[0].arms] == ["onnxruntime", "onnxruntime"]


def test_no_runtime_of_the_ledger_is_a_mistake_where_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    named = {
        name
        for each in claims.ledger()
        for part in (each.plan.parts if each.plan else ())
        for name in (part.measure.runtimes if part.measure else ())
    } - {"eager"}
    assert {"compile", "onnxruntime", "openvino"} <= named
    for name in named:
        monkeypatch.setattr(RUNTIMES, "_loaded", dict(RUNTIMES._loaded))
        monkeypatch.setitem(RUNTIMES._loaded, name, _without(name))
    claims.check_plans(claims.ledger())


def _without(name: str) -> Any:
    from dataclasses import replace

    return replace(RUNTIMES[name], lacks=lambda: REASON)


def test_other_mistakes_are_found_where_a_runtime_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    lacks(monkeypatch, "openvino")
    claims.check_plans([claim(plan(runtimes=["openvino"]))])
    for wrong, words in (
        (plan(arms=["relu", "gelu", "gelo"], runtimes=["openvino"]), "did you mean 'gelu'"),
        (plan(runtimes=["openvino", "openvin"]), "unknown runtime"),
    ):
        with pytest.raises(GatewiseError, match=words):
            claims.check_plans([claim(wrong)])


@pytest.mark.parametrize(("workload", "module"), [("causal-lm", "transformers"), ("sentence-encoder", "transformers")])
def test_a_workload_without_its_package_is_left_out(
    monkeypatch: pytest.MonkeyPatch, workload: str, module: str
) -> None:
    monkeypatch.setattr("gatewise.claims._available.find_spec", lambda name: None if name == module else object())
    made = to_plan({"study": {"arms": ["relu", "gelu"]}, "subject": {"workload": workload}, "measure": {}})
    found, left_out = available(made)
    assert found is None
    assert module in left_out[0]["reason"]
    assert "pip install" in left_out[0]["reason"]
