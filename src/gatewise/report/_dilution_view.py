"""What the dilution's table and figure say, read once from its document and put into words."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from . import _dilution_headline as head
from . import _dilution_words as words
from . import _facts
from . import _numbers as num
from ._dilution_cells import Cell, Entry, Row
from ._facts import Item
from ._read import Document, number, pair, record, records, strings, text, verdict


@dataclass(frozen=True, kw_only=True)
class Dilution:
    """The whole page."""

    headline: str
    lead: tuple[str, ...]
    baseline: str
    arms: tuple[str, ...]
    cells: tuple[Cell, ...]
    tally: str
    terms: tuple[str, ...]
    remarks: tuple[Item, ...]
    warnings: tuple[str, ...]
    facts: tuple[Item, ...]
    environment: tuple[Item, ...]
    machine: str
    replay: str

    @property
    def dtypes(self) -> tuple[str, ...]:
        """In the order of the plan."""
        return tuple(dict.fromkeys(cell.dtype for cell in self.cells))

    def of(self, dtype: str) -> tuple[Cell, ...]:
        """The cells of one dtype."""
        return tuple(cell for cell in self.cells if cell.dtype == dtype)


def build(document: Document) -> Dilution:
    """The page of a document; what is not there is left out or said to be missing."""
    baseline = text(document.get("baseline")) or "gelu"
    arms = tuple(strings(document, "arms"))
    cells = _cells(document, baseline, arms)
    entries = [entry for cell in cells for row in cell.rows for entry in row.ratios]
    return Dilution(
        headline=head.headline(cells, baseline, arms),
        lead=head.lead(cells, baseline, arms),
        baseline=baseline,
        arms=arms,
        cells=cells,
        tally=head.tally(entries),
        terms=_terms(document, baseline),
        remarks=_remarks(cells),
        warnings=_warnings(document),
        facts=_told(document),
        environment=_facts.environment(document),
        machine=_facts.environment_line({**document, "study": {"seconds": document.get("seconds")}}),
        replay=str(document.get("replay") or "").strip(),
    )


def _cells(document: Document, baseline: str, arms: Sequence[str]) -> tuple[Cell, ...]:
    grouped: dict[tuple[str, float], list[Row]] = {}
    for each in records(document, "rows"):
        tokens = number(each.get("tokens")) or 0.0
        level, dtype = text(each.get("level")), text(each.get("dtype"))
        ratios, seconds = record(each, "ratios"), number(record(each, "times_s").get(baseline))
        row = Row(
            level=level,
            label=words.LEVELS.get(level, level),
            dtype=dtype,
            tokens=tokens,
            call=num.quantity(seconds, "s"),
            share=_entry(each.get("share"), share=True),
            ratios=tuple(_entry(ratios.get(arm)) for arm in arms),
        )
        grouped.setdefault((dtype, tokens), []).append(row)
    order = list(words.LEVELS)
    place = {name: index for index, name in enumerate(order)}
    found = [
        Cell(dtype=dtype, tokens=tokens, rows=tuple(sorted(rows, key=lambda row: place.get(row.level, len(order)))))
        for (dtype, tokens), rows in grouped.items()
    ]
    dtypes = list(dict.fromkeys(cell.dtype for cell in found))
    return tuple(sorted(found, key=lambda cell: (dtypes.index(cell.dtype), cell.tokens)))


def _entry(value: object, *, share: bool = False) -> Entry:
    held: Document = value if isinstance(value, dict) else {}
    estimate = number(held.get("estimate"))
    if not share and estimate is not None and not 1e-12 < estimate < 1e12:
        estimate = None  # a ratio has no meaning there, and an axis no place
    return Entry(
        estimate=estimate,
        interval=pair(held.get("interval")),
        verdict=verdict(held.get("verdict")),
        measured=bool(held),
        reason=text(held.get("reason")),
        share=share,
    )


def _terms(document: Document, baseline: str) -> tuple[str, ...]:
    judge = record(document, "judge")
    margin, alpha = number(judge.get("margin")), number(judge.get("alpha"))
    found = [f"time of a call against {baseline}", "below 1 is faster"]
    if margin is not None:
        found.append(f"margin ±{num.share(margin, 3)}")
    if alpha is not None:
        found.append(f"the verdicts of a level hold together at {num.share(1.0 - alpha, 3)}")
    return tuple(found)


def _remarks(cells: Sequence[Cell]) -> tuple[Item, ...]:
    """Why cells have no number, once each, with the cells it is about."""
    found: dict[str, list[str]] = {}
    for cell in cells:
        for row in cell.rows:
            for entry in (row.share, *row.ratios):
                if entry.measured and entry.estimate is None and entry.reason:
                    # The same cause has other numbers in every cell; what stands before them says it.
                    found.setdefault(entry.reason.partition(" (")[0], []).append(f"{row.label} at {cell.title}")
    return tuple(Item(what=why, why="; ".join(dict.fromkeys(places))) for why, places in found.items())


def _warnings(document: Document) -> tuple[str, ...]:
    found = strings(document, "warnings")
    if document.get("interrupted") is True and not any("interrupt" in each.lower() for each in found):
        found.insert(0, "The study was interrupted: what follows is what was finished until then.")
    return tuple(found)


def _told(document: Document) -> tuple[Item, ...]:
    """The sizes that all levels share, and when it ran."""
    seconds, budget = number(document.get("seconds")), number(document.get("budget_s"))
    sizes = ", ".join(f"{name} {_facts.fact(text(name), value)}" for name, value in record(document, "sizes").items())
    started = text(document.get("started")).replace("T", " ")[:16]
    pairs = (
        ("sizes", sizes),
        ("started", started),
        ("took", "" if seconds is None else num.duration(seconds)),
        ("budget", "" if budget is None or not math.isfinite(budget) else num.duration(budget)),
    )
    return tuple(Item(what=what, why=why) for what, why in pairs if why)
