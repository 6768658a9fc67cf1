"""From the records of processes to ratios with intervals: one process is one observation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import median

from gatewise.core import compare

ALPHA = 0.05
Cells = Mapping[str, Mapping[str, float]]
"""Of one process: cell, then candidate, then a positive number (seconds or bytes)."""


@dataclass(frozen=True, kw_only=True)
class Ratio:
    """`baseline` over `candidate`: above 1 the candidate needs less.

    Attributes:
        median: the median of the processes' ratios.
        low, high: the 95 % interval of the judge (a t interval on the log ratios of a number of processes that is fixed
            beforehand); None with fewer than two processes.
        n: processes.
    """

    median: float
    low: float | None
    high: float | None
    n: int

    def __str__(self) -> str:
        if self.low is None or self.high is None:
            return f"{self.median:.2f} (n = {self.n})"
        return f"{self.median:.2f} [{self.low:.2f}, {self.high:.2f}]"


def values(records: Sequence[Cells], cell: str, candidate: str) -> list[float]:
    """What each process that has it measured."""
    return [record[cell][candidate] for record in records if candidate in record.get(cell, {})]


def middle(records: Sequence[Cells], cell: str, candidate: str) -> float | None:
    """The median over processes; None where nobody measured it."""
    found = values(records, cell, candidate)
    return median(found) if found else None


def ratio(records: Sequence[Cells], cell: str, baseline: str, candidate: str) -> Ratio | None:
    """The ratio over all processes that measured both; None without one."""
    pairs = [
        (record[cell][baseline], record[cell][candidate])
        for record in records
        if baseline in record.get(cell, {}) and candidate in record.get(cell, {})
    ]
    if not pairs:
        return None
    mine, theirs = [pair[1] for pair in pairs], [pair[0] for pair in pairs]
    found = compare(mine, theirs, paired=True, kind="ratio", margin=0.0, alpha=ALPHA, method="mean")
    low, high = found.interval or (None, None)
    return Ratio(median=median(t / m for t, m in zip(theirs, mine, strict=True)), low=low, high=high, n=len(pairs))
