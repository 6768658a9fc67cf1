"""A canary against live: the requests are not the same ones, so blocks of the mixed traffic are compared within."""

import math
from collections.abc import Callable
from typing import Any

from gatewise.core import BlockEvidence, BlockMedians, Rule, block_size, judge_unpaired_stream

from ._alarm import Alarm
from ._labels import Item
from ._live_pair import agree, seconds
from ._live_report import Finding, LiveComparison, Subjects, alarm
from ._live_settings import LiveSettings
from ._record import Record

UNPAIRED = ("latency", "tail", "errors", "accuracy")
"""What can be asked of requests that are not the same ones; disagreement cannot."""


class Stream:
    """Outcomes of one metric, by block: evidence from within the blocks, and counts of both versions."""

    def __init__(self, rule: Rule, settings: LiveSettings, *, design: float | None = None) -> None:
        self.rule, self.settings = rule, settings
        self.binary = rule.kind == "difference"
        self.evidence = BlockEvidence(binary=self.binary, design=design)
        self.medians = None if self.binary else BlockMedians(rule, settings.alpha)
        self.hits = {False: 0, True: 0}
        self.n = {False: 0, True: 0}
        self._values: list[float] = []
        self._canary: list[bool] = []
        self._size: int | None = None

    def add(self, value: float, *, canary: bool) -> bool:
        """Take an outcome; returns whether it ended a block."""
        if self._size is None:  # fixed before the first of the block is seen
            self._size = block_size(self._share())
        self._values.append(value)
        self._canary.append(canary)
        self.n[canary] += 1
        self.hits[canary] += int(self.binary and value == 1.0)
        if len(self._values) < self._size:
            return False
        self.evidence.add(self._values, self._canary)
        if self.medians is not None:
            self.medians.add(self._values, self._canary)
        self._values, self._canary, self._size = [], [], None
        return True

    def _share(self) -> float:
        stated = self.settings.canary_share
        return stated if stated is not None else (self.n[True] + 1) / (sum(self.n.values()) + 10)

    def clear(self) -> bool:
        """Whether the estimate lies beyond the margin, upward."""
        if self.medians is not None:
            estimate = self.medians.comparison().estimate
            return estimate is not None and estimate > 1 + self.rule.margin
        return all(self.n.values()) and (
            self.hits[True] / self.n[True] - self.hits[False] / self.n[False] > self.rule.margin
        )

    def finding(self, metric: str, evidence: float, *, turned: bool = False) -> Finding:
        """The comparison; `turned` where the outcome is a failure and the metric counts successes."""
        notes: dict[str, Any] = {
            "canary": self.n[True],
            "live": self.n[False],
            "blocks": self.evidence.blocks,
            "correlation": self.evidence.correlation,
        }
        if self.medians is not None:
            comparison = self.medians.comparison()
            # Of whole blocks alone: what waits for the end of its block made `needs` grow with each request.
            whole = sum(self.n.values()) - len(self._values)
            per_block = round(whole / self.evidence.blocks) if self.evidence.blocks else 1
            return Finding(
                metric=metric, comparison=comparison, evidence=evidence, unit="requests", scale=per_block, notes=notes
            )
        counts = [((self.n[one] - self.hits[one]) if turned else self.hits[one], self.n[one]) for one in (True, False)]
        rule = Rule(kind="difference", direction="higher" if turned else "lower", margin=self.rule.margin)
        comparison = judge_unpaired_stream(counts[0], counts[1], rule, self.settings.alpha)
        return Finding(metric=metric, comparison=comparison, evidence=evidence, unit="of the rarer", notes=notes)


class CanaryComparison:
    """The evidence of all metrics of one canary against the live version beside it."""

    def __init__(self, subjects: Subjects, settings: LiveSettings) -> None:
        self.subjects, self.settings = subjects, settings
        margins = {"tail": settings.tail_margin, "errors": settings.errors_margin, "accuracy": settings.accuracy_margin}
        self._streams = {"latency": Stream(Rule(margin=settings.latency_margin), settings)}
        for metric, margin in margins.items():
            design = settings.tail_odds if metric == "tail" else None
            self._streams[metric] = Stream(Rule(kind="difference", margin=margin), settings, design=design)
        self._streams = {metric: one for metric, one in self._streams.items() if metric in settings.metrics}
        self._alarmed: set[tuple[str, str]] = set()

    def add(self, record: Record, limit_s: float | None) -> list[Alarm]:
        """Take a record of either version."""
        if record.status == "refused":
            return []
        canary = record.role == "canary"
        raised: list[Alarm] = []
        time_s = seconds(record, self.settings)
        late = float(record.status == "expired" or (limit_s is not None and time_s > limit_s))
        outcomes: tuple[tuple[str, bool, Callable[[], float]], ...] = (
            ("errors", True, lambda: float(record.status == "error")),
            ("latency", record.status == "ok" and 0.0 < time_s < math.inf, lambda: time_s),
            ("tail", limit_s is not None and record.status != "error", lambda: late),
        )
        for metric, usable, outcome in outcomes:
            if usable and metric in self._streams and self._streams[metric].add(outcome(), canary=canary):
                raised.extend(self._alarms(metric, record.at_ns))
        return raised

    def settle(self, item: Item) -> list[Alarm]:
        """Take a request of either version with its labels: it is wrong when one of its rows is."""
        assert isinstance(item.payload, tuple)
        predictions: tuple[float, ...] = item.payload[0]
        canary: bool = item.payload[1]
        if not item.complete or "accuracy" not in self._streams:
            return []
        tolerance = self.settings.tolerance
        wrong = not all(agree(value, item.labels[row].value, tolerance) for row, value in enumerate(predictions))
        ended = self._streams["accuracy"].add(float(wrong), canary=canary)
        return self._alarms("accuracy", max(label.at_ns for label in item.labels.values())) if ended else []

    def _alarms(self, metric: str, at_ns: int) -> list[Alarm]:
        stream = self._streams[metric]
        questions = [("start", stream.evidence.evidence(), -math.log(self.settings.alpha))]
        if self.settings.run_length is not None:
            questions.append(("change", stream.evidence.evidence(change=True), math.log(self.settings.run_length)))
        raised: list[Alarm] = []
        for since, evidence, threshold in questions:
            if evidence >= threshold and (metric, since) not in self._alarmed and stream.clear():
                self._alarmed.add((metric, since))
                finding = stream.finding(metric, evidence, turned=metric == "accuracy")
                raised.append(alarm(finding, self.subjects, self.settings, at_ns=at_ns, since=since))
        return raised

    def comparisons(self) -> list[LiveComparison]:
        """Every metric as it stands."""
        return [
            stream.finding(metric, stream.evidence.evidence(), turned=metric == "accuracy").told(
                self.subjects, alarmed=any(metric == name for name, _ in self._alarmed)
            )
            for metric, stream in self._streams.items()
        ]
