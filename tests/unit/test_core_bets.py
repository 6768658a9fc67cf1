"""The mixture of bettors, against every path of a fair coin."""

import itertools
import math

import pytest

from gatewise.core import GatewiseError
from gatewise.core._bets import FRACTIONS, STATED, Bets, toward

LENGTH = 12


def paths():
    """Every path of a fair coin, with its capital after each toss and the detector at its end."""
    for signs in itertools.product((-1.0, 1.0), repeat=LENGTH):
        bets, capital = Bets(), [1.0]
        for sign in signs:
            bets.add(sign)
            capital.append(bets.capital)
        yield capital, bets.detector


def test_capital_is_fair_and_large_capital_is_as_rare_as_ville_says():
    every = list(paths())
    assert math.fsum(capital[-1] for capital, _ in every) / len(every) == pytest.approx(1.0, rel=1e-12)
    for alpha in (0.5, 0.2, 0.05, 0.01):
        reached = sum(max(capital) >= 1 / alpha for capital, _ in every) / len(every)
        assert reached <= alpha
    assert sum(max(capital) >= 20 for capital, _ in every) > 0  # so that the bound above could have been broken


def test_detector_gains_one_a_toss():
    """R minus the time is a martingale: that is what makes its threshold a run length."""
    ends = [detector for _, detector in paths()]
    assert math.fsum(ends) / len(ends) == pytest.approx(LENGTH, rel=1e-12)


def test_detector_finds_a_change_that_the_capital_finds_much_later():
    bets, found = Bets(), {}
    for i in range(6_000):
        bets.add((1.0 if i % 2 else -1.0) if i < 3_000 else (1.0 if i % 4 else -1.0))
        if i >= 3_000:
            found.setdefault("detector", i) if bets.detector >= 1e6 else None
            found.setdefault("capital", i) if bets.capital >= 1e6 else None
    assert found["detector"] + 100 < found["capital"]


def test_onset_is_where_the_gains_began():
    bets = Bets()
    assert bets.onset == 0
    for i in range(400):
        bets.add((1.0 if i % 2 else -1.0) if i < 300 else (1.0 if i % 4 else -1.0))
    assert 290 <= bets.onset <= 305
    for _ in range(10_000):
        bets.add(-1.0)
    assert bets.onset == 10_399  # nobody has risen since
    bets.add(1.0)
    assert bets.onset == 10_400


def test_capital_stops_at_the_ceiling_and_stays_a_number():
    bets = Bets()
    for _ in range(5_000):
        bets.add(1.0)
    assert math.isfinite(bets.log_capital)
    assert math.isfinite(bets.log_detector)
    assert bets.log_capital > 300


def test_a_stated_alternative_holds_most_of_the_capital():
    fractions, weights = toward(0.5)
    assert fractions[0] == 0.5
    assert sorted(fractions) == sorted({0.5, *FRACTIONS})
    assert weights[0] == STATED
    assert math.fsum(weights) == pytest.approx(1.0)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Bets(()),
        lambda: Bets((0.5,), (1.0, 1.0)),
        lambda: Bets((1.0,)),
        lambda: Bets((0.5,), (0.0,)),
        lambda: Bets().add(-1.5),
        lambda: toward(1.0),
    ],
)
def test_impossible_bets_are_refused(make):
    with pytest.raises(GatewiseError):
        make()
