"""Alarms that no record holds the evidence of, such as those of activations: from the log of alarms in the folder."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from ._alarm import Alarm

NAME = "alarms.jsonl"
"""One `gatewise.alarm/1` a line, as `LogFile` writes them."""
FIELDS = {"kind": str, "model": str, "version": str, "at_ns": int, "summary": str}


def told_alarms(folder: Path, found_again: Iterable[Alarm], damaged: Callable[[str], None]) -> list[Alarm]:
    """The alarms in the folder's log that were not found again; none where there is no log.

    Those that compare two versions are the judge's: what it does not find again is not one.
    """
    path = folder / NAME
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        damaged(f"{path} cannot be read: {error.strerror}")
        return []
    known = {_about(alarm) for alarm in found_again}
    found: list[Alarm] = []
    for number, line in enumerate(lines, 1):
        alarm = _alarm(line)
        if alarm is None:
            damaged(f"{path}, line {number}, is no alarm")
        elif alarm.baseline is None and _about(alarm) not in known:
            found.append(alarm)
    return found


def _about(alarm: Alarm) -> tuple[object, ...]:
    return alarm.kind, alarm.model, alarm.version, alarm.evidence.get("feature")


def _alarm(line: str) -> Alarm | None:
    try:
        held: Any = json.loads(line)
    except ValueError:
        return None
    if not isinstance(held, dict) or not all(type(held.get(name)) is kind for name, kind in FIELDS.items()):
        return None
    evidence, baseline = held.get("evidence"), held.get("baseline")
    return Alarm(
        kind=held["kind"],
        model=held["model"],
        version=held["version"],
        baseline=baseline if isinstance(baseline, str) else None,
        at_ns=held["at_ns"],
        severity="page" if held.get("severity") == "page" else "ticket",
        summary=held["summary"],
        evidence=evidence if isinstance(evidence, dict) else {},
    )
