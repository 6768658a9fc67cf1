"""What the dilution's table and figure have in common: entries, rows, cells."""

from dataclasses import dataclass

from . import _dilution_words as words


@dataclass(frozen=True, kw_only=True)
class Entry:
    """A share or a ratio: judged, undecided, refused (measured, and no number may be shown) or not measured."""

    estimate: float | None
    interval: tuple[float, float] | None
    verdict: str
    measured: bool
    reason: str
    share: bool = False

    @property
    def decided(self) -> bool:
        """Whether it has a verdict that is one."""
        return self.measured and self.verdict in ("better", "worse", "equivalent")

    @property
    def says(self) -> str:
        """In a word or two what became of it."""
        if not self.measured:
            return "not measured"
        if self.estimate is None:
            return "refused"
        return self.verdict if self.decided else "undecided"

    @property
    def mark(self) -> str:
        """The verdict's mark; what has no number has none."""
        return "" if self.estimate is None else self.verdict or "inconclusive"

    def show(self, value: float | None) -> str:
        """A value of this kind: a share as a percentage, a ratio as a factor."""
        return words.share(value) if self.share else words.ratio(value)

    @property
    def shown(self) -> str:
        """The estimate, or what stands in its place."""
        return self.says if self.estimate is None else self.show(self.estimate)

    @property
    def between(self) -> str:
        """The interval on one line, empty where there is none."""
        if self.interval is None or self.estimate is None:
            return ""
        low, high = (self.show(end) for end in self.interval)
        return f"{low.removesuffix(' %') if self.share else low} to {high}"

    @property
    def spoken(self) -> str:
        """All of it in one line, for those who hear the page."""
        return ", ".join(
            each for each in (self.shown, f"interval {self.between}" if self.between else "", self.says) if each
        )


@dataclass(frozen=True, kw_only=True)
class Row:
    """One level under one dtype and number of tokens."""

    level: str
    label: str
    dtype: str
    tokens: float
    call: str
    share: Entry
    ratios: tuple[Entry, ...]


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One dtype and number of tokens: its rows from the operator to the request."""

    dtype: str
    tokens: float
    rows: tuple[Row, ...]

    @property
    def title(self) -> str:
        """In words."""
        return f"{self.dtype}, {words.tokens(self.tokens)}"
