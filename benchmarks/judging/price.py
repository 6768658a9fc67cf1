"""What looking at any time costs: pairs to a given power on independent noise, ours against one planned t-test."""

from typing import Any

import numpy as np
from scipy import stats

from gatewise.core import Rule

from .ours import first_verdicts, running
from .streams import CALL, STREAMS
from .timings import ALPHA, POWER

SHARES = (0.5, 0.8, 0.9)


def price(rng: np.random.Generator, studies: int) -> list[dict[str, Any]]:
    """Pairs by which 50, 80 and 90 % of studies have the right verdict (None: more than there are)."""
    baseline, arm = STREAMS[0].draw(rng, studies)
    run = running(arm - baseline, ALPHA)
    rows: list[dict[str, Any]] = []
    for effect, margin in POWER:
        rule = Rule(margin=margin)
        words, ends = first_verdicts(run, float(np.log1p(effect)), rule)
        reached = np.where(words == 2, ends, np.inf)
        ours = [float(value) for value in np.quantile(reached, SHARES, method="higher")]
        beyond = (np.log1p(effect) - rule.bound) / (CALL * np.sqrt(2))
        rows.append(
            {
                "effect": effect,
                "margin": margin,
                "ours": [value if np.isfinite(value) else None for value in ours],
                "t": [_planned(float(beyond), share) for share in SHARES],
            }
        )
    return rows


def _planned(effect: float, power: float) -> int:
    """The fewest pairs with which a paired t-test, planned for exactly that many, has the power."""
    n = 2
    while stats.nct.sf(stats.t.ppf(1 - ALPHA / 2, n - 1), n - 1, effect * np.sqrt(n)) < power:
        n += 1
    return n
