"""From stored cells to verdicts: pairs, processes, twins that guard, refusals, and what the words say."""

import math
import random
from pathlib import Path
from typing import Any

import pytest

from gatewise.core import Store
from gatewise.study import Plan, to_plan
from gatewise.study._evidence import process_effect
from gatewise.study._questions import judged
from gatewise.study._record import read_record
from gatewise.study._result import document

CELL = "batch=1 tokens=16 threads=1 device=cpu"


def plan(**changes: Any) -> Plan:
    tables: dict[str, Any] = {
        "study": {"arms": ["gelu", "relu"]},
        "subject": {"workload": "sentence-encoder"},
        "measure": {"metrics": ["latency"], "batch": [1]},
    }
    return to_plan(tables | changes)


def facts(*labels: str, **more: Any) -> dict[str, Any]:
    arm = {
        "kind": "scalar",
        "folder": "00",
        "weights_state": "grafted",
        "parameters": 10,
        "weight_bytes": 40,
        "unfair": None,
    }
    return {"facts": {}, "arms": dict.fromkeys(labels, arm), "outputs": {}, "quality": {}, "prices": {}} | more


def timed(rng: random.Random, ratios: dict[str, float], noise: float = 0.002, pairs: int = 6) -> dict[str, Any]:
    values = {
        label: [0.01 * ratio * rng.lognormvariate(0, noise) for _ in range(2 * pairs)]
        for label, ratio in ratios.items()
    }
    return {
        "values": values,
        "pairs": [i // 2 for i in range(2 * pairs)],
        "overhead_s": 1e-7,
        "implementations": dict.fromkeys(ratios, "stock"),
        "seed": 1,
    }


def stored(tmp_path: Path, ratios: dict[str, float], *, processes: int = 10, noise: float = 0.002) -> Store:
    store = Store(tmp_path / "study.sqlite")
    store.put("prepared:main", facts("gelu", "relu"))
    store.put("environment", {"packages": {"gatewise": "0"}})
    rng = random.Random(0)
    for process in range(processes):
        store.add("main", process, {CELL: timed(rng, ratios, noise)})
    return store


def test_the_effect_of_a_process_is_its_median_paired_log_ratio() -> None:
    record = {"pairs": [0, 0, 1, 1, 2, 2], "values": {"a": [1, 1, 2, 2, 4, 4], "b": [1.1, 1.1, 2.4, 2.4, 40, 40]}}
    assert process_effect(record, "a", "b") == pytest.approx(math.log(1.2))


@pytest.mark.parametrize(("ratio", "verdict"), [(1.1, "worse"), (0.9, "better"), (1.005, "equivalent")])
def test_a_quiet_cell_is_decided(tmp_path: Path, ratio: float, verdict: str) -> None:
    store = stored(tmp_path, {"gelu": 1.0, "gelu (twin)": 1.0, "relu": ratio})
    (twin, arm) = judged(read_record(store, plan().parts[0]))
    store.close()
    assert twin.question.twin
    assert twin.comparison.verdict == "equivalent"
    assert arm.comparison.verdict == verdict
    assert arm.comparison.n == 10


def test_a_twin_that_differs_makes_the_cell_inconclusive_whatever_the_arm_says(tmp_path: Path) -> None:
    store = stored(tmp_path, {"gelu": 1.0, "gelu (twin)": 1.03, "relu": 2.0})
    (twin, arm) = judged(read_record(store, plan().parts[0]))
    store.close()
    assert twin.comparison.verdict == "worse"
    assert arm.comparison.verdict == "inconclusive"
    assert arm.comparison.interval is None
    assert "twin" in str(arm.comparison.reason)


def test_with_a_margin_of_zero_the_twin_is_held_to_the_default_margin(tmp_path: Path) -> None:
    store = stored(tmp_path, {"gelu": 1.0, "gelu (twin)": 1.001, "relu": 1.05})
    part = plan(judge={"margin": {"latency": 0.0}}).parts[0]
    (twin, arm) = judged(read_record(store, part))
    store.close()
    assert twin.comparison.verdict == "equivalent"
    assert arm.comparison.verdict == "worse"


def test_throughput_is_the_inverse_and_higher_is_better(tmp_path: Path) -> None:
    store = stored(tmp_path, {"gelu": 1.0, "gelu (twin)": 1.0, "relu": 0.8})
    part = plan(measure={"metrics": ["latency", "throughput"], "batch": [1]}).parts[0]
    found = {a.question.metric: a.comparison for a in judged(read_record(store, part)) if not a.question.twin}
    store.close()
    assert found["latency"].verdict == found["throughput"].verdict == "better"
    assert found["throughput"].estimate == pytest.approx(1 / found["latency"].estimate)


def run_of(final: float, steps: int = 200, failure: str | None = None) -> dict[str, Any]:
    curve = [[s, 8.0 * (final / 8.0) ** (s / steps)] for s in range(20, steps + 1, 20)]
    return {
        "curve": curve,
        "final_loss": None if failure else final,
        "failure": failure,
        "steps": steps,
        "implementation": "x",
    }


def training(tmp_path: Path, losses: dict[str, list[float]], *, failure: str | None = None) -> tuple[Store, Plan]:
    store = Store(tmp_path / "study.sqlite")
    settings = {"settings": {}, "target": "the baseline's own loss at 80 %"}
    store.put("prepared:main", facts(*losses, training=settings))
    store.put("environment", {"packages": {"gatewise": "0"}})
    for label, finals in losses.items():
        for seed, final in enumerate(finals):
            store.add("main", seed, {f"train:{label}": run_of(final, failure=failure if label != "gelu" else None)})
    tables = {"study": {"arms": list(losses)}, "subject": {"workload": "byte-lm"}, "train": {"seeds": 4}}
    return store, to_plan(tables)


def test_paired_seeds_decide_the_loss(tmp_path: Path) -> None:
    store, made = training(tmp_path, {"gelu": [2.5, 2.6, 2.4, 2.55], "swiglu": [2.2, 2.29, 2.1, 2.26]})
    found = {a.question.metric: a.comparison for a in judged(read_record(store, made.parts[0]))}
    store.close()
    assert found["heldout_loss"].verdict == "better"
    assert found["steps_to_target"].verdict == "better"
    assert "not measured" in str(found["step_time"].reason)
    assert found["time_to_target"].verdict == "inconclusive"


def test_an_arm_that_blew_up_is_refused_with_its_step_and_the_others_stand(tmp_path: Path) -> None:
    store, made = training(
        tmp_path, {"gelu": [2.5, 2.6, 2.4], "swiglu": [2.4, 2.5, 2.3]}, failure="NaN/inf loss at step 7"
    )
    found = {a.question.metric: a.comparison for a in judged(read_record(store, made.parts[0]))}
    result = document(made, store, replay="")
    store.close()
    assert "NaN/inf loss at step 7" in str(found["heldout_loss"].reason)
    assert [arm["failure"] for arm in result["arms"] if arm["label"] == "swiglu"] == ["NaN/inf loss at step 7"]


def test_an_arm_that_never_reaches_the_target_is_said_and_not_dropped(tmp_path: Path) -> None:
    store, made = training(tmp_path, {"gelu": [2.5, 2.6, 2.4, 2.5], "relu": [4.5, 4.6, 4.4, 4.5]})
    found = {a.question.metric: a.comparison for a in judged(read_record(store, made.parts[0]))}
    store.close()
    assert "did not reach the target in 4 of 4" in str(found["steps_to_target"].reason)
    assert found["heldout_loss"].verdict == "worse"


def test_quality_of_grafted_weights_is_refused_and_identical_outputs_are_stated(tmp_path: Path) -> None:
    store = Store(tmp_path / "study.sqlite")
    reason = "quality of grafted weights would be mistaken"
    store.put(
        "prepared:main",
        facts(
            "gelu",
            "relu",
            outputs={"relu": {"values": [0.0] * 20}},
            quality={"gelu": {"name": "acc", "values": [1.0] * 20, "chance": 0.5}, "relu": {"reason": reason}},
        ),
    )
    part = plan(measure={"metrics": ["output_difference", "quality"]}).parts[0]
    found = judged(read_record(store, part))
    result = document(Plan(name="x", parts=(part,)), store, replay="")
    store.close()
    assert [a.question.metric for a in found] == ["quality"]
    assert found[0].comparison.reason == reason
    assert [arm["output_identical"] for arm in result["arms"]] == [None, None, True]
    assert any(reason in entry["reason"] for entry in result["not_measured"])


def test_the_document_has_no_number_that_json_lacks(tmp_path: Path) -> None:
    import json

    store = stored(tmp_path, {"gelu": 1.0, "gelu (twin)": 1.0, "relu": 1.1}, processes=3)
    result = document(plan(), store, replay="gatewise evaluate p.toml")
    store.close()
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["verdict"]["answers"][0]["verdict"] == "inconclusive"
    assert result["study"]["interrupted"] is True
    assert len(result["measurements"]) == 9
