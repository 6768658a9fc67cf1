"""What a claims report says, in order and in words, before any format shows it: the one reading of its documents."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from . import _claims_tables, _facts
from . import _claims_words as words
from . import _numbers as num
from ._claims_panels import ClaimPanel, label, panels
from ._claims_tables import ClaimTable
from ._facts import Item
from ._read import Document, number, record, records, strings, text

PARAMETER = "parameter"


@dataclass(frozen=True, kw_only=True)
class Claim:
    """One claim on one machine. `own` is the grade of gatewise's own implementations, empty with a reason."""

    id: str
    anchor: str
    sentence: str
    source: str
    grade: str
    reason: str
    stock: str
    own: str
    own_reason: str
    alpha: str
    relations: tuple[str, ...]
    panels: tuple[ClaimPanel, ...]
    subjects: tuple[Item, ...]
    left_out: tuple[Item, ...]
    settle: tuple[str, ...]
    otherwise: tuple[str, ...]
    follows: str
    waits_for: str
    cost: str
    order: tuple[str, ...]
    stated: tuple[str, ...]
    tables: tuple[ClaimTable, ...]
    rates: tuple[str, ...]
    looks: str
    facts: tuple[Item, ...]
    replay: str


@dataclass(frozen=True, kw_only=True)
class Tally:
    """How many claims have a grade, and what the grade means."""

    grade: str
    count: int
    meaning: str


@dataclass(frozen=True, kw_only=True)
class Claims:
    """The report of one machine."""

    headline: str
    machine: str
    scope: tuple[str, ...]
    tally: tuple[Tally, ...]
    claims: tuple[Claim, ...]
    facts: tuple[Item, ...]
    environment: tuple[Item, ...]

    def anchor(self, name: str) -> str:
        """Where the claim of that id stands on the page, empty where it does not."""
        return next((claim.anchor for claim in self.claims if claim.id == name), "")


def build(document: Document) -> Claims:
    """The view of a `gatewise.claims/1` document."""
    entries = records(document, "claims")
    claims = tuple(map(claim, entries, anchors(entries)))
    machine = _facts.environment_line(document)
    sizes = _largest(entries)
    budget = number(document.get("budget_s"))
    return Claims(
        headline=words.headline([each.grade for each in claims]),
        machine=machine,
        scope=(f"{words.SCOPE} {_here(machine, sizes)}".strip(), words.ALPHA, words.TEXT),
        tally=tallies(document, [each.grade for each in claims]),
        claims=claims,
        facts=items(
            ("written", text(document.get("written")).replace("T", " ")[:16]),
            ("budget", "" if budget is None else duration(budget)),
            ("gatewise", text(document.get("gatewise"))),
        ),
        environment=_facts.environment(document),
    )


def claim(entry: Document, anchor: str) -> Claim:
    """One graded entry, of this machine or of one of several."""
    columns = record(entry, "columns")
    alpha, seconds = number(entry.get("alpha")), number(entry.get("seconds"))
    comparisons = records(entry, "comparisons")
    labels = {text(each.get("metric")): label(each) for each in comparisons}
    subjects = records(entry, "subjects")
    found = panels(comparisons)
    return Claim(
        id=text(entry.get("id")) or num.MISSING,
        anchor=anchor,
        sentence=text(entry.get("sentence")),
        source=text(entry.get("source")),
        grade=words.grade(entry.get("grade")),
        reason=text(entry.get("reason")),
        stock=words.grade(columns.get("stock")) or words.grade(entry.get("grade")),
        own=words.grade(columns.get("gatewise")),
        own_reason=text(columns.get("gatewise_reason")),
        alpha=words.alpha(alpha),
        relations=tuple(
            words.relation(each, labels.get(text(each.get("metric"))) or label(each))
            for each in records(entry, "relations")
        ),
        panels=found,
        subjects=tuple(map(_subject, subjects)),
        left_out=tuple(
            Item(what=text(each.get("what")), why=text(each.get("reason") or each.get("why")))
            for each in (*records(entry, "left_out"), *records(entry, "dropped"))
        ),
        settle=tuple(strings(entry, "next")),
        otherwise=tuple(strings(entry, "otherwise")),
        follows=text(entry.get("follows")),
        waits_for=text(entry.get("waits_for")),
        cost=_cost(subjects) if any(panel.priced for panel in found) else "",
        order=_order(record(entry, "ranking")),
        stated=_claims_tables.statements(entry),
        tables=_claims_tables.tables(entry),
        rates=_claims_tables.rates(entry),
        looks=_claims_tables.looks(entry),
        facts=items(
            ("error rate", words.alpha(alpha)),
            ("took", duration(seconds) if seconds else ""),
            ("study", text(entry.get("study"))),
            ("registered", text(entry.get("registered"))),
        ),
        replay=str(entry.get("replay") or "").strip(),
    )


def anchors(entries: Sequence[Document]) -> list[str]:
    """A name on the page for each claim: its id where that is a plain word, and never one name twice."""
    found: list[str] = []
    for index, entry in enumerate(entries):
        name = text(entry.get("id"))
        good = re.fullmatch(r"[A-Za-z][A-Za-z0-9_.-]*", name) and f"claim-{name}" not in found
        found.append(f"claim-{name}" if good else f"claim.{index}")
    return found


def tallies(document: Document, grades: Sequence[str]) -> tuple[Tally, ...]:
    """The five grades with their count and their meaning, which the document brings along."""
    meaning = record(document, "meaning")
    return tuple(
        Tally(grade=word, count=list(grades).count(word), meaning=text(meaning.get(word))) for word in words.GRADES
    )


def items(*pairs: tuple[str, str]) -> tuple[Item, ...]:
    """Facts with their names, without the empty ones."""
    return tuple(Item(what=what, why=why) for what, why in pairs if why)


def duration(seconds: float) -> str:
    """A time span; round ones without zeros behind them."""
    return re.sub(r"(?<=min) 00 s$|(?<=h) 00 min$|\.0+(?= s$)", "", num.duration(seconds))


def _here(machine: str, sizes: str) -> str:
    return " ".join([f"This machine: {machine}." if machine else "", sizes]).strip()


def _largest(entries: Iterable[Document]) -> str:
    counts = [count for entry in entries for each in records(entry, "subjects") for count in _numbers(each)]
    return (
        f"The largest model measured here has {words.counted(max(counts), 'parameter')}."
        if counts and max(counts) > 0
        else ""
    )


def _numbers(subject: Document) -> list[float]:
    return [count for each in record(subject, "parameters").values() if (count := number(each)) is not None]


def _subject(subject: Document) -> Item:
    """What a part was measured on, in one line."""
    options = record(subject, "options").items()
    settings = _facts.fact("", record(subject, "training"))
    found = [
        ", ".join([text(subject.get("workload")), *(words.condition(text(key), value) for key, value in options)]),
        _counts(record(subject, "parameters"), PARAMETER),
        _counts(record(subject, "flops"), "FLOP", " a call"),
        f"training: {settings}" if settings else "",
        _terms(record(subject, "cost")),
        *map(_silent, record(subject, "silent_units").items()),
    ]
    return Item(what=text(subject.get("part")) or "all", why="; ".join(each.strip(", ") for each in found if each))


def _silent(found: tuple[str, object]) -> str:
    """How many units of a real checkpoint were never positive; a count means nothing without its tokens."""
    arm, facts = text(found[0]), found[1] if isinstance(found[1], dict) else {}
    silent, units, tokens = (number(facts.get(name)) for name in ("silent", "units", "tokens"))
    if silent is None or units is None or tokens is None:
        return ""
    hidden, seen = words.counted(units, "hidden unit"), words.counted(tokens, "token")
    return f"{arm}: {num.count(silent)} of {hidden} never positive over {seen}"


def _counts(held: Document, one: str, each: str = "") -> str:
    """An exact count by arm; said once where all arms have the same. A function has no matrices, hence no FLOPs."""
    found = {text(arm): number(value) for arm, value in held.items()}
    known = {arm: num.count(value) for arm, value in found.items() if value is not None}
    if not known or not any(found.values()):
        return f"no {one}s" if known and one == PARAMETER else ""
    if len(set(known.values())) == 1 and len(known) == len(found):
        shown = next(iter(known.values()))
        return f"{shown} {one}{'' if shown == '1' else 's'}{each}{' in each arm' if len(known) > 1 else ''}"
    return f"{one}s{each}: " + ", ".join(f"{arm} {known.get(arm, num.MISSING)}" for arm in found)


def _order(ranking: Document) -> tuple[str, ...]:
    """The order of the arms here beside that of a published table, and how far the two agree."""
    rows = [(text(each.get("arm")), number(each.get("here"))) for each in records(ranking, "arms")]
    if not rows:
        return ()
    seeds = number(ranking.get("seeds"))
    here = ", ".join(f"{arm} {num.plain(round(value, 4))}" for arm, value in rows if value is not None)
    means = f"means over {words.counted(int(seeds), 'seed')}" if seeds else "means"
    found = [f"{name} {num.plain(round(value, 3))}{_chance(ranking, key)}" for name, key, value in _agreements(ranking)]
    said = f"agreement with {text(ranking.get('table'))}: {', '.join(found) or 'none can be computed'}"
    return (f"best first ({means}): {here}", said)


def _agreements(ranking: Document) -> list[tuple[str, str, float]]:
    keys = (("Spearman", "spearman"), ("Kendall", "kendall"))
    return [(name, key, value) for name, key in keys if (value := number(ranking.get(key))) is not None]


def _chance(ranking: Document, key: str) -> str:
    p = number(ranking.get(f"p_{key}"))
    return "" if p is None else f" (p = {num.plain(round(p, 4))})"


def _terms(cost: Document) -> str:
    """The price and the utilisation that a cost was computed with; without both there are none."""
    price, share = number(cost.get("price_per_hour")), number(cost.get("utilisation"))
    if price is None or not share:
        return ""
    return f"at a price of {num.plain(price)} an hour and a utilisation of {num.share(share)}"


def _cost(subjects: Sequence[Document]) -> str:
    """Under which terms prices are shown. A cost without a utilisation would mislead and is not shown."""
    return "; ".join(dict.fromkeys(found for each in subjects if (found := _terms(record(each, "cost")))))
