"""Claims of several machines side by side: one column a machine, and no grade over all of them."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import _claims_view as view
from . import _claims_words as words
from . import _facts
from . import _numbers as num
from ._claims_view import Claim, Tally
from ._facts import Item
from ._read import Document, records, text


@dataclass(frozen=True, kw_only=True)
class Machine:
    """One machine; `letter` heads its column where its name would not fit."""

    letter: str
    name: str
    line: str
    facts: tuple[Item, ...]
    environment: tuple[Item, ...]


@dataclass(frozen=True, kw_only=True)
class Row:
    """One claim on all machines, in their order; None where a machine did not run it."""

    id: str
    anchor: str
    sentence: str
    results: tuple[Claim | None, ...]

    @property
    def found(self) -> tuple[Claim, ...]:
        """The results that are there."""
        return tuple(result for result in self.results if result is not None)

    @property
    def differ(self) -> bool:
        """Whether two machines have different grades."""
        return len({result.grade for result in self.found}) > 1

    @property
    def mark(self) -> str:
        """What stands beside the grades."""
        return "differ" if self.differ else "one machine" if len(self.found) == 1 else ""

    @property
    def same(self) -> Claim | None:
        """A result whose sentence, source and relations hold for all, None where the machines tested unlike claims."""
        unlike = {(each.sentence, each.source, each.relations, each.otherwise, each.alpha) for each in self.found}
        return self.found[0] if len(unlike) == 1 else None


@dataclass(frozen=True, kw_only=True)
class Merged:
    """The report of several machines."""

    headline: str
    scope: tuple[str, ...]
    machines: tuple[Machine, ...]
    tally: tuple[Tally, ...]
    rows: tuple[Row, ...]


def build(document: Document) -> Merged:
    """The view of a `gatewise.claims-merged/1` document."""
    machines = tuple(_machine(index, each) for index, each in enumerate(records(document, "machines")))
    entries = records(document, "claims")
    rows = tuple(_row(*each, machines) for each in zip(entries, view.anchors(entries), strict=True))
    return Merged(
        headline=_headline(rows, machines),
        scope=(words.SCOPES, words.ALPHA, words.TEXT),
        machines=machines,
        tally=view.tallies(document, []),
        rows=rows,
    )


def _machine(index: int, machine: Document) -> Machine:
    return Machine(
        letter=chr(ord("A") + index) if index < 26 else str(index + 1),
        name=text(machine.get("name")) or f"machine {index + 1}",
        line=_facts.environment_line(machine),
        facts=view.items(
            ("written", text(machine.get("written")).replace("T", " ")[:16]), ("file", text(machine.get("file")))
        ),
        environment=_facts.environment(machine),
    )


def _row(entry: Document, anchor: str, machines: Sequence[Machine]) -> Row:
    by_name = {text(each.get("machine")): view.claim(each, anchor) for each in records(entry, "results")}
    return Row(
        id=text(entry.get("id")) or num.MISSING,
        anchor=anchor,
        sentence=text(entry.get("sentence")),
        results=tuple(by_name.get(machine.name) for machine in machines),
    )


def _headline(rows: Sequence[Row], machines: Sequence[Machine]) -> str:
    differ = sum(row.differ for row in rows)
    both = [row for row in rows if len(row.found) > 1]
    claims = f"{words.counted(len(rows), 'claim')} on {words.counted(len(machines), 'machine')}"
    if not both:
        return f"{claims}: none was tested on more than one of them."
    if not differ and len(both) == 1:
        return f"{claims}: the one that was tested on several came out alike."
    if not differ:
        return f"{claims}: all {len(both)} that were tested on several came out alike."
    return f"{claims}: {differ} {'comes' if differ == 1 else 'come'} out differently, {len(both) - differ} alike."
