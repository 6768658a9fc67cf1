"""How a target is judged: the ratio of two measured figures in a cell, and the least it may be."""

from collections.abc import Sequence
from dataclasses import dataclass

from .figures import Cells, Ratio, ratio, values


@dataclass(frozen=True, kw_only=True)
class Target:
    """`baseline` / `candidate` >= `least` in every cell of `section` whose row begins with `row`.

    Attributes:
        part: what measures it.
        section, row: where the figures stand.
        baseline, candidate: two columns; a limit is a column too.
        least: the least ratio.
        aim: a higher one that is aimed at; printed.
        limit: the column of the physical limit, told where the target is not met.
    """

    part: str
    section: str
    row: str
    baseline: str
    candidate: str
    least: float
    aim: float | None = None
    limit: str | None = None

    def __str__(self) -> str:
        return f"{self.row}, {self.section.split(',')[0]}: {self.baseline} / {self.candidate} >= {self.least:.2f}"


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """One line about one target in one cell. `met` is None where something was not measured."""

    target: str
    met: bool | None
    found: str
    why: str = ""

    @property
    def word(self) -> str:
        """In a word."""
        return "not measured" if self.met is None else "met" if self.met else "NOT MET"


def judge(target: Target, records: Sequence[Cells]) -> list[Verdict]:
    """A verdict for each cell; the median over processes decides, its interval stands beside it."""
    keys = sorted({key for record in records for key in record if _matches(target, key)})
    if not keys:
        return [Verdict(target=str(target), met=None, found="", why="no such cell in this run")]
    return [_one(target, records, key) for key in keys]


def _matches(target: Target, key: str) -> bool:
    section, _, row = key.partition(" :: ")
    return section == target.section and (row == target.row or row.startswith(f"{target.row}, "))


def _one(target: Target, records: Sequence[Cells], key: str) -> Verdict:
    name = f"{key.partition(' :: ')[2]}, {target.section}: {target.baseline} / {target.candidate} >= {target.least:.2f}"
    found = ratio(records, key, target.baseline, target.candidate)
    if found is None:
        absent = [who for who in (target.baseline, target.candidate) if not values(records, key, who)]
        return Verdict(target=name, met=None, found="", why=f"{' and '.join(absent)} not measured")
    met = found.median >= target.least
    return Verdict(target=name, met=met, found=str(found), why="; ".join(_remarks(target, records, key, found)))


def _remarks(target: Target, records: Sequence[Cells], key: str, found: Ratio) -> list[str]:
    told: list[str] = []
    met = found.median >= target.least
    if found.low is not None and found.high is not None and (found.low < target.least <= found.high):
        told.append("its interval contains the target")
    if target.aim is not None:
        told.append(f"aim {target.aim:.2f} {'reached' if found.median >= target.aim else 'not reached'}")
    if not met and target.limit is not None:
        allows = ratio(records, key, target.baseline, target.limit)
        told.append(
            f"the {target.limit} here allows {allows}" if allows else f"the {target.limit} was not measured here"
        )
    return told
