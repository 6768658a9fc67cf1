"""The sentences on top of a status: is anything wrong, since when, which version, and what to do."""

import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from ._status_moves import Moves

Document = Mapping[str, Any]

WORST_FIRST = {"page": 0, "ticket": 1}
NOT_THE_VERSION = {
    "drift": "What {model} is asked, or answers, is no longer as in the reference of {version}: the data that it was "
    "given as one, or the first traffic where it was learnt. Going back to an older version does not change that: look "
    "at who sends it, and at the accuracy once labels are there.",
    "estimate": "This is an estimate without labels: look at some answers of {version} of {model} before you act.",
}
"""Alarms that no other version cures."""


def headline(document: Document, known: Moves | None = None) -> dict[str, Any]:
    """`state`, `headline`, `lead`, and `actions`: a sentence and a command (or null) each.

    `known`: what the server wrote down of the aliases.
    """
    alarms = document["alarms"]
    if not document["records"]:
        return _say("empty", "No request has been recorded yet.", "")
    if not alarms:
        return _quiet(document)
    worst = min(alarms, key=lambda alarm: (WORST_FIRST.get(alarm["severity"], 1), alarm["at_ns"]))
    more = len(alarms) - 1
    others = f" {_many(more, 'more alarm')} below." if more else ""
    since = f"{_by_now(document, worst)}Known since {moment(worst['at_ns'])}."
    ordered = sorted(alarms, key=lambda alarm: alarm is not worst)
    actions: dict[str, dict[str, Any]] = {}
    for action in (_actions(document, alarm, known or Moves()) for alarm in ordered):
        actions.setdefault(action["text"], action)
    return _say("alarm", _sentence(worst), since + others, list(actions.values()))


def moment(at_ns: int) -> str:
    """A time that a person reads: 2026-03-01 14:05:09 UTC."""
    return datetime.fromtimestamp(at_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def _say(state: str, line: str, lead: str, actions: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"state": state, "headline": line, "lead": lead, "actions": actions or []}


COMPARED = {
    "latency": "is slower than",
    "tail": "is slow more often than",
    "errors": "fails more often than",
    "disagreement": "often answers otherwise than",
    "accuracy": "is right less often than",
}


def _sentence(alarm: Document) -> str:
    """What is wrong, in one line; the alarm's own words where it is not a comparison's."""
    model, version, baseline = alarm["model"], alarm["version"], alarm["baseline"]
    if baseline and alarm["kind"] in COMPARED:
        return f"{model} {version} {COMPARED[alarm['kind']]} {baseline}."
    said = str(alarm["summary"]).strip()
    words = said.replace(":", " ").replace(",", " ").split()
    lead = [each for each in (model, version) if each not in words]
    line = f"{' '.join(lead)}: {said}" if lead else said
    return line if line.endswith((".", "!", "?")) else f"{line}."


def _by_now(document: Document, alarm: Document) -> str:
    """How the comparison behind an alarm stands by now: an estimate at the moment of an alarm is a lucky one."""
    about = ("model", "version", "baseline", "role", "metric")
    found = alarm["evidence"]
    for each in document["comparisons"]:
        if all(each.get(key) == found.get(key) for key in about) and each["estimate"] is not None and each["interval"]:
            low, high = (_effect(end, each["metric"]) for end in each["interval"])
            said = f"By now {_effect(each['estimate'], each['metric'])} ({low} to {high}, {each['n']:,} {each['unit']})"
            return f"{said}: {each['verdict']}. "
    return ""


def _effect(value: float, metric: str) -> str:
    if metric == "latency":
        return f"{100 * (value - 1):+.1f} %".replace("-", "\N{MINUS SIGN}")
    if metric == "disagreement":
        return f"{100 * value:.1f} %"
    return f"{100 * value:+.2f} points".replace("-", "\N{MINUS SIGN}")


def _quiet(document: Document) -> dict[str, Any]:
    """No alarm: what was looked at, so that silence is not taken for health."""
    judged = [each for each in document["comparisons"] if each.get("verdict") not in (None, "inconclusive")]
    waiting = [each for each in document["comparisons"] if each.get("verdict") == "inconclusive"]
    records, labels = document["records"], document["labels"]
    seen = f"{_many(records, 'record')} and {_many(labels, 'label')} were read"
    if not document["comparisons"]:
        return _say("quiet", "No alarm. No two versions were compared.", f"{seen}.")
    parts = [f"{len(judged)} decided"] if judged else []
    parts += [f"{len(waiting)} still inconclusive"] if waiting else []
    compared = _many(len(document["comparisons"]), "comparison")
    return _say("quiet", "No alarm.", f"{seen}; {compared}: {', '.join(parts)}.")


def _many(count: int, name: str) -> str:
    return f"{count:,} {name}{'' if count == 1 else 's'}"


def _actions(document: Document, alarm: Document, known: Moves) -> dict[str, Any]:
    """What to do about an alarm, by what it is about and by what its version does now."""
    model, version, kind = alarm["model"], alarm["version"], alarm["kind"]
    entry = {"model": model, "version": version, "command": None}
    if kind in NOT_THE_VERSION:
        return entry | {"text": NOT_THE_VERSION[kind].format(model=model, version=version)}
    roles = [
        role
        for held in document["models"]
        for each in held["versions"]
        if (held["model"], each["version"]) == (model, version)
        for role in each["roles"]
    ]
    registry = document["registry"]
    more = ["--expect", version, "--because", f"{kind} alarm"] + ([] if registry is None else ["--registry", registry])
    if "live" in roles:
        serves = f"{version} answers {model}'s callers"
        if model in known.before and known.before[model] is None:
            return entry | {"text": f"{serves}, and none was live before it: there is no version to go back to."}
        to = f"{known.before[model]}, the version" if known.before.get(model) else "the version"
        back = shlex.join(["gatewise", "rollback", model, *more])
        return entry | {"text": f"{serves}: go back to {to} before it.", "command": back}
    if "canary" in roles:
        out = shlex.join(["gatewise", "promote", model, "none", "--to", "canary", *more])
        return entry | {"text": f"{version} answers a share of {model}'s callers: take it out.", "command": out}
    did = known.done.get((model, version))
    done = "" if did is None else f"gatewise serve {did[1]} by itself, {moment(did[0])}. "
    if "shadow" in roles:
        idle = f"{version} of {model} is a shadow and answers no caller: nothing is urgent. Do not promote it."
        return entry | {"text": done + idle}
    return entry | {"text": f"{done}{version} of {model} gets no requests any more: nothing is left to do."}
