"""Reading steps off curves, and the rule for the target."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.train import TARGET_SHARE, loss_at, steps_to_target, target_of

CURVE = ((10, 4.0), (20, 3.0), (30, 3.5), (40, 2.0))


@pytest.mark.parametrize(
    ("target", "steps"), [(4.0, 10), (5.0, 10), (3.5, 15), (3.0, 20), (2.75, 35), (2.0, 40), (1.99, None)]
)
def test_the_first_crossing_by_hand(target: float, steps: float | None):
    assert steps_to_target(CURVE, target) == steps


def test_an_empty_curve_reaches_nothing_and_sets_no_target():
    assert steps_to_target((), 1.0) is None
    with pytest.raises(GatewiseError):
        target_of(())


@pytest.mark.parametrize(("step", "loss"), [(10, 4.0), (12, 3.8), (20, 3.0), (25, 3.25), (40, 2.0)])
def test_the_loss_at_a_step_by_hand(step: float, loss: float):
    assert loss_at(CURVE, step) == pytest.approx(loss)


@pytest.mark.parametrize("step", [9, 41])
def test_no_loss_outside_the_curve(step: float):
    with pytest.raises(GatewiseError, match="outside"):
        loss_at(CURVE, step)


falling = st.lists(st.floats(0.01, 1), min_size=6, max_size=30).map(
    lambda drops: tuple((10 * (i + 1), 100 - sum(drops[: i + 1])) for i in range(len(drops)))
)


@given(curve=falling)
def test_a_falling_baseline_reaches_its_own_target_at_its_share_of_steps(curve: tuple[tuple[int, float], ...]):
    assert steps_to_target(curve, target_of(curve)) == pytest.approx(TARGET_SHARE * curve[-1][0], rel=1e-6)


@given(curve=falling, gain=st.floats(0.001, 0.5))
def test_a_lower_curve_is_never_later(curve: tuple[tuple[int, float], ...], gain: float):
    target = target_of(curve)
    better = steps_to_target(tuple((step, loss - gain) for step, loss in curve), target)
    baseline = steps_to_target(curve, target)
    assert better is not None
    assert baseline is not None
    assert better <= baseline
