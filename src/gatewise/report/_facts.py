"""The plain facts of a study: machine, packages, data and settings, as names and values that people read."""

from dataclasses import dataclass

from . import _numbers as num
from ._read import Document, number, record, records, text

_DIGEST = 40  # a text this long without a space, made of hexadecimal digits, is a hash


@dataclass(frozen=True, kw_only=True)
class Item:
    """Something with its reason: a dropped cell, a failed arm, a quantity that was not measured, a fact."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What one part ran: its workload and data, how it was measured and trained."""

    part: str
    facts: tuple[Item, ...]


def study_facts(document: Document) -> tuple[Item, ...]:
    """When the study ran, how long, with which seed."""
    study = record(document, "study")
    seconds = number(study.get("seconds"))
    budget = number(study.get("budget_s"))
    return _filled(
        ("study", text(study.get("name"))),
        ("started", text(study.get("started")).replace("T", " ")[:16]),
        ("took", "" if seconds is None else num.duration(seconds)),
        ("budget", "" if budget is None else num.duration(budget)),
        ("seed", text(study.get("seed"))),
        ("gatewise", text(document.get("gatewise"))),
    )


def environment(document: Document) -> tuple[Item, ...]:
    """The whole environment, one item a fact."""
    return tuple(_all(record(document, "environment")))


def environment_line(document: Document) -> str:
    """The environment in one line: processor, cores, torch, and how long the study took."""
    held = record(document, "environment")
    cores, seconds = number(held.get("cores")), number(record(document, "study").get("seconds"))
    torch = text(record(held, "packages").get("torch"))
    found = [
        text(held.get("cpu")),
        "" if cores is None else f"{num.count(cores)} core{'' if cores == 1 else 's'}",
        f"torch {torch}" if torch else "",
        native_kernels(held),
        "" if seconds is None else f"took {num.duration(seconds)}",
    ]
    return ", ".join(each for each in found if each)


def native_kernels(held: Document) -> str:
    """Whether gatewise's native kernels were there, in a few words; empty for records from before they were."""
    found = held.get("kernels")
    if not isinstance(found, dict):
        return ""
    words = text(found.get("instruction_set"))
    return f"native kernels {words}" if words else f"no native kernels ({text(found.get('reason'))})"


def setups(document: Document) -> tuple[Setup, ...]:
    """What each part ran. The settings of the whole plan are in the record; these are those that were used."""
    made: list[Setup] = []
    for part in records(record(document, "study"), "parts"):
        facts = dict(record(part, "facts"))
        subject = {key: value for key, value in record(part, "subject").items() if value != facts.get(key)}
        training = record(part, "training")
        rest = {key: value for key, value in training.items() if key in ("steps", "points", "step_s")}
        processes = number(part.get("processes"))
        items = [
            *_all(subject),
            *_all(facts),
            *_filled(
                ("measured", fact("", record(part, "measure"))),
                ("processes", num.count(processes) if processes else ""),
                ("training", fact("", record(training, "settings"))),
                ("training plan", fact("", rest)),
                ("target", text(training.get("target"))),
                ("judge", fact("", record(part, "judge"))),
            ),
        ]
        if items:
            made.append(Setup(part=text(part.get("name")), facts=tuple(items)))
    return tuple(made)


def fact(key: str, value: object) -> str:
    """One value: bytes, times and shares by the ending of their name, a table as name and value pairs."""
    if isinstance(value, dict):
        # A single word and a value ("torch 2.13.0") read well side by side; a value with commas needs more apart.
        pairs = ((_name(text(name)), fact(text(name), item)) for name, item in value.items())
        found = [f"{name} {shown}" for name, shown in pairs if shown]
        return ("; " if any(", " in each for each in found) else ", ").join(found)
    if isinstance(value, list | tuple):
        return ", ".join(shown for item in value if (shown := fact(key, item)))
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return _number(key, number(value))
    shown = text(value)
    is_digest = len(shown) >= _DIGEST and all(sign in "0123456789abcdef" for sign in shown)
    return f"{shown[:12]}…" if is_digest else shown


def _number(key: str, value: float | None) -> str:
    if value is None:
        return ""
    if key.endswith("bytes"):
        return num.count(value, "B")
    if key.endswith(("seconds", "_s")):
        return num.quantity(value, "s")
    if key == "share" or key.endswith("_share"):
        return num.share(value)
    return num.count(value) if value == round(value) else num.plain(float(f"{value:.3g}"))


def _name(key: str) -> str:
    """A key as words; the unit at its end is in the value."""
    return key.replace("_", " ").removesuffix(" bytes").removesuffix(" s")


def _all(held: Document) -> list[Item]:
    return list(_filled(*((_name(text(key)), fact(text(key), value)) for key, value in held.items())))


def _filled(*pairs: tuple[str, str]) -> tuple[Item, ...]:
    return tuple(Item(what=what, why=why) for what, why in pairs if why)
