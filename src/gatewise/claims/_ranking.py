"""The order of arms found here beside the order of a published table: do they agree?"""

from collections.abc import Sequence
from typing import Any

from gatewise.core import unknown_name
from gatewise.study import Record, endings

from ._published import Tables

METRIC = "heldout_loss"
ALIASES = {"swish": "silu"}
"""What papers call a function that the table of activations has under another name."""

FEWEST = 3


def published_means(name: str) -> dict[str, float]:
    """The means of a published table (`source/table`) by arm. Raises `GatewiseError` with the nearest name."""
    known = {f"{source.name}/{table.name}": table for source in Tables.packaged().sources for table in source.tables}
    if name not in known:
        raise unknown_name("published table", name, known)
    found = ((arm.name.lower(), arm.mean.value) for arm in known[name].arms)
    return {ALIASES.get(arm, arm): mean for arm, mean in found}


def ranking(name: str, records: Sequence[Record]) -> dict[str, Any] | None:
    """Rank agreement of held-out losses here with a published table; None where fewer than three arms are trained.

    Means are over the seeds that every arm finished. Spearman's and Kendall's p are two-sided.
    """
    there = published_means(name)
    for record in records:
        ends = {arm.label: endings(record, METRIC, arm.label) for arm in record.part.arms if arm.label in there}
        ends = {label: values for label, values in ends.items() if values}
        seeds = set.intersection(*(set(values) for values in ends.values())) if ends else set[int]()
        if len(ends) < FEWEST or not seeds:
            continue
        here = {label: sum(values[seed] for seed in seeds) / len(seeds) for label, values in ends.items()}
        return {"table": name, "metric": METRIC, "seeds": len(seeds)} | _agreement(here, there)
    return None


def _agreement(here: dict[str, float], there: dict[str, float]) -> dict[str, Any]:
    from scipy.stats import kendalltau, spearmanr

    arms = sorted(here, key=lambda arm: here[arm])
    mine, theirs = [here[arm] for arm in arms], [there[arm] for arm in arms]
    rows = [{"arm": arm, "here": here[arm], "there": there[arm]} for arm in arms]
    rank: Any = spearmanr(mine, theirs)
    pairs: Any = kendalltau(mine, theirs)
    if rank.statistic != rank.statistic:  # all values of one side are equal: there is no order to agree with
        return {"arms": rows, "n": len(arms), "spearman": None, "kendall": None, "p_spearman": None, "p_kendall": None}
    return {
        "arms": rows,
        "n": len(arms),
        "spearman": float(rank.statistic),
        "p_spearman": float(rank.pvalue),
        "kendall": float(pairs.statistic),
        "p_kendall": float(pairs.pvalue),
    }
