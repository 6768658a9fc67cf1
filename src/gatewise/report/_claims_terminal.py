"""The claims' documents for a terminal: one line a claim and its comparisons below, the list, machines side by side."""

import sys
from collections.abc import Callable, Iterable, Sequence

from rich.console import Console
from rich.text import Text

from . import _claims_merged, _claims_view, _columns
from . import _claims_words as wording
from . import _numbers as num
from ._claims_merged import Merged
from ._claims_panels import ClaimPanel
from ._claims_tables import ClaimTable
from ._claims_view import Claim, Claims
from ._columns import Column
from ._read import Document, number, records, text
from ._terminal_words import Words

_STYLES = {
    "supported": "bold cyan",
    "refuted": "bold red",
    "equivalent": "bold",
    "inconclusive": "yellow",
    "not testable here": "dim",
}
_GRADE = max(len(wording.said(word)) for word in wording.GRADES)
_GAP = 2


def show_claims(document: Document, console: Console | None = None) -> None:
    """Print graded claims."""
    _print(console, lambda words, target: _claims(_claims_view.build(document), words, target))


def show_merged(document: Document, console: Console | None = None) -> None:
    """Print claims of several machines, a column each."""
    _print(console, lambda words, target: _merged(_claims_merged.build(document), words, target))


def show_list(document: Document, console: Console | None = None) -> None:
    """Print the claims of a ledger and what each takes."""
    _print(console, lambda words, target: _list(records(document, "claims"), words, target))


def _print(console: Console | None, blocks: Callable[[Words, Console], Iterable[Text]]) -> None:
    target = console or Console(file=sys.stdout, highlight=False)
    words = Words(encoding=target.encoding)
    for block in blocks(words, target):
        block.rstrip()
        target.print(words.encoded(block), highlight=False, soft_wrap=True)


def _graded(word: str, words: Words) -> Text:
    return words(wording.said(word), _STYLES.get(word, ""))


# Claims of one machine


def _claims(view: Claims, words: Words, console: Console) -> Iterable[Text]:
    names = max((Text(claim.id).cell_len for claim in view.claims), default=0) + _GAP
    for claim in view.claims:
        yield from _claim(claim, names, words, console)
        yield words("")
    yield _columns.hanging(words(""), words(view.headline, "bold"), console, 0)
    counts = max(len(str(each.count)) for each in view.tally)
    for each in view.tally:
        lead = words("  ").append_text(_columns.padded(_graded(each.grade, words), _GRADE + _GAP))
        lead.append_text(_columns.padded(words(str(each.count)), counts, right=True))
        yield _columns.hanging(lead, words(each.meaning, "dim"), console, _GRADE + counts + 3 * _GAP)
    yield words("")
    for line in view.scope:
        yield _columns.hanging(words(""), words(line), console, 0)


def _claim(claim: Claim, names: int, words: Words, console: Console) -> Iterable[Text]:
    lead = _columns.padded(words(claim.id, "bold"), names)
    lead.append_text(_columns.padded(_graded(claim.grade, words), _GRADE + _GAP))
    yield _columns.hanging(lead, words(claim.sentence, "bold"), console, names + _GRADE + _GAP)
    said = [claim.reason]
    said += [claim.looks]
    said += [f"left out: {each.what}: {each.why}" for each in claim.left_out if each.why != claim.reason]
    said += [f"on gatewise's own kernels: {wording.said(claim.own)}: {claim.own_reason}"] if claim.own else []
    for line in filter(None, said):
        yield _columns.hanging(words(" " * names), words(line), console, names)
    for line in claim.stated:
        yield _columns.hanging(words("  "), words(line), console, 4)
    for table in claim.tables:
        yield from _small(table, words, console)
    for panel in claim.panels:
        yield from _panel(panel, claim.cost, words, console)
    for line in claim.rates:
        yield _columns.hanging(words("  "), words(line), console, 4)
    for line in claim.settle:
        yield _columns.hanging(words("  "), words(f"what would settle it: {line}"), console, 4)
    for line in claim.order:
        yield _columns.hanging(words("  "), words(line), console, 4)
    if claim.replay:
        # On one line, however long: it is to be copied.
        yield words("  again  ", "dim").append_text(words(claim.replay))


def _small(table: ClaimTable, words: Words, console: Console) -> Iterable[Text]:
    """A small table; where it is too wide for the terminal, a line for each row."""
    yield _columns.hanging(words(""), words(table.title), console, 2)
    columns = [
        Column(head=head, cells=[words(row[place]) for row in table.rows], right=place > 0)
        for place, head in enumerate(table.head)
    ]
    if sum(column.width + _GAP for column in columns) <= console.width:
        yield from _columns.lines(columns, console.width)
    else:
        for first, *rest in table.rows:
            found = ", ".join(f"{head} {cell}" for head, cell in zip(table.head[1:], rest, strict=True))
            yield _columns.hanging(words("  "), words(f"{first}: {found}"), console, 4)
    for note in table.notes:
        yield _columns.hanging(words(""), words(note, "dim"), console, 2)


def _panel(panel: ClaimPanel, cost: str, words: Words, console: Console) -> Iterable[Text]:
    shared = [panel.pairs[0]] if len(panel.pairs) == 1 < len(panel.rows) else []
    title = words(f"{panel.title}: ").append_text(words("; ".join([*shared, *panel.terms]), "dim"))
    yield _columns.hanging(words(""), title, console, 2)
    yield from _lines(panel, words, console)
    for remark in panel.remarks:
        # What is undecided is plain from the interval; what ran stands on the page.
        if remark.kind != "undecided" and not remark.text.startswith("ran "):
            yield _columns.hanging(words(""), words(remark.line, "dim"), console, 2)
    prices = [f"cost of a million requests, {row.place}: {row.cost} ({cost})" for row in panel.rows if row.cost]
    for line in prices if cost else prices and [wording.NO_PRICE]:
        yield _columns.hanging(words(""), words(line, "dim"), console, 2)


def _lines(panel: ClaimPanel, words: Words, console: Console) -> Iterable[Text]:
    """The rows. Where a label would be cut or a number left out, the label gets a line of its own."""
    label, *numbers = _table(panel, words)
    inner = _GAP if panel.by_pair else 0
    stacked = inner + sum(column.width + _GAP for column in (label, *numbers)) > console.width
    inner = _GAP if stacked else inner
    head, *lines = _columns.lines(numbers if stacked else [label, *numbers], console.width - inner)
    yield words(" " * inner).append_text(head)
    last = ""
    for row, line in zip(panel.rows, lines, strict=True):
        above = row.place if stacked else row.pair if panel.by_pair else ""
        if above != last:
            yield _columns.hanging(words("  "), words(above), console, 2)
            last = above
        yield words(" " * inner).append_text(line)


def _table(panel: ClaimPanel, words: Words) -> list[Column]:
    rows = panel.rows

    def column(head: str, cells: Sequence[str], optional: int = 0) -> Column:
        return Column(head=head, cells=[words(cell) for cell in cells], right=True, optional=optional)

    label = "at" if panel.by_pair or len(panel.pairs) == 1 < len(rows) else "arms"
    columns = [Column(head=label, cells=[words(panel.name(row)) for row in rows], flexible=True)]
    if not panel.claimed:
        columns.append(Column(head="claimed", cells=[words(row.claimed or num.MISSING) for row in rows]))
    columns.append(column("change", [panel.show(row.estimate) for row in rows]))
    columns.append(column("interval", [panel.interval(row) for row in rows], 1))
    verdicts = [words.verdict(row.verdict).append(", unfair" if row.unfair and row.verdict else "") for row in rows]
    columns.append(Column(head="verdict", cells=verdicts))
    sides = [words(row.side, _STYLES.get(row.grade, "")) for row in rows]
    columns.append(Column(head=panel.side, cells=sides))
    columns.append(column("n", [row.n for row in rows], 2))
    return columns


# The list of a ledger


def _list(entries: Sequence[Document], words: Words, console: Console) -> Iterable[Text]:
    rows = [(text(each.get("id")) or num.MISSING, _status(each), _asked(each)) for each in entries]
    heads = ("id", "status", "asks for")
    widths = [max(Text(cell).cell_len for cell in column) + _GAP for column in zip(heads, *rows, strict=True)]

    def lead(cells: Sequence[str], style: str = "") -> Text:
        made = words("")
        for index, (cell, wide) in enumerate(zip(cells, widths, strict=True)):
            last = index == len(cells) - 1
            padded = _columns.padded(words(cell, style), wide - _GAP, right=last)
            made.append_text(padded).append(" " * _GAP)
        return made

    indent = sum(widths)
    yield _columns.hanging(lead(heads, "dim"), words("sentence", "dim"), console, indent)
    for row, each in zip(rows, entries, strict=True):
        yield _columns.hanging(lead(row), words(text(each.get("sentence"))), console, indent)
    yield words("")
    runs = sum(status == "runs" for _, status, _ in rows)
    line = f"{wording.counted(len(rows), 'claim')}, {runs} with a plan to run; claims that share a plan share its time."
    yield _columns.hanging(words(""), words(line), console, 0)


def _status(entry: Document) -> str:
    """Whether it runs; a claim that follows from another has no run of its own."""
    follows = text(entry.get("follows"))
    return f"follows {follows}" if follows else text(entry.get("status")) or num.MISSING


def _asked(entry: Document) -> str:
    budget = number(entry.get("budget_s"))
    return num.MISSING if budget is None else _claims_view.duration(budget)


# Several machines


def _merged(view: Merged, words: Words, console: Console) -> Iterable[Text]:
    yield _columns.hanging(words(""), words(view.headline, "bold"), console, 0)
    yield words("")
    letters = max((len(machine.letter) for machine in view.machines), default=0) + _GAP
    for machine in view.machines:
        line = "; ".join([machine.name, *(f"{fact.what} {fact.why}" for fact in machine.facts)])
        yield _columns.hanging(words(machine.letter, "bold"), words(line), console, letters)
    names = max((Text(row.id).cell_len for row in view.rows), default=0) + _GAP
    wide = names + len(view.machines) * (_GRADE + _GAP) + len("one machine") <= console.width
    if wide and view.rows:
        heads = [_columns.padded(words(machine.letter, "dim"), _GRADE + _GAP) for machine in view.machines]
        yield words("\n" + " " * names).append_text(Text("").join(heads))
    for row in view.rows:
        lead = _columns.padded(words(row.id, "bold"), names)
        cells = [_graded(result.grade, words) if result else words("not run there", "dim") for result in row.results]
        mark = words(row.mark, "bold red" if row.differ else "dim")
        if wide:
            for cell in cells:
                lead.append_text(_columns.padded(cell, _GRADE + _GAP))
            yield lead.append_text(mark)
        else:
            yield lead.append_text(mark)
            for machine, cell in zip(view.machines, cells, strict=True):
                yield words(" " * names).append_text(_columns.padded(words(machine.letter), letters)).append_text(cell)
        yield _columns.hanging(words(" " * names), words(row.sentence), console, names)
    yield words("")
    for line in view.scope:
        yield _columns.hanging(words(""), words(line), console, 0)
