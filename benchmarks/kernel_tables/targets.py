"""How a target is judged: the ratio of two measured figures in a cell, and the least it may be."""

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import Cells, Ratio, middle, ratio, values


@dataclass(frozen=True, kw_only=True)
class Target:
    """`baseline` / `candidate` >= `least` in every cell of `section` whose row begins with `row`.

    Attributes:
        part: what measures it.
        section, row: where the figures stand.
        baseline, candidate: two columns; a limit is a column too.
        least: the least ratio.
        aim: a higher one that is aimed at; printed.
        limits: the columns of physical limits, told where the target is not met.
    """

    part: str
    section: str
    row: str
    baseline: str
    candidate: str
    least: float
    aim: float | None = None
    limits: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.row}, {self.section.split(',')[0]}: {self.baseline} / {self.candidate} >= {self.least:.2f}"


WORDS = ("met", "NOT met", "undecided", "not measured")


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line about one figure in one cell.

    Attributes:
        target: what is asked, where.
        met: None where it is undecided or was not measured.
        found: what was measured; empty where nothing was.
        why: remarks, and the physical limit of what is not met.
        part, row, of: for tables that are made of verdicts: the part, the row, and "baseline / candidate".
        ratio: the measured ratio, where the figure is one.
        least: the figure that is asked.
    """

    target: str
    met: bool | None
    found: str
    why: str = ""
    part: str = ""
    row: str = ""
    of: str = ""
    ratio: Ratio | None = None
    least: float | None = None

    @property
    def word(self) -> str:
        """In a word."""
        if self.met is None:
            return "undecided" if self.found else "not measured"
        return "met" if self.met else "NOT met"


def judge(target: Target, records: Sequence[Cells]) -> list[Verdict]:
    """A verdict for each cell: undecided where the interval over processes spans the figure, or there is none."""
    keys = sorted({key for record in records for key in record if _matches(target, key)})
    if not keys:
        return [Verdict(target=str(target), met=None, found="", why="no such cell in this run", part=target.part)]
    return [_one(target, records, key) for key in keys]


def _matches(target: Target, key: str) -> bool:
    section, _, row = key.partition(" :: ")
    return section == target.section and (row == target.row or row.startswith(f"{target.row}, "))


def _one(target: Target, records: Sequence[Cells], key: str) -> Verdict:
    row = key.partition(" :: ")[2]
    name = f"{row}, {target.section}: {target.baseline} / {target.candidate} >= {target.least:.2f}"
    of = f"{target.baseline} / {target.candidate}"
    found = ratio(records, key, target.baseline, target.candidate)
    if found is None:
        absent = [who for who in (target.baseline, target.candidate) if not values(records, key, who)]
        why = f"{' and '.join(absent)} not measured"
        return Verdict(target=name, met=None, found="", why=why, part=target.part, row=row, of=of, least=target.least)
    return Verdict(
        target=name,
        met=_met(found, target.least),
        found=str(found),
        why="; ".join(_remarks(target, records, key, found)),
        part=target.part,
        row=row,
        of=of,
        ratio=found,
        least=target.least,
    )


def _met(found: Ratio, least: float) -> bool | None:
    if found.low is None or found.high is None or found.low < least <= found.high:
        return None
    return found.median >= least


def _remarks(target: Target, records: Sequence[Cells], key: str, found: Ratio) -> list[str]:
    told: list[str] = []
    if found.low is None or found.high is None:
        told.append("one process has no interval")
    elif found.low < target.least <= found.high:
        told.append("its interval spans the figure")
    if target.aim is not None:
        told.append(f"aim {target.aim:.2f} {'reached' if found.median >= target.aim else 'not reached'}")
    if found.median < target.least:
        told += [allowance(records, key, target.baseline, limit) for limit in target.limits]
    return told


LIMITS = {
    "limit matmul": "the products alone, each by the quickest measured way of torch and oneDNN",
    "limit arithmetic": "as much arithmetic without memory, the quicker of multiply-adds and tiles of parts",
    "limit read_all": "reading the weights once at the measured rate",
    "limit copy": "the copy of as many bytes",
    "limit triad": "the measured traffic (two arrays in, one out)",
    "limit gate": "the measured traffic (three arrays in, two out)",
    "kernels alone": "our forward and backward kernels without autograd",
    "kernels and autograd": "these and autograd of one function in C++, with the caches as they leave them",
    "traffic alone": "the measured traffic of both directions",
    "matmul alone replaced": "eager's step with only its products exchanged for the quickest ways",
    "arithmetic alone": "our arithmetic at its rate in cache, with no memory to wait for",
    "arithmetic alone high": "our arithmetic at its rate in cache, with no memory to wait for",
}
"""How the columns of limits are told."""


def allowance(records: Sequence[Cells], key: str, baseline: str, limit: str) -> str:
    """What a limit leaves at most of a ratio to `baseline`, in words."""
    name = LIMITS.get(limit, limit)
    allows = ratio(records, key, baseline, limit)
    if allows is None:
        one, other = middle(records, key, baseline), middle(records, key, limit)
        return f"at most {one / other:.2f} by {name}" if one and other else f"{limit} was not measured here"
    return f"at most {allows.median:.2f} by {name}"
