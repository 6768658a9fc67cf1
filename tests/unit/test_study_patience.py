"""How much more evidence is said to be needed: enough of the same, and not much more than that."""

import pytest

from gatewise.core import Comparison, Rule
from gatewise.core._judge import judge_mean
from gatewise.study import patience

RULE = Rule(kind="ratio", direction="lower", margin=0.005)


def of(n: int, *, mean: float = 0.02, spread: float = 0.01) -> Comparison:
    """A comparison of n seeds whose log-ratios have exactly this mean and this spread."""
    half = n // 2
    values = [mean + spread * ((n - 1) / (2 * half)) ** 0.5 * sign for sign in (1, -1) for _ in range(half)]
    return judge_mean(values + [mean] * (n - 2 * half), RULE, 0.01)


@pytest.mark.parametrize("now", [2, 3, 4, 6])
def test_so_many_seeds_decide_and_two_fewer_do_not(now: int) -> None:
    factor = patience(of(now))
    assert factor is not None
    enough = round(now * factor)
    assert of(enough).verdict == "worse"
    assert enough - 2 < 2 or of(enough - 2).verdict == "inconclusive"


def test_an_estimate_on_the_margin_is_hopeless_and_a_refused_one_says_nothing() -> None:
    on_the_margin = patience(of(6, mean=0.00499, spread=0.05))
    assert on_the_margin is not None
    assert on_the_margin >= 25
    assert patience(judge_mean([], RULE, 0.01)) is None
