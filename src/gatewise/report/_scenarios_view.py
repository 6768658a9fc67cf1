"""What a scenario's page says, read once from its document and put into words."""

from dataclasses import dataclass

from . import _facts, _scenarios_hybrid, _scenarios_money
from . import _numbers as num
from ._facts import Item
from ._read import Document, number, pair, record, records, strings, text
from ._scenarios_block import Block, between, per_second, seconds
from ._scenarios_figures import Axis, Line, lines

VERDICTS = {"holds": "better", "fails": "worse", "undecided": "inconclusive"}


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page."""

    headline: str
    question: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]
    asked: tuple[Item, ...]
    environment: tuple[Item, ...]
    started: str
    took: str
    replay: str


def build(document: Document) -> Page:
    """The page; what is not there is left out or said to be missing."""
    asked = record(document, "asked")
    hybrid = record(document, "hybrid")
    found = [*(_scenarios_hybrid.blocks(document) if hybrid else _load(document)), _edge(document), _batches(document)]
    found += [_scenarios_money.payback(document), _scenarios_money.cost(document)]
    cores = _facts.environment_line(document)
    runs = text(document.get("implementation"))
    question = f"{text(asked.get('model'))} on {runs}" + (f", {cores}" if cores else "")
    if hybrid:
        small = text(asked.get("edge")) or text(asked.get("model"))
        question = f"{small} on {text(hybrid.get('edge_implementation'))} answers first; in doubt {question}"
    return Page(
        headline=_scenarios_hybrid.headline(hybrid) if hybrid else _headline(document),
        question=question,
        blocks=tuple(each for each in found if each is not None),
        notes=() if hybrid else tuple(strings(document, "notes")),
        asked=tuple(
            Item(what=key, why=_plain(value)) for key, value in asked.items() if value not in (None, "", False)
        ),
        environment=_facts.environment(document),
        started=text(document.get("started")).replace("T", " ")[:16],
        took=num.duration(number(document.get("seconds"))),
        replay=str(document.get("replay") or "").strip(),
    )


def _headline(document: Document) -> str:
    asked, found = record(document, "asked"), record(document, "result")
    if asked.get("scenario") == "server":
        limit = f"{_percentile(asked.get('percentile'))} of at most {seconds(asked.get('p99_s'))}"
        if found.get("verdict") == "holds":
            return f"{num.significant(number(found.get('rate')))} queries a second hold with {limit}"
        word = "No rate holds" if found.get("verdict") == "fails" else "Undecided: no rate was confirmed"
        return f"{word} with {limit}"
    if asked.get("scenario") == "offline":
        ends = pair(found.get("interval"))
        shown = f" ({between(num.significant(ends[0]), num.significant(ends[1]))})" if ends else ""
        rate = num.significant(number(found.get("samples_per_s")))
        return f"{rate} samples a second in batches of {text(found.get('batch'))}{shown}"
    held = records(found, "percentiles")
    return ", ".join(f"{_percentile(each.get('percentile'))} {seconds(each.get('value_s'))}" for each in held)


def _load(document: Document) -> list[Block | None]:
    found = record(document, "result")
    return [_percentiles(document, found), _repetitions(found), _attempts(document, found)]


def _percentiles(document: Document, found: Document) -> Block | None:
    held = records(found, "percentiles") or [record(found, "latency")]
    held = [each for each in held if number(each.get("value_s")) is not None]
    if not held:
        return None
    limit = number(record(document, "asked").get("p99_s"))
    drawn = [
        Line(
            label=_percentile(each.get("percentile")),
            value=number(each.get("value_s")) or 0.0,
            low=number(each.get("low_s")),
            high=number(each.get("high_s")),
            open_end=number(each.get("high_s")) is None,
        )
        for each in held
    ]
    axis = Axis(name="latency", unit="s", limit=limit)
    needs = [text(each.get("needs")) for each in held if each.get("needs") is not None]
    return Block(
        title="Latency",
        under="percentiles with order-statistic intervals; a dashed one has no upper end: too few queries",
        draw=lambda ident, narrow: lines(drawn, axis, ident, "Percentiles of the latency", narrow=narrow),
        caption="Mark: the percentile. Line: its interval." + (" Upright line: the limit." if limit else ""),
        head=("percentile", "latency", "interval", "queries"),
        right=("latency", "interval", "queries"),
        rows=tuple(
            (
                _percentile(each.get("percentile")),
                seconds(each.get("value_s")),
                between(seconds(each.get("low_s")), seconds(each.get("high_s"))),
                num.count(number(each.get("n"))),
            )
            for each in held
        ),
        remarks=tuple(f"A closed interval takes {many} queries" for many in dict.fromkeys(needs)),
    )


def _repetitions(found: Document) -> Block | None:
    values = [value for each in found.get("values") or [] if (value := number(each)) is not None]
    if not values:
        return None
    drawn = [Line(label=f"repetition {index}", value=value) for index, value in enumerate(values, 1)]
    mean, ends = number(found.get("samples_per_s")), pair(found.get("interval"))
    if mean is not None:
        drawn.append(Line(label="mean", value=mean, low=ends[0] if ends else None, high=ends[1] if ends else None))
    axis = Axis(name="samples a second", unit="1/s")
    return Block(
        title="Throughput",
        under=f"all samples are there from the start, in batches of {text(found.get('batch'))}",
        draw=lambda ident, narrow: lines(drawn, axis, ident, "Throughput by repetition", narrow=narrow),
        caption="One mark a repetition; below them the mean with its interval.",
        head=("repetition", "samples a second", "interval"),
        right=("samples a second", "interval"),
        rows=tuple(
            (
                each.label,
                per_second(each.value),
                num.MISSING if each.low is None else between(per_second(each.low), per_second(each.high)),
            )
            for each in drawn
        ),
        remarks=(text(found.get("reason")),) if found.get("reason") else (),
    )


def _attempts(document: Document, found: Document) -> Block | None:
    tries = records(found, "attempts")
    if not tries:
        return None
    limit = seconds(record(document, "asked").get("p99_s"))
    drawn: list[Line] = []
    rows: list[tuple[str, ...]] = []
    for index, each in enumerate(tries, 1):
        tail = record(each, "tail")
        said = "invalid" if each.get("invalid") else text(tail.get("verdict"))
        rate = number(each.get("rate"))
        if rate is not None:
            mark = "" if said == "invalid" else VERDICTS.get(said, "")
            drawn.append(Line(label=f"{index} {text(each.get('purpose'))}", value=rate, verdict=mark, said=said))
        allowed = number(tail.get("allowed"))
        rows.append(
            (
                str(index),
                text(each.get("purpose")),
                per_second(rate),
                num.count(number(tail.get("n"))),
                num.count(number(tail.get("over"))),
                "too few queries" if allowed is None else num.count(allowed),
                said,
                text(each.get("generator")),
                seconds(each.get("lateness_p99_s")),
            )
        )
    remarks = [text(found.get("reason"))] if found.get("reason") else []
    remarks += [f"Try {i}: {text(each.get('invalid'))}" for i, each in enumerate(tries, 1) if each.get("invalid")]
    if found.get("rule"):
        remarks.append(f"Rule: {text(found.get('rule'))}")
    if number(found.get("edge")) is not None:
        fails = number(found.get("fails_at"))
        shown = f"; shown to fail at {per_second(fails)}" if fails is not None else ""
        remarks.append(f"The limit itself is met at about {per_second(found.get('edge'))} (an estimate){shown}")
    axis = Axis(name="queries a second", unit="1/s")
    head = ("try", "purpose", "rate", "queries", f"over {limit}", "allowed", "verdict", "generator", "lateness p99")
    return Block(
        title="The search for the rate, try by try",
        draw=lambda ident, narrow: lines(drawn, axis, ident, "Rates that were tried", narrow=narrow),
        caption="Tick: the limit held. Cross: it did not. Question mark: undecided. Dot: no verdict.",
        head=head,
        right=("try", "rate", "queries", f"over {limit}", "allowed", "lateness p99"),
        rows=tuple(rows),
        remarks=tuple(remarks),
    )


def _edge(document: Document) -> Block | None:
    found = record(document, "edge")
    if not found:
        return None
    rows = [
        (what, seconds(each.get("value_s")), between(seconds(each.get("low_s")), seconds(each.get("high_s"))))
        for what, each in (("cold start", record(found, "cold_start")), ("of it loading", record(found, "load")))
    ]
    cap = number(found.get("cap_bytes"))
    held = "" if cap is None else f"{'within' if found.get('within_cap') else 'over'} the cap of {num.count(cap, 'B')}"
    rows.append(("peak memory", num.count(number(found.get("peak_bytes")), "B"), held or num.MISSING))
    rows.append(("size", num.count(number(found.get("size_bytes")), "B"), text(found.get("size_of")) or num.MISSING))
    return Block(
        title="From nothing to the first answer",
        under=f"one thread, batch 1, {text(record(found, 'cold_start').get('n'))} fresh processes",
        head=("what", "value", "interval, or what it is held against"),
        right=("value",),
        rows=tuple(rows),
        remarks=(text(found.get("note")),),
    )


def _batches(document: Document) -> Block | None:
    found = record(document, "batches")
    if not found:
        return None
    rows = [
        (
            text(each.get("batch")),
            per_second(each.get("samples_per_s")),
            seconds(record(each, "p99").get("value_s")),
            "yes" if each.get("keeps") and each.get("shown") else "not shown" if each.get("keeps") else "no",
        )
        for each in records(found, "trials")
    ]
    head = ("batch", "samples a second", "p99 of a call", "keeps the limit")
    return Block(title="Which batch", head=head, right=head[:3], rows=tuple(rows))


def _percentile(value: object) -> str:
    found = number(value)
    return "p?" if found is None else f"p{100 * found:g}"


def _plain(value: object) -> str:
    found = number(value)
    return text(value) if found is None else f"{found:g}" if found != int(found) else f"{int(found):,}"
