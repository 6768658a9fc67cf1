"""The judge on live traffic: pairs of a shadow, the unpaired requests of a canary, and the labels that come later."""

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

from ._alarm import Alarm
from ._labels import Item, LabelCounts, LabelJoin
from ._live_canary import CanaryComparison
from ._live_pair import PairComparison, disputed, seconds
from ._live_report import LiveComparison, Subjects
from ._live_settings import LiveSettings
from ._record import Label, Record

KEPT = 8
"""Comparisons of versions that are gone that a judge remembers, for each model."""


@dataclass(slots=True)
class _Limit:
    """Where the tail begins: a quantile of the first times of the live version, fixed for those after them."""

    first_s: list[float] = field(default_factory=list[float])
    limit_s: float | None = None
    at_ns: int = 0

    def learn(self, seconds: float, at_ns: int, settings: LiveSettings) -> None:
        if self.limit_s is not None:
            return
        self.first_s.append(seconds)
        if len(self.first_s) >= settings.tail_window:
            above = round(settings.tail_share * len(self.first_s))
            self.limit_s, self.at_ns = sorted(self.first_s)[-above - 1], at_ns
            self.first_s = []

    def after(self, at_ns: int) -> float | None:
        """The limit for what came later than all that it was learnt from: what had a part in it may not be judged."""
        return self.limit_s if at_ns > self.at_ns else None


@dataclass(slots=True)
class _Model:
    """What is known of one model: who serves it, who waits for a partner, where the tail begins.

    Attributes:
        limit: of the times of live's answers. beside: of those of its copy beside the shadow.
    """

    live: Record | None = None
    canary: Record | None = None
    waiting: OrderedDict[str, Record] = field(default_factory=OrderedDict[str, Record])
    paired: OrderedDict[str, None] = field(default_factory=OrderedDict[str, None])
    limit: _Limit = field(default_factory=_Limit)
    beside: _Limit = field(default_factory=_Limit)


class LiveJudge:
    """Judges versions while they serve. Memory is bounded; the same records and labels give the same verdicts.

    Pairs are joined by the request's id, whichever of the two records comes first. A new digest on either side begins a
    new comparison, with evidence of its own. An alarm is raised once for each metric and question of a comparison.

    Args:
        settings: levels, margins and limits, fixed before the traffic.
    """

    def __init__(self, settings: LiveSettings | None = None) -> None:
        self.settings = settings if settings is not None else LiveSettings()
        self._models: dict[str, _Model] = {}
        self._pairs: OrderedDict[Subjects, PairComparison] = OrderedDict()
        self._canaries: OrderedDict[Subjects, CanaryComparison] = OrderedDict()
        self._paired_labels = self._join()
        self._canary_labels = self._join()
        self._unpaired = self._repeated = 0

    def _join(self) -> LabelJoin:
        return LabelJoin(most=self.settings.waiting, within_s=self.settings.labels_within_s)

    def add(self, record: Record) -> list[Alarm]:
        """Take a record; returns the alarms that it raises."""
        model = self._models.get(record.model)
        if model is None:
            model = self._models[record.model] = _Model()
        raised: list[Alarm] = []
        if self.settings.labels_within_s is not None:
            raised = self._settled([*self._paired_labels.tick(record.at_ns), *self._canary_labels.tick(record.at_ns)])
        if record.role == "live":
            if model.live is None or model.live.digest != record.digest:
                model.limit, model.beside = _Limit(), _Limit()
            model.live = record
        elif record.role == "canary":
            model.canary = record
        limit_s = self.settings.tail_limit_s or model.limit.limit_s
        if record.role != "shadow" and model.canary is not None and model.live is not None:
            raised.extend(self._canary(model.live, model.canary, record, limit_s))
        if record.role != "canary":
            raised.extend(self._pair(model, record))
        if self.settings.tail_limit_s is None and record.status == "ok":
            if record.role == "live":
                model.limit.learn(seconds(record, self.settings), record.at_ns, self.settings)
            elif record.role == "shadow" and record.beside_s:
                model.beside.learn(record.beside_s, record.at_ns, self.settings)
        return raised

    def _pair(self, model: _Model, record: Record) -> list[Alarm]:
        other = model.waiting.get(record.request)
        if record.request in model.paired or (other is not None and other.role == record.role):
            self._repeated += 1
            return []
        if other is None:
            model.waiting[record.request] = record
            if len(model.waiting) > self.settings.waiting:
                _, gone = model.waiting.popitem(last=False)
                self._unpaired += gone.first is not None or gone.role == "shadow"
            return []
        del model.waiting[record.request]
        model.paired[record.request] = None
        if len(model.paired) > self.settings.waiting:
            model.paired.popitem(last=False)
        live, shadow = (record, other) if record.role == "live" else (other, record)
        learnt = model.limit if shadow.beside_s is None else model.beside
        return self._judge(live, shadow, self.settings.tail_limit_s or learnt.after(live.at_ns))

    def _judge(self, live: Record, shadow: Record, limit_s: float | None) -> list[Alarm]:
        subjects = Subjects.of(live, shadow, "shadow")
        comparison = self._pairs.get(subjects)
        if comparison is None:
            comparison = self._pairs[subjects] = PairComparison(subjects, self.settings)
            _forget(self._pairs, subjects.model)
        raised = comparison.add(live, shadow, limit_s)
        both = live.status == shadow.status == "ok" and bool(live.predictions) and bool(shadow.predictions)
        if both and "accuracy" in self.settings.metrics:
            rows = disputed(live, shadow, self.settings.tolerance)
            if rows:
                raised += self._settled(self._paired_labels.expect(comparison, live.request, live.at_ns, rows, rows))
            else:
                comparison.same()
                self._paired_labels.pass_over(live.request)
        return raised

    def _canary(self, live: Record, canary: Record, record: Record, limit_s: float | None) -> list[Alarm]:
        subjects = Subjects.of(live, canary, "canary")
        comparison = self._canaries.get(subjects)
        if comparison is None:
            comparison = self._canaries[subjects] = CanaryComparison(subjects, self.settings)
            _forget(self._canaries, subjects.model)
        raised = comparison.add(record, limit_s)
        if record.status == "ok" and record.predictions and "accuracy" in self.settings.metrics:
            payload = (record.predictions, record.role == "canary")
            rows = range(len(record.predictions))
            raised += self._settled(self._canary_labels.expect(comparison, record.request, record.at_ns, payload, rows))
        return raised

    def label(self, label: Label) -> list[Alarm]:
        """Take a label; returns the alarms that it raises."""
        settled = self._paired_labels.label(label)
        if self._canaries:
            settled += self._canary_labels.label(label)
        return self._settled(settled)

    def _settled(self, items: list[Item]) -> list[Alarm]:
        raised: list[Alarm] = []
        for item in items:
            if isinstance(item.key, (PairComparison, CanaryComparison)):
                raised += item.key.settle(item)
        return raised

    def finish(self) -> list[Alarm]:
        """Wait for no more labels: settle what waits, in order, with what came."""
        return self._settled([*self._paired_labels.finish(), *self._canary_labels.finish()])

    def comparisons(self) -> list[LiveComparison]:
        """Every metric of every comparison as it stands, the oldest comparison first."""
        every: list[PairComparison | CanaryComparison] = [*self._pairs.values(), *self._canaries.values()]
        return [found for comparison in every for found in comparison.comparisons()]

    def labels(self) -> LabelCounts:
        """What became of the labels that met shadow pairs."""
        return self._paired_labels.counts()

    def pairing(self) -> dict[str, int]:
        """Records that wait for a partner, were given up without one, or came twice."""
        waiting = sum(len(model.waiting) for model in self._models.values())
        return {"waiting": waiting, "unpaired": self._unpaired, "repeated": self._repeated}


def _forget(kept: OrderedDict[Subjects, Any], model: str) -> None:
    mine = [subjects for subjects in kept if subjects.model == model]
    if len(mine) > KEPT:
        del kept[mine[0]]
