"""`compare`: the judge for anybody's numbers, and the table of its methods."""

import math
from collections.abc import Callable, Sequence

from ._errors import GatewiseError
from ._judge import TOO_FAR, Comparison, Method, Rule, check_alpha, judge_mean, judge_median, judge_unpaired, numbers
from ._metrics import Direction, Kind
from ._paired import item_method, judge_paired

JUDGES: dict[Method, Callable[[Sequence[float], Rule, float], Comparison]] = {
    "median": judge_median,
    "mean": judge_mean,
    "paired": judge_paired,
}
"""From independent effects under a rule, at a level, to a comparison."""


def compare(
    baseline_values: Sequence[float],
    arm_values: Sequence[float],
    paired: bool = True,
    *,
    kind: Kind = "ratio",
    direction: Direction = "lower",
    margin: float = 0.02,
    alpha: float = 0.05,
    method: Method | None = None,
) -> Comparison:
    """Judge anybody's numbers: does the arm pay against the baseline?

    Args:
        baseline_values, arm_values: independent observations; `paired` ones in the same order, one pair per unit
            (a process, a seed, an item). Pairs that share a process are not independent: pass one value per process.
        kind: `ratio` (times, sizes) or `difference` (scores, losses).
        direction: which way is better.
        margin: the change that does not matter: a fraction for ratios, absolute for differences; 0: direction only.
        alpha: the chance of a wrong interval.
        method: `median`, the default for paired ratios: a confidence sequence, valid however often it is looked at.
            It takes the list as a stream in its order, so another order may give another interval; a list that is
            sorted, or drifts, is refused where the interval has left the median of all behind. `paired`, the default
            for a difference of paired items that are all 0 or 1 (wrong or right): the score interval of two shares on
            the same items; `mean`, the default otherwise: a t interval. The latter two are valid
            for a number of values fixed beforehand.

    Returns:
        A `Comparison`. Refused (inconclusive, with a reason and no interval): no values, n = 1, zero spread
        (of anything but binary items), a value that is not finite, an effect that changed along the stream.

    Raises:
        GatewiseError: paired lengths that differ; a ratio of values that are not positive; values too far apart for
            floating point; an impossible rule.
    """
    rule = Rule(kind=kind, direction=direction, margin=margin)
    check_alpha(alpha)
    if method is not None and method not in JUDGES:
        raise GatewiseError(f"method must be {', '.join(map(repr, JUDGES))} or None, not {method!r}")
    if type(paired) is not bool:
        raise GatewiseError(f"paired must be True or False, not {paired!r}")
    baseline, arm = numbers("baseline_values", baseline_values), numbers("arm_values", arm_values)
    if paired and len(baseline) != len(arm):
        raise GatewiseError(f"paired values must have equal lengths, not {len(baseline)} and {len(arm)}")
    if not paired and method not in ("mean", None):
        raise GatewiseError(f"the {method} method needs pairs; use paired=True or method='mean'")
    chosen = method or _default(baseline, arm, paired=paired, kind=kind)
    broken = sum(not math.isfinite(value) for value in (*baseline, *arm))
    if broken:
        return rule.refuse(
            f"{broken} values are not finite", alpha=alpha, n=min(len(baseline), len(arm)), method=chosen
        )
    try:
        if not paired:
            return judge_unpaired(baseline, arm, rule, alpha)
        effects = [rule.effect(b, a) for b, a in zip(baseline, arm, strict=True)]
        return JUDGES[chosen](effects, rule, alpha)
    except OverflowError as error:
        raise GatewiseError(TOO_FAR) from error


def _default(baseline: Sequence[float], arm: Sequence[float], *, paired: bool, kind: Kind) -> Method:
    if not paired:
        return "mean"
    return "median" if kind == "ratio" else item_method(baseline, arm)
