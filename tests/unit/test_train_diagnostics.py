"""Diagnostics of a training run: they look on without a trace, and each measures what it says."""

import json
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from statistics import stdev

import pytest
import torch
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from gatewise import core
from gatewise.core import GatewiseError
from gatewise.train import DIAGNOSTICS, TrainPlan, TrainResult, step_runner, train_arm
from gatewise.train._diagnose_gradients import CurvatureSpread, GradientSpread
from gatewise.train._diagnose_units import DeadUnits
from gatewise.train._diagnostic import TrainingRun
from gatewise.train._workload import mean_loss
from gatewise.workloads._byte_lm import ByteLMWorkload

ALL = tuple(name for name in DIAGNOSTICS if name != "heldout_accuracy")  # a language model has no class
PLAN = TrainPlan(steps=6, eval_every=2)


@dataclass(frozen=True, kw_only=True)
class Keeping(ByteLMWorkload):
    """`byte-lm` that remembers the models it hands out, so that a test sees what training left of them."""

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:  # pyright: ignore
        model = super().fresh(arm, seed=seed, matching=matching)
        self.__dict__.setdefault("models", []).append(model)
        return model

    @property
    def last(self) -> nn.Module:
        return self.__dict__["models"][-1]


SMALL = Keeping(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)


def run_of(model: nn.Module, workload: ByteLMWorkload = SMALL, plan: TrainPlan = PLAN) -> TrainingRun:
    return TrainingRun(workload=workload, model=model, plan=plan, seed=0, heldout=workload.heldout_batches())


# -- without a trace


@pytest.mark.parametrize("arm", ["gelu", "relu", "swiglu"])
@pytest.mark.parametrize("grad_clip", [0.5, 0.0])
def test_curve_and_weights_are_the_same_bit_by_bit(arm: str, grad_clip: float) -> None:
    plan = replace(PLAN, steps=40, eval_every=10, grad_clip=grad_clip)
    plain = train_arm(SMALL, arm, seed=1, plan=plan)
    weights = [parameter.detach().clone() for parameter in SMALL.last.parameters()]
    state = torch.random.get_rng_state()
    watched = train_arm(SMALL, arm, seed=1, plan=plan, diagnostics=ALL)
    assert torch.equal(torch.random.get_rng_state(), state)
    assert watched.curve == plain.curve
    assert all(torch.equal(a, b) for a, b in zip(weights, SMALL.last.parameters(), strict=True))
    assert plain.diagnostics == {}
    assert replace(watched, diagnostics={}, seconds=0.0) == replace(plain, seconds=0.0)
    assert all(value is not None and math.isfinite(value) for value in watched.diagnostics.values())
    assert set(ALL) < set(watched.diagnostics)
    hooks = [len(m._forward_hooks) + len(m._forward_pre_hooks) for m in SMALL.last.modules()]
    assert sum(hooks) == 0
    again = train_arm(SMALL, arm, seed=1, plan=plan, diagnostics=list(reversed(ALL)))
    assert again.diagnostics == watched.diagnostics


def test_every_diagnostic_is_a_metric_of_seeds_and_keeps_its_name() -> None:
    result = train_arm(SMALL, "gelu", seed=0, plan=PLAN, diagnostics=ALL)
    assert {core.metric(name).evidence for name in ALL} == {"seed"}
    for name in ALL:
        assert (
            result.diagnostics[name]
            == train_arm(SMALL, "gelu", seed=0, plan=PLAN, diagnostics=[name]).diagnostics[name]
        )


def test_a_result_with_diagnostics_goes_through_json() -> None:
    result = train_arm(SMALL, "relu", seed=0, plan=PLAN, diagnostics=ALL)
    assert TrainResult.from_json(json.loads(json.dumps(result.to_json(), allow_nan=False))) == result
    old = result.to_json()
    del old["diagnostics"]
    assert TrainResult.from_json(old).diagnostics == {}


def test_a_run_that_fails_has_none() -> None:
    plan = replace(PLAN, learning_rate=1e30, grad_clip=0.0, warmup=0.0)
    result = train_arm(SMALL, "relu2", seed=0, plan=plan, diagnostics=ALL)
    assert result.failure is not None
    assert result.diagnostics == dict.fromkeys(ALL)


@pytest.mark.parametrize(
    ("names", "words"),
    [(["dead_unit"], "did you mean 'dead_units'"), (["slice_gap", "slice_gap"], "named twice")],
)
def test_wrong_names_are_refused_before_anything_is_trained(names: list[str], words: str) -> None:
    with pytest.raises(GatewiseError, match=words):
        train_arm(SMALL, "gelu", seed=0, plan=PLAN, diagnostics=names)


# -- losses


class Repeating(Keeping):
    """Trains on one and the same batch in every step: it can be learnt by heart."""

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> tuple[Tensor, Tensor]:
        del step
        return super().train_batch(0, seed, batch)


def test_the_gap_is_held_out_loss_above_the_loss_on_windows_that_were_trained_on() -> None:
    result = train_arm(SMALL, "gelu", seed=3, plan=PLAN, diagnostics=["generalisation_gap"])
    seen = [SMALL.train_batch(step, 3) for step in (0, 1, 3, 4)]  # 8 windows, 2 a step, spread over 6 steps
    assert result.final_loss is not None
    expected = result.final_loss - mean_loss(SMALL, SMALL.last, seen)
    assert result.diagnostics["generalisation_gap"] == pytest.approx(expected, abs=1e-9)


def test_learning_by_heart_shows_as_a_gap() -> None:
    made = Repeating(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=8, heldout_batch=4)
    plan = TrainPlan(steps=60, eval_every=30)
    gaps = [train_arm(each, "gelu", seed=0, plan=plan, diagnostics=["generalisation_gap"]) for each in (SMALL, made)]
    plain, by_heart = (each.diagnostics["generalisation_gap"] for each in gaps)
    assert plain is not None
    assert by_heart is not None
    assert by_heart > plain + 1.0


def test_the_shifted_loss_is_that_of_the_shifted_batches() -> None:
    result = train_arm(SMALL, "gelu", seed=0, plan=PLAN, diagnostics=["shifted_loss"])
    assert result.diagnostics["shifted_loss"] == pytest.approx(mean_loss(SMALL, SMALL.last, SMALL.shifted_batches()))
    assert result.diagnostics["shifted_loss"] != result.final_loss


@pytest.mark.parametrize("eval_batches", [None, 1])
def test_slices_add_up_to_the_held_out_loss(eval_batches: int | None) -> None:
    plan = replace(PLAN, eval_batches=eval_batches)
    result = train_arm(SMALL, "gelu", seed=0, plan=plan, diagnostics=["slice_gap"])
    names, marks = SMALL.heldout_slices()
    found = result.diagnostics
    counts = torch.bincount(torch.cat(list(marks[:eval_batches])).flatten(), minlength=len(names)).tolist()
    # The bytes are the interpreter's own library: which slices a single batch holds depends on its version.
    held = {name: count for name, count in zip(names, counts, strict=True) if count}
    losses = {name: found[f"slice_loss.{name}"] for name in held}
    assert {name for name in found if name.startswith("slice_loss.")} == {f"slice_loss.{name}" for name in held}
    total = sum(count * losses[name] for name, count in held.items())
    assert total / sum(counts) == pytest.approx(result.final_loss, rel=1e-6)
    assert found["slice_gap"] == max(losses.values()) - min(losses.values())


class Bare:
    """A workload with no more than training needs."""

    def __init__(self, made: ByteLMWorkload) -> None:
        self.fresh, self.train_batch = made.fresh, made.train_batch
        self.heldout_batches, self.loss = made.heldout_batches, made.loss


@pytest.mark.parametrize("name", ["shifted_loss", "slice_gap"])
def test_a_workload_without_the_data_is_refused(name: str) -> None:
    with pytest.raises(GatewiseError, match=f"{name} cannot be recorded"):
        train_arm(Bare(SMALL), "gelu", seed=0, plan=PLAN, diagnostics=[name])
    rest = [each for each in ALL if each not in ("shifted_loss", "slice_gap")]
    assert set(train_arm(Bare(SMALL), "gelu", seed=0, plan=PLAN, diagnostics=rest).diagnostics) >= set(rest)


# -- gradients


def test_the_spread_of_gradients_is_over_the_steps_after_the_warm_up() -> None:
    found = GradientSpread(run_of(SMALL.fresh("gelu", seed=0), plan=replace(PLAN, steps=10, warmup=0.2)))
    for step, norm in enumerate([1e9, 1e-9, 1.0, 2.0, 4.0]):
        found.gradient(step, norm)
    expected = stdev([0.0, math.log(2), math.log(4)])
    assert found.finish(0.0)["gradient_spread"] == pytest.approx(expected)


@pytest.mark.parametrize("norms", [[1.0], [1.0, 0.0], [1.0, math.inf]])
def test_no_spread_of_too_little_or_of_no_numbers(norms: Sequence[float]) -> None:
    found = GradientSpread(run_of(SMALL.fresh("gelu", seed=0), plan=replace(PLAN, warmup=0.0)))
    for step, norm in enumerate(norms):
        found.gradient(step, norm)
    assert found.finish(0.0)["gradient_spread"] is None


def test_gradients_are_measured_before_they_are_clipped() -> None:
    class Heard(GradientSpread):
        def gradient(self, step: int, norm: float) -> None:
            heard.append((step, norm))

    heard: list[tuple[int, float]] = []
    for clip in (1e-6, 0.0):
        runner = step_runner(SMALL, "gelu", seed=0, plan=replace(PLAN, grad_clip=clip))
        trainer = runner.__self__  # pyright: ignore
        trainer.watch = (Heard(run_of(SMALL.last)),)
        runner()
    model = SMALL.fresh("gelu", seed=0)
    SMALL.loss(model, SMALL.train_batch(0, 0)).backward()
    norm = math.sqrt(sum(p.grad.square().sum().item() for p in model.parameters() if p.grad is not None))
    assert heard == [(0, pytest.approx(norm, rel=1e-5))] * 2


class Bowl:
    """loss = sum(scale * weight^2) / 2, whatever the batch; its Hessian is diag(scale)."""

    scale = torch.tensor([3.0, 1.0, 0.25])

    def fresh(self, arm: str, *, seed: int, matching: str = "params") -> nn.Module:
        del arm, seed, matching
        layer = nn.Linear(3, 1, bias=False)
        with torch.no_grad():
            layer.weight.copy_(torch.tensor([[0.5, -1.0, 2.0]]))
        return layer

    def train_batch(self, step: int, seed: int, batch: int | None = None) -> tuple[Tensor, Tensor]:
        del step, seed, batch
        return torch.zeros(1, 1, dtype=torch.long), torch.zeros(1, 1, dtype=torch.long)

    def heldout_batches(self) -> Sequence[tuple[Tensor, Tensor]]:
        return [self.train_batch(0, 0)]

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        del batch
        return (self.scale * model.weight.square()).sum() / 2  # pyright: ignore


def test_the_curvature_of_a_bowl_is_known() -> None:
    bowl = Bowl()
    model = bowl.fresh("", seed=0)
    before = model.weight.detach().clone()  # pyright: ignore
    run = TrainingRun(workload=bowl, model=model, plan=PLAN, seed=0, heldout=bowl.heldout_batches())
    gradient = bowl.scale * before
    expected = (bowl.scale * gradient.square()).sum() / gradient.square().sum()
    assert CurvatureSpread(run)._curvature() == pytest.approx(expected.item(), rel=2e-3)
    assert torch.equal(model.weight, before)  # pyright: ignore
    assert model.weight.grad is None  # pyright: ignore
    assert model.training


@pytest.mark.parametrize("arm", ["gelu", "swiglu"])
def test_the_curvature_of_a_smooth_model_is_the_second_derivative(arm: str) -> None:
    model = SMALL.fresh(arm, seed=0)
    found = CurvatureSpread(run_of(model))._curvature()
    parameters = list(model.parameters())
    with sdpa_kernel(SDPBackend.MATH):
        loss = SMALL.loss(model, SMALL.train_batch(PLAN.steps, 0))
        gradients = torch.autograd.grad(loss, parameters, create_graph=True)
        squared = sum((g * g).sum() for g in gradients)
        assert isinstance(squared, Tensor)
        directions = [g.detach() / squared.detach().sqrt() for g in gradients]
        slope = sum((g * d).sum() for g, d in zip(gradients, directions, strict=True))
        assert isinstance(slope, Tensor)
        products = torch.autograd.grad(slope, parameters)
    expected = sum((p * d).sum().item() for p, d in zip(products, directions, strict=True))
    assert found == pytest.approx(expected, rel=0.01)


def test_curvature_is_sampled_evenly_after_the_warm_up_on_text_that_is_not_trained_on() -> None:
    plan = replace(PLAN, steps=600, warmup=0.1)
    found = CurvatureSpread(run_of(SMALL.fresh("gelu", seed=0), plan=plan))
    steps = sorted(found._steps)
    assert len(steps) == 30
    assert (steps[0], steps[-1]) == (60, 599)
    assert max(b - a for a, b in pairwise(steps)) <= 20
    assert torch.equal(found._batch[0], SMALL.train_batch(600, 0)[0])


# -- dead units


def _share(arm: str, silence: int, layers: int = 2) -> float:
    """The share of dead units when the first `silence` rows of each FFN's input matrix are zero."""
    made = replace(SMALL, layers=layers)
    model = made.fresh(arm, seed=0)
    found = DeadUnits(run_of(model, made))
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith(("ffn.up.weight", "unit.gate.weight")):
                parameter[:silence] = 0.0
    with found.evaluation():
        mean_loss(made, model, made.heldout_batches())
    share = found.finish(0.0)["dead_units"]
    assert share is not None
    return share


@pytest.mark.parametrize(
    ("arm", "silence", "hidden"),
    [("relu", 0, 64), ("relu", 5, 64), ("relu2", 5, 64), ("reglu", 3, 43)],
)
def test_units_without_a_slope_at_any_token_are_dead(arm: str, silence: int, hidden: int) -> None:
    assert _share(arm, silence) == pytest.approx(silence / hidden, abs=1e-12)


@pytest.mark.parametrize("arm", ["gelu", "silu", "swiglu", "geglu", "bilinear"])
def test_a_slope_at_zero_keeps_a_unit_alive(arm: str) -> None:
    assert _share(arm, 5) == 0.0


def test_the_worst_point_of_the_curve_is_kept() -> None:
    model = SMALL.fresh("relu", seed=0)
    found = DeadUnits(run_of(model))
    start = model.get_parameter("blocks.0.ffn.up.weight").detach().clone()
    for silence in (2, 8, 4):
        with torch.no_grad():
            model.get_parameter("blocks.0.ffn.up.weight").copy_(start)[:silence] = 0.0
        with found.evaluation():
            mean_loss(SMALL, model, SMALL.heldout_batches())
    assert found.finish(0.0) == {"dead_units": pytest.approx(4 / 64), "dead_units_most": pytest.approx(8 / 64)}


def test_a_model_without_an_ffn_is_refused() -> None:
    bowl = Bowl()
    with pytest.raises(GatewiseError, match="no FFN"):
        train_arm(bowl, "gelu", seed=0, plan=PLAN, diagnostics=["dead_units"])
