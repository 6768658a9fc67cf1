"""A canary against live: the requests are not the same ones, so blocks of the mixed traffic are compared within."""

import math
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gatewise.core import BlockEvidence, BlockMedians, Comparison, Rule, block_size, judge_unpaired_stream

from ._alarm import Alarm
from ._labels import Item
from ._live_pair import agree, seconds
from ._live_report import Finding, LiveComparison, Subjects, alarm
from ._live_settings import LiveSettings
from ._record import Record

UNPAIRED = ("latency", "tail", "errors", "accuracy")
"""What can be asked of requests that are not the same ones; disagreement cannot."""

TIMED = ("latency", "tail")
"""What a control is for."""


class Stream:
    """Outcomes of one metric, by block: evidence from within the blocks, and counts of both versions."""

    def __init__(
        self, rule: Rule, settings: LiveSettings, *, share: float | None = None, design: float | None = None
    ) -> None:
        self.rule, self.settings, self.share = rule, settings, share
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
        return self.share if self.share is not None else (self.n[True] + 1) / (sum(self.n.values()) + 10)

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

        def later(times: float) -> Comparison:
            more = [(round(hits * times), round(n * times)) for hits, n in counts]
            return judge_unpaired_stream(more[0], more[1], rule, self.settings.alpha)

        comparison, unit = later(1.0), "of the rarer"
        return Finding(metric=metric, comparison=comparison, evidence=evidence, unit=unit, notes=notes, later=later)


class CanaryComparison:
    """The evidence of all metrics of one canary against the live version beside it.

    Where a control runs, latency and tail compare the canary with it alone: a copy of live that gets as many requests.
    Live's other answers come from a thread and caches that many more requests keep warm. Errors and accuracy do not
    depend on that, and take them all.
    """

    def __init__(self, subjects: Subjects, settings: LiveSettings) -> None:
        self.subjects, self.settings = subjects, settings
        self._controlled = False
        self._streams = {
            metric: self._stream(metric, settings.canary_share) for metric in UNPAIRED if metric in settings.metrics
        }
        self._alarmed: set[tuple[str, str]] = set()

    def _stream(self, metric: str, share: float | None) -> Stream:
        settings = self.settings
        if metric == "latency":
            return Stream(Rule(margin=settings.latency_margin), settings, share=share)
        margins = {"tail": settings.tail_margin, "errors": settings.errors_margin, "accuracy": settings.accuracy_margin}
        design = settings.tail_odds if metric == "tail" else None
        return Stream(Rule(kind="difference", margin=margins[metric]), settings, share=share, design=design)

    def _timed(self, record: Record) -> bool:
        """Whether latency and tail take this record; from the first one beside a control on, no other is taken."""
        if record.control is not None and not self._controlled:
            self._controlled = True
            self._streams.update({metric: self._stream(metric, 0.5) for metric in TIMED if metric in self._streams})
        return record.control is not None or not self._controlled

    def add(self, record: Record, limit_s: float | None) -> list[Alarm]:
        """Take a record of either version."""
        if record.status == "refused":
            return []
        canary, timed = record.role == "canary", self._timed(record)
        raised: list[Alarm] = []
        time_s = seconds(record, self.settings)
        late = float(record.status == "expired" or (limit_s is not None and time_s > limit_s))
        outcomes: tuple[tuple[str, bool, Callable[[], float]], ...] = (
            ("errors", True, lambda: float(record.status == "error")),
            ("latency", timed and record.status == "ok" and 0.0 < time_s < math.inf, lambda: time_s),
            ("tail", timed and limit_s is not None and record.status != "error", lambda: late),
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
                finding = self._finding(metric, evidence)
                raised.append(alarm(finding, self.subjects, self.settings, at_ns=at_ns, since=since))
        return raised

    def _finding(self, metric: str, evidence: float) -> Finding:
        found = self._streams[metric].finding(metric, evidence, turned=metric == "accuracy")
        return replace(found, notes={**found.notes, "control": self._controlled}) if metric in TIMED else found

    def comparisons(self) -> list[LiveComparison]:
        """Every metric as it stands."""
        return [
            self._finding(metric, stream.evidence.evidence()).told(
                self.subjects, alarmed=any(metric == name for name, _ in self._alarmed)
            )
            for metric, stream in self._streams.items()
        ]
