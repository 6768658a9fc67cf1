"""What a report says, in order and in words, before any format shows it: the one reading of a result document."""

from dataclasses import dataclass

from . import _numbers as num
from ._panels import Panel
from ._read import Document, number, record, records, strings, text, verdict
from ._rows import ordered_parts, panels


@dataclass(frozen=True, kw_only=True)
class Answer:
    """One arm's answer in a plain sentence."""

    part: str
    arm: str
    verdict: str
    text: str


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something with its reason: a dropped cell, a failed arm, a quantity that was not measured, a fact."""

    what: str
    why: str


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
    environment: tuple[Item, ...]
    replay: str
    parts: tuple[str, ...]


READING = (
    Item(
        what="better, worse, equivalent, inconclusive",
        why="The interval lies wholly beyond the margin, or wholly inside it (equivalent). "
        "Where it does neither, the data do not decide: inconclusive is not a tie.",
    ),
    Item(
        what="margin and interval",
        why="The margin is the smallest change that matters; it was fixed before measuring. "
        "The interval holds the true change with the confidence that stands beside it.",
    ),
    Item(
        what="twin and typical value",
        why="The twin is the baseline a second time: where it does not come out equivalent, nothing in that cell is "
        "judged. A typical value is the median of the raw values in one cell, one set of conditions.",
    ),
)


def build(document: Document) -> View:
    """Everything a format has to show, in the order in which it is shown."""
    study, verdict_record = record(document, "study"), record(document, "verdict")
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
        facts=_facts(document, study),
        headline=text(verdict_record.get("headline")) or "This study has no verdict.",
        recommendation=text(verdict_record.get("recommendation")),
        reasons=tuple(strings(verdict_record, "reasons")),
        answers=answers,
        settle=tuple(strings(verdict_record, "next")),
        warnings=tuple(warnings),
        failures=_failures(document),
        dropped=_items(study, "dropped", "why"),
        panels=panels(document),
        arms=tuple(_arm(each) for each in records(document, "arms")),
        not_measured=_items(document, "not_measured", "reason"),
        reading=READING,
        environment=_environment(document),
        replay=str(document.get("replay") or "").strip(),
        parts=ordered_parts(document),
    )


def _items(document: Document, key: str, why: str) -> tuple[Item, ...]:
    found = (Item(what=text(each.get("what")), why=text(each.get(why))) for each in records(document, key))
    return tuple(each for each in found if each.what or each.why)


def _facts(document: Document, study: Document) -> tuple[Item, ...]:
    started = text(study.get("started")).replace("T", " ")[:16]
    facts = [
        Item(what="study", why=text(study.get("name"))),
        Item(what="started", why=started),
        Item(what="took", why=num.duration(seconds) if (seconds := number(study.get("seconds"))) is not None else ""),
        Item(what="seed", why=text(study.get("seed"))),
        Item(what="gatewise", why=text(document.get("gatewise"))),
    ]
    return tuple(each for each in facts if each.why)


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
    unfair, failure = text(arm.get("unfair")), text(arm.get("failure"))
    remarks = (
        f"failed: {failure}" if failure else "",
        f"unfair: {unfair}" if unfair else "",
        f"made slower on purpose by {num.share(slow)}" if slow else "",
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


def _environment(document: Document) -> tuple[Item, ...]:
    facts: list[Item] = []
    for key, value in record(document, "environment").items():
        shown = _fact(text(key), value)
        if shown:
            facts.append(Item(what=text(key).replace("_", " ").removesuffix(" bytes"), why=shown))
    return tuple(facts)


def _fact(key: str, value: object) -> str:
    """One environment value: bytes and shares by the ending of their name, a table as name and value pairs."""
    if isinstance(value, dict):
        # A single word and a value ("torch 2.13.0") read well side by side; the comma parts the pairs.
        pairs = ((text(name).replace("_", " "), _fact(text(name), item)) for name, item in value.items())
        return ", ".join(f"{name} {shown}" for name, shown in pairs if shown)
    if isinstance(value, list | tuple):
        return ", ".join(shown for item in value if (shown := _fact(key, item)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        finite = number(value)
        if finite is None:
            return ""
        if key.endswith("bytes"):
            return num.count(finite, "B")
        if key.endswith(("seconds", "_s")):
            return num.quantity(finite, "s")
        if key == "share" or key.endswith("_share"):
            return num.share(finite)
        return num.count(finite)
    return text(value)
