"""How a service stands, from what it wrote down: one JSON document, `gatewise.monitor/1`.

The judge and the watches read the records from the first one on, so that the same folder gives the same alarms however
often it is looked at. What is summed up (traffic, latency, cost) is a window: the newest records.
"""

import sys
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._alarm import Alarm
from ._cost import Machine, Meter
from ._cost_json import bill_json
from ._record import Label, Record
from ._status_labels import explained, labelled
from ._status_moves import models, moves
from ._status_plain import plain
from ._status_sources import check_folder, command, read, replay, watchers
from ._status_told import told_alarms
from ._status_traffic import slim, streams, timeline, traffic, window_of
from ._status_words import headline

SCHEMA = "gatewise.monitor/1"


@dataclass(frozen=True, kw_only=True)
class StatusSettings:
    """What is looked at.

    Attributes:
        model: only this one; None for all.
        since_ns, until_ns: what is summed up begins, and everything ends, at this Unix time; both inclusive.
        limit: the most records that are summed up, the newest ones.
        confidence: of the intervals of percentiles and of the accuracy.
        buckets: parts of the window in the timeline.
        machine: what the meter runs on; None for no cost.
        judge: settings of the judge by name; what is not given is as the server was told, else as by default.
    """

    model: str | None = None
    since_ns: int | None = None
    until_ns: int | None = None
    limit: int = 200_000
    confidence: float = 0.95
    buckets: int = 48
    machine: Machine | None = None
    judge: Mapping[str, Any] | None = None

    def __post_init__(self) -> None:
        if not 0 < self.confidence < 1:
            raise GatewiseError(f"confidence must lie between 0 and 1, not {self.confidence!r}")
        for name in ("limit", "buckets"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int) or value < 1:
                raise GatewiseError(f"{name} must be a whole number of 1 or more, not {value!r}")
        if self.since_ns is not None and self.until_ns is not None and self.since_ns >= self.until_ns:
            raise GatewiseError(f"since must lie before until: {self.since_ns} and {self.until_ns}")


def status(folder: str | Path, settings: StatusSettings | None = None) -> dict[str, Any]:
    """How the service that writes its records into `folder` stands.

    Raises:
        GatewiseError: no such folder, one without records, a model that is not in it.
    """
    folder = Path(folder)
    check_folder(folder)
    asked = settings or StatusSettings()
    notes: list[str] = []
    entries = read(folder, until_ns=asked.until_ns, damaged=notes.append)
    return status_of(entries, asked, folder=str(folder), notes=notes)


def status_of(
    entries: Iterable[Record | Label], settings: StatusSettings, *, folder: str, notes: Sequence[str] = ()
) -> dict[str, Any]:
    """The same, of records and labels at hand, in the order in which they were written."""
    reader = StatusReader(settings, folder=folder)
    for each in entries:
        reader.add(each)
    return reader.document(notes)


class StatusReader:
    """Takes records and labels as they come, and says at any time how things stand.

    The judge sees all of them, those of other models too: what it finds does not depend on what is shown.
    """

    def __init__(self, settings: StatusSettings, *, folder: str) -> None:
        self.settings, self.folder = settings, folder
        self._watchers = watchers(folder, settings.judge)
        self._kept: deque[Record] = deque(maxlen=settings.limit)
        self._labels: dict[tuple[str, int], float] = {}
        self._alarms: list[Alarm] = []
        self._names: set[str] = set()
        self._read = 0
        self._until_ns = sys.maxsize if settings.until_ns is None else settings.until_ns
        self._since_ns = -sys.maxsize if settings.since_ns is None else settings.since_ns

    def add(self, each: Record | Label) -> None:
        """Take the next one."""
        if isinstance(each, Label):
            self._raised(self._watchers.label(each))
            if each.at_ns <= self._until_ns:
                self._labels.setdefault((each.request, each.row), each.value)
            return
        self._raised(self._watchers.add(each))
        self._names.add(each.model)
        if each.at_ns <= self._until_ns and self.settings.model in (None, each.model):
            self._read += 1
            if each.at_ns >= self._since_ns:
                self._kept.append(slim(each))

    def _raised(self, alarms: Iterable[Alarm]) -> None:
        self._alarms += self._shown(alarms)

    def _shown(self, alarms: Iterable[Alarm]) -> list[Alarm]:
        """Those that were asked for, with the command that comes to them again from this very folder."""
        return [
            replace(alarm, replay=replay(self.folder, alarm))
            for alarm in alarms
            if alarm.at_ns <= self._until_ns and self.settings.model in (None, alarm.model)
        ]

    def document(self, notes: Sequence[str] = ()) -> dict[str, Any]:
        """The status as it stands. Raises `GatewiseError` where the model asked for is in no record."""
        asked, kept, folder = self.settings, self._kept, Path(self.folder)
        if asked.model is not None and self._names and asked.model not in self._names:
            raise unknown_name("model", asked.model, self._names)
        window, found = window_of(kept, asked.since_ns), streams(kept)
        said = list(notes)
        known = moves(folder, self._until_ns, said.append)
        alarms = [*self._alarms, *self._shown(told_alarms(folder, self._alarms, said.append))]
        document: dict[str, Any] = {
            "schema": SCHEMA,
            "folder": self.folder,
            "replay": command(self.folder, asked.model, asked.until_ns),
            "registry": self._watchers.registry,
            "asked": {"model": asked.model, "since_ns": asked.since_ns, "until_ns": asked.until_ns},
            "confidence": asked.confidence,
            "records": self._read,
            "labels": len(self._labels),
            "window": _window(window, len(kept), asked.limit, self._read),
            "models": models(kept, known.aliases),
            "traffic": [traffic(each, held, window, asked.confidence) for each, held in found.items()]
            if window
            else [],
            "timeline": timeline(found, window, asked.buckets) if window else None,
            "comparisons": explained(_of(asked.model, self._watchers.comparisons()) or [], found),
            "alarms": sorted(alarms, key=lambda alarm: alarm.at_ns),
            "drift": _of(asked.model, self._watchers.drift()),
            "health": _of(asked.model, self._watchers.health(self._until_ns)),
            "labelled": labelled(found, self._labels, asked.confidence),
            "cost": _cost(kept, window, asked.machine) if window else None,
            "notes": [*said, *self._watchers.notes],
        }
        document = plain(document)
        return document | headline(document, known)


def _window(window: tuple[int, int] | None, kept: int, limit: int, read: int) -> dict[str, Any] | None:
    if window is None:
        return None
    return {"start_ns": window[0], "end_ns": window[1], "records": kept, "cut": kept == limit < read}


def _of(model: str | None, found: list[Any] | None) -> list[Any] | None:
    """The entries of a model; all of them where none is named."""
    return found if found is None or model is None else [each for each in found if each["model"] == model]


def _cost(records: Iterable[Record], window: tuple[int, int], machine: Machine | None) -> dict[str, Any] | None:
    if machine is None:
        return None
    meter = Meter(machine, start_ns=window[0], end_ns=window[1])
    for record in records:
        meter.add(record)
    return bill_json(meter.bill())
