"""One panel per part and metric: the comparisons as rows, in the units and words that a table and a plot share."""

from dataclasses import dataclass
from typing import Literal

from . import _numbers as num

_PLURAL = {"process": "processes"}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. `estimate`, `interval`, `limits` and `dots` are on the scale of the panel's kind.

    `flags` change how the row must be read and stand on its own line; `state` is said once for the panel where all
    its arms share it.
    """

    arm: str
    group: str
    twin: bool
    flags: tuple[str, ...]
    state: str
    estimate: float | None
    interval: tuple[float, float] | None
    limits: tuple[float, float] | None
    margin: str
    smallest: str
    verdict: str
    n: str
    typical: str
    reason: str
    notes: tuple[str, ...]
    dots: tuple[float, ...]

    @property
    def unfair(self) -> bool:
        """Whether the arm is not matched with the baseline; no verdict of it stands without that word."""
        return any(flag.startswith("unfair") for flag in self.flags)

    @property
    def refused(self) -> bool:
        """Whether the comparison was not made: it has a verdict and no interval."""
        return bool(self.verdict) and self.interval is None

    @property
    def says(self) -> str:
        """The verdict's word; a refused row says so, a row without comparison is stated and not judged."""
        return "refused" if self.refused else self.verdict or "not judged"


@dataclass(frozen=True, kw_only=True)
class Remark:
    """Something said once, with the rows that it is about: why there is no interval, no decision, or a note."""

    who: str
    text: str
    kind: Literal["refused", "undecided", "note"]

    @property
    def line(self) -> str:
        """The remark in one line."""
        lead = f"refused, {self.who}" if self.kind == "refused" else self.who
        return f"{lead}: {self.text}"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All rows of one metric in one part. `evidence` is what one observation is: process, seed or item."""

    part: str
    metric: str
    label: str
    kind: str
    lower_is_better: bool
    time: bool
    baseline: str
    shared: str
    margin: str
    level: str
    state: str
    places: int
    rows: tuple[Row, ...]
    remarks: tuple[Remark, ...]
    evidence: str
    unit: str

    @property
    def judged(self) -> bool:
        """Whether any row is a comparison."""
        return any(row.verdict for row in self.rows)

    @property
    def drawable(self) -> bool:
        """Whether there is anything to plot."""
        return any(row.estimate is not None for row in self.rows)

    @property
    def empty(self) -> bool:
        """Whether there is no number to show: all was refused and nothing was measured."""
        return not any(row.estimate is not None or row.typical != num.MISSING for row in self.rows)

    @property
    def direction(self) -> str:
        """In words, which way is good."""
        return "lower is better" if self.lower_is_better else "higher is better"

    @property
    def grouped(self) -> bool:
        """Whether conditions vary between the rows."""
        return any(row.group for row in self.rows)

    @property
    def sensitive(self) -> bool:
        """Whether any row says how small an effect it could have seen."""
        return any(row.smallest != num.MISSING for row in self.rows)

    @property
    def typical(self) -> str:
        """The head of the column of typical values, with the unit that its numbers do not carry."""
        return f"typical ({self.unit})" if self.unit else "typical"

    @property
    def terms(self) -> tuple[str, ...]:
        """What a reader needs to read the panel, in short pieces."""
        found = [self.direction, f"against {self.baseline}" if self.baseline else ""]
        found += [f"margin {self.margin}" if self.margin else "", self.level] if self.judged else []
        found.append(f"n: {_PLURAL.get(self.evidence, self.evidence + 's')}")
        return tuple(each for each in (*found, self.state, self.shared) if each)

    def show(self, value: float | None) -> str:
        """A value on this panel's scale, as people read it."""
        return num.effect(value, self.kind, self.places)

    def ends(self, row: Row) -> tuple[str, str] | None:
        """Both ends of a row's interval, or None where the comparison was refused."""
        return None if row.interval is None else (self.show(row.interval[0]), self.show(row.interval[1]))

    def interval(self, row: Row) -> str:
        """A row's interval on one line; the sign of percent stands once."""
        ends = self.ends(row)
        if ends is None:
            return "refused" if row.refused else num.MISSING
        first = ends[0].removesuffix(" %") if ends[1].endswith(" %") else ends[0]
        return f"{first} to {ends[1]}"
