"""The planner: what is refused, what is dropped first, and that it learns the price of a process."""

from typing import Any

import pytest

from gatewise.core import GatewiseError
from gatewise.study import to_plan
from gatewise.study._budget import Prices, allocate, check_affordable, first_processes


def plan(metrics: list[str], **more: Any) -> Any:
    tables = {"study": {"arms": ["gelu", "relu"]}, "subject": {"workload": "sentence-encoder"}}
    return to_plan(tables | {"measure": {"metrics": metrics, "batch": [1]}} | more)


def test_a_budget_that_cannot_give_one_verdict_says_what_it_would_take() -> None:
    with pytest.raises(GatewiseError, match=r"(?s)cannot give one verdict.*it would take about"):
        check_affordable(plan(["latency"]), Prices(), 3.0, 1.0)


def test_memory_is_dropped_first_and_kept_where_there_is_time() -> None:
    made = plan(["latency", "peak_memory"])
    assert [entry["what"] for entry in allocate(made, Prices(), 80.0).dropped] == ["peak_memory"]
    assert allocate(made, Prices(), 400.0).dropped == []


def test_a_start_that_is_cheaper_than_its_price_is_learnt() -> None:
    made, prices = plan(["latency", "peak_memory"]), Prices(side_by_side=2)
    (part,) = made.parts
    before = prices.process_s(part)
    prices.learn_start(part, before - 1.0, before)
    assert prices.process_s(part) == pytest.approx(before - 1.0)
    prices.learn_start(part, 0.0, prices.process_s(part))
    assert prices.start_s == 1.0


def test_more_time_means_longer_slices_and_more_rounds() -> None:
    made = plan(["latency"])
    prices = Prices(call_s={f"{made.parts[0].name}/1x16": 0.2})
    short = allocate(made, prices, first_processes(made.parts[0]) * prices.process_s(made.parts[0]) + 3)
    long = allocate(made, prices, 600.0)
    assert short.slice_s < long.slice_s
    assert short.rounds["main"] == 1 < long.rounds["main"]
