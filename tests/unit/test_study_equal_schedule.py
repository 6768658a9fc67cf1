"""Schedules planned to end after the same time: measured once, kept, and every one of them trained to its end."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.study import _training_own as own_of
from gatewise.study import to_plan
from gatewise.study._equal_schedule import MOST_SHARE, RATIOS, scheduled, spoken_steps, step_ratios, unknown_ratio
from gatewise.study._training_own import Own, match_schedules, schedules_unfair
from gatewise.train import TrainPlan
from gatewise.workloads import workload

OPTIONS = {"dim": 16, "layers": 1, "heads": 2, "context": 32, "batch": 2, "heldout_windows": 16, "heldout_batch": 4}


def pairs(middle: float, count: int = 40) -> list[float]:
    return [middle + 1e-3 * (place % 5 - 2) for place in range(count)]


@given(
    steps=st.integers(20, 5000),
    points=st.sampled_from([1, 2, 5, 10]),
    ratio=st.floats(0.2, 5.0),
)
def test_an_arm_trains_as_long_to_the_end_of_its_own_schedule(steps: int, points: int, ratio: float) -> None:
    plan = TrainPlan(steps=steps, eval_every=max(1, steps // points), learning_rate=0.02, warmup=0.0)
    made = scheduled(plan, ratio)
    held = plan.steps // plan.eval_every
    assert made.steps // made.eval_every == held
    assert made.steps * ratio == pytest.approx(plan.steps, abs=max(held * ratio, 1e-6))
    assert made.rate(made.steps) == pytest.approx(0.0, abs=1e-12)  # its rate has fallen, whatever its steps
    assert made.learning_rate == plan.learning_rate


def test_a_ratio_of_one_changes_nothing() -> None:
    plan = TrainPlan(steps=400, eval_every=40)
    assert scheduled(plan, 1.0) == plan


def test_ratios_are_measured_once_and_kept(tmp_path: Path) -> None:
    asked: list[str] = []

    def log_ratios() -> list[float]:
        asked.append("swiglu")
        return pairs(0.2)

    found = step_ratios({"swiglu": log_ratios}, folder=tmp_path)
    assert found["swiglu"]["ratio"] == pytest.approx(1.2214, rel=2e-3)
    low, high = found["swiglu"]["interval"]
    assert low <= found["swiglu"]["ratio"] <= high
    assert step_ratios({"swiglu": log_ratios}, folder=tmp_path) == json.loads((tmp_path / RATIOS).read_text())
    assert asked == ["swiglu"]


def test_what_cannot_be_told_or_compared_is_refused() -> None:
    with pytest.raises(GatewiseError, match="could not be measured"):
        step_ratios({"swiglu": lambda: [0.1]})
    with pytest.raises(GatewiseError, match="too far apart") as caught:
        step_ratios({"swiglu": lambda: pairs(3.0)})
    assert len(str(caught.value).splitlines()) == 2
    assert MOST_SHARE < 20


def test_a_ratio_that_is_not_known_brands_the_arm() -> None:
    noisy = [0.2 * (place % 7 - 3) for place in range(40)]
    found = step_ratios({"quiet": lambda: pairs(0.2), "noisy": lambda: noisy})
    assert found["quiet"]["known"] is True
    assert unknown_ratio("quiet", found["quiet"]) is None
    assert found["noisy"]["known"] is False
    assert unknown_ratio("noisy", found["noisy"]) is not None
    assert set(schedules_unfair(Own(facts={"equal_schedule": found}))) == {"noisy"}


def test_the_words_name_both_the_ratio_and_its_interval() -> None:
    words = spoken_steps("swiglu", "gelu", {"ratio": 1.25, "interval": [1.2, 1.3]})
    assert "a step of swiglu takes 1.250 of gelu's (1.200 to 1.300" in words


def test_an_arm_is_trained_at_its_own_rate_over_its_own_steps(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(own_of, "FINAL_SECONDS", 0.05)
    train: dict[str, Any] = {"steps": 40, "search": True}
    subject = {"workload": "byte-lm", "options": OPTIONS}
    part = to_plan({"study": {"arms": ["gelu", "swiglu"]}, "subject": subject, "train": train}).parts[0]
    own, plan = Own(rates={"gelu": 0.01, "swiglu": 0.004}), TrainPlan(steps=400, eval_every=40)
    made = workload(name="byte-lm", options=OPTIONS)
    match_schedules(made, part, own, plan=plan, seed=0, folder=tmp_path)
    assert set(own.step_ratios) == {"swiglu"}
    again = Own.of_job({"own": json.loads(json.dumps(own.to_json()))})
    gelu, swiglu = part.arms
    assert again.plan_of(gelu, part, plan) == scheduled(TrainPlan(steps=400, eval_every=40, learning_rate=0.01), 1.0)
    mine = again.plan_of(swiglu, part, plan)
    assert mine.learning_rate == 0.004
    assert mine.steps == scheduled(plan, own.step_ratios["swiglu"]).steps
    assert own.facts["equal_schedule"]["swiglu"]["note"].startswith("at equal time")
    kept = Own(rates=dict(own.rates))
    match_schedules(made, part, kept, plan=plan, seed=0, folder=tmp_path)  # as after a kill
    assert kept.step_ratios == own.step_ratios
