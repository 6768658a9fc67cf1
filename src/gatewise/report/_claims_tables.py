"""What a claim shows beside its comparisons: its statements, matched beside unmatched, basins, rates of searches."""

from collections.abc import Sequence
from dataclasses import dataclass

from . import _claims_words as words
from . import _numbers as num
from ._read import Document, number, pair, record, records, strings, text


@dataclass(frozen=True, kw_only=True)
class ClaimTable:
    """A small table of texts; all columns but the first hold numbers."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def tables(entry: Document) -> tuple[ClaimTable, ...]:
    """The tables of one graded claim."""
    found = [_matched(records(entry, "side_by_side")), _basins(record(entry, "basins"))]
    return tuple(table for table in found if table is not None)


def statements(entry: Document) -> tuple[str, ...]:
    """What was registered, statement by statement, each with its grade."""
    return tuple(map(_statement, records(entry, "stated")))


def _statement(found: Document) -> str:
    counts = record(found, "counts")
    total, held = number(found.get("comparisons")) or 0, number(counts.get("supported")) or 0
    still, against, seeds = strings(found, "open"), strings(found, "against"), number(found.get("seeds"))
    more = [f"{num.count(held)} of {num.count(total)} comparisons held"] if total > 1 else []
    more += [f"against it: {words.listed(list(against))}"] if against and total > 1 else []
    more += [f"open: {words.listed(list(still))}"] if still and total > 1 else []
    more += (
        [f"about {num.count(seeds)} seeds would settle it, now {num.count(number(found.get('n')))}"] if seeds else []
    )
    more += ["at these estimates no number of seeds within reach would settle it"] if found.get("even") is True else []
    line = f"{words.said(words.grade(found.get('grade')))}: {text(found.get('text'))}"
    return f"{line} ({'; '.join(more)})" if more else line


def rates(entry: Document) -> tuple[str, ...]:
    """The learning rate of each arm, where each had a search of its own."""
    found = [each for each in records(entry, "rates") if text(each.get("arm"))]
    if not found:
        return ()
    grid = _numbers(found[0], "searched")
    shown = ", ".join(f"{text(each.get('arm'))} {_rate(each.get('rate'))}" for each in found)
    span = f"of {len(grid)} from {_plain(grid[0])} to {_plain(grid[-1])}" if grid else ""
    lines = [f"learning rate found by each arm's own search, {span}: {shown}"]
    edge = [text(each.get("arm")) for each in found if each.get("at_edge") is True]
    lines += [f"at the edge of that grid, so that a better one may lie beyond: {words.listed(edge)}"] if edge else []
    if any(each.get("heldout_shared") is True for each in found):
        lines.append("the searches saw the held-out text that is judged: the workload has one batch of it")
    return tuple(lines)


def looks(entry: Document) -> str:
    """That a claim was looked at more than once, and what it costs; empty where it was not."""
    found = records(entry, "looks")
    if len(found) < 2:
        return ""
    each = [
        f"{num.count(number(look.get('seeds')))} seeds{'' if look.get('searched') is True else ' at one rate'}"
        for look in found
    ]
    level = number(entry.get("alpha"))
    shared = f": they share its error rate, and each is judged at {num.share(level, 3)}" if level is not None else ""
    return f"{len(found)} studies in this folder ask the same ({words.listed(each)}){shared}"


def _numbers(found: Document, name: str) -> list[float]:
    values = found.get(name)
    return [value for each in values if (value := number(each)) is not None] if isinstance(values, list) else []


def _plain(value: float) -> str:
    return num.plain(value)


def _rate(value: object) -> str:
    found = number(value)
    return "none (every rate diverged)" if found is None else _plain(found)


# Matched beside unmatched


def _matched(found: Sequence[Document]) -> ClaimTable | None:
    if not found:
        return None
    base = words.listed(list(dict.fromkeys(text(each.get("baseline")) for each in found)))
    level = number(found[0].get("alpha"))
    sure = f"{num.share(1 - level, 3)} intervals, each for itself; " if level is not None else ""
    notes = [f"share: how much of the unmatched change is gone at equal parameters; {sure}n: seeds"]
    for each in found:
        counts = record(each, "parameters")
        shown = {name: _exact(number(counts.get(text(each.get(name))))) for name in _SIDES}
        wide, near, own = (shown[name] for name in _SIDES)
        notes.append(f"{text(each.get('matched_arm'))}: {wide} parameters unmatched, {near} matched, {base} {own}")
        notes += [f"{text(each.get('matched_arm'))}: no share, for {text(each.get('reason'))}"] if _why(each) else []
    rows = tuple(
        (
            text(each.get("matched_arm")),
            _change(record(each, "unmatched")),
            _change(record(each, "matched")),
            _share(each),
            num.count(number(each.get("n"))),
        )
        for each in found
    )
    head = ("gate", "unmatched, unfair", "equal parameters", "share", "n")
    return ClaimTable(
        title=f"Matched and unmatched, change of the held-out loss against {base} in %",
        head=head,
        rows=rows,
        notes=tuple(notes),
    )


_SIDES = ("unmatched_arm", "matched_arm", "baseline")


def _why(each: Document) -> bool:
    return bool(text(each.get("reason")))


def _exact(value: float | None) -> str:
    return num.MISSING if value is None else f"{value:,.0f}"


def _change(gain: Document) -> str:
    """A gain as the change of the loss that it is, in per cent, with its interval."""
    value, interval = number(gain.get("estimate")), pair(gain.get("interval"))
    if value is None:
        return num.MISSING
    body = num.signed(-100.0 * value, 2)
    if interval is None:
        return body
    low, high = (num.signed(-100.0 * end, 2) for end in reversed(interval))
    return f"{body} ({low} to {high})"


def _share(each: Document) -> str:
    value, interval = number(each.get("parameters_share")), pair(each.get("parameters_share_interval"))
    if value is None or interval is None:
        return num.MISSING
    low, high = (f"{100 * end:.0f}".replace("-", num.MINUS) for end in interval)
    return f"{100 * value:.0f} ({low} to {high})".replace("-", num.MINUS)


# Basins


def _basins(found: Document) -> ClaimTable | None:
    arms, grid = records(found, "arms"), _numbers(found, "rates")
    if not arms:
        return None
    distance, seeds = number(found.get("distance")), number(arms[0].get("seeds"))
    rows = tuple(
        (
            text(each.get("arm")),
            _rate(each.get("best")),
            _end(each, "low", grid),
            _end(each, "high", grid),
            _width(each),
            _elsewhere(each),
        )
        for each in arms
    )
    notes = (
        f"mean loss over {words.counted(seeds or 0, 'seed')} within {_plain(distance or 0.0)} of the arm's best; "
        "a rate at which any seed diverged lies outside",
        "an end lies between the two rates shown; the graded comparison takes it seed by seed, on a straight line "
        "between them",
    )
    head = ("arm", "best rate", "lower end", "upper end", "width", "lost at the other's best")
    return ClaimTable(title="Learning rates that serve", head=head, rows=rows, notes=notes)


def _end(each: Document, side: str, grid: Sequence[float]) -> str:
    """One end of a basin: between which two rates of the grid it lies, or that the grid ends first."""
    rate, edge = number(each.get(side)), text(each.get(f"{side}_edge"))
    if rate is None:
        return num.MISSING
    beyond = [other for other in grid if (other < rate if side == "low" else other > rate)]
    if edge != "between" or not beyond:
        return f"at or {'below' if side == 'low' else 'above'} {_plain(rate)}"
    ends = (max(beyond), rate) if side == "low" else (rate, min(beyond))
    return " to ".join(map(_plain, ends))


def _width(each: Document) -> str:
    least, most = number(each.get("factor_least")), number(each.get("factor_most"))
    if least is None:
        return num.MISSING
    return f"at least ×{_plain(least)}" if most is None else f"×{_plain(least)} to ×{_plain(most)}"


def _elsewhere(each: Document) -> str:
    lost = {text(arm): number(value) for arm, value in record(each, "at_rate_of").items()}
    shown = [f"{arm} {'diverged' if value is None else num.difference(value)}" for arm, value in lost.items()]
    return ", ".join(shown) if len(lost) > 1 else (shown[0].split(" ", 1)[1] if shown else num.MISSING)
