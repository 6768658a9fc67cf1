"""Where a status comes from: the records and labels of a folder, the judge, and the watches."""

import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._alarm import Alarm
from ._drift import DriftSettings
from ._errors import ErrorSettings
from ._record import Label, Record
from ._status_kept import kept_settings
from ._status_told import kept_health
from ._watches import Watches, WatchSettings

HOUR_NS = 3600 * 10**9


def check_folder(folder: Path) -> None:
    """Raises `GatewiseError` where there is no such folder."""
    if not folder.is_dir():
        what = "is a file" if folder.exists() else "does not exist"
        raise GatewiseError(f"{folder} {what}\na folder of records is needed: the one that the server writes to")


def read(folder: Path, *, until_ns: int | None, damaged: Callable[[str], None]) -> Iterator[Record | Label]:
    """What is in a folder, in the order in which it was written, which is the order in which it was judged.

    Records are written when they are done, so that some are later in the log than others that arrived after them.
    With `until_ns` all is read up to the last entry that is not later than that: whatever was judged by then had been
    written by then. An entry that was written more than an hour after its time came too late for that.

    Raises:
        GatewiseError: there are no records in it.
    """
    from ._log_read import read_entries

    last = None
    if until_ns is not None:
        last = 0
        for entry in read_entries(folder, damaged=lambda _: None):
            if entry.item.at_ns > until_ns + HOUR_NS:
                break
            if entry.item.at_ns <= until_ns:
                last = entry.number
    for entry in read_entries(folder, damaged=damaged):
        if last is not None and entry.number > last:
            return
        yield entry.item


class Watchers:
    """The judge and the watches over one folder, and what each of them says.

    A version's drift is watched where `references/MODEL/VERSION.json` in the folder says what is normal.
    """

    def __init__(self, judge: Any, folder: Path, kept: Mapping[str, Mapping[str, Any]] | None = None) -> None:
        held = kept or {}
        self._judge, self._folder = judge, folder
        self.registry: str | None = held.get("service", {}).get("registry")
        self.notes: list[str] = []
        self._watches = Watches(folder, _watched(held), note=self.notes.append)

    def add(self, record: Record) -> list[Alarm]:
        """Show a record to all of them."""
        return [*self._judge.add(record), *self._watches.add(record)]

    def label(self, label: Label) -> list[Alarm]:
        """Show a label to all of them."""
        return [*self._judge.label(label), *self._watches.label(label)]

    def comparisons(self) -> list[Any]:
        """The judge's, as they stand."""
        return [each.json() if hasattr(each, "json") else each for each in self._judge.comparisons()]

    def drift(self) -> list[Any] | None:
        """Every feature that is watched; None where none is."""
        return self._watches.drift() or None

    def health(self, until_ns: int) -> list[Any] | None:
        """What the server wrote down of the activations last, which no record holds; None where it did not."""
        return kept_health(self._folder, until_ns)


def _watched(kept: Mapping[str, Mapping[str, Any]]) -> WatchSettings:
    """The watches that a server was told to run. What it learnt of its first traffic is a file by now."""
    try:
        return WatchSettings(
            drift=DriftSettings(**kept.get("drift", {})),
            errors=ErrorSettings(**kept["errors"]) if "errors" in kept else None,
            learn_estimate=kept.get("estimate", {}).get("learn", 0),
        )
    except TypeError as error:
        raise GatewiseError(f"the settings that are kept in the folder are of another version: {error}") from error


BUDGET = ("one_in", "requests_per_s", "share", "started")
"""A false-alarm rate in people's words: one in a year, at so many requests a second."""


def judge_names() -> tuple[str, ...]:
    """What the judge may be told, by name."""
    from ._live_settings import LiveSettings

    return (*(each.name for each in fields(LiveSettings) if each.name != "folder"), *BUDGET)


def watchers(folder: str, judge: Mapping[str, Any] | None) -> Watchers:
    """The judge with these settings over those that the folder keeps, and the watches."""
    from ._live import LiveJudge

    kept = kept_settings(Path(folder))
    return Watchers(LiveJudge(live_settings(kept.get("judge", {}) | dict(judge or {}))), Path(folder), kept)


def live_settings(told: Mapping[str, Any]) -> Any:
    """The judge's settings by name. Raises `GatewiseError` for one that nobody knows, or that cannot be."""
    from ._budget import FalseAlarmBudget
    from ._live_settings import LiveSettings

    for name in told:
        if name not in judge_names():
            raise unknown_name("setting of the judge", name, judge_names())
    plain: dict[str, Any] = {key: value for key, value in told.items() if key not in BUDGET}
    if "metrics" in plain:
        plain["metrics"] = (
            tuple(plain["metrics"]) if isinstance(plain["metrics"], list | tuple) else (plain["metrics"],)
        )
    settings = LiveSettings(**plain)
    budget = {key: told[key] for key in BUDGET if key in told}
    if not budget:
        return settings
    if not {"one_in", "requests_per_s"} <= budget.keys():
        raise GatewiseError(
            "a false-alarm rate takes both: one_in=year requests_per_s=20 (share and started may follow)"
        )
    return settings.within(FalseAlarmBudget.one_in(budget.pop("one_in"), **budget))


def replay(folder: str, alarm: Alarm) -> str:
    """The command that comes to the same alarm from the stored records."""
    return command(folder, alarm.model, alarm.at_ns)


def command(folder: str, model: str | None, until_ns: int | None) -> str:
    """The command that looks at a folder as it was then."""
    words = ["gatewise", "monitor", folder]
    words += [] if model is None else ["--model", model]
    words += [] if until_ns is None else ["--until", str(until_ns)]
    return shlex.join(words)
