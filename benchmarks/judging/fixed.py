"""The judge of fixed numbers: seeds (a paired t interval) and binary items (a paired score interval), and rivals."""

from functools import cache
from typing import Any

import numpy as np
from scipy import stats

from gatewise.core import Evidence, Rule, compare

from .gates import Gate

ALPHA = 0.05
SEED_SD = 0.0019
"""Held-out loss of one language-model run, in nat: the published SD over 80 seeds of a speed-run."""
CORRELATION = 0.8
SEEDS = (4, 6, 12)
DIFFERENCES = (0.0, 0.002, 0.005, 0.02)
RESAMPLES = 999

ITEMS = (
    (20, 0.05, 0.05),
    (50, 0.02, 0.02),
    (100, 0.01, 0.01),
    (200, 0.10, 0.10),
    (400, 0.005, 0.005),
    (1000, 0.02, 0.02),
    (100, 0.10, 0.05),
    (400, 0.05, 0.02),
    (400, 0.01, 0.0),
    (1000, 0.015, 0.005),
)
"""Items, the share that the arm alone gets right, the share that the baseline alone gets right."""
ACCURACY = 0.8


def seeds(rng: np.random.Generator, studies: int) -> list[dict[str, Any]]:
    """Paired runs with an injected difference, judged by `compare` at a margin of 0; BCa beside it."""
    rows: list[dict[str, Any]] = []
    for n in SEEDS:
        for difference in DIFFERENCES:
            shared = rng.normal(0, SEED_SD * np.sqrt(CORRELATION), (studies, n))
            own = rng.normal(0, SEED_SD * np.sqrt(1 - CORRELATION), (2, studies, n))
            baseline, arm = 3.28 + shared + own[0], 3.28 + difference + shared + own[1]
            found = [
                compare(b.tolist(), a.tolist(), kind="difference", margin=0.0, alpha=ALPHA)
                for b, a in zip(baseline, arm, strict=True)
            ]
            intervals = [one.interval or (np.inf, -np.inf) for one in found]
            rows.append(
                {
                    "n": n,
                    "difference": difference,
                    "studies": studies,
                    "missed": sum(not low <= difference <= high for low, high in intervals),
                    "called": sum(one.verdict in ("better", "worse") for one in found),
                    "bca_missed": _bca_missed(arm - baseline, difference, rng),
                }
            )
    return rows


def _bca_missed(effects: np.ndarray[Any, Any], truth: float, rng: np.random.Generator) -> int:
    found = stats.bootstrap(
        (effects,), np.mean, axis=1, confidence_level=1 - ALPHA, n_resamples=RESAMPLES, batch=100, rng=rng
    ).confidence_interval
    return int(np.sum(~((found.low <= truth) & (truth <= found.high))))


def items(rng: np.random.Generator, studies: int) -> list[dict[str, Any]]:
    """The same questions put to both arms: our paired interval, a t interval, and one that forgets the pairs."""
    rows: list[dict[str, Any]] = []
    for n, gained, lost in ITEMS:
        truth, shares = gained - lost, (gained, lost, ACCURACY - lost, 1 - ACCURACY - gained)
        drawn = rng.multinomial(n, shares, studies)
        row: dict[str, Any] = {"n": n, "gained": gained, "lost": lost, "studies": studies}
        for name, method in (("ours", _paired), ("t", _t), ("unpaired", _unpaired)):
            intervals = [method(n, *(int(count) for count in counts[:3])) for counts in drawn]
            # An interval that ends on the truth, but for rounding, holds it.
            row[f"{name}_missed"] = sum(bool(low - 1e-12 > truth or truth > high + 1e-12) for low, high in intervals)
            row[f"{name}_called"] = sum(bool(low > 0 or high < 0) for low, high in intervals)
        rows.append(row)
    return rows


@cache
def _paired(n: int, gained: int, lost: int, both: int) -> tuple[float, float]:
    del both
    effects = (1.0,) * gained + (-1.0,) * lost + (0.0,) * (n - gained - lost)
    evidence = Evidence(effects=effects, rule=Rule(kind="difference", margin=0.0), method="paired")
    found = evidence.at(ALPHA).interval
    return found if found is not None else (np.inf, -np.inf)


@cache
def _t(n: int, gained: int, lost: int, both: int) -> tuple[float, float]:
    """A paired t interval; of zero width, and thereby of no worth, where nothing differs."""
    del both
    mean = (gained - lost) / n
    half = stats.t.ppf(1 - ALPHA / 2, n - 1) * np.sqrt((gained + lost - n * mean**2) / (n - 1) / n)
    return float(mean - half), float(mean + half)


@cache
def _unpaired(n: int, gained: int, lost: int, both: int) -> tuple[float, float]:
    """Two independent shares, which they are not."""
    arm, baseline = (gained + both) / n, (lost + both) / n
    half = stats.norm.ppf(1 - ALPHA / 2) * np.sqrt((arm * (1 - arm) + baseline * (1 - baseline)) / n)
    return float(arm - baseline - half), float(arm - baseline + half)


def gates(seed_rows: list[dict[str, Any]], item_rows: list[dict[str, Any]]) -> list[Gate]:
    """Coverage is at least nominal, a verdict without a difference at most alpha, and .02 nat is found."""
    found: list[Gate] = []
    for row in seed_rows:
        name = f"{row['n']} seeds, {row['difference']} nat"
        found.append(Gate(name=f"{name}: missed", count=row["missed"], trials=row["studies"], limit=ALPHA))
        if row["difference"] == 0:
            found.append(Gate(name=f"{name}: called", count=row["called"], trials=row["studies"], limit=ALPHA))
        if row["difference"] == 0.02:
            called = row["called"]
            found.append(Gate(name=f"{name}: found", count=called, trials=row["studies"], limit=0.8, at_most=False))
    for row in item_rows:
        name = f"{row['n']} items, {row['gained']} against {row['lost']}"
        found.append(Gate(name=f"{name}: missed", count=row["ours_missed"], trials=row["studies"], limit=ALPHA))
        if row["gained"] == row["lost"]:
            found.append(Gate(name=f"{name}: called", count=row["ours_called"], trials=row["studies"], limit=ALPHA))
    return found
