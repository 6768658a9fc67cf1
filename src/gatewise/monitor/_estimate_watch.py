"""The estimated accuracy of a version, window by window, and whether labels bear the estimates out."""

from collections import OrderedDict
from dataclasses import asdict, dataclass, field
from typing import Any

from gatewise.core import GatewiseError

from ._alarm import Alarm
from ._estimate import FEWEST, Estimate, Estimator
from ._record import Label, Record

MISS = 0.05
"""How often a 95 % interval may miss."""
STAKE = 0.25
REFUTED_AT = 100.0
"""At most one of so many scored windows is expected to end the trust in estimates that are right."""


@dataclass(frozen=True, kw_only=True)
class EstimateSettings:
    """How accuracy is estimated.

    Attributes:
        window: predictions of a window, in the order in which they came.
        score_at: labels of a window with which its estimate is scored, on the labelled predictions alone.
        keep: windows that wait for their labels.
    """

    window: int = 500
    score_at: int = 100
    keep: int = 50

    def __post_init__(self) -> None:
        if not FEWEST <= self.score_at <= self.window:
            raise GatewiseError(f"score_at is from {FEWEST} to window ({self.window})")
        if self.keep < 1:
            raise GatewiseError("keep is a number of windows, at least 1")


@dataclass(frozen=True, kw_only=True)
class Scored:
    """An estimate beside what labels said: the interval for the labelled predictions, and the share that was right."""

    low: float
    value: float
    high: float
    accuracy: float
    n: int
    missed: bool


@dataclass(kw_only=True)
class _Window:
    """Predictions by request and row: what was predicted, and with what confidence; and which were right."""

    predicted: dict[tuple[str, int], tuple[float, float]] = field(
        default_factory=dict[tuple[str, int], tuple[float, float]]
    )
    right: dict[tuple[str, int], bool] = field(default_factory=dict[tuple[str, int], bool])
    scored: bool = False


class AccuracyWatch:
    """Estimates accuracy from confidences, for classes; scores itself when labels come, in any order, doubled, or late.

    Each window whose labels have come is a bet: an estimate whose 95 % interval is right misses one time in twenty. Who
    stakes on misses gains where they are more; the sum of such bettors refutes the estimates at `REFUTED_AT`.

    Args:
        estimator: learnt from labelled data. `model`, `version`: whose records count.
        settings: windows. `replay`: the command that shows an alarm again.
    """

    def __init__(
        self,
        estimator: Estimator,
        *,
        model: str,
        version: str,
        settings: EstimateSettings | None = None,
        replay: str = "",
    ) -> None:
        self.model, self.version, self.replay = model, version, replay
        self.settings = settings or EstimateSettings()
        self.latest: Estimate | None = None
        self.scores: list[Scored] = []
        self._estimator = estimator
        self._capital = 0.0
        self._refuted = False
        self._windows: list[_Window] = [_Window()]
        self._home: dict[tuple[str, int], _Window] = {}
        self._early: OrderedDict[tuple[str, int], float] = OrderedDict()

    @property
    def trust(self) -> str:
        """`unchecked` before any labels, `holds` while they bear the estimates out, `refuted` once they did not."""
        if self._refuted:
            return "refuted"
        return "holds" if self.scores else "unchecked"

    def add(self, record: Record) -> list[Alarm]:
        """Take one record; those of other versions, and those without a confidence for each prediction, count not."""
        known = record.model == self.model and record.version == self.version and record.status == "ok"
        if not known or not record.predictions or len(record.confidences) != len(record.predictions):
            return []
        alarms: list[Alarm] = []
        for row, pair in enumerate(zip(record.predictions, record.confidences, strict=True)):
            key = (record.request, row)
            if key in self._home or not 0.0 <= pair[1] <= 1.0:
                continue
            window = self._windows[-1]
            window.predicted[key] = pair
            self._home[key] = window
            if len(window.predicted) == self.settings.window:
                self._finish(window)
            if key in self._early:
                alarms += self._label(key, self._early.pop(key), record.at_ns)
        return alarms

    def _finish(self, window: _Window) -> None:
        self.latest = self._estimator.estimate([confidence for _, confidence in window.predicted.values()])
        self._windows.append(_Window())
        while len(self._windows) > self.settings.keep + 1:
            for key in self._windows.pop(0).predicted:
                del self._home[key]

    def label(self, label: Label) -> list[Alarm]:
        """Take one label; the first of a prediction counts. One that comes before its record waits for it."""
        key = (label.request, label.row)
        if key in self._home:
            return self._label(key, label.value, label.at_ns)
        self._early.setdefault(key, label.value)
        while len(self._early) > self.settings.window * self.settings.keep:
            self._early.popitem(last=False)
        return []

    def _label(self, key: tuple[str, int], value: float, at_ns: int) -> list[Alarm]:
        window = self._home[key]
        if key in window.right:
            return []
        window.right[key] = window.predicted[key][0] == value
        if window.scored or len(window.right) < self.settings.score_at:
            return []
        window.scored = True
        estimate = self._estimator.estimate([window.predicted[each][1] for each in window.right])
        accuracy = sum(window.right.values()) / len(window.right)
        # The interval's ends are shares of n rounded by the bootstrap: half an answer is no miss.
        half = 0.5 / len(window.right)
        missed = not estimate.low - half <= accuracy <= estimate.high + half
        self.scores.append(
            Scored(
                low=estimate.low,
                value=estimate.value,
                high=estimate.high,
                accuracy=accuracy,
                n=len(window.right),
                missed=missed,
            )
        )
        del self.scores[:-1000]
        self._capital = (1.0 + STAKE * (missed / MISS - 1.0)) * (self._capital + 1.0)
        if self._refuted or self._capital < REFUTED_AT:
            return []
        self._refuted = True
        return [self._alarm(at_ns)]

    def _alarm(self, at_ns: int) -> Alarm:
        last = self.scores[-1]
        return Alarm(
            kind="estimate",
            model=self.model,
            version=self.version,
            at_ns=at_ns,
            summary=(
                f"the estimated accuracy is wrong: labels say {last.accuracy:.1%}, the estimate was {last.value:.1%} "
                f"({last.low:.1%} to {last.high:.1%}); it is no longer shown as trustworthy"
            ),
            evidence={
                "scored": len(self.scores),
                "missed": sum(each.missed for each in self.scores),
                "allowed": MISS,
                "capital": self._capital,
                "refuted_at": REFUTED_AT,
                "latest": asdict(last),
            },
            replay=self.replay,
        )

    def learn(self, estimator: Estimator) -> None:
        """Begin anew with an estimator that has learnt from newer labels."""
        self._estimator = estimator
        self.latest, self.scores, self._capital, self._refuted = None, [], 0.0, False

    def state(self) -> dict[str, Any]:
        """As it stands, as JSON values."""
        return {
            "trust": self.trust,
            "trusted": self.trust != "refuted",
            "estimate": None if self.latest is None else asdict(self.latest),
            "scored": len(self.scores),
            "missed": sum(each.missed for each in self.scores),
            "latest_score": asdict(self.scores[-1]) if self.scores else None,
        }
