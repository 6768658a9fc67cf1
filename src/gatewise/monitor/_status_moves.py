"""What the server wrote down of its aliases: where they point, and what it has moved by itself."""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ._record import Record
from ._status_kept import kept_settings

NAME = "actions.jsonl"
"""One `gatewise.action/1` a line, as `gatewise serve` writes them."""

Aliases = Mapping[str, Mapping[str, str | None]]
"""The version of each alias, by model."""


@dataclass(frozen=True, kw_only=True)
class Moves:
    """What is known of the aliases beside the records; all of it is empty where no server wrote it down.

    Attributes:
        aliases: where they point. Records alone cannot tell: a canary that was taken out is the last that they have.
        before: by model, the version that live would be rolled back to; None where there is none.
        done: by model and version, when the server last did something about it by itself, and a line.
    """

    aliases: Aliases = field(default_factory=dict[str, dict[str, str | None]])
    before: Mapping[str, str | None] = field(default_factory=dict[str, str | None])
    done: Mapping[tuple[str, str], tuple[int, str]] = field(default_factory=dict[tuple[str, str], tuple[int, str]])


def moves(folder: Path, until_ns: int, damaged: Callable[[str], None]) -> Moves:
    """The aliases as they were at `until_ns`, as far as that is known, and what was done up to it."""
    done = _done(folder, until_ns, damaged)
    held = kept_settings(folder).get("service", {})
    aliases, before, since_ns = held.get("aliases"), held.get("before"), held.get("since_ns")
    if type(since_ns) is not int or since_ns > until_ns:
        return Moves(done=done)
    now: dict[str, dict[str, str | None]] = {}
    for model, each in aliases.items() if isinstance(aliases, dict) else ():
        now[str(model)] = dict(each) if isinstance(each, dict) else {}
    back: dict[str, str | None] = before if isinstance(before, dict) else {}
    for (model, version), (at_ns, _) in done.items():  # what it has done since then, and not yet followed itself
        mine = now.get(model, {})
        if at_ns > since_ns and mine.get("live") == version:
            mine["live"] = back.pop(model, None)
        elif at_ns > since_ns and mine.get("canary") == version:
            mine["canary"] = None
    return Moves(aliases=now, before=back, done=done)


def models(records: Iterable[Record], aliases: Aliases | None = None) -> list[dict[str, Any]]:
    """The models and their versions; `roles` are those that a version has now, `had` all that it was seen in."""
    last: dict[tuple[str, str], tuple[int, str]] = {}
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for record in records:
        alias = (record.model, record.role)
        if alias not in last or record.at_ns >= last[alias][0]:
            last[alias] = (record.at_ns, record.version)
        entry = seen.setdefault(
            (record.model, record.version),
            {"version": record.version, "digest": record.digest, "had": set(), "first_ns": record.at_ns, "last_ns": 0},
        )
        entry["had"].add(record.role)
        entry["first_ns"] = min(entry["first_ns"], record.at_ns)
        entry["last_ns"] = max(entry["last_ns"], record.at_ns)
    holders: dict[tuple[str, str], str | None] = {alias: version for alias, (_, version) in last.items()}
    for model, known in (aliases or {}).items():
        holders |= {(model, role): version for role, version in known.items()}
    found: dict[str, list[dict[str, Any]]] = {}
    for (model, version), entry in sorted(seen.items()):
        now = sorted(role for (name, role), holder in holders.items() if (name, holder) == (model, version))
        found.setdefault(model, []).append(entry | {"roles": now, "had": sorted(entry["had"])})
    return [{"model": model, "versions": versions} for model, versions in found.items()]


def _done(folder: Path, until_ns: int, damaged: Callable[[str], None]) -> dict[tuple[str, str], tuple[int, str]]:
    path = folder / NAME
    try:
        lines = path.read_text("utf-8", errors="replace").splitlines()
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as error:
        damaged(f"{path} cannot be read: {error.strerror}")
        return {}
    found: dict[tuple[str, str], tuple[int, str]] = {}
    for number, line in enumerate(lines, 1):
        try:
            held: Any = json.loads(line)
            at_ns, model, version, did = held["at_ns"], held["model"], held["version"], held["did"]
        except (ValueError, TypeError, KeyError):
            damaged(f"{path}, line {number}, is no action")
            continue
        if type(at_ns) is int and at_ns <= until_ns:
            found[str(model), str(version)] = at_ns, str(did)
    return found
