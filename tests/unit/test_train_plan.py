"""Plans of training: what is refused, how the rate moves, how steps are fitted into a time."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.train import MIN_STEPS, TrainPlan, run_seconds, scaled_plan


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"steps": 0}, "train.steps"),
        ({"steps": True}, "train.steps"),
        ({"batch": 0}, "train.batch"),
        ({"eval_batches": 0}, "train.eval_batches"),
        ({"learning_rate": 0.0}, "train.learning_rate"),
        ({"learning_rate": float("nan")}, "train.learning_rate"),
        ({"learning_rate": float("inf")}, "train.learning_rate"),
        ({"warmup": 1.0}, "train.warmup"),
        ({"eval_from": 1.0}, "train.eval_from"),
        ({"beta2": 1.0}, "train.beta2"),
        ({"weight_decay": -0.1}, "train.weight_decay"),
        ({"final_rate": 2.0}, "train.final_rate"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
    ],
)
def test_values_out_of_range_are_refused(wrong: dict[str, Any], words: str):
    with pytest.raises(GatewiseError, match=words):
        TrainPlan(**wrong)


def test_a_plan_goes_through_json_and_refuses_unknown_keys():
    plan = TrainPlan(steps=37, schedule="linear", batch=3)
    assert TrainPlan.from_json(json.loads(json.dumps(plan.to_json()))) == plan
    with pytest.raises(GatewiseError, match="did you mean 'steps'"):
        TrainPlan.from_json({"step": 3})


@given(
    steps=st.integers(1, 500),
    warmup=st.floats(0, 0.9),
    schedule=st.sampled_from(["cosine", "linear", "constant"]),
    final=st.floats(0, 1),
)
def test_the_rate_rises_to_its_peak_and_never_leaves_its_range(steps: int, warmup: float, schedule: Any, final: float):
    plan = TrainPlan(steps=steps, warmup=warmup, schedule=schedule, final_rate=final, learning_rate=0.01)
    rates = [plan.rate(step) for step in range(steps)]
    assert max(rates) == pytest.approx(0.01)
    assert min(rates) >= 0
    peak = rates.index(max(rates))
    assert all(a <= b for a, b in pairwise(rates[: peak + 1]))
    assert all(a >= b - 1e-12 for a, b in pairwise(rates[peak:]))


def test_the_rate_by_hand():
    plan = TrainPlan(steps=100, warmup=0.1, learning_rate=1.0, schedule="cosine", final_rate=0.2)
    assert plan.rate(0) == pytest.approx(0.1)
    assert plan.rate(9) == pytest.approx(1.0)
    assert plan.rate(55) == pytest.approx(0.6)
    assert plan.rate(100) == pytest.approx(0.2)
    assert TrainPlan(steps=100, warmup=0.1, learning_rate=1.0, schedule="linear").rate(55) == pytest.approx(0.5)


@given(
    seconds=st.floats(1, 1000),
    step=st.floats(1e-3, 1),
    evaluation=st.one_of(st.none(), st.floats(0, 10)),
    most=st.one_of(st.none(), st.integers(0, 3000)),
)
@example(seconds=100.0, step=1e-4, evaluation=None, most=None)
@example(seconds=100.0, step=1e-4, evaluation=2.5, most=3000)
def test_a_scaled_plan_fits_its_time_or_is_refused(
    seconds: float, step: float, evaluation: float | None, most: int | None
):
    cost = 20 * step if evaluation is None else evaluation
    try:
        plan = scaled_plan(seconds, step, eval_seconds=evaluation, most_steps=most)
    except GatewiseError:
        assert min((seconds - 10 * cost) / step, 10**9 if most is None else most) < MIN_STEPS
        return
    points = sum(plan.evaluates(done) for done in range(1, plan.steps + 1))
    assert plan.steps >= MIN_STEPS
    assert plan.steps * step + points * cost <= seconds * (1 + 1e-9)
    assert most is None or plan.steps <= most
    assert plan.steps % plan.eval_every == 0
    assert points == (10 if 10 * cost <= seconds / 4 else 5)
    assert plan.evaluates(plan.steps * 8 // 10)
    assert plan.evaluates(plan.steps)


def test_a_scaled_plan_keeps_the_rest_and_says_what_it_would_take():
    plan = scaled_plan(10, 0.01, TrainPlan(learning_rate=0.5, threads=2))
    assert (plan.learning_rate, plan.threads) == (0.5, 2)
    with pytest.raises(GatewiseError, match=r"at least \d+\.\d s a run"):
        scaled_plan(1, 0.1)
    with pytest.raises(GatewiseError, match="in seconds"):
        scaled_plan(1, 0.0)


@given(
    steps=st.integers(MIN_STEPS // 20, 200).map(lambda n: 20 * n),
    step=st.floats(1e-3, 0.1),
    evaluation=st.sampled_from([None, 0.0, 0.3]),
)
def test_run_seconds_is_the_inverse_of_a_scaled_plan(steps: int, step: float, evaluation: float | None):
    seconds = run_seconds(steps, step, eval_seconds=evaluation)
    # Just below the time at which a curve gets its ten points, a run of five holds more steps than asked for.
    assert scaled_plan(seconds, step, eval_seconds=evaluation).steps >= steps
    assert scaled_plan(seconds, step, eval_seconds=evaluation, most_steps=steps).steps == steps


def test_points_of_a_curve_by_hand():
    def points(plan: TrainPlan) -> list[int]:
        return [done for done in range(1, plan.steps + 1) if plan.evaluates(done)]

    assert points(TrainPlan(steps=100, eval_every=10, eval_from=0.6)) == [60, 70, 80, 90, 100]
    assert points(TrainPlan(steps=7, eval_every=3)) == [3, 6, 7]
    assert points(TrainPlan(steps=3, eval_every=9, eval_from=0.9)) == [3]
