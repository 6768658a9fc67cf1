"""The stochastic map: its mean and variance are those of the formula, and a run with it goes on from a checkpoint."""

import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.train import Checkpoints, TrainPlan
from gatewise.train._run import TrainRun
from gatewise.train._stochastic_map import StochasticMap
from gatewise.workloads._byte_lm import ByteLMWorkload

DRAWS = 40_000


def phi(x: float) -> float:
    return 0.5 * math.erfc(-x / math.sqrt(2))


@pytest.mark.parametrize("x", [-3.0, -1.0, -0.2, 0.0, 0.5, 1.0, 2.5])
def test_mean_and_variance_are_those_of_the_formula(x: float) -> None:
    y = StochasticMap(seed=5)(torch.full((DRAWS,), x)).double()
    mean, variance = x * phi(x), x * x * phi(x) * (1 - phi(x))
    # Five standard errors of each: of a mean of Bernoulli draws, and of their variance about it.
    share = phi(x)
    fourth = x**4 * share * (1 - share) * (1 - 3 * share * (1 - share))
    error = 5 * math.sqrt((fourth - variance**2) / DRAWS) + 25 / DRAWS * variance
    assert abs(y.mean().item() - mean) <= 5 * math.sqrt(variance / DRAWS) + 1e-7 * abs(x)
    assert abs(y.var(correction=0).item() - variance) <= error + 1e-6 * x * x
    assert {value == 0 or abs(value - x) < 1e-6 for value in y.unique().tolist()} == {True}


def test_in_eval_mode_it_is_the_expectation_and_draws_nothing() -> None:
    module = StochasticMap(seed=1).eval()
    x = torch.linspace(-4, 4, 101, dtype=torch.float64)
    wanted = torch.tensor([value * phi(value) for value in x.tolist()], dtype=torch.float64)
    assert torch.allclose(module(x), wanted, rtol=1e-12, atol=1e-15)
    assert int(module.calls) == 0


def test_draws_follow_from_seed_and_call_alone() -> None:
    x = torch.randn(4, 64, generator=torch.Generator().manual_seed(0))
    state = torch.random.get_rng_state()
    one, two, other = StochasticMap(seed=1), StochasticMap(seed=1), StochasticMap(seed=2)
    first, second = one(x), one(x)
    assert torch.equal(first, two(x))
    assert torch.equal(second, two(x))
    assert not torch.equal(first, second)
    assert not torch.equal(first, other(x))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_the_gradient_is_the_mask() -> None:
    x = torch.randn(256, generator=torch.Generator().manual_seed(0)).requires_grad_()
    y = StochasticMap(seed=3)(x)
    y.sum().backward()
    assert x.grad is not None
    assert torch.equal(x.grad * x.detach(), y.detach())
    assert set(x.grad.tolist()) == {0.0, 1.0}


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_shape_and_dtype_stay(dtype: torch.dtype) -> None:
    y = StochasticMap()(torch.randn(2, 3, 5).to(dtype).transpose(0, 2))
    assert (y.shape, y.dtype) == ((5, 3, 2), dtype)


@pytest.mark.parametrize("seed", [-1, 2**31, 1.0, True])
def test_an_odd_seed_is_refused(seed: int) -> None:
    with pytest.raises(GatewiseError, match="seed"):
        StochasticMap(seed)


class _Mapped(ByteLMWorkload):
    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:  # pyright: ignore
        model = super().fresh(arm, seed=seed, matching=matching)
        for number, block in enumerate(model.blocks):
            block.ffn.act = StochasticMap(seed=number)  # pyright: ignore
        return model


def test_a_run_with_it_goes_on_to_the_same_bits(tmp_path: Path) -> None:
    made = _Mapped(dim=16, layers=2, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
    run = TrainRun(workload=made, arm="gelu", seed=0, plan=TrainPlan(steps=12, eval_every=4))
    kept = replace(run, checkpoints=Checkpoints(folder=tmp_path))
    kept.train(until=5)
    weights: list[dict[str, Tensor]] = []
    results = [each.train(finish=lambda model: weights.append(model.state_dict())) for each in (kept, run)]
    assert results[0].curve == results[1].curve
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[1])
