"""The disturbance probe: one small fixed computation, again and again, and what its times say about this machine.

All of it runs in one process, on one piece of code and one piece of memory. It sees what disturbs from call to call;
the luck that a process keeps for its whole life (where its memory lies) it cannot see. For that there are A/A studies.
"""

import time
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from gatewise.core import compare

from ._missing import Missing

WINDOWS = 16
"""Equal pieces of the probe; each gives one median, and one paired effect to the judge."""

OUTLIER = 1.05
SLOW = 1.03
FEWEST = 8 * WINDOWS
MARGIN = 0.02


def repeat(call: Callable[[], object], seconds: float, most: int = 100_000) -> list[float]:
    """The times of many calls, in seconds, in order."""
    for _ in range(20):
        call()
    found: list[float] = []
    clock = time.perf_counter_ns
    until = clock() + int(seconds * 1e9)
    while len(found) < most:
        start = clock()
        call()
        end = clock()
        found.append((end - start) * 1e-9)
        if end >= until:
            break
    return found


def timer(reads: int = 20_000) -> dict[str, Any]:
    """What the clock promises, the smallest step it was seen to take, and the cost of reading it, in seconds."""
    clock = time.perf_counter_ns
    values = [clock() for _ in range(reads)]
    steps = [b - a for a, b in pairwise(values) if b > a]
    return {
        "promised_s": time.get_clock_info("perf_counter").resolution,
        "smallest_step_s": min(steps) * 1e-9 if steps else Missing("the clock stood still"),
        "read_s": (values[-1] - values[0]) * 1e-9 / (reads - 1),
    }


def statistics(times_s: Sequence[float]) -> dict[str, Any]:
    """What a series of times of the same computation says.

    Returns:
        `calls`, `median_s`, `p99_over_median`;
        `outliers`: share of calls more than 5 % above the median;
        `autocorrelation`: of the ranks at lag one, so that a few huge values do not decide it;
        `drift`: how much slower the end is than the beginning, a Theil-Sen line through the windows' medians;
        `slow_share`, `slow_by`: share of windows 3 % or more above the fast ones once the drift is taken out, and by
        how much; `pairs`: the judge on calls against their own neighbours, one window standing for one process.
    """
    n = len(times_s)
    if n < FEWEST or min(times_s) <= 0:
        reason = f"{n} calls are too few" if n < FEWEST else "the clock did not move during a call"
        names = ("median_s", "p99_over_median", "outliers", "autocorrelation", "drift", "slow_share", "slow_by")
        return {"calls": n, **{name: Missing(reason) for name in names}, "pairs": Missing(reason)}
    middle = median(times_s)
    windows = [times_s[n * i // WINDOWS : n * (i + 1) // WINDOWS] for i in range(WINDOWS)]
    levels = [median(window) for window in windows]
    drift = _slope(levels) * (WINDOWS - 1) / middle
    # The line through the windows is taken out before anything is called slow: it has its own number.
    flat = [level - drift * middle * i / (WINDOWS - 1) for i, level in enumerate(levels)]
    fast = sorted(flat)[WINDOWS // 8]
    slow = [level for level in flat if level > SLOW * fast]
    return {
        "calls": n,
        "median_s": middle,
        "p99_over_median": sorted(times_s)[min(n - 1, n * 99 // 100)] / middle,
        "outliers": sum(value > OUTLIER * middle for value in times_s) / n,
        "autocorrelation": _autocorrelation(times_s),
        "drift": drift,
        "slow_share": len(slow) / WINDOWS,
        "slow_by": median(slow) / fast - 1 if slow else 0.0,
        "pairs": _pairs(windows),
    }


def _slope(levels: Sequence[float]) -> float:
    """The median of all slopes between two windows, per window (Theil 1950, Sen 1968)."""
    return median((levels[j] - levels[i]) / (j - i) for i in range(len(levels)) for j in range(i + 1, len(levels)))


def _autocorrelation(times_s: Sequence[float]) -> Any:
    import numpy as np

    values = np.asarray(times_s)
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2.0)[inverse]  # equal times share their mean rank
    before, after = ranks[:-1], ranks[1:]
    if before.std() == 0 or after.std() == 0:
        return Missing("all calls took the same time")
    return float(np.corrcoef(before, after)[0, 1])


def _pairs(windows: Sequence[Sequence[float]]) -> dict[str, Any]:
    """Calls A B B A: the two A against the two B, so that a steady drift cancels. One ratio of medians a window."""
    first: list[float] = []
    second: list[float] = []
    for window in windows:
        first.append(median(value for i, value in enumerate(window) if i % 4 in (0, 3)))
        second.append(median(value for i, value in enumerate(window) if i % 4 in (1, 2)))
    found = compare(first, second, paired=True, kind="ratio", margin=MARGIN)
    untold = Missing(found.reason or "the judge gave no interval")
    return {
        "verdict": found.verdict,
        "interval": list(found.interval) if found.interval else untold,
        "smallest_detectable": untold if found.smallest_detectable is None else found.smallest_detectable,
        "margin": MARGIN,
    }
