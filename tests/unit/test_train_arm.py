"""Training runs: repeatable, paired, and ending cleanly when the loss is no number."""

import json
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from multiprocessing import get_context

import pytest
import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.train import TrainPlan, TrainResult, step_runner, train_arm
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
PLAN = TrainPlan(steps=6, eval_every=2)
ARMS = ("gelu", "relu", "swiglu")


def _curve(arm: str, **changes: int) -> TrainResult:
    return train_arm(SMALL, arm, seed=changes.pop("seed", 0), plan=replace(PLAN, **changes))


@pytest.mark.parametrize("arm", ARMS)
def test_two_runs_are_alike_bit_by_bit(arm: str):
    one, two = _curve(arm), _curve(arm)
    assert one.curve == two.curve
    assert replace(one, seconds=0.0) == replace(two, seconds=0.0)


def test_another_process_gives_the_same_bits():
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        other = pool.submit(train_arm, SMALL, "gelu", seed=0, plan=PLAN).result()
    assert other.curve == _curve("gelu").curve


def test_arms_of_a_seed_see_the_same_data_and_seeds_do_not():
    orders = {arm: _curve(arm).data_order_sha256 for arm in ARMS}
    assert len(set(orders.values())) == 1
    assert _curve("gelu", seed=1).data_order_sha256 != orders["gelu"]
    assert _curve("gelu", steps=7).data_order_sha256 != orders["gelu"]


def test_arms_and_seeds_give_different_curves():
    curves = {_curve(arm, seed=seed).curve for arm in ARMS for seed in (0, 1)}
    assert len(curves) == 6


def test_the_curve_has_its_points_and_ends_with_the_final_loss():
    result = _curve("gelu", steps=7, eval_every=3)
    assert [step for step, _ in result.curve] == [3, 6, 7]
    assert result.final_loss == result.curve[-1][1]
    assert result.failure is None
    assert result.steps == 7
    assert result.parameters == SMALL.fresh("gelu", seed=0).num_parameters


def test_late_points_are_the_points_of_the_whole_curve():
    whole = train_arm(SMALL, "gelu", seed=0, plan=PLAN)
    late = train_arm(SMALL, "gelu", seed=0, plan=replace(PLAN, eval_from=0.6))
    assert late.curve == whole.curve[1:]


def test_progress_hears_each_point():
    heard: list[tuple[int, float]] = []
    result = train_arm(SMALL, "gelu", seed=0, plan=PLAN, progress=lambda step, loss: heard.append((step, loss)))
    assert tuple(heard) == result.curve


@pytest.mark.parametrize("arm", ARMS)
def test_training_learns(arm: str):
    plan = TrainPlan(steps=60, eval_every=30)
    result = train_arm(SMALL, arm, seed=0, plan=plan)
    model = SMALL.fresh(arm, seed=0)
    with torch.no_grad():
        before = sum(SMALL.loss(model, batch).item() for batch in SMALL.heldout_batches()) / 2
    assert result.final_loss is not None
    assert result.final_loss < before - 2


def test_a_result_goes_through_json():
    result = _curve("relu")
    assert TrainResult.from_json(json.loads(json.dumps(result.to_json()))) == result


class _Poisoned(ByteLMWorkload):
    """A workload whose loss turns to NaN or infinity, in training after some batches or on held-out text."""

    bad_value = float("nan")
    bad_calls = 3
    training = True

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        loss = super().loss(model, batch)
        if model.training != self.training:
            return loss
        calls: list[int] = self.__dict__.setdefault("calls", [])
        calls.append(1)
        return loss * self.bad_value if len(calls) >= self.bad_calls else loss


class _PoisonedHeldout(_Poisoned):
    bad_value = float("inf")
    training = False


def test_a_loss_that_is_no_number_ends_the_run_with_its_step():
    result = train_arm(_Poisoned(dim=16, heads=2, context=32, heldout_windows=8), "gelu", seed=0, plan=PLAN)
    assert result.failure == "NaN/inf loss at step 3"
    assert result.final_loss is None
    assert result.steps == 3
    assert [step for step, _ in result.curve] == [2]
    assert json.loads(json.dumps(result.to_json(), allow_nan=False))["final_loss"] is None


def test_a_held_out_loss_that_is_no_number_ends_the_run_too():
    workload = _PoisonedHeldout(dim=16, heads=2, context=32, heldout_windows=8, heldout_batch=8)
    result = train_arm(workload, "gelu", seed=0, plan=PLAN)
    assert result.failure == "NaN/inf held-out loss at step 6"
    assert result.final_loss is None
    assert [step for step, _ in result.curve] == [2, 4]


def test_a_rate_far_too_high_is_a_failure_or_a_bad_loss_but_never_a_crash():
    result = train_arm(SMALL, "relu2", seed=0, plan=replace(PLAN, learning_rate=1e30, grad_clip=0.0, warmup=0.0))
    assert result.failure is not None
    assert "at step" in result.failure


def test_an_unknown_arm_is_refused():
    with pytest.raises(GatewiseError, match="swiglu"):
        train_arm(SMALL, "swigly", seed=0, plan=PLAN)


def test_global_switches_are_put_back():
    before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    state = torch.random.get_rng_state()
    _curve("gelu", threads=before[0] + 1)
    assert (torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()) == before
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_single_step_is_the_step_of_a_run():
    model = SMALL.fresh("swiglu", seed=3)
    step = step_runner(SMALL, "swiglu", seed=3, plan=PLAN, model=model)
    losses = [step() for _ in range(PLAN.steps)]
    fresh = step_runner(SMALL, "swiglu", seed=3, plan=PLAN)
    assert losses == [fresh() for _ in range(PLAN.steps)]
    model.eval()
    with torch.inference_mode():
        final = sum(SMALL.loss(model, batch).item() for batch in SMALL.heldout_batches()) / 2
    assert train_arm(SMALL, "swiglu", seed=3, plan=PLAN).final_loss == pytest.approx(final, rel=1e-6)


def test_steps_go_on_after_the_end_of_the_plan():
    step = step_runner(SMALL, "gelu", seed=0, plan=replace(PLAN, steps=2))
    assert all(0 < step() < 20 for _ in range(5))
