"""The hybrid: what a threshold passes on, a choice that is proven on other items, and refusals."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.scenarios import HybridItems, hybrid
from gatewise.scenarios._hybrid import point


def items(n: int, seed: int, *, informative: bool = True, cloud: float = 0.95, cloud_cost: float = 10.0) -> HybridItems:
    """An edge that is right as often as it is confident (or not), and a cloud that is right in a share of cases."""
    rng = random.Random(seed)
    confidence = [0.5 + 0.5 * rng.random() ** 0.5 for _ in range(n)]
    right = [float(rng.random() < (value if informative else 0.8)) for value in confidence]
    return HybridItems(
        edge_correct=right,
        cloud_correct=[float(rng.random() < cloud) for _ in range(n)],
        confidence=confidence,
        edge_latency_s=0.01,
        cloud_latency_s=0.1,
        edge_cost=1.0,
        cloud_cost=cloud_cost,
    )


def test_a_point_counts_both_latencies_and_costs_of_what_it_passes_on() -> None:
    found = point(
        HybridItems(
            edge_correct=[1.0, 0.0] * 10,
            cloud_correct=[1.0, 1.0] * 10,
            confidence=[0.9, 0.2] * 10,
            edge_latency_s=1.0,
            cloud_latency_s=5.0,
            edge_cost=2.0,
            cloud_cost=10.0,
        ),
        0.5,
    )
    assert found.passed_on == 0.5
    assert found.quality == 1.0
    assert found.quality_change == 0.0
    assert found.latency_s == pytest.approx(1 + 5 / 2)
    assert found.cost == pytest.approx(2 + 10 / 2)


@given(seed=st.integers(0, 50), levels=st.integers(1, 6))
def test_a_higher_threshold_passes_on_no_less_and_ties_go_together(seed: int, levels: int) -> None:
    rng = random.Random(seed)
    tied = HybridItems(
        edge_correct=[float(rng.random() < 0.7) for _ in range(60)],
        cloud_correct=[1.0] * 60,
        confidence=[float(rng.randrange(levels)) for _ in range(60)],
        edge_latency_s=1.0,
        cloud_latency_s=2.0,
        edge_cost=1.0,
        cloud_cost=3.0,
    )
    found = hybrid(tied, margin=0.05)
    assert len(found.curve) <= levels + 1
    shares = [each.passed_on for each in found.curve]
    assert shares == sorted(shares)
    assert [each.cost for each in found.curve] == sorted(each.cost for each in found.curve)
    assert found.curve[0].passed_on == 0
    assert found.curve[-1].passed_on == 1
    assert math.isinf(found.curve[-1].threshold)


def test_an_informative_confidence_saves_and_the_claim_holds_on_new_items() -> None:
    found = hybrid(items(6000, 1), margin=0.05)
    assert found.chosen is not None, found.reason
    assert 0 < found.chosen.passed_on < 0.9
    assert found.chosen.quality_low is not None
    assert found.chosen.quality_low >= -0.05
    assert found.chosen.cost < found.cloud_cost
    assert found.separation is not None
    assert found.separation > 0.55
    assert found.warning is None
    assert found.cost_interval is not None
    assert found.cost_interval[0] < found.chosen.cost < found.cost_interval[1]
    fresh = point(items(100_000, 99), found.chosen.threshold)
    assert fresh.quality_change > -0.05


def test_the_bound_on_the_chosen_point_is_wrong_as_rarely_as_promised() -> None:
    """Choosing on one half must not spoil the other: over many draws the limit exceeds the truth at most alpha."""
    truth: dict[float, float] = {}
    big, wrong, claimed = items(20_000, 500), 0, 0
    for seed in range(60):
        found = hybrid(items(500, seed), margin=0.08)
        if found.chosen is None or found.chosen.quality_low is None:
            continue
        claimed += 1
        key = round(found.chosen.threshold, 2)
        if key not in truth:
            truth[key] = point(big, key).quality_change
        wrong += found.chosen.quality_low > truth[key] + 0.005
    assert claimed > 10
    # A claim is made only where the limit passes, which favours lucky halves: alpha is of all draws, not of claims.
    assert wrong / 60 <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 60)


def test_confidence_that_says_nothing_is_named() -> None:
    found = hybrid(items(2000, 3, informative=False), margin=0.02)
    assert found.warning is not None
    assert "AUROC" in found.warning


def test_a_poor_edge_leaves_no_threshold() -> None:
    poor = items(400, 4, cloud_cost=1.0)
    found = hybrid(poor, margin=0.001)
    assert found.chosen is None
    assert "no threshold qualifies" in found.reason
    assert found.latency_p99 is None


def test_an_edge_as_good_as_the_cloud_answers_alone() -> None:
    n = 2000
    same = [float(random.Random(i).random() < 0.9) for i in range(n)]
    found = hybrid(
        HybridItems(
            edge_correct=same,
            cloud_correct=same,
            confidence=[random.Random(-i).random() for i in range(n)],
            edge_latency_s=0.01,
            cloud_latency_s=[0.1] * n,
            edge_cost=1.0,
            cloud_cost=5.0,
        ),
        margin=0.02,
    )
    assert found.chosen is not None
    assert found.chosen.passed_on <= 0.01


@pytest.mark.parametrize(
    "change",
    [
        {"confidence": [0.5] * 29},
        {"confidence": [math.nan] * 30},
        {"edge_cost": -1.0},
        {"cloud_latency_s": [1.0] * 3},
    ],
)
def test_impossible_items_are_refused(change: dict[str, object]) -> None:
    good: dict[str, object] = {
        "edge_correct": [1.0] * 30,
        "cloud_correct": [1.0] * 30,
        "confidence": [0.5] * 30,
        "edge_latency_s": 1.0,
        "cloud_latency_s": 1.0,
        "edge_cost": 1.0,
        "cloud_cost": 1.0,
    }
    with pytest.raises(GatewiseError):
        HybridItems(**(good | change))  # type: ignore[arg-type]


def test_few_items_and_odd_levels_are_refused() -> None:
    with pytest.raises(GatewiseError, match="too few"):
        items(10, 1)
    with pytest.raises(GatewiseError, match="margin"):
        hybrid(items(100, 1), margin=-1)
