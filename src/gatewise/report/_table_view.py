"""What an own file's page shows, read once from its document and put into words: sections of text and tables."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import _facts, _table_answer
from . import _numbers as num
from . import _table_words as words
from ._facts import Item
from ._read import Document, number, pair, record, records, strings, text, verdict

_MANY = 20
_DIFFERENCE = "Guesswork removed: the difference in points of a hundred; above 0 is better"


@dataclass(frozen=True, kw_only=True)
class Cell:
    """A table's cell: what it says, the softer text behind it, and a verdict's mark before it."""

    says: str
    soft: str = ""
    mark: str = ""
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows under a head; the first cell of a row is its name."""

    caption: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True, kw_only=True)
class Bar:
    """A line of the figure: an effect in points with its interval and verdict."""

    group: str
    name: str
    value: float
    low: float | None
    high: float | None
    mark: str


@dataclass(frozen=True, kw_only=True)
class Bin:
    """A point of the calibration's figure."""

    predicted: float
    found: float
    low: float | None
    high: float | None
    holds: bool


@dataclass(frozen=True, kw_only=True)
class Section:
    """One section: sentences, then what is drawn, then a table."""

    ident: str
    title: str
    says: tuple[str, ...] = ()
    bars: tuple[Bar, ...] = ()
    bins: tuple[Bin, ...] = ()
    share: bool = False
    tables: tuple[Table, ...] = ()


@dataclass(frozen=True, kw_only=True)
class View:
    """The whole page."""

    question: str
    headline: str
    lead: tuple[str, ...]
    warnings: tuple[str, ...]
    sections: tuple[Section, ...]
    facts: tuple[Item, ...]
    environment: tuple[Item, ...]
    replay: str
    interrupted: bool = False


def build(document: Document) -> View:
    """The page of a document; what is not there is left out or said to be missing."""
    file, target = record(document, "file"), record(document, "target")
    splits = records(document, "splits")
    first: Document = splits[0] if splits else {}
    made = [_answers(document), _worth(first), _quality(first), _arms(first, document)]
    made += [_time(each) for each in splits[1:]]
    made += [_calibration(first), _slices(first), _columns(document)]
    return View(
        question=f"Can {text(target.get('name'))!r} be predicted from {text(file.get('name'))}, and by what?",
        headline=_table_answer.headline(first),
        lead=_table_answer.lead(document),
        warnings=(*strings(document, "warnings"), *(text(each.get("says")) for each in records(document, "leaks"))),
        sections=tuple(each for each in made if each is not None),
        facts=_told(document),
        environment=_facts.environment(document),
        replay=str(document.get("replay") or "").strip(),
    )


def _bar(group: str, each: Document) -> Bar | None:
    value, ends = number(each.get("estimate")), pair(each.get("interval"))
    if value is None:
        return None
    low, high = (-100.0 * ends[1], -100.0 * ends[0]) if ends else (None, None)
    name = words.learner(text(each.get("arm")))
    return Bar(group=group, name=name, value=-100.0 * value, low=low, high=high, mark=verdict(each.get("verdict")))


def _compared(split: Document, question: str, caption: str) -> tuple[tuple[Bar, ...], Table]:
    """One question's comparisons as lines of a figure and rows of a table."""
    found = [each for each in records(split, "comparisons") if each.get("question") == question]
    bars: list[Bar] = []
    rows: list[tuple[Cell, ...]] = []
    for each in sorted(found, key=lambda each: text(each.get("baseline"))):
        baseline, mark = text(each.get("baseline")), verdict(each.get("verdict"))
        bar = _bar(f"against {words.the(baseline)}", each)
        bars += [] if bar is None else [bar]
        rows.append(
            (
                Cell(says=words.learner(text(each.get("arm")))),
                Cell(says=words.learner(baseline)),
                Cell(says=words.points(number(each.get("estimate"))), right=True),
                Cell(says=words.points_between(each.get("interval")), right=True),
                Cell(says=words.VERDICTS.get(mark, "not judged"), mark=mark),
            )
        )
    head = ("", "against", "points", "interval", "verdict")
    return tuple(bars), Table(caption=caption, head=head, rows=tuple(rows))


def _worth(split: Document) -> Section | None:
    bars, table = _compared(
        split, "worth", "Guesswork removed: the difference in points of a hundred; above 0 is better"
    )
    if not table.rows:
        return None
    says = ("The networks must beat both simpler models, by more than 1 point, to be worth their trouble.",)
    return Section(ident="worth", title="Is a neural network worth it?", says=says, bars=bars, tables=(table,))


def _arms(split: Document, document: Document) -> Section | None:
    bars, table = _compared(split, "arm", _DIFFERENCE)
    if not table.rows:
        return None
    matching = record(document, "matching")
    blocks = record(matching, "block_parameters")
    sizes = ", ".join(f"{arm} {num.count(number(blocks[arm]))}" for arm in blocks)
    differ = num.share(number(matching.get("largest_difference")), 1)
    says = (
        "The networks are equal in everything but the function inside, and each chose its own learning rate.",
        f"Parameters in the blocks: {sizes}; they differ by at most {differ}.",
    )
    return Section(ident="arms", title="Which activation or gate?", says=says, bars=bars, tables=(table,))


def _quality(split: Document) -> Section | None:
    found = [each for each in records(split, "learners") if each.get("scores")]
    if not found:
        return None
    return Section(
        ident="quality",
        title="How good is each, on rows that none had seen?",
        tables=(_scores(split, found),),
    )


def _scores(split: Document, found: Sequence[Document]) -> Table:
    names = [name for name in words.SCORES if any(name in record(each, "scores") for each in found)]
    names = [name for name in names if name != "top_tenth"] + [name for name in names if name == "top_tenth"]
    learner = text(record(split, "recommended").get("learner"))
    rows: list[tuple[Cell, ...]] = []
    for each in found:
        scores, name = record(each, "scores"), text(each.get("name"))
        cells = [Cell(says=words.learner(name), soft="use this one" if name == learner else "")]
        cells.append(Cell(says=words.removes(number(each.get("removes"))), right=True))
        for score in names:
            held = record(scores, score)
            between = "" if name == "guess" else words.score_between(score, held.get("interval"))
            cells.append(Cell(says=words.score(score, words.value_of(held)), soft=between, right=True))
        rows.append(tuple(cells))
    heldout = num.count(number(split.get("heldout_rows")))
    return Table(
        caption=f"On {heldout} {_asked(split)}, with intervals from those rows; those of one column hold together",
        head=("", "guesswork removed", *(words.SCORES[name] for name in names)),
        rows=tuple(rows),
    )


def _asked(split: Document) -> str:
    """What the rows were that a split asked about."""
    return "rows, each by models that had not seen it" if number(split.get("folds")) else "held-out rows"


def _time(split: Document) -> Section | None:
    found = [each for each in records(split, "learners") if each.get("scores")]
    if not found:
        return None
    old, new = (num.count(number(split.get(key))) for key in ("train_rows", "heldout_rows"))
    says = (
        f"The same once more, but learnt from the {old} older rows and asked about the {new} rows since "
        f"{text(split.get('since'))}. {_table_answer.headline(split)}",
    )
    _, worth = _compared(split, "worth", "Guesswork removed on the newest rows: the difference in points of a hundred")
    return Section(ident="time", title="And on the newest rows?", says=says, tables=(_scores(split, found), worth))


def _calibration(split: Document) -> Section | None:
    held = record(split, "calibration")
    entries = records(held, "bins")
    share = held.get("shares") is True
    if not entries:
        return None
    bins: list[Bin] = []
    rows: list[tuple[Cell, ...]] = []
    for each in entries:
        predicted, found, ends = number(each.get("predicted")), number(each.get("found")), pair(each.get("interval"))
        if predicted is None or found is None:
            continue
        holds = each.get("holds") is not False
        low, high = ends if ends else (None, None)
        bins.append(Bin(predicted=predicted, found=found, low=low, high=high, holds=holds))
        between = "" if ends is None else f"{words.amount(low, share=share)} to {words.amount(high, share=share)}"
        rows.append(
            (
                Cell(says=words.amount(predicted, share=share)),
                Cell(says=words.amount(found, share=share), right=True),
                Cell(says=between, right=True),
                Cell(says=num.count(number(each.get("rows"))), right=True),
                Cell(says="yes" if holds else "no", mark="" if holds else "worse"),
            )
        )
    off = sum(not each.holds for each in bins)
    of = text(held.get("of"))
    what = f"Rows were sorted by {of} as it was predicted, and put into {len(bins)} groups."
    if off == 0:
        said = f"{what} In every group what was found agrees with what was predicted, as far as so many rows can tell."
    else:
        said = f"{what} In {off} of them what was found is not what was predicted: do not take it at its word there."
    table = Table(
        caption=f"{of}: predicted and found",
        head=("predicted", "found", "interval", "rows", "agrees"),
        rows=tuple(rows),
    )
    title = "Can its numbers be taken at their word?"
    return Section(ident="calibration", title=title, says=(said,), bins=tuple(bins), share=share, tables=(table,))


def _slices(split: Document) -> Section | None:
    held = record(split, "slices")
    if not held:
        return None
    looked, small = (num.count(number(held.get(key))) for key in ("looked_at", "too_small"))
    fewest = num.count(number(held.get("fewest_rows")))
    harder, off = records(held, "harder"), records(held, "off")
    share = record(split, "calibration").get("shares") is True
    small = f"{small} with fewer than {fewest} held-out rows were not" if number(held.get("too_small")) else ""
    if not number(held.get("looked_at")):
        said = f"No group of rows was looked at: {small or 'no column divides them'}."
        return Section(ident="slices", title="Where is it weak?", says=(said,))
    many = "1 group of rows was" if looked == "1" else f"{looked} groups of rows were"
    says = [f"{many} looked at{'; ' if small else ''}{small}."]
    says.append(
        "What is shown stands out by more than chance, looking at so many, could do."
        if harder or off
        else "None stands out by more than chance, looking at so many, could do."
    )
    tables: list[Table] = []
    if harder:
        rows = [
            (
                Cell(says=f"{text(each.get('column'))}: {text(each.get('says'))}"),
                Cell(says=num.count(number(each.get("rows"))), right=True),
                Cell(says=words.amount(number(each.get("here")), share=share), right=True),
                Cell(says=words.amount(number(each.get("rest")), share=share), right=True),
            )
            for each in harder
        ]
        caption = "Wrong more often than elsewhere" if share else "Larger errors than elsewhere (RMSE)"
        tables.append(Table(caption=caption, head=("rows where", "rows", "there", "elsewhere"), rows=tuple(rows)))
    if off:
        rows = [
            (
                Cell(says=f"{text(each.get('column'))}: {text(each.get('says'))}"),
                Cell(says=num.count(number(each.get("rows"))), right=True),
                Cell(says=words.amount(number(each.get("predicted")), share=share), right=True),
                Cell(says=words.amount(number(each.get("found")), share=share), right=True),
                Cell(says="too high" if (number(each.get("estimate")) or 0.0) > 0 else "too low"),
            )
            for each in off
        ]
        caption = "Systematically off: what is predicted there on average is not what is found"
        tables.append(
            Table(caption=caption, head=("rows where", "rows", "predicted", "found", "it is"), rows=tuple(rows))
        )
    more = number(held.get("more")) or 0.0
    if more:
        says.append(f"{more:.0f} more stand out; these are the worst.")
    return Section(ident="slices", title="Where is it weak?", says=tuple(says), tables=tuple(tables))


def _answers(document: Document) -> Section | None:
    """The second file."""
    held = record(document, "predictions")
    if not held:
        return None
    rows, classes = num.count(number(held.get("rows"))), record(held, "classes")
    says = [f"{rows} rows of {text(held.get('file'))} were answered by {words.the(text(held.get('learner')))}; "]
    says[0] += f"the answers are in {text(held.get('written'))}."
    if classes:
        counts = words.listed([f"{num.count(number(classes[name]))} {name!r}" for name in classes])
        says.append(f"The likeliest answer: {counts}.")
    else:
        says.append(f"On average {num.significant(number(held.get('mean')))} is predicted.")
    says += strings(held, "notes")
    return Section(ident="answers", title="The second file", says=tuple(says))


def _columns(document: Document) -> Section | None:
    """What became of each column: a row for each that needs a word, the plain ones by kind."""
    found = records(document, "columns")
    if not found:
        return None
    used = [each for each in found if each.get("used") is True]
    says = [f"{len(used)} of {len(found)} columns were used."]
    for kind in dict.fromkeys(words.column(each) for each in used):
        names = [text(each.get("name")) for each in used if words.column(each) == kind]
        says.append(f"As {kind}: {', '.join(names[:_MANY])}{f' and {len(names) - _MANY} more' * (len(names) > _MANY)}.")
    told = [
        each for each in found if each.get("used") is not True or text(each.get("why")) or number(each.get("missing"))
    ]
    rows = [
        (
            Cell(says=text(each.get("name"))),
            Cell(says=words.column(each)),
            Cell(says="yes" if each.get("used") is True else "no"),
            Cell(says=num.count(number(each.get("missing"))), right=True),
            Cell(says=text(each.get("why"))),
        )
        for each in sorted(told, key=lambda each: each.get("used") is True)
    ]
    head = ("column", "taken for", "used", "missing", "why")
    caption = "Columns that were left out, lack values, or need a word"
    tables = (Table(caption=caption, head=head, rows=tuple(rows)),) if rows else ()
    return Section(ident="columns", title="Your file", says=(*says, *strings(document, "findings")), tables=tables)


def _told(document: Document) -> tuple[Item, ...]:
    file, plan = record(document, "file"), record(document, "plan")
    seconds = number(document.get("seconds"))
    pairs = (
        ("file", text(file.get("name"))),
        ("rows", num.count(number(file.get("rows_used")))),
        ("started", text(document.get("started")).replace("T", " ")[:16]),
        ("took", "" if seconds is None else num.duration(seconds)),
        ("read as", f"{text(file.get('encoding'))}, {text(file.get('separator'))}"),
        ("sha256", text(file.get("sha256"))[:16]),
        ("runs", num.count(number(plan.get("seeds")))),
    )
    return tuple(Item(what=what, why=why) for what, why in pairs if why)
