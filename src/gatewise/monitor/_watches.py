"""The watches over single versions, alike while a server runs and when its records are read again."""

from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._drift import DriftSettings, DriftWatch
from ._errors import ErrorSettings, ErrorWatch
from ._estimate import FEWEST, Estimator
from ._estimate_watch import AccuracyWatch
from ._record import Label, Record
from ._reference import Reference

REFERENCES = "references"
KEPT = 20_000
"""Predictions that wait for their labels while the estimate learns."""

Key = tuple[str, str]
"""A model and a version."""


@dataclass(frozen=True, kw_only=True)
class WatchSettings:
    """Which watches run over each version.

    Attributes:
        drift: how drift is watched, where `references/MODEL/VERSION.json` in the folder says what is normal.
        errors: what share of requests may fail; None for no such watch.
        learn_reference: where there is no reference, make one of the first so many live records; 0: do not.
        learn_estimate: estimate the accuracy, learnt from the first so many labelled live predictions; 0: do not.
    """

    drift: DriftSettings = field(default_factory=DriftSettings)
    errors: ErrorSettings | None = None
    learn_reference: int = 0
    learn_estimate: int = 0

    def __post_init__(self) -> None:
        for name, least in (("learn_reference", 100), ("learn_estimate", FEWEST)):
            value = getattr(self, name)
            if type(value) is not int or (value and value < least):
                raise GatewiseError(f"{name} is a number from {least} up, or 0 for none, not {value!r}")


@dataclass(kw_only=True)
class _Version:
    """What watches one version, and what is being learnt of it."""

    drift: DriftWatch | None = None
    after_ns: int = 0
    errors: ErrorWatch | None = None
    estimate: AccuracyWatch | None = None
    learning: list[Record] | None = None
    predicted: OrderedDict[tuple[str, int], tuple[float, float]] | None = None
    labelled: list[tuple[float, bool]] = field(default_factory=list[tuple[float, bool]])


class Watches:
    """Drift, failures, and estimated accuracy of each version that has records.

    Args:
        folder: the records' folder. `settings`: which watches.
        note: is told, in a line, why something is not watched.
    """

    def __init__(
        self, folder: str | Path, settings: WatchSettings | None = None, *, note: Callable[[str], object] | None = None
    ) -> None:
        self._folder = Path(folder)
        self._settings = settings or WatchSettings()
        self._note = note
        self._versions: dict[Key, _Version] = {}

    def add(self, record: Record) -> list[Alarm]:
        """Take one record. A shadow answers nobody: its failures are the judge's, and its inputs are live's."""
        key = (record.model, record.version)
        held = self._versions.get(key)
        if held is None:
            held = self._versions[key] = self._begin(*key)
        alarms: list[Alarm] = []
        if record.role != "shadow" and held.errors is not None:
            alarms += held.errors.add(record)
        if record.role != "live" or record.status != "ok":
            return alarms
        if held.drift is not None and record.at_ns > held.after_ns:
            alarms += held.drift.add(record)
        if held.learning is not None:
            self._learn(held, record)
        if held.estimate is not None:
            alarms += held.estimate.add(record)
        elif held.predicted is not None:
            _expect(held.predicted, record)
        return alarms

    def label(self, label: Label) -> list[Alarm]:
        """Take one label."""
        alarms: list[Alarm] = []
        for key, held in self._versions.items():
            if held.estimate is not None:
                alarms += held.estimate.label(label)
            elif held.predicted is not None:
                self._estimate(key, held, label)
        return alarms

    def _begin(self, model: str, version: str) -> _Version:
        held = _Version()
        reference = self.reference(model, version)
        if reference is not None:
            self._follow(held, reference, model, version)
        elif self._settings.learn_reference:
            held.learning = []
        if self._settings.errors is not None:
            held.errors = ErrorWatch(model=model, version=version, settings=self._settings.errors)
        if self._settings.learn_estimate:
            held.predicted = OrderedDict()
        return held

    def _follow(self, held: _Version, reference: Reference, model: str, version: str) -> None:
        held.after_ns = reference.after_ns
        held.drift = DriftWatch(reference, model=model, version=version, settings=self._settings.drift)

    def _path(self, model: str, version: str) -> Path | None:
        """Where a version's reference lies; None for a name that leads out of the folder."""
        path = self._folder / REFERENCES / model / f"{version}.json"
        return path if path.resolve().is_relative_to((self._folder / REFERENCES).resolve()) else None

    def reference(self, model: str, version: str) -> Reference | None:
        """A version's reference as it is written down; None where there is none that can be read."""
        path = self._path(model, version)
        if path is None or not path.is_file():
            return None
        try:
            return Reference.from_json(path.read_text("utf-8"))
        except (GatewiseError, OSError, UnicodeDecodeError) as error:
            self._tell(f"{path} cannot be read, the drift of {model} {version} is not watched: {error}")
            return None

    def _learn(self, held: _Version, record: Record) -> None:
        """The first live records become the reference. What came before its last one is never compared with it."""
        assert held.learning is not None
        held.learning.append(record)
        if len(held.learning) < self._settings.learn_reference:
            return
        learnt, held.learning = held.learning, None
        try:
            reference = replace(Reference.of(learnt), after_ns=max(each.at_ns for each in learnt))
            self.put(record.model, record.version, reference)
        except GatewiseError as error:
            self._tell(f"the drift of {record.model} {record.version} is not watched: {error}")
            return
        self._follow(held, reference, record.model, record.version)

    def put(self, model: str, version: str, reference: Reference) -> None:
        """Write down a version's reference, from where this watch and later ones take it.

        Raises `GatewiseError` where it cannot be written.
        """
        path = self._path(model, version)
        if path is None:
            raise GatewiseError(f"there is no place for a reference of {model!r} {version!r}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            beside = path.with_suffix(".tmp")
            beside.write_text(reference.to_json(), encoding="utf-8")
            beside.replace(path)
        except OSError as error:
            raise GatewiseError(f"cannot write {path}: {error.strerror}") from error

    def _estimate(self, key: Key, held: _Version, label: Label) -> None:
        assert held.predicted is not None
        found = held.predicted.pop((label.request, label.row), None)
        if found is None:
            return
        held.labelled.append((found[1], found[0] == label.value))
        if len(held.labelled) < self._settings.learn_estimate:
            return
        held.predicted = None
        try:
            estimator = Estimator([each for each, _ in held.labelled], [right for _, right in held.labelled])
        except GatewiseError as error:
            self._tell(f"the accuracy of {key[0]} {key[1]} is not estimated: {error}")
            return
        held.estimate = AccuracyWatch(estimator, model=key[0], version=key[1])

    def _tell(self, line: str) -> None:
        if self._note is not None:
            self._note(line)

    def drift(self) -> list[dict[str, Any]]:
        """Every feature that is watched, as JSON values."""
        return [each for held in self._versions.values() if held.drift is not None for each in held.drift.drifts()]

    def estimates(self) -> Mapping[Key, dict[str, Any]]:
        """The estimated accuracy of each version that has one, as JSON values."""
        return {key: held.estimate.state() for key, held in self._versions.items() if held.estimate is not None}


def _expect(predicted: OrderedDict[tuple[str, int], tuple[float, float]], record: Record) -> None:
    if len(record.confidences) != len(record.predictions):
        return
    for row, pair in enumerate(zip(record.predictions, record.confidences, strict=True)):
        if 0.0 <= pair[1] <= 1.0:
            predicted.setdefault((record.request, row), pair)
    while len(predicted) > KEPT:
        predicted.popitem(last=False)
