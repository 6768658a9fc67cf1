"""Drift: whether what a served version is asked, and what it answers, is still what it was in training."""

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._drift_bets import Bets, Ranks
from ._drift_blocks import Thinning
from ._drift_words import Moved, moved, sentence
from ._record import Record
from ._reference import Reference

FEWEST_SHOWN = 8
CHECK_EVERY = 16
"""After how many used values the likeness of neighbours is looked at again."""


@dataclass(frozen=True, kw_only=True)
class DriftSettings:
    """How drift is watched.

    Attributes:
        false_alarm_every: at most one false alarm is expected in so many records, over all features together.
        least_gap: no alarm where the distributions differ by less than this share at every point (the largest distance
            of the two cumulative distributions): too small to matter, however certain.
        window: of how many recent records the movement is described at most.
        thin: whether to use only every g-th record where neighbours are alike, g found from the stream. Switch it off
            only for values that are known to be independent.
        seed: of the random ties between equal values.
    """

    false_alarm_every: float = 10_000_000.0
    least_gap: float = 0.05
    window: int = 1000
    thin: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if not self.false_alarm_every >= 100.0:
            raise GatewiseError("false_alarm_every is the records per false alarm, at least 100")
        if not 0.0 <= self.least_gap < 1.0:
            raise GatewiseError("least_gap is a share, from 0 to below 1")
        if self.window < 100:
            raise GatewiseError("window is a number of records, at least 100")


@dataclass(frozen=True, kw_only=True)
class Drift:
    """One feature as it stands.

    Attributes:
        feature: its name. `n`: values used so far, every `gap`-th record's.
        strength: the evidence, as a share of what an alarm takes, on a log scale: 0 none, 1 or more an alarm.
        alarmed: whether it has raised its alarm.
        recent: how many recent values the movement is of. `moved`: how far; None while there are fewer than 8.
    """

    feature: str
    n: int
    gap: int
    strength: float
    alarmed: bool
    recent: int
    moved: Moved | None


class FeatureWatch:
    """Drift of plain vectors of numbers against histograms; `DriftWatch` and the health of activations stand on it.

    Args:
        reference: the distributions. `settings`: the false-alarm rate and the rest.
        names: which of the reference's names, in the order of the vectors; all of them by default.
        matters: whether a feature's movement is large enough for an alarm; by default `least_gap` says.
    """

    def __init__(
        self,
        reference: Reference,
        settings: DriftSettings,
        names: Sequence[str] | None = None,
        matters: Callable[[int, Moved], bool] | None = None,
    ) -> None:
        self._matters = matters or (lambda _, now: now.gap >= settings.least_gap)
        self.names = tuple(reference.names if names is None else names)
        if not self.names:
            raise GatewiseError("a reference without features cannot be watched")
        self.settings = settings
        self._histograms = [reference.histogram(name) for name in self.names]
        self._ranks = Ranks(self._histograms, settings.seed)
        self._bets = Bets(d=len(self.names))
        self._thinning = Thinning(len(self.names))
        self._recent: deque[Sequence[float]] = deque(maxlen=settings.window)
        self._capital = np.zeros(len(self.names))
        self._alarmed = np.zeros(len(self.names), dtype=bool)
        self._over = np.zeros(len(self.names), dtype=bool)
        self._used = 0

    def warm(self, vectors: Sequence[Sequence[float]]) -> None:
        """Look at vectors of the reference, in the order in which they came, for how alike neighbours are."""
        x = np.asarray(vectors, dtype=np.float64)
        if not self.settings.thin or len(x) < 2:
            return
        # Ties are broken at random, or a constant would look like a trend.
        random = np.random.default_rng(self.settings.seed).random(x.shape)
        ranks = np.stack([np.lexsort((random[:, at], x[:, at])).argsort() for at in range(x.shape[1])], axis=1)
        p = (ranks + 0.5) / len(x)
        while True:
            for row in p[:: self._thinning.gap]:
                self._thinning.add(row)
            if not self._thinning.widen():
                return

    @property
    def threshold(self) -> float:
        """The capital at which a feature alarms."""
        return self.settings.false_alarm_every * len(self.names)

    def add(self, values: Sequence[float]) -> list[int]:
        """Take one vector. Returns which features have drifted now for the first time."""
        if len(values) != len(self.names):
            raise GatewiseError(f"{len(self.names)} values are watched, not {len(values)}")
        self._recent.append(values)
        if not self._thinning.use():
            return []
        self._used += 1
        p = self._ranks.add(values)
        self._thinning.add(p)
        self._capital = self._bets.add(p)
        over = (self._capital >= self.threshold) & ~self._alarmed
        due = self._used % CHECK_EVERY == 0 or bool((over & ~self._over).any())
        self._over = over
        if due and self.settings.thin and self._thinning.widen():
            self._restart()
            return []
        if not due or not over.any() or (self.settings.thin and not self._thinning.enough):
            return []
        found = [int(index) for index in np.flatnonzero(over) if self._large(int(index))]
        self._alarmed[found] = True
        return found

    def _restart(self) -> None:
        self._bets.restart()
        self._capital = np.zeros(len(self.names))
        self._over[:] = False

    def _large(self, index: int) -> bool:
        now = self.describe(index)
        return now is not None and self._matters(index, now)

    def recent(self, index: int) -> list[float]:
        """The values since the change seems to have begun, at least `FEWEST_SHOWN` and at most a window of them."""
        length = max(self._bets.began(index) * self._thinning.gap, FEWEST_SHOWN)
        return [each[index] for each in self._recent][-length:]

    def describe(self, index: int) -> Moved | None:
        """How far a feature has moved, by its recent values."""
        values = self.recent(index)
        return moved(self._histograms[index], values) if len(values) >= FEWEST_SHOWN else None

    def drifts(self) -> list[Drift]:
        """Every feature as it stands, the strongest evidence first."""
        strengths = np.log1p(self._capital) / np.log1p(self.threshold)
        found = [
            Drift(
                feature=name,
                n=self._used,
                gap=self._thinning.gap,
                strength=round(float(strengths[index]), 4),
                alarmed=bool(self._alarmed[index]),
                recent=len(self.recent(index)),
                moved=self.describe(index),
            )
            for index, name in enumerate(self.names)
        ]
        return sorted(found, key=lambda each: (not each.alarmed, -each.strength, each.feature))

    def rearm(self) -> None:
        """Begin anew after alarms were dealt with: what has been seen since becomes part of what is normal."""
        self._alarmed[:] = False
        self._restart()


class DriftWatch:
    """Drift of the inputs and outputs of one version, one record after the other.

    Each feature of the reference alarms at most once until `rearm`; at most one false alarm is expected in
    `settings.false_alarm_every` records, however often one looks, as long as the records used are exchangeable with the
    reference's where nothing drifts. The live records of the version alone are looked at: of a shadow pair both have
    the same inputs.

    Args:
        reference: what training or validation data looked like. `model`, `version`: whose records count.
        settings: the rate of false alarms and the rest. `replay`: the command that shows the alarm again.
    """

    def __init__(
        self, reference: Reference, *, model: str, version: str, settings: DriftSettings | None = None, replay: str = ""
    ) -> None:
        self.model, self.version, self.replay = model, version, replay
        self._reference = reference
        self._watch = FeatureWatch(reference, settings or DriftSettings())

    def add(self, record: Record) -> list[Alarm]:
        """Take one record; those of other versions and those that were not answered are passed over."""
        if record.model != self.model or record.version != self.version or record.status != "ok":
            return []
        found = self._watch.add(self._reference.values(record))
        return [self._alarm(index, record.at_ns) for index in found]

    def _alarm(self, index: int, at_ns: int) -> Alarm:
        name = self._watch.names[index]
        now = self._watch.describe(index)
        assert now is not None  # only what could be described alarms
        state = next(each for each in self._watch.drifts() if each.feature == name)
        evidence: dict[str, Any] = {
            "feature": name,
            "of": "input" if name.startswith("input ") else "output",
            "n": state.n,
            "every": state.gap,
            "strength": state.strength,
            "false_alarm_every": self._watch.settings.false_alarm_every,
            "recent": state.recent,
            **asdict(now),
        }
        return Alarm(
            kind="drift",
            model=self.model,
            version=self.version,
            at_ns=at_ns,
            summary=sentence(name, now),
            evidence=evidence,
            replay=self.replay,
        )

    def drifts(self) -> list[dict[str, Any]]:
        """Every feature as it stands, as JSON values, the strongest evidence first."""
        whose = {"model": self.model, "version": self.version}
        return [whose | asdict(each) for each in self._watch.drifts()]

    def rearm(self) -> None:
        """Begin anew after alarms were dealt with."""
        self._watch.rearm()
