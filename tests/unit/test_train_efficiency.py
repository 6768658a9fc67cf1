"""Loss at equal time, effective speed-up, and how hidden units are used, on what can be told by hand."""

import math
import random

import pytest
import torch
from torch import nn

from gatewise.core import GatewiseError
from gatewise.train import TrainPlan
from gatewise.train._diagnose_use import HiddenUse
from gatewise.train._diagnostic import TrainingRun
from gatewise.train._efficiency import at_equal_time, losses_at_equal_time, speed_up
from gatewise.workloads import slopes
from gatewise.workloads._byte_lm import ByteLMWorkload

LINE = tuple((step, 5.0 - step / 100) for step in range(10, 101, 10))
BETTER = tuple((step, 5.0 - step / 50) for step in range(10, 101, 10))
SMALL = ByteLMWorkload(dim=16, layers=2, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)


@pytest.mark.parametrize(
    ("ratio", "wanted"),
    [(1.0, (100, 100, 4.0, 3.0)), (2.0, (100, 50, 4.0, 4.0)), (0.5, (50, 100, 4.5, 3.0))],
)
def test_the_slower_of_the_two_is_cut(ratio: float, wanted: tuple[float, ...]) -> None:
    assert losses_at_equal_time(LINE, BETTER, ratio) == pytest.approx(wanted)


def test_what_lies_before_the_first_point_is_refused() -> None:
    with pytest.raises(GatewiseError, match="outside the curve"):
        losses_at_equal_time(LINE, BETTER, 20.0)
    for ratio in (0.0, math.nan, -1.0):
        with pytest.raises(GatewiseError, match="ratio of step times"):
            losses_at_equal_time(LINE, BETTER, ratio)


def test_the_interval_widens_with_either_uncertainty() -> None:
    rng = random.Random(1)

    def curves(spread: float) -> list[tuple[tuple[tuple[int, float], ...], ...]]:
        return [
            (LINE, tuple((step, loss + shift) for step, loss in BETTER))
            for shift in (rng.gauss(0, spread) for _ in range(8))
        ]

    exact = at_equal_time(curves(0.01), 1.5, (1.5, 1.5))  # pyright: ignore[reportArgumentType]
    wide = at_equal_time(curves(0.01), 1.5, (1.3, 1.7))  # pyright: ignore[reportArgumentType]
    noisy = at_equal_time(curves(0.2), 1.5, (1.5, 1.5))  # pyright: ignore[reportArgumentType]
    truth = (5.0 - 100 / 1.5 / 50) - 4.0
    for found in (exact, wide, noisy):
        assert found.interval[0] <= truth <= found.interval[1]
        assert (found.baseline_step, found.arm_step) == pytest.approx((100, 100 / 1.5))
    length = exact.interval[1] - exact.interval[0]
    assert all(found.interval[1] - found.interval[0] > 3 * length for found in (wide, noisy))
    with pytest.raises(GatewiseError, match="two seeds"):
        at_equal_time([(LINE, BETTER)], 1.0, (1.0, 1.0))


def test_a_speed_up_carries_both_uncertainties() -> None:
    rng = random.Random(2)
    steps = [math.log(0.8) + rng.gauss(0, 0.01) for _ in range(10)]
    times = [math.log(1.1) + rng.gauss(0, 0.01) for _ in range(20)]
    found = speed_up(steps, times)
    assert found.factor == pytest.approx(1 / 0.88, rel=0.02)
    assert found.interval is not None
    assert found.interval[0] <= 1 / 0.88 <= found.interval[1]
    wider = speed_up(steps, [value + rng.gauss(0, 0.1) for value in times])
    assert wider.interval is not None
    assert wider.interval[1] / wider.interval[0] > found.interval[1] / found.interval[0]


def test_without_one_of_both_there_is_no_speed_up_but_a_reason() -> None:
    assert speed_up([], [0.1] * 20).reason == "no seed reached the target"
    assert speed_up([0.1, 0.2], []).reason == "the step time was not measured"
    few = speed_up([0.1, 0.2, 0.3], [0.1, 0.2])
    assert few.factor is None
    assert few.reason


@pytest.mark.parametrize("arm", ["gelu", "relu", "swiglu"])
def test_hidden_use_is_what_counting_by_hand_gives(arm: str) -> None:
    model = SMALL.fresh(arm, seed=0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("up.weight", "gate.weight")):
                parameter.mul_(4)
    heldout = SMALL.heldout_batches()
    run = TrainingRun(workload=SMALL, model=model, plan=TrainPlan(), seed=0, heldout=heldout)
    found = HiddenUse(run).finish(0.0)
    pre, out = list[torch.Tensor](), list[torch.Tensor]()
    gated = arm == "swiglu"
    for block in model.blocks:
        first = block.get_submodule("ffn.unit.gate" if gated else "ffn.up")
        first.register_forward_hook(lambda module, inputs, output: pre.append(output))
        block.get_submodule("ffn.down").register_forward_pre_hook(lambda module, inputs: out.append(inputs[0]))
    model.eval()
    with torch.inference_mode():
        for batch in heldout:
            SMALL.loss(model, batch)
    z = torch.cat([each.flatten() for each in pre])
    flat = slopes({"swiglu": "silu"}.get(arm, arm), z).abs() <= 1e-3
    assert found["saturated_units"] == pytest.approx(flat.double().mean().item(), rel=1e-12)
    assert found["gate_openness"] == pytest.approx((z > 0).double().mean().item(), rel=1e-12)
    assert found["largest_hidden"] == max(each.abs().max().item() for each in out)
    assert 0 < (found["saturated_units"] or 0) < 1
    hooks = [len(module._forward_hooks) for module in model.modules() if isinstance(module, nn.Linear)]
    assert sum(hooks) == 2  # those of this test
