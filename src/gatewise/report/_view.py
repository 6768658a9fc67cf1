"""What a report says, in order and in words, before any format shows it: the one reading of a result document."""

from dataclasses import dataclass

from . import _facts
from . import _numbers as num
from ._facts import Item, Setup
from ._generation import Generation, generations
from ._learning import Learning, learnings
from ._moves import Move, moves
from ._panels import Panel
from ._read import Document, number, record, records, strings, text, verdict
from ._rows import ordered_parts, panels
from ._selection import Selection, selections


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One arm's answer in a plain sentence."""

    part: str
    arm: str
    verdict: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Arm:
    """One line of the arms table; numbers are already written out."""

    part: str
    label: str
    name: str
    role: str
    runtime: str
    parameters: str
    flops: str
    weight_bytes: str
    weights_state: str
    matching: str
    unfair: str
    sites: str
    ran: str
    failure: str
    remarks: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class View:
    """The whole report."""

    title: str
    question: str
    facts: tuple[Item, ...]
    headline: str
    recommendation: str
    moves: tuple[Move, ...]
    selections: tuple[Selection, ...]
    generations: tuple[Generation, ...]
    learnings: tuple[Learning, ...]
    reasons: tuple[str, ...]
    answers: tuple[Answer, ...]
    settle: tuple[str, ...]
    warnings: tuple[str, ...]
    failures: tuple[Item, ...]
    dropped: tuple[Item, ...]
    panels: tuple[Panel, ...]
    arms: tuple[Arm, ...]
    not_measured: tuple[Item, ...]
    reading: tuple[Item, ...]
    setups: tuple[Setup, ...]
    environment: tuple[Item, ...]
    machine: str
    replay: str
    parts: tuple[str, ...]


READING = (
    Item(what="better or worse", why="The whole interval lies beyond the margin."),
    Item(what="equivalent", why="The whole interval lies inside the margin: the change, if any, does not matter."),
    Item(what="inconclusive", why="The interval does neither, so the data do not decide. That is not a tie."),
    Item(what="refused", why="No interval is shown, because it would mislead. The reason stands below the table."),
    Item(what="margin", why="The smallest change that matters. It was fixed before anything was measured."),
    Item(
        what="interval",
        why="Where the true change lies, with the stated confidence. Simultaneous intervals hold together: "
        "each is a little wider, so that all verdicts of a part are right at once with that confidence.",
    ),
    Item(
        what="twin",
        why="The baseline a second time. Where the twin does not come out equivalent, the cell is too noisy "
        "and nothing in it is judged.",
    ),
    Item(what="typical", why="The median of the raw values under the same conditions. No verdict hangs on it."),
    Item(what="n", why="How many independent observations there are: fresh processes, training seeds or data items."),
    Item(what="could see", why="The smallest change that this much evidence could have shown."),
)


def build(document: Document) -> View:
    """Everything a format has to show, in the order in which it is shown."""
    study, verdict_record = record(document, "study"), record(document, "verdict")
    found = panels(document)
    answers = tuple(
        Answer(
            part=text(a.get("part")),
            arm=text(a.get("arm")),
            verdict=verdict(a.get("verdict")),
            text=text(a.get("text")),
        )
        for a in records(verdict_record, "answers")
    )
    warnings = strings(verdict_record, "warnings")
    if study.get("interrupted") is True and not any("interrupt" in each.lower() for each in warnings):
        warnings.insert(0, "The study was interrupted: what follows is what was finished until then.")
    return View(
        title=text(study.get("name")) or "gatewise study",
        question=text(study.get("question")),
        facts=_facts.study_facts(document),
        headline=text(verdict_record.get("headline")) or "This study has no verdict.",
        recommendation=text(verdict_record.get("recommendation")),
        moves=moves(document),
        selections=selections(document),
        generations=generations(document),
        learnings=learnings(document, found),
        reasons=tuple(strings(verdict_record, "reasons")),
        answers=answers,
        settle=tuple(strings(verdict_record, "next")),
        warnings=tuple(warnings),
        failures=_failures(document),
        dropped=_items(study, "dropped", "why"),
        panels=found,
        arms=tuple(_arm(each) for each in records(document, "arms")),
        not_measured=_items(document, "not_measured", "reason"),
        reading=READING,
        setups=_facts.setups(document),
        environment=_facts.environment(document),
        machine=_facts.environment_line(document),
        replay=str(document.get("replay") or "").strip(),
        parts=ordered_parts(document),
    )


def _items(document: Document, key: str, why: str) -> tuple[Item, ...]:
    found = (Item(what=text(each.get("what")), why=text(each.get(why))) for each in records(document, key))
    return tuple(each for each in found if each.what or each.why)


def _failures(document: Document) -> tuple[Item, ...]:
    several = len(ordered_parts(document)) > 1
    return tuple(
        Item(what=f"{text(each.get('label'))}{_of(each) if several else ''}", why=text(each.get("failure")))
        for each in records(document, "arms")
        if text(each.get("failure"))
    )


def _of(arm: Document) -> str:
    part = text(arm.get("part"))
    return f" ({part})" if part else ""


def _arm(arm: Document) -> Arm:
    sites = records(arm, "sites")
    touched = [site for site in sites if site.get("before") != site.get("after")]
    changed = {f"{text(site.get('before'))} → {text(site.get('after'))}" for site in touched}
    widths = {
        f"width {num.count(before)} → {num.count(after)}"
        for site in sites
        if (before := number(site.get("hidden_before"))) is not None
        and (after := number(site.get("hidden_after"))) is not None
        and before != after
    }
    left = len(records(arm, "left"))
    described = f"{len(touched)}: {', '.join(sorted(changed) + sorted(widths))}" if touched else "none"
    slow = number(arm.get("planted_slowdown"))
    same = arm.get("output_identical") is True and arm.get("role") == "arm"  # of a twin it goes without saying
    unfair, failure = text(arm.get("unfair")), text(arm.get("failure"))
    remarks = (
        f"failed: {failure}" if failure else "",
        f"unfair: {unfair}" if unfair else "",
        f"made slower on purpose by {num.share(slow)}" if slow else "",
        "its outputs are the baseline's, bit for bit" if same else "",
    )
    return Arm(
        part=text(arm.get("part")),
        label=text(arm.get("label")) or text(arm.get("name")),
        name=text(arm.get("name")),
        role=text(arm.get("role")),
        runtime=text(arm.get("runtime")),
        parameters=num.count(number(arm.get("parameters"))),
        flops=num.count(number(arm.get("flops"))),
        weight_bytes=num.count(number(arm.get("weight_bytes")), "B"),
        weights_state=text(arm.get("weights_state")),
        matching=text(arm.get("matching")),
        unfair=unfair,
        sites=described + (f"; {left} left as they were" if left else ""),
        ran=text(arm.get("implementation")) or text(arm.get("formula")),
        failure=failure,
        remarks=tuple(remark for remark in remarks if remark),
    )
