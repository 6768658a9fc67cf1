"""From "one false alarm in a year" to the levels of the tests, and back."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.monitor._budget import LARGEST_ALPHA, SECONDS, FalseAlarmBudget
from gatewise.monitor._live_settings import LiveSettings


@given(
    every_s=st.floats(60, 1e9),
    rate=st.floats(1e-3, 1e5),
    share=st.floats(1e-4, 1.0),
    metrics=st.integers(1, 9),
    started=st.integers(1, 500),
)
def test_the_parts_add_up_to_at_most_one_alarm(every_s, rate, share, metrics, started):
    budget = FalseAlarmBudget(every_s=every_s, requests_per_s=rate, share=share, metrics=metrics, started=started)
    tests = budget.alpha * metrics * started
    detectors = budget.units * metrics * budget.at_once / budget.run_length
    assert tests + detectors <= 1 + 1e-9
    assert 0 < budget.alpha <= LARGEST_ALPHA


def test_a_year_in_words():
    budget = FalseAlarmBudget.one_in("year", requests_per_s=10, share=0.1, started=52)
    assert budget.alpha == pytest.approx(0.5 / (52 * 5))
    assert budget.run_length == pytest.approx(2 * SECONDS["year"] * 10 * 0.1 * 5)
    for part in ("one false alarm in a year", "10 requests/s", "52 comparisons", "alpha = 0.0019"):
        assert part in budget.words()
    settings = LiveSettings().within(budget)
    assert (settings.alpha, settings.run_length) == (budget.alpha, budget.run_length)


@pytest.mark.parametrize(
    "options",
    [
        {"every_s": 0},
        {"requests_per_s": -1},
        {"requests_per_s": "many"},
        {"share": 1.5},
        {"metrics": 0},
        {"started": 2.5},
        {"at_once": 3},
    ],
)
def test_impossible_budgets_are_refused(options):
    with pytest.raises(GatewiseError):
        FalseAlarmBudget(**{"every_s": 3600.0, "requests_per_s": 1.0, **options})


def test_an_unknown_period_and_too_few_metrics_are_refused():
    with pytest.raises(GatewiseError, match="week"):
        FalseAlarmBudget.one_in("fortnight", requests_per_s=1)
    with pytest.raises(GatewiseError, match="metrics"):
        LiveSettings().within(FalseAlarmBudget(every_s=1e6, requests_per_s=1, metrics=2))
