"""What no record holds the evidence of, such as activations: from what the server wrote beside the records."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._status_plain import plain

NAME = "alarms.jsonl"
"""One `gatewise.alarm/1` a line, as `LogFile` writes them."""
HEALTH, HEALTH_SCHEMA = "health.json", "gatewise.health/1"
"""The activations as they stood when the server last wrote them down."""
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


def keep_health(folder: str | Path, features: Sequence[Mapping[str, Any]], at_ns: int) -> None:
    """Write down what `HealthWatch.features` says; replaces what was there. Raises `GatewiseError` where it cannot."""
    path = Path(folder) / HEALTH
    document = plain({"schema": HEALTH_SCHEMA, "at_ns": at_ns, "features": list(features)})
    try:
        beside = path.with_suffix(".tmp")
        beside.write_text(json.dumps(document, allow_nan=False), encoding="utf-8")
        beside.replace(path)
    except OSError as error:
        raise GatewiseError(f"cannot write {path}: {error.strerror}") from error


def kept_health(folder: Path, until_ns: int) -> list[Any] | None:
    """What `keep_health` wrote, if that was not later than `until_ns`; None where there is nothing to read."""
    try:
        found: Any = json.loads((folder / HEALTH).read_text("utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(found, dict) or found.get("schema") != HEALTH_SCHEMA or type(found.get("at_ns")) is not int:
        return None
    features = found.get("features")
    if found["at_ns"] > until_ns or not isinstance(features, list):
        return None
    return [each for each in features if isinstance(each, dict) and isinstance(each.get("model"), str)] or None
