"""The comparisons of one claim as panels: one a metric, so that a table and a plot share its units and words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from gatewise.core import METRICS

from . import _claims_words as words
from . import _numbers as num
from ._panels import Panel, Remark, Row
from ._read import Document, number, pair, record, strings, text, verdict

Kind = Literal["refused", "undecided", "note"]
_KINDS: tuple[Kind, ...] = ("refused", "undecided", "note")
_SIDES = {"supported": "for it", "refuted": "against it"}
_MOST_NAMES = 3
# A ratio beyond these has no axis.
_LEAST, _MOST = 1e-12, 1e12
_PLAIN_UNITS = ("1", "")


@dataclass(frozen=True, kw_only=True)
class Compared(Row):
    """One comparison of a claim: `arm` against `than`; `grade` is what it says of the sentence."""

    than: str
    claimed: str
    grade: str
    control: bool
    cost: str
    ran: str

    @property
    def pair(self) -> str:
        """Both sides."""
        return f"{self.arm} vs {self.than}"

    @property
    def place(self) -> str:
        """Both sides and the conditions that set the row apart."""
        return f"{self.pair}, {self.group}" if self.group else self.pair

    @property
    def unfair(self) -> bool:
        """Whether the two sides are not matched; no verdict stands without that word."""
        return any(flag.startswith(("unmatched", "unfair")) for flag in self.flags)

    @property
    def side(self) -> str:
        """What it says of the sentence; of a control, whether it was found. Empty where the verdict's word says it."""
        if self.control:
            return "found" if self.grade == "supported" else "not found"
        return _SIDES.get(self.grade, "")

    @property
    def says(self) -> str:
        """The verdict's word and what it says of the sentence."""
        return ", ".join(each for each in (super().says, self.side) if each)


@dataclass(frozen=True, kw_only=True)
class ClaimPanel(Panel):
    """All comparisons of one metric, looked at in one way."""

    rows: tuple[Compared, ...]
    trend: str
    claimed: str
    control: bool
    ran: str

    @property
    def pairs(self) -> tuple[str, ...]:
        """The pairs of arms, each once."""
        return tuple(dict.fromkeys(row.pair for row in self.rows))

    @property
    def by_pair(self) -> bool:
        """Whether several pairs have several rows each, so that a pair's name stands above its rows."""
        return 1 < len(self.pairs) < len(self.rows)

    @property
    def priced(self) -> bool:
        """Whether any row knows what its requests cost."""
        return any(row.cost for row in self.rows)

    @property
    def shaded(self) -> bool:
        """Whether the plot has a margin to shade: at a margin of 0 there is none."""
        return any(row.limits and row.limits[0] < row.limits[1] for row in self.rows)

    @property
    def title(self) -> str:
        """The metric, how it is looked at, and whether it is a control."""
        looked = f"{self.label}, {self.trend}" if self.trend else self.label
        return f"Control: {looked}" if self.control else looked

    @property
    def terms(self) -> tuple[str, ...]:
        """What a reader needs to read the panel, in short pieces."""
        found = [
            f"claimed: {self.claimed}" if self.claimed else "",
            self.direction,
            f"margin {self.margin}" if self.margin else "",
            self.level,
            f"differences in {self.unit}" if self.unit else "",
            f"n: {'processes' if self.evidence == 'process' else self.evidence + 's'}",
            self.shared,
        ]
        return tuple(each for each in found if each)

    @property
    def all_terms(self) -> tuple[str, ...]:
        """The terms with what ran."""
        return (*self.terms, f"ran: {self.ran}") if self.ran else self.terms

    @property
    def side(self) -> str:
        """The head of the column of what a row says of the sentence."""
        return "control" if self.control else "the claim"

    @property
    def plotted(self) -> Panel:
        """The panel as the plot labels it: what all rows share is said once."""

        def labelled(row: Compared) -> Compared:
            return replace(row, arm=self.name(row), group=row.pair if self.by_pair else "")

        others = list(dict.fromkeys(row.than for row in self.rows))
        against = self.baseline or (others[0] if len(others) == 1 else "the other arm of each pair")
        return replace(self, label=self.title, rows=tuple(map(labelled, self.rows)), baseline=against)

    def name(self, row: Compared) -> str:
        """What sets a row apart from the others, below its pair's name where rows stand by pair."""
        if self.by_pair or len(self.pairs) == 1:
            return row.group or row.pair
        return row.place


def panels(comparisons: Sequence[Document]) -> tuple[ClaimPanel, ...]:
    """The comparisons of a claim, by metric in the claim's own order; controls stand last."""
    found: dict[tuple[object, ...], list[Document]] = {}
    for each in comparisons:
        keys = ("metric", "over", "form", "kind", "direction", "label", "unit", "evidence")
        key = (each.get("control") is True, *(text(each.get(name)) for name in keys))
        found.setdefault(key, []).append(each)
    ordered = sorted(found.items(), key=lambda item: item[0][0] is True)
    return tuple(_panel(group) for _, group in ordered)


def label(entry: Document) -> str:
    """A metric as people read it."""
    name = text(entry.get("metric"))
    known = METRICS.get(name)
    return text(entry.get("label")) or (known.label if known else name.replace("_", " ")) or "comparison"


def _panel(found: Sequence[Document]) -> ClaimPanel:
    first = found[0]
    known = METRICS.get(text(first.get("metric")))
    kind = text(first.get("kind")) or (known.kind if known else "difference")
    direction = text(first.get("direction")) or (known.direction if known else "lower")
    unit = text(first.get("unit")) or (known.unit if known else "")
    margins = [margin for each in found if (margin := number(each.get("margin")))]
    over, form = text(first.get("over")), text(first.get("form"))
    places = num.decimals(min(margins, default=None), kind)
    shared, rows = _rows(found, kind, places)
    sides = {(row.arm, row.than) for row in rows}
    trend = words.trend(over, form, kind, sides.pop() if len(sides) == 1 else None)
    return ClaimPanel(
        part="",
        metric=text(first.get("metric")),
        label=label(first),
        kind=kind,
        lower_is_better=direction != "higher",
        time=unit == "s" and not trend,
        baseline=words.unchanged(form, kind) if over else "",
        shared=shared,
        margin=_same([row.margin for row in rows]),
        level=_level(found),
        state="",
        places=places,
        rows=tuple(rows),
        remarks=_remarks(rows),
        evidence=text(first.get("evidence")) or "value",
        unit=unit.replace(" - ", f" {num.MINUS} ") if kind != "ratio" and unit not in _PLAIN_UNITS else "",
        trend=trend,
        claimed=_same([row.claimed for row in rows]),
        control=first.get("control") is True,
        ran=_same([row.ran for row in rows]),
    )


def _rows(found: Sequence[Document], kind: str, places: int) -> tuple[str, list[Compared]]:
    """The conditions that all rows share, and the rows, those of one pair together."""
    conditions = [_conditions(each) for each in found]
    names = list(dict.fromkeys(name for each in conditions for name in each))
    varying = [name for name in names if len({each.get(name, "") for each in conditions}) > 1]
    shared = ", ".join(conditions[0][name] for name in names if name not in varying)
    rows = [
        _row(each, kind, places, ", ".join(held[name] for name in varying if held.get(name)))
        for each, held in zip(found, conditions, strict=True)
    ]
    order = list(dict.fromkeys(row.pair for row in rows))
    return shared, sorted(_numbered(rows), key=lambda row: order.index(row.pair))


def _numbered(rows: Sequence[Compared]) -> list[Compared]:
    """Rows that the document tells apart by nothing are numbered, so that none is taken for another."""
    places = [row.place for row in rows]
    found: list[Compared] = []
    for index, row in enumerate(rows):
        mark = f"no. {places[: index + 1].count(row.place)}" if places.count(row.place) > 1 else ""
        found.append(replace(row, group=", ".join(each for each in (row.group, mark) if each)))
    return found


def _conditions(comparison: Document) -> Mapping[str, str]:
    """The part and the conditions by name, written out; what a trend along parts has as numbers are their names."""
    held = dict(record(comparison, "conditions"))
    parts = held.pop("parts", None)
    if text(comparison.get("over")) == "part" and parts:
        held["part"] = parts
    found = {text(name): words.condition(text(name), value) for name, value in held.items()}
    part = text(comparison.get("part"))
    return {key: shown for key, shown in (({"part": part} if part else {}) | found).items() if shown}


def _row(comparison: Document, kind: str, places: int, group: str) -> Compared:
    margin, smallest = number(comparison.get("margin")), number(comparison.get("smallest_detectable"))
    notes = tuple(strings(comparison, "notes"))
    interval = pair(comparison.get("interval"))
    if interval is not None and kind == "ratio" and not _LEAST < interval[1] < _MOST:
        interval = None
    could = None if smallest is None else num.effect(1.0 + smallest if kind == "ratio" else smallest, kind, places)
    return Compared(
        arm=text(comparison.get("arm")) or num.MISSING,
        than=text(comparison.get("than")) or num.MISSING,
        group=group,
        twin=False,
        flags=notes,
        state="",
        estimate=_on_scale(number(comparison.get("estimate")), kind),
        interval=interval,
        limits=pair(comparison.get("limits")),
        margin=words.margin(margin, kind),
        smallest=num.MISSING if could is None else could.removeprefix("+"),
        verdict=verdict(comparison.get("verdict")),
        n=num.count(number(comparison.get("n"))),
        typical=num.MISSING,
        reason=text(comparison.get("reason")),
        notes=notes,
        dots=(),
        claimed=text(comparison.get("is")),
        grade=words.grade(comparison.get("grade")),
        control=comparison.get("control") is True,
        cost=", ".join(
            f"{text(arm)} {num.significant(price)}"
            for arm, value in record(comparison, "cost").items()
            if (price := number(value)) is not None
        ),
        ran=text(comparison.get("implementation")),
    )


def _on_scale(value: float | None, kind: str) -> float | None:
    return None if value is not None and kind == "ratio" and not _LEAST < value < _MOST else value


def _same(texts: Sequence[str]) -> str:
    return texts[0] if len(set(texts)) == 1 else ""


def _level(found: Sequence[Document]) -> str:
    """The confidence of the intervals that are there; Holm judges each pair at a level of its own."""
    alphas = [number(each.get("alpha")) for each in found if pair(each.get("interval")) is not None]
    shown = {num.share(1.0 - alpha, 3) for alpha in alphas if alpha is not None}
    if len(shown) > 1:
        return "each interval at its own level (Holm), see claims.json"
    return f"{shown.pop()} intervals" if shown else ""


def _remarks(rows: Sequence[Compared]) -> tuple[Remark, ...]:
    """Every reason and note once, with the rows that it is about: refusals first, then what is open, then notes."""
    found: dict[tuple[Kind, str], list[Compared]] = {}
    several = len({row.ran for row in rows}) > 1
    for row in rows:
        why: Kind = "refused" if row.refused else "undecided"
        notes = [*row.notes, *([f"ran {row.ran}"] if several and row.ran else [])]
        said: list[tuple[Kind, str]] = [("note", note) for note in notes]
        if row.reason:
            said.insert(0, (why, row.reason))
        for each in said:
            found.setdefault(each, []).append(row)
    made = [Remark(who=_who(about, rows), text=what, kind=kind) for (kind, what), about in found.items()]
    return tuple(sorted(made, key=lambda remark: _KINDS.index(remark.kind)))


def _who(about: Sequence[Compared], rows: Sequence[Compared]) -> str:
    names = list(dict.fromkeys(row.place for row in about))
    if len(about) == len(rows) > 1:
        return f"all {len(rows)}"
    return "; ".join(names) if len(names) <= _MOST_NAMES else f"{len(about)} of {len(rows)}"
