"""What an arm is worth in training: its loss at equal time, and its speed-up to the same loss, with both uncertainties.

Equal steps and equal tokens are one thing here: every arm of a seed sees the same batches, so a step is as many tokens
for all. Equal time is another: the arm whose step takes longer has done fewer of them.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from gatewise.core import Comparison, Evidence, GatewiseError, Product, Rule

from ._result import Curve
from ._target import loss_at


@dataclass(frozen=True, kw_only=True)
class AtEqualTime:
    """Held-out losses when both have trained equally long: until the quicker of the two is done.

    Attributes:
        baseline_step, arm_step: steps done by then. One of them is the whole run's; the other arm is cut short, at a
            learning rate that has not fallen to its end, **which speaks against it**. Where the difference matters,
            train arms that are matched by time: then equal steps are equal time, and neither is cut.
        difference: mean over seeds of the arm's loss minus the baseline's, at the ratio of step times as estimated.
        interval: at level 1 - alpha, from the spread over seeds at both ends of the ratio's own interval.
    """

    baseline_step: float
    arm_step: float
    difference: float
    interval: tuple[float, float]
    alpha: float


def losses_at_equal_time(baseline: Curve, arm: Curve, ratio: float) -> tuple[float, float, float, float]:
    """(baseline's step, arm's step, baseline's loss, arm's loss) where a step of the arm takes `ratio` as long.

    Raises `GatewiseError` where a curve has no point so early, and for a ratio that is no number above 0.
    """
    if not (math.isfinite(ratio) and ratio > 0):
        raise GatewiseError(f"the ratio of step times is a number above 0, not {ratio!r}")
    if not baseline or not arm:
        raise GatewiseError("losses at equal time need two curves")
    until = min(float(baseline[-1][0]), arm[-1][0] * ratio)  # in steps of the baseline
    mine = min(until / ratio, float(arm[-1][0]))
    return until, mine, loss_at(baseline, until), loss_at(arm, mine)


def at_equal_time(
    curves: Sequence[tuple[Curve, Curve]], ratio: float, ratio_interval: tuple[float, float], *, alpha: float = 0.05
) -> AtEqualTime:
    """Compare (baseline, arm) curves, one pair a seed, at equal time.

    `ratio_interval` holds the ratio of step times at level 1 - alpha / 2; with a t interval over seeds at 1 - alpha / 2
    at each of its ends, both hold at 1 - alpha. Between the ends a falling curve gives values between.

    Raises `GatewiseError` for fewer than two seeds and for curves that have no point there.
    """
    if len(curves) < 2:
        raise GatewiseError("losses at equal time need two seeds or more")

    def differences(at: float) -> tuple[float, ...]:
        found = [losses_at_equal_time(baseline, arm, at) for baseline, arm in curves]
        return tuple(mine - base for _, _, base, mine in found)

    rule = Rule(kind="difference", direction="lower", margin=0.0)
    ends: list[float] = []
    for at in (*ratio_interval, ratio):
        found = Evidence(effects=differences(at), rule=rule, method="mean").at(alpha / 2)
        if found.interval is None:
            raise GatewiseError(f"losses at equal time cannot be compared: {found.reason}")
        ends += found.interval
    base_step, arm_step, _, _ = losses_at_equal_time(*curves[0], ratio)
    middle = differences(ratio)
    return AtEqualTime(
        baseline_step=base_step,
        arm_step=arm_step,
        difference=math.fsum(middle) / len(middle),
        interval=(min(ends), max(ends)),
        alpha=alpha,
    )


@dataclass(frozen=True, kw_only=True)
class SpeedUp:
    """How many times as fast an arm reaches the baseline's target: 1 / (ratio of steps x ratio of step time)."""

    factor: float | None
    interval: tuple[float, float] | None
    comparison: Comparison

    @property
    def reason(self) -> str | None:
        """Why there is none, where there is none."""
        return None if self.factor is not None else self.comparison.reason


def speed_up(
    steps: Sequence[float], step_times: Sequence[float], *, margin: float = 0.02, alpha: float = 0.05
) -> SpeedUp:
    """The effective speed-up with an interval that carries both uncertainties.

    Args:
        steps: by seed, log(steps to the target of the arm / of the baseline).
        step_times: by process, log(step time of the arm / of the baseline).
        margin: of the verdict, as a share.

    The interval of steps is a t interval over seeds, that of step times an anytime-valid one over processes, each at
    alpha / 2, so that their product holds at alpha. Where one of them has none there is no factor, but a reason.
    """
    rule = Rule(kind="ratio", direction="lower", margin=margin)
    if not steps or not step_times:
        missing = "no seed reached the target" if not steps else "the step time was not measured"
        return SpeedUp(factor=None, interval=None, comparison=rule.refuse(missing, alpha=alpha, n=0, method="product"))
    first = Evidence(effects=tuple(steps), rule=rule, method="mean")
    second = Evidence(effects=tuple(step_times), rule=rule, method="median")
    found = Product(first=first, second=second, rule=rule).at(alpha)
    if found.estimate is None or found.interval is None:
        return SpeedUp(factor=None, interval=None, comparison=found)
    low, high = found.interval
    return SpeedUp(factor=1 / found.estimate, interval=(1 / high, 1 / low), comparison=found)
