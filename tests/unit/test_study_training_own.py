"""What each arm of a training part has for itself: its plan, its rate, its width, its checkpoints."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gatewise import measure, train
from gatewise.core import GatewiseError
from gatewise.study import to_plan
from gatewise.study._plan import Plan, Search, from_json
from gatewise.study._training import prepare_training, run_training, step_time
from gatewise.study._training_own import Own, built_as, pair_log_ratios

OPTIONS = {"dim": 16, "layers": 1, "heads": 2, "context": 32, "batch": 2, "heldout_windows": 16, "heldout_batch": 4}
SEARCH = {"rates": 3, "factor": 3.0, "steps": 40, "rungs": 2, "seeds": 2}


def plan_of(*arms: Any, **settings: Any) -> Plan:
    table = {"seeds": 2, "steps": 40, **settings}
    subject = {"workload": "byte-lm", "options": OPTIONS}
    return to_plan({"study": {"arms": list(arms or ("gelu", "swiglu"))}, "subject": subject, "train": table})


def job_of(plan: Plan, **more: Any) -> dict[str, Any]:
    return {"plan": json.loads(json.dumps(plan.to_json())), "part": 0, **more}


# -- the plan


def test_a_search_is_true_or_a_table_and_goes_through_json() -> None:
    for given, wanted in ((True, Search()), (False, None), (SEARCH, Search(**SEARCH))):
        plan = plan_of(search=given)
        assert plan.parts[0].train is not None
        assert plan.parts[0].train.search == wanted
        again = from_json(json.loads(json.dumps(plan.to_json())))
        assert again == plan
        assert again.fingerprint == plan.fingerprint


def test_the_grid_is_even_in_logarithms_around_the_plans_rate() -> None:
    grid = Search(rates=5, factor=10.0).grid(0.01)
    assert grid == pytest.approx((1e-4, 1e-3, 1e-2, 1e-1, 1.0))
    assert grid[2] == 0.01


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"search": "yes"}, "train.search is true, or a table"),
        ({"search": {"rate": 5}}, "did you mean 'rates'"),
        ({"search": {"rates": 4}}, "odd"),
        ({"search": {"rates": 1}}, "from 3 to 51"),
        ({"search": {"factor": 1.0}}, "factor must be a number above 1"),
        ({"search": {"seeds": 0}}, "seeds must be a whole number"),
        ({"search": {"distance": float("nan")}}, "distance must be a number"),
        ({"search": {"steps": 10}}, "too few"),
        ({"search": {"rungs": 2.5}}, "rungs must be a whole number"),
        ({"search": {"engine": "optune"}}, "did you mean 'optuna'"),
        ({"search": {"engine": 3}}, "engine of train.search"),
        ({"precision": "fp8"}, "precision is f32 or bf16"),
    ],
)
def test_odd_settings_are_refused_in_the_plan(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError, match=words) as caught:
        plan_of(**settings)
    assert len(str(caught.value).splitlines()) <= 2


def test_matching_by_time_is_about_training_alone() -> None:
    timed = {"name": "swiglu", "label": "s", "matching": "time"}
    assert plan_of("gelu", timed).parts[0].arms[1].matching == "time"
    with pytest.raises(GatewiseError, match=r"goes with \[train\] and without \[measure\]"):
        to_plan({"study": {"arms": ["gelu", timed]}, "subject": {"workload": "byte-lm"}})
    with pytest.raises(GatewiseError, match="the baseline's step"):
        plan_of(timed, "gelu")
    with pytest.raises(GatewiseError, match="matching is params, flops, time, none"):
        plan_of("gelu", {"name": "swiglu", "matching": "speed"})


# -- the arms' own


def test_each_arm_is_trained_at_the_rate_that_its_search_found(tmp_path: Path) -> None:
    plan = plan_of(search=SEARCH)
    record = prepare_training(plan.parts[0], seed=0, folder=tmp_path)
    training = json.loads(json.dumps(record["training"], allow_nan=False))
    found = training["search"]["arms"]
    assert {arm: found[arm]["chosen"] for arm in found} == training["own"]["rates"]
    assert {entry["steps"] for entry in found.values()} == {training["search"]["budget_steps_per_arm"]}
    assert training["settings"]["eval_batches"] == 3  # the fourth is the search's
    assert {rung["steps"] for rung in found["gelu"]["rungs"]} == {20, 40}
    settings = training["settings"] | {"steps": 40, "eval_every": 20}
    own = {"rates": {"gelu": 0.004, "swiglu": 0.03}, "hidden": {}}
    for arm in ("gelu", "swiglu"):
        job = job_of(plan, arm=arm, run_seed=1, settings=settings, own=own, folder=str(tmp_path))
        row = run_training(job)()
        wanted = replace(train.TrainPlan.from_json(settings), learning_rate=own["rates"][arm])
        made = built_as(_made(), plan.parts[0].arms[0], Own())[0]
        alone = train.train_arm(made, arm, seed=1, plan=wanted)
        assert row["learning_rate"] == own["rates"][arm]
        assert tuple(map(tuple, row["curve"])) == alone.curve
    assert not list((tmp_path / "runs").iterdir())


def test_with_optuna_the_record_is_the_same_and_the_journal_stays(tmp_path: Path) -> None:
    pytest.importorskip("optuna")
    small = {**SEARCH, "steps": 20, "seeds": 1}
    built_in = prepare_training(plan_of(search=small).parts[0], seed=0, folder=tmp_path / "a" / "arms" / "0")
    plan = plan_of(search={**small, "engine": "optuna"})
    record = prepare_training(plan.parts[0], seed=0, folder=tmp_path / "b" / "arms" / "0")
    found, wanted = record["training"]["search"], built_in["training"]["search"]
    assert (wanted["engine"], wanted["journal"]) == ("halving", None)
    assert (found["engine"], found["journal"]) == ("optuna", "search-0.optuna.journal")
    journal = (tmp_path / "b" / found["journal"]).read_text()
    assert "search-00: gelu" in journal
    assert "search-01: swiglu" in journal
    for arm in found["arms"]:
        assert found["arms"][arm] | {"seconds": 0} == wanted["arms"][arm] | {"seconds": 0}


def test_the_plan_knows_the_engines_of_the_search() -> None:
    from gatewise.study import _plan_search
    from gatewise.train import _search

    assert _plan_search.ENGINES == _search.ENGINES


def test_a_missing_engine_is_said_before_anything_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(train, "step_runner", lambda *a, **k: pytest.fail("it was measured"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(GatewiseError, match=r"gatewise\[optuna\]"):
        prepare_training(plan_of(search={**SEARCH, "engine": "optuna"}).parts[0], seed=0)


def _made() -> Any:
    from gatewise.workloads import workload

    return workload(name="byte-lm", options=OPTIONS)


def test_an_arm_whose_every_rate_diverged_keeps_the_plans_and_one_without_a_record_is_refused() -> None:
    plan = plan_of(search=SEARCH)
    gelu = plan.parts[0].arms[0]
    assert Own(rates={"gelu": None}).rate_of(gelu, plan.parts[0]) is None
    settings = train.TrainPlan(steps=40, eval_every=20).to_json()
    with pytest.raises(GatewiseError, match="not in the record"):
        run_training(job_of(plan, arm="gelu", run_seed=0, settings=settings))


def test_a_search_that_takes_most_of_the_budget_is_refused_before_it_begins() -> None:
    plan = plan_of(search={**SEARCH, "steps": 100_000})
    with pytest.raises(GatewiseError, match=r"searching the learning rates of 2 arms takes about \d+ s") as caught:
        prepare_training(plan.parts[0], seed=0, budget_s=60.0)
    assert "valid: a budget of" in str(caught.value)


def test_a_width_by_time_is_measured_recorded_and_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatewise.study import _training_own

    monkeypatch.setattr(_training_own, "SECONDS", 0.02)
    monkeypatch.setattr(_training_own, "FINAL_SECONDS", 0.05)
    plan = plan_of("gelu", {"name": "swiglu", "label": "timed", "matching": "time"}, "swiglu")
    part = plan.parts[0]
    record = prepare_training(part, seed=0, folder=tmp_path)
    again = prepare_training(part, seed=0, folder=tmp_path)  # as after a kill: the widths are those of before
    assert again["training"]["matched_by_time"] == json.loads(json.dumps(record["training"]["matched_by_time"]))
    training = json.loads(json.dumps(record["training"], allow_nan=False))
    found, width = training["matched_by_time"]["timed"], training["own"]["hidden"]["timed"]
    assert width == found["hidden"]
    assert width % 8 == 0
    assert found["interval"][0] <= found["ratio"] <= found["interval"][1]
    unfair = record["arms"]["timed"]["unfair"]
    assert (unfair is None) == found["matched"]
    assert record["arms"]["swiglu"]["unfair"] is None
    own = Own.of_job({"own": training["own"]})
    workload, matching = built_as(_made(), part.arms[1], own)
    model = workload.fresh("swiglu", seed=0, matching=matching)
    assert model.blocks[0].ffn.hidden == width
    assert record["arms"]["timed"]["parameters"] == measure.parameters(model)
    with pytest.raises(GatewiseError, match="matched by time, is not in the record"):
        built_as(_made(), part.arms[1], Own())
    entries = [{"arm": label, "label": label, "slowdown": 0.0} for label in ("gelu", "timed")]
    job = job_of(plan, arms=entries, seed=0, seconds=0.02, own=training["own"])
    assert set(step_time(job)()["values"]) == {"gelu", "timed"}


def test_a_model_without_a_hidden_width_cannot_be_matched_by_time() -> None:
    arms = ["gelu", {"name": "swiglu", "matching": "time"}]
    plan = to_plan({"study": {"arms": arms}, "subject": {"workload": "convnet"}, "train": {"steps": 40}})
    with pytest.raises(GatewiseError, match=r"has no FFN"):
        prepare_training(plan.parts[0], seed=0)


def test_a_pair_is_both_its_calls() -> None:
    times = measure.Timings(
        values_s={"arm": [1.0, 3.0, 2.0, 2.0], "baseline": [1.0, 1.0, 4.0, 4.0]}, pairs=[0, 0, 1, 1], overhead_s=0.0
    )
    assert pair_log_ratios(times) == pytest.approx([0.6931471805599453, -0.6931471805599453])


# -- interruption


def test_a_judged_run_goes_on_from_its_checkpoint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from gatewise.study import _training

    monkeypatch.setattr(_training, "CHECKPOINT_S", 1e-9)  # after every step
    plan = plan_of()
    settings = train.TrainPlan(steps=40, eval_every=20).to_json()
    job = job_of(plan, arm="swiglu", run_seed=0, settings=settings, folder=str(tmp_path))
    whole = run_training(job | {"folder": ""})()
    done: list[int] = []

    def stop(self: Any, step: int, seed: int, batch: int | None = None) -> Any:
        done.append(step)
        if len(done) == 30:
            raise KeyboardInterrupt
        return original(self, step, seed, batch)

    kind = type(_made())
    original = kind.train_batch
    monkeypatch.setattr(kind, "train_batch", stop)
    with pytest.raises(KeyboardInterrupt):
        run_training(job)()
    done.extend([0] * 100)
    before = len(done)
    again = run_training(job)()
    assert 0 < len(done) - before < 40  # it did not begin anew
    assert again["curve"] == whole["curve"]
    assert again["data_order_sha256"] == whole["data_order_sha256"]
