"""What the page says, read once from its document and put into words."""

import math
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from markupsafe import Markup

from . import _page_compare, _page_cost, _page_icon, _page_latency, _page_time, _page_watch
from ._page_block import SECOND_NS, Block, Document, clock, named, number, several
from ._page_look import num

NOT_SHOWN = ("replay", "summary", "seed")
UNSEEN = ("health",)
"""Kinds of alarms whose evidence is in no record."""
AGAIN = "Show this alarm again from the records"
AS_WRITTEN = "Show this alarm as the server wrote it down: activations are in no record, so it cannot be judged again"
ALIKE = ("latency", "tail", "errors", "disagreement", "accuracy")
"""The metrics whose evidence is a comparison of the judge's."""


@dataclass(frozen=True, kw_only=True)
class Item:
    """A name and what stands for it."""

    what: str
    why: str


@dataclass(frozen=True, kw_only=True)
class Card:
    """An alarm with its evidence."""

    severity: str
    kind: str
    who: str
    when: str
    summary: str
    evidence: tuple[Item, ...]
    replay: str
    how: str


@dataclass(frozen=True, kw_only=True)
class Page:
    """The whole page."""

    state: str
    icon: Markup
    headline: str
    lead: str
    question: str
    facts: tuple[Item, ...]
    actions: Sequence[Document]
    alarms: tuple[Card, ...]
    blocks: tuple[Block, ...]
    replay: str


def build(document: Document) -> Page:
    """The page; what is not there is left out, control characters of names and reasons are made visible."""
    document = cleaned(document)
    found = [
        _page_compare.block(document),
        _page_time.block(document),
        _versions(document),
        _page_latency.block(document),
    ]
    found += [_page_watch.labels(document), _page_watch.drift(document), _page_watch.health(document)]
    found += [_page_cost.block(document), _page_cost.money(document), _reasons(document)]
    return Page(
        state=document["state"],
        icon=_page_icon.icon(document["state"]),
        headline=document["headline"],
        lead=document["lead"],
        question=" · ".join(_who(document)),
        facts=tuple(_facts(document)),
        actions=document["actions"],
        alarms=tuple(_card(each) for each in document["alarms"]),
        blocks=tuple(each for each in found if each is not None),
        replay=document["replay"],
    )


def cleaned(value: Any) -> Any:
    """The value with control characters (an escape code in a name) as U+FFFD in all of its texts."""
    if isinstance(value, str):
        return value if value.isprintable() else "".join(_seen(sign) for sign in value)
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(each) for key, each in value.items()}
    return [cleaned(each) for each in value] if isinstance(value, list) else value


def _seen(sign: str) -> str:
    return "\N{REPLACEMENT CHARACTER}" if unicodedata.category(sign) in ("Cc", "Cf", "Cs") else sign


def _who(document: Document) -> Iterable[str]:
    for held in document["models"]:
        now = [f"{each['version']} {' and '.join(each['roles'])}" for each in held["versions"] if each["roles"]]
        yield f"{held['model']}: {', '.join(now)}"


def _facts(document: Document) -> Iterable[Item]:
    window = document["window"]
    if window is None:
        return
    yield Item(what="from", why=f"{clock(window['start_ns'])}")
    same_day = clock(window["start_ns"])[:10] == clock(window["end_ns"])[:10]
    yield Item(what="to", why=f"{clock(window['end_ns'], day=not same_day)} UTC")
    yield Item(what="records", why=f"{window['records']:,}")
    if window["cut"]:
        yield Item(what="of", why=f"{document['records']:,}, the newest")


def _card(alarm: Document) -> Card:
    role = alarm["evidence"].get("role")
    against = (f" {role}" if role else "") + (f" against {alarm['baseline']}" if alarm["baseline"] else "")
    return Card(
        severity=alarm["severity"],
        kind=alarm["kind"],
        who=f"{alarm['model']} {alarm['version']}{against}",
        when=f"{clock(alarm['at_ns'])} UTC",
        summary=alarm["summary"],
        evidence=tuple(evidence(alarm)),
        replay=alarm["replay"],
        how=AS_WRITTEN if alarm["kind"] in UNSEEN else AGAIN,
    )


def evidence(alarm: Document) -> Iterable[Item]:
    """The numbers of an alarm that fit on a line each."""
    found = alarm["evidence"]
    if found.get("metric") in ALIKE and {"estimate", "interval", "margin", "n"} <= found.keys():
        yield Item(what="change", why=_page_compare.effect(found["estimate"], found))
        yield Item(what="interval", why=_page_compare.interval(found))
        yield Item(what="does not matter", why=_page_compare.margin(found))
        yield Item(what="n", why=f"{found['n']:,} {found.get('unit', '')}".rstrip())
        if {"evidence", "threshold"} <= found.keys():
            yield Item(what="evidence", why=f"{_odds(found['evidence'])}, an alarm from {_odds(found['threshold'])}")
        found = {}
    for key, value in found.items():
        shown = _value(str(key), value)
        if shown and key not in NOT_SHOWN:
            yield Item(what=str(key).removesuffix("_s").removesuffix("_ns").replace("_", " "), why=shown)


def _odds(log: float) -> str:
    """The evidence as what a bettor made of 1: at most 1 on average where there is no harm."""
    return num.significant(math.exp(min(log, 30.0))) if log < 30.0 else num.power(math.exp(min(log, 600.0)), 0)


def _value(key: str, value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        parts = [_value(key, each) for each in value]
        if not value or len(value) > 4 or not all(parts):
            return ""
        return " to ".join(parts) if len(parts) == 2 else ", ".join(parts)
    found = number(value)
    if found is None:
        return ""
    if key.endswith("_ns") and found > 1e17:
        return clock(int(found))
    if key.endswith("_s"):
        return num.duration(found) if found >= 100 else num.quantity(found, "s")
    return f"{value:,}" if isinstance(value, int) else num.plain(float(f"{found:.4g}"))


def _versions(document: Document) -> Block | None:
    if not document["traffic"]:
        return None
    many = several(document)
    dated = {(held["model"], each["version"]): each for held in document["models"] for each in held["versions"]}
    rows: list[tuple[str, ...]] = []
    for each in document["traffic"]:
        version = dated[(each["model"], each["version"])]
        p50, p99 = ([found["value_s"] for found in each["latency"] if found["percentile"] == p] for p in (0.5, 0.99))
        rows.append(
            (
                named(each, many),
                version["digest"][:12],
                num.count(each["requests"]),
                num.quantity(each["requests_per_s"], "1/s"),
                *(num.count(each[key]) for key in ("error", "refused", "expired")),
                num.quantity(p50[0] if p50 else None, "s"),
                num.quantity(p99[0] if p99 else None, "s"),
                num.significant(each["batch_rows"]["mean"]),
                "now" if each["role"] in version["roles"] else f"until {clock(version['last_ns'])}",
            )
        )
    head = (
        "version",
        "digest",
        "requests",
        "rate",
        "errors",
        "refused",
        "expired",
        "p50",
        "p99",
        "rows a batch",
        "seen",
    )
    return Block(
        title="Versions",
        under="who answered what; a shadow's answers go nowhere",
        head=head,
        right=head[2:-1],
        rows=tuple(rows),
    )


def _reasons(document: Document) -> Block | None:
    many = several(document)
    rows = [
        (named(each, many), why["status"], num.count(why["requests"]), why["reason"])
        for each in document["traffic"]
        for why in each["reasons"]
    ]
    if not rows:
        return None
    head = ("version", "status", "requests", "reason")
    return Block(title="Not answered", head=head, right=("requests",), rows=tuple(rows))


def length(document: Document) -> float:
    """The window in seconds."""
    window = document["window"]
    return (window["end_ns"] - window["start_ns"]) / SECOND_NS if window else 0.0
