"""Each arm's own learning rate: the same grid and budget, runs that go on, divergence as a result, and the basin."""

import json
import math
from dataclasses import replace
from pathlib import Path
from statistics import fmean

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from gatewise.core import GatewiseError
from gatewise.train import TrainPlan, TrainResult, train_arm
from gatewise.train import _search as searching
from gatewise.train._basin import basin
from gatewise.train._run import TrainRun
from gatewise.train._search import SEARCH_SEED, RateSearch, heldout_split, search_rate
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=16, heldout_batch=4)
RATES = (1e-3, 1e-2, 1e-1)
SEARCH = RateSearch(rates=RATES, steps=24, rungs=3, seeds=2)
PLAN = TrainPlan(steps=999, eval_every=7)


def test_the_budget_is_the_same_for_every_arm_and_is_what_was_spent() -> None:
    found = {arm: search_rate(SMALL, arm, search=SEARCH, plan=PLAN) for arm in ("gelu", "swiglu")}
    assert SEARCH.rung_steps == (6, 12, 24)
    assert SEARCH.standing == (3, 2, 1)
    assert SEARCH.budget_steps == 2 * (3 * 6 + 2 * 6 + 1 * 12)
    for each in found.values():
        assert each.steps == SEARCH.budget_steps
        assert [entry["rate"] for entry in each.table] == list(RATES)
        assert each.chosen in RATES
        assert json.loads(json.dumps(each.to_json(), allow_nan=False))["chosen"] == each.chosen


def test_a_promoted_run_goes_on_and_ends_as_one_that_never_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    steps: list[int] = []
    one_step = searching.TrainRun.train

    def train(self: TrainRun, **asked: int) -> TrainResult:
        heard: list[int] = []
        result = one_step(self, progress=lambda step, loss: heard.append(step), **asked)
        steps.append(heard[0])
        return result

    monkeypatch.setattr(searching.TrainRun, "train", train)
    found = search_rate(SMALL, "relu", search=SEARCH, plan=PLAN)
    assert steps == [6] * 6 + [12] * 4 + [18] * 2  # its first new point after the rung at which it stood
    best = next(entry for entry in found.table if entry["rate"] == found.chosen)
    batches = len(SMALL.heldout_batches())
    assert heldout_split(batches) == (batches - 1, batches - 1)
    for seed in range(2):
        plan = replace(PLAN, steps=24, eval_every=6, learning_rate=found.chosen or 0.0)
        run = TrainRun(workload=SMALL, arm="relu", seed=SEARCH_SEED + seed, plan=plan, heldout_from=batches - 1)
        assert best["losses"]["24"][seed] == run.train().final_loss


def test_the_best_at_the_last_rung_is_chosen_and_half_are_kept() -> None:
    found = search_rate(SMALL, "gelu", search=SEARCH, plan=PLAN)
    first = {entry["rate"]: fmean(entry["losses"]["6"]) for entry in found.table}
    second = {entry["rate"]: fmean(entry["losses"]["12"]) for entry in found.table if "12" in entry["losses"]}
    assert set(second) == set(sorted(first, key=lambda rate: first[rate])[:2])
    assert found.chosen == min(second, key=lambda rate: second[rate])
    assert [entry["stopped_at"] for entry in found.table].count(None) == 1
    assert [rung["standing"] for rung in found.rungs] == [3, 2, 1]


def test_killed_in_between_it_goes_on_to_the_same_result(tmp_path: Path) -> None:
    calls = 0

    def stop(text: str) -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise KeyboardInterrupt(text)

    whole = search_rate(SMALL, "geglu", search=SEARCH, plan=PLAN)
    with pytest.raises(KeyboardInterrupt):
        search_rate(SMALL, "geglu", search=SEARCH, plan=PLAN, folder=tmp_path, tell=stop)
    again = search_rate(SMALL, "geglu", search=SEARCH, plan=PLAN, folder=tmp_path)
    assert replace(again, seconds=0.0) == replace(whole, seconds=0.0)


class _Diverging(ByteLMWorkload):
    """The loss turns to NaN once the weights have moved far, which a high rate does."""

    def loss(self, model: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        far = max(parameter.detach().abs().max().item() for parameter in model.parameters())
        return super().loss(model, batch) * (math.nan if far > 5 else 1.0)


def test_a_rate_that_diverges_is_a_result_of_that_rate() -> None:
    workload = _Diverging(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=16, heldout_batch=4)
    search = RateSearch(rates=(1e-3, 1e-2, 3.0), steps=24, rungs=3, seeds=2)
    found = search_rate(workload, "gelu", search=search, plan=PLAN)
    assert found.chosen in (1e-3, 1e-2)
    assert found.table[-1]["stopped_at"] == 6
    assert found.table[-1]["losses"] == {"6": [None, None]}
    assert "NaN/inf loss at step" in found.table[-1]["failures"][0]
    assert found.steps < search.budget_steps
    assert found.rungs[0]["within_distance"]["high"] < 3.0
    json.dumps(found.to_json(), allow_nan=False)


def test_where_every_rate_diverges_none_is_chosen() -> None:
    workload = _Diverging(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=16, heldout_batch=4)
    found = search_rate(workload, "gelu", search=replace(SEARCH, rates=(30.0, 300.0)), plan=PLAN)
    assert found.chosen is None
    assert not found.at_edge
    assert all(rung["within_distance"] is None for rung in found.rungs)


def test_search_seeds_are_not_those_of_judged_runs() -> None:
    found = search_rate(SMALL, "gelu", search=SEARCH, plan=PLAN)
    assert min(found.seeds) >= SEARCH_SEED > 1_000_000
    judged = train_arm(SMALL, "gelu", seed=0, plan=TrainPlan(steps=2, eval_every=2))
    searched = train_arm(SMALL, "gelu", seed=found.seeds[0], plan=TrainPlan(steps=2, eval_every=2))
    assert judged.data_order_sha256 != searched.data_order_sha256


@pytest.mark.parametrize(
    "bad",
    [{"rates": (1e-2,)}, {"rates": (1e-2, 1e-3)}, {"rates": (0.0, 1.0)}, {"rungs": 0}, {"seeds": 0}, {"steps": 3}],
)
def test_what_makes_no_search_is_refused(bad: dict[str, object]) -> None:
    with pytest.raises(GatewiseError):
        replace(SEARCH, **bad)  # pyright: ignore[reportArgumentType]


# -- the basin


def test_the_basin_of_a_curve_that_is_known() -> None:
    rates = (1.0, 2.0, 4.0, 8.0, 16.0)
    found = basin(rates, (3.0, 1.05, 1.0, 1.08, 2.0), 0.1)
    assert found is not None
    assert (found.low, found.best, found.high) == (2.0, 4.0, 8.0)
    assert (found.low_edge, found.high_edge) == ("between", "between")
    assert (found.factor_least, found.factor_most) == (4.0, 16.0)
    narrow = basin(rates, (3.0, 1.05, 1.0, 1.08, 2.0), 0.0)
    assert narrow is not None
    assert (narrow.low, narrow.high, narrow.factor_least, narrow.factor_most) == (4.0, 4.0, 1.0, 4.0)


def test_edges_that_were_not_found_say_why() -> None:
    found = basin((1.0, 2.0, 4.0), (1.0, 1.01, None), 0.1)
    assert found is not None
    assert (found.low_edge, found.high_edge) == ("at or beyond the grid", "not known: stopped early")
    assert found.factor_most is None


def test_a_rate_that_failed_bounds_the_basin() -> None:
    found = basin((1.0, 2.0, 4.0), (1.2, 1.0, math.inf), 0.1)
    assert found is not None
    assert (found.low, found.high, found.low_edge, found.high_edge) == (2.0, 2.0, "between", "between")
    assert basin((1.0, 2.0), (math.inf, None), 0.1) is None


@given(
    losses=st.lists(st.one_of(st.none(), st.floats(0, 9), st.just(math.inf)), min_size=2, max_size=9),
    distance=st.floats(0, 3),
)
def test_everything_inside_is_within_the_distance_and_a_wider_one_holds_a_narrower(
    losses: list[float | None], distance: float
) -> None:
    rates = [2.0**k for k in range(len(losses))]
    found, wider = basin(rates, losses, distance), basin(rates, losses, distance + 1)
    known = [loss for loss in losses if loss is not None and math.isfinite(loss)]
    assert (found is None) == (wider is None) == (not known)
    if found is None or wider is None:
        return
    inside = losses[rates.index(found.low) : rates.index(found.high) + 1]
    assert all(loss is not None and loss <= min(known) + distance for loss in inside)
    assert wider.low <= found.low <= found.best <= found.high <= wider.high


def test_nothing_global_is_left_behind() -> None:
    state = torch.random.get_rng_state()
    search_rate(SMALL, "gelu", search=replace(SEARCH, steps=4), plan=PLAN)
    assert torch.equal(torch.random.get_rng_state(), state)
