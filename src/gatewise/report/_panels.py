"""One panel per part and metric: the comparisons as rows, in the units and words that a table and a plot share."""

from dataclasses import dataclass

from . import _numbers as num


@dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison. `estimate`, `interval`, `limits` and `dots` are on the scale of the panel's kind."""

    arm: str
    group: str
    twin: bool
    tags: tuple[str, ...]
    estimate: float | None
    interval: tuple[float, float] | None
    limits: tuple[float, float] | None
    margin: str
    level: str
    verdict: str
    n: str
    typical: str
    remarks: tuple[str, ...]
    dots: tuple[float, ...]

    @property
    def says(self) -> str:
        """The verdict's word; a row without comparison is stated and not judged."""
        return self.verdict or "not judged"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """All rows of one metric in one part."""

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
    places: int
    rows: tuple[Row, ...]
    units: str

    @property
    def judged(self) -> bool:
        """Whether any row is a comparison."""
        return any(row.verdict for row in self.rows)

    @property
    def drawable(self) -> bool:
        """Whether there is anything to plot."""
        return any(row.estimate is not None for row in self.rows)

    @property
    def direction(self) -> str:
        """In words, which way is good."""
        return "lower is better" if self.lower_is_better else "higher is better"

    @property
    def grouped(self) -> bool:
        """Whether conditions vary between the rows."""
        return any(row.group for row in self.rows)

    @property
    def columns(self) -> int:
        """How many columns the table has, for a remark that spans them."""
        return 3 + self.grouped + (4 + (not self.level) if self.judged else 0)

    @property
    def remark(self) -> str:
        """What is to be said of every row alike, so that it is said once; empty where rows differ."""
        said = {row.remarks for row in self.rows}
        return "; ".join(said.pop()) if len(self.rows) > 1 and len(said) == 1 else ""

    def remarks(self, row: Row) -> str:
        """What is to be said of one row alone."""
        return "" if self.remark else "; ".join(row.remarks)

    def show(self, value: float | None) -> str:
        """A value on this panel's scale, as people read it."""
        return num.effect(value, self.kind, self.places)

    def show_interval(self, row: Row) -> tuple[str, str] | None:
        """Both ends of a row's interval, or None where the comparison was refused."""
        return None if row.interval is None else (self.show(row.interval[0]), self.show(row.interval[1]))
