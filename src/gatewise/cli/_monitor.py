"""`gatewise monitor`: how a service stands, in the terminal, as JSON, as a page, once or again and again."""

import argparse
import json
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

SHOWN: dict[str, type] = {"since": int, "limit": int, "confidence": float, "buckets": int, "every": float}
MACHINE: dict[str, type] = {"cores": int, "threads": str, "price_per_hour": float, "currency": str, "idle": str}
EVERY_S = 2.0
ALARM = 1


def run(parsed: argparse.Namespace) -> int:
    """Look once, or go on looking. 1 where there is an alarm and nothing else was asked for than to look."""
    from gatewise import monitor

    folder = Path(parsed.folder)
    settings, every_s = _asked(parsed, folder)
    _check(parsed)
    if parsed.serve is not None:
        return monitor.serve_page(folder, settings, port=parsed.serve, every_s=every_s)
    if parsed.follow:
        return monitor.follow(folder, settings, every_s=every_s)
    document = monitor.status(folder, settings)
    written = monitor.write_page(document, Path(parsed.out)) if parsed.out else None
    if parsed.json:
        print(json.dumps(document, allow_nan=False))
    else:
        monitor.status_terminal(document)
    if written is None:
        return ALARM if document["alarms"] else 0
    if not parsed.json:
        print(f"\nwritten: {written}")
    return 0


def _check(parsed: argparse.Namespace) -> None:
    """Every contradiction, before anything is read."""
    if parsed.serve is not None and not 0 <= parsed.serve < 65536:
        raise GatewiseError(f"a port is a number from 1 to 65535 (0: any that is free), not {parsed.serve}")
    live = ["serve"] * (parsed.serve is not None) + ["follow"] * parsed.follow
    if len(live) > 1:
        raise GatewiseError("give --serve or --follow, not both")
    for name in ("until", "out", "json"):
        if live and getattr(parsed, name) not in (None, False):
            raise GatewiseError(f"--{live[0]} shows what goes on now; --{name} goes without it")


def _asked(parsed: argparse.Namespace, folder: Path) -> tuple[Any, float]:
    """The settings, and how often to look again."""
    from gatewise import monitor

    given = _given(parsed.settings)
    judge_names = monitor.judge_names()
    known = [*SHOWN, *MACHINE, *judge_names]
    for key in given:
        if key not in known:
            raise unknown_name("setting", key, known)
    shown = {key: _number(key, given[key], SHOWN[key]) for key in SHOWN if key in given}
    every_s = shown.pop("every", EVERY_S)
    if not 0.1 <= every_s <= 3600:
        raise GatewiseError(f"every is a number of seconds from 0.1 to 3600, not {every_s!r}")
    settings = monitor.StatusSettings(
        model=parsed.model,
        until_ns=parsed.until,
        since_ns=shown.pop("since", None),
        machine=_machine(given, folder),
        judge={key: _plain(given[key]) for key in judge_names if key in given},
        **shown,
    )
    return settings, every_s


def _given(settings: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for each in settings:
        key, equals, value = each.partition("=")
        if not equals or not value:
            raise GatewiseError(f"--set takes KEY=VALUE, not {each!r}")
        found[key.strip()] = value.strip()
    return found


def _number(key: str, text: str, kind: type) -> Any:
    try:
        return kind(text)
    except ValueError:
        what = "a whole number" if kind is int else "a number"
        raise GatewiseError(f"{key} must be {what}, not {text!r}") from None


def _plain(text: str) -> Any:
    """A value as JSON has it; a list with commas; else the text."""
    if "," in text:
        return [_plain(part) for part in text.split(",")]
    try:
        return json.loads(text)
    except ValueError:
        return text


def _machine(given: dict[str, str], folder: Path) -> Any:
    """What the meter runs on: as given, over what the server has written down; None where nobody said."""
    from gatewise import monitor

    found: dict[str, Any] = dict(monitor.kept_settings(folder).get("machine", {}))
    for key, kind in MACHINE.items():
        if key in given:
            found[key] = _threads(given[key]) if key == "threads" else _number(key, given[key], kind)
    if not found:
        return None
    if "cores" not in found:
        raise GatewiseError("a cost needs the machine's cores: --set cores=2")
    unknown = [key for key in found if key not in MACHINE]
    if unknown:
        raise unknown_name("setting of the machine", unknown[0], MACHINE)
    return monitor.Machine(**found)


def _threads(text: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for part in text.split(","):
        version, colon, count = part.rpartition(":")
        if not colon or not version or not count.isdigit():
            raise GatewiseError(f"threads are given as VERSION:COUNT,VERSION:COUNT, such as v1:1,v2:2, not {text!r}")
        found[version] = int(count)
    return found
