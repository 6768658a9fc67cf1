"""Can a prediction be taken at its word? Held-out rows in bins by what was predicted, against what was found there.

Shares get the exact binomial interval (Clopper and Pearson 1934), means a t interval; all bins hold together
(Bonferroni). Whether predictions are off on average is a comparison of its own.
"""

from typing import Any

import numpy as np

from gatewise.core import Evidence, Rule

from ._plan import ALPHA

MOST_BINS, FEWEST = 10, 25


def bins(predicted: np.ndarray, found: np.ndarray, *, shares: bool) -> list[dict[str, Any]]:
    """Bins of about equal numbers of rows: rows, mean predicted, mean found, its interval, and whether it holds.

    `found` is 0 or 1 where `shares`, else a value. No bins at all where the rows are too few for two of them.
    """
    many = min(MOST_BINS, len(found) // FEWEST)
    if many < 2:
        return []
    # Equal predictions stay in one bin.
    edges = np.unique(np.quantile(predicted, np.linspace(0.0, 1.0, many + 1)[1:-1]))
    place = np.searchsorted(edges, predicted, side="left")
    held = [place == index for index in range(len(edges) + 1)]
    held = [inside for inside in held if inside.sum() >= FEWEST // 2]
    level = ALPHA / max(len(held), 1)
    rule = Rule(kind="difference", margin=0.0)
    made: list[dict[str, Any]] = []
    for inside in held:
        values = found[inside]
        if shares:
            interval: tuple[float, float] | None = share_interval(int(values.sum()), len(values), level)
        else:
            interval = Evidence(effects=tuple(values.tolist()), rule=rule, method="mean").at(level).interval
        mean = float(predicted[inside].mean())
        made.append(
            {
                "rows": int(inside.sum()),
                "predicted": mean,
                "found": float(values.mean()),
                "interval": None if interval is None else list(interval),
                "holds": None if interval is None else bool(interval[0] <= mean <= interval[1]),
            }
        )
    return made


def share_interval(hits: int, n: int, alpha: float) -> tuple[float, float]:
    """The exact interval of a share, `hits` of `n`, at `alpha`."""
    from scipy.special import betaincinv

    low = 0.0 if hits == 0 else float(betaincinv(hits, n - hits + 1, alpha / 2))
    high = 1.0 if hits == n else float(betaincinv(hits + 1, n - hits, 1 - alpha / 2))
    return low, high


def calibration(predicted: np.ndarray, found: np.ndarray, *, shares: bool, of: str) -> dict[str, Any]:
    """The bins, and the mean predicted against the mean found."""
    return {
        "of": of,
        "shares": shares,
        "bins": bins(predicted, found, shares=shares),
        "predicted": float(predicted.mean()),
        "found": float(found.mean()),
    }
