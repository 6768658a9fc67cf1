"""Steps to a target loss, and the rule that sets the target before any arm is looked at.

**The rule.** For each seed the target is the baseline's own held-out loss after 80 % of its steps. It depends on the
baseline alone, so no arm can move it. It is late enough to lie past the easy part, and it leaves an arm a quarter more
steps than the baseline needs before it counts as "never reached". At the very end the loss is flat: a tiny difference
in loss would be a huge one in steps. One target per seed keeps the pairs: what made a seed easy or hard (the order of
its data, its first weights) made it so for both arms.

Between two points the curve is taken as a straight line. A falling curve lies below it, so points should stand close
where the target is: at every tenth of the steps, as the plans here have them.

Both arms are read by the same function, so a baseline that happens to dip below its target earlier is counted there.
With a falling learning rate the steps are those *of this schedule*: not a forecast for a longer or a shorter one.
"""

from collections.abc import Sequence
from itertools import pairwise

from gatewise.core import GatewiseError

TARGET_SHARE = 0.8
"""The share of the baseline's steps at which its loss becomes the target."""


def loss_at(curve: Sequence[tuple[float, float]], step: float) -> float:
    """The loss of a curve at a step, linear between two points. Raises `GatewiseError` outside the curve."""
    if not curve or not curve[0][0] <= step <= curve[-1][0]:
        raise GatewiseError(f"step {step:g} lies outside the curve ({len(curve)} points)")
    for (before, high), (after, low) in pairwise(curve):
        if step <= after:
            return high + (low - high) * (step - before) / (after - before)
    return curve[-1][1]


def target_of(baseline: Sequence[tuple[float, float]], share: float = TARGET_SHARE) -> float:
    """The target that a baseline's curve sets: its loss after `share` of its steps.

    Raises `GatewiseError` when the curve has no point that early.
    """
    if not baseline:
        raise GatewiseError("a baseline without a curve sets no target")
    return loss_at(baseline, share * baseline[-1][0])


def steps_to_target(curve: Sequence[tuple[float, float]], target: float) -> float | None:
    """After how many steps the loss first is at or below `target`, linear between two points of the curve.

    A curve that starts at or below the target gives its first step, an upper bound. None when it never gets there.
    """
    for index, (step, loss) in enumerate(curve):
        if loss <= target:
            if index == 0:
                return float(step)
            before, high = curve[index - 1]
            return before + (step - before) * (high - target) / (high - loss)
    return None
