"""One shadow against one live version: every metric of their pairs."""

import math
from collections.abc import Mapping
from typing import Any

from gatewise.core import Bets, Comparison, PairedEvidence, Rule, judge_counts

from ._alarm import Alarm
from ._labels import Item
from ._live_report import Finding, LiveComparison, Subjects, alarm
from ._live_settings import LiveSettings
from ._record import Record

SHARES = 256
"""Different shares of differing rows that are counted apart; then to the next 1 / 256."""


def agree(one: float, other: float, tolerance: float) -> bool:
    """Whether two predictions are the same, or a prediction is right."""
    return one == other or abs(one - other) <= tolerance


def count(counts: dict[float, float], value: float) -> None:
    """Count a value, on a grid once there are too many different ones."""
    key = value if value in counts or len(counts) < SHARES else round(value * SHARES) / SHARES
    counts[key] = counts.get(key, 0) + 1


class Shares:
    """Paired outcomes of one metric, x = arm - baseline in [-1, 1]: counts for the interval, signs for the evidence."""

    def __init__(self, rule: Rule, settings: LiveSettings, *, stated: float | None = None) -> None:
        self.rule, self.alpha = rule, settings.alpha
        self.bad = 1.0 if rule.direction == "lower" else -1.0
        self.counts: dict[float, float] = {}
        self.signs = PairedEvidence(rule, settings.alpha, stated=stated)

    def add(self, x: float) -> None:
        count(self.counts, x)
        if x != 0.0:
            self.signs.effect(self.bad * x)

    def comparison(self, counts: Mapping[float, float] | None = None) -> Comparison:
        """The interval of the mean, refused where what tells the versions apart follows itself."""
        found = judge_counts(self.counts if counts is None else counts, self.rule, self.alpha)
        if self.signs.level > 0 and found.verdict in ("better", "worse"):
            reason = "what tells the versions apart comes in bursts: pairs are no independent evidence"
            return self.rule.refuse(reason, alpha=self.alpha, n=found.n, method=found.method, estimate=found.estimate)
        return found

    @property
    def estimate(self) -> float:
        n = math.fsum(self.counts.values())
        return math.fsum(x * many for x, many in self.counts.items()) / n if n else 0.0

    def clear(self) -> bool:
        """Whether the estimate lies beyond the margin, on the bad side."""
        return self.bad * self.estimate > self.rule.margin


class PairComparison:
    """The evidence of all metrics of one shadow against one live version."""

    def __init__(self, subjects: Subjects, settings: LiveSettings) -> None:
        self.subjects, self.settings = subjects, settings
        latency = Rule(kind="ratio", direction="lower", margin=settings.latency_margin)
        self._latency = PairedEvidence(latency, settings.alpha, block=settings.block)
        stake = (settings.tail_odds - 1) / (settings.tail_odds + 1)
        accuracy = Rule(kind="difference", direction="higher", margin=settings.accuracy_margin)
        self._shares = {
            "tail": Shares(_lower(settings.tail_margin), settings, stated=stake),
            "errors": Shares(_lower(settings.errors_margin), settings),
            "accuracy": Shares(accuracy, settings),
        }
        self._questions = [("start", -math.log(settings.alpha))]
        if settings.run_length is not None:
            self._questions.append(("change", math.log(settings.run_length)))
        self._at_once = tuple(metric for metric in settings.metrics if metric != "accuracy")
        self._differing: dict[float, float] = {}
        self._too_often = Bets()
        self._limit_s: float | None = None
        self._disputed = self._labelled = 0
        self._left_out = 0
        self._same = 0.0  # pairs whose predictions agree throughout: no label can tell them apart
        self._alarmed: set[tuple[str, str]] = set()

    def add(self, live: Record, shadow: Record, limit_s: float | None) -> list[Alarm]:
        """Take a pair; `limit_s`: where the tail begins, if that is known by now."""
        asked = self.settings.metrics
        states = {live.status, shadow.status}
        if "refused" in states:  # nobody's fault that a version could be blamed for
            self._left_out += 1
            return []
        if "errors" in asked:
            self._shares["errors"].add(float(shadow.status == "error") - float(live.status == "error"))
        times = _times(live, shadow, self.settings)
        if times is not None and "latency" in asked and states == {"ok"}:
            self._latencies(*times)
        if times is not None and limit_s is not None and "tail" in asked and "error" not in states:
            self._limit_s = limit_s
            self._shares["tail"].add(float(times[1] > limit_s) - float(times[0] > limit_s))
        if states == {"ok"} and "disagreement" in asked and live.predictions:
            self._predictions(live, shadow)
        return self._alarms(max(live.at_ns, shadow.at_ns), self._at_once)

    def _latencies(self, live_s: float, shadow_s: float) -> None:
        if 0.0 < live_s < math.inf and 0.0 < shadow_s < math.inf:
            self._latency.add(live_s, shadow_s)
        else:
            self._left_out += 1

    def _predictions(self, live: Record, shadow: Record) -> None:
        x = len(disputed(live, shadow, self.settings.tolerance)) / max(len(live.predictions), len(shadow.predictions))
        count(self._differing, x)
        allowed = self.settings.allowed_disagreement
        self._too_often.add((x - allowed) / allowed)

    def same(self) -> None:
        """Count a pair whose predictions all agree: whatever its labels, it does not tell the versions apart."""
        self._same += 1

    def settle(self, item: Item) -> list[Alarm]:
        """Take a pair whose versions differ, with the labels that came."""
        assert isinstance(item.payload, dict)
        rows: dict[int, tuple[float, float]] = item.payload
        right = [
            (agree(mine, item.labels[row].value, self.settings.tolerance))
            - (agree(theirs, item.labels[row].value, self.settings.tolerance))
            for row, (theirs, mine) in rows.items()
            if row in item.labels
        ]
        self._disputed += 1
        if not right:
            return []
        self._labelled += 1
        self._shares["accuracy"].add(sum(right) / len(right))
        return self._alarms(max([item.at_ns, *(label.at_ns for label in item.labels.values())]), ("accuracy",))

    def _accuracy_counts(self) -> dict[float, float]:
        """Counts of differences; the pairs that agree count in the share in which the others were labelled."""
        counts = dict(self._shares["accuracy"].counts)
        share = self._labelled / self._disputed if self._disputed else 1.0
        if self._same:
            counts[0.0] = counts.get(0.0, 0) + self._same * share
        return counts

    def _alarms(self, at_ns: int, metrics: tuple[str, ...]) -> list[Alarm]:
        raised: list[Alarm] = []
        for since, threshold in self._questions:
            for metric in metrics:
                if (metric, since) in self._alarmed or not self._reached(metric, since, threshold):
                    continue
                if self._clear(metric, since):
                    self._alarmed.add((metric, since))
                    finding = self._finding(metric, since)
                    raised.append(alarm(finding, self.subjects, self.settings, at_ns=at_ns, since=since))
        return raised

    def _reached(self, metric: str, since: str, threshold: float) -> bool:
        if metric == "disagreement":
            return self._evidence(metric, since) >= threshold
        signs = self._latency if metric == "latency" else self._shares[metric].signs
        return signs.reached(threshold, change=since == "change")

    def _evidence(self, metric: str, since: str) -> float:
        change = since == "change"
        if metric == "disagreement":
            return self._too_often.log_detector if change else self._too_often.log_capital
        signs = self._latency if metric == "latency" else self._shares[metric].signs
        return signs.evidence(change=change)

    def _clear(self, metric: str, since: str) -> bool:
        """Whether the estimate is large enough to matter. A change is judged by the last pairs, not by all."""
        if metric == "latency":
            estimate = self._latency.recent if since == "change" else self._latency.estimate
            return estimate > 1 + self.settings.latency_margin
        if metric == "disagreement" or since == "change":
            return True
        if metric == "accuracy":
            counts = self._accuracy_counts()
            n = math.fsum(counts.values())
            return -math.fsum(x * many for x, many in counts.items()) / n > self.settings.accuracy_margin
        return self._shares[metric].clear()

    def _finding(self, metric: str, since: str = "start") -> Finding:
        evidence = self._evidence(metric, since)
        if metric == "latency":
            comparison = self._latency.comparison()
            block = self._latency.unit
            notes: dict[str, Any] = {"correlation": self._latency.correlation, "block": block}
            if since == "change" and self._latency.n:
                notes["recent"] = self._latency.recent
            return Finding(metric=metric, comparison=comparison, evidence=evidence, notes=notes, scale=block)
        if metric == "disagreement":
            rule = _lower(self.settings.allowed_disagreement)
            apart = dict(self._differing)

            def later(times: float) -> Comparison:
                return judge_counts(_times_over(apart, times), rule, self.settings.alpha, span=(0.0, 1.0))

            return Finding(metric=metric, comparison=later(1.0), evidence=evidence, later=later)
        shares = self._shares[metric]
        notes = {"discordant": shares.signs.n, "left_out": self._left_out}
        if metric == "accuracy":
            notes = {"disputed": self._disputed, "labelled": self._labelled, "agreed": self._same}
        if metric == "tail":
            notes["limit_s"] = self._limit_s
        counts = self._accuracy_counts() if metric == "accuracy" else dict(shares.counts)
        return Finding(
            metric=metric,
            comparison=shares.comparison(counts),
            evidence=evidence,
            unit="labelled pairs" if metric == "accuracy" else "pairs",
            notes=notes,
            later=lambda times: judge_counts(_times_over(counts, times), shares.rule, shares.alpha),
        )

    def comparisons(self) -> list[LiveComparison]:
        """Every metric as it stands."""
        return [
            self._finding(metric).told(self.subjects, alarmed=any(metric == name for name, _ in self._alarmed))
            for metric in self.settings.metrics
        ]


def _times_over(counts: Mapping[float, float], times: float) -> dict[float, float]:
    return {value: many * times for value, many in counts.items()}


def _lower(margin: float) -> Rule:
    return Rule(kind="difference", direction="lower", margin=margin)


def _times(live: Record, shadow: Record, settings: LiveSettings) -> tuple[float, float] | None:
    """The times of a pair; one that expired took for ever. None where another record of its batch has them.

    Where a copy of live ran beside the shadow its time counts, and not live's own: that had another thread's luck.
    """
    if shadow.beside_s is not None:
        return (shadow.beside_s, shadow.compute_s) if shadow.beside_s and shadow.status == "ok" else None
    first, second = (math.inf if one.status == "expired" else seconds(one, settings) for one in (live, shadow))
    return first, second


def seconds(record: Record, settings: LiveSettings) -> float:
    """The time of a record that is judged."""
    return float(record.latency_s if settings.timing == "latency" else record.compute_s)


def disputed(live: Record, shadow: Record, tolerance: float) -> dict[int, tuple[float, float]]:
    """The rows whose predictions differ: row -> (live's, shadow's). A missing prediction is no number."""
    if live.predictions == shadow.predictions:
        return {}
    rows = max(len(live.predictions), len(shadow.predictions))
    padded = [[*one.predictions, *(math.nan,) * (rows - len(one.predictions))] for one in (live, shadow)]
    return {
        row: pair
        for row, pair in enumerate(zip(padded[0], padded[1], strict=True))
        if not agree(pair[0], pair[1], tolerance) and not (math.isnan(pair[0]) and math.isnan(pair[1]))
    }
