"""`/metrics`: what was served, how fast, what was found, as Prometheus reads it.

The hot path (`observe`) adds to plain lists under one lock; the text is made when somebody asks. Every metric is
declared once in `METRICS`, from where the exporter, the rules, the dashboard and their tests take it.
"""

import threading
from bisect import bisect_left
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from gatewise.core import GatewiseError, MissingExtraError, unknown_name

from ._alarm import Alarm
from ._record import Record

if TYPE_CHECKING:
    from prometheus_client.core import Metric as Family

LATENCY_BUCKETS_S = (
    0.0005, 0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0,
)  # fmt: skip
"""Upper edges for models of milliseconds; a latency goal must be one of them."""
BATCH_BUCKETS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)
MOST_SERIES = 500
"""Label sets of one metric; what comes beyond goes to one whose labels all say `other`."""
OTHER = "other"

REASONS: Mapping[str, tuple[str, bool]] = {
    "input": ("bad input", True),
    "unknown": ("unknown name", True),
    "method": ("bad input", True),
    "type": ("bad input", True),
    "size": ("too large", True),
    "quota": ("quota", True),
    "full": ("queue full", False),
    "stopping": ("stopping", False),
    "expired": ("deadline", False),
    "HTTP 400": ("bad input", True),
    "HTTP 404": ("unknown name", True),
    "HTTP 413": ("too large", True),
    "HTTP 415": ("bad input", True),
    "HTTP 422": ("bad input", True),
    "HTTP 429": ("quota", True),
    "HTTP 503": ("queue full", False),
    "HTTP 504": ("deadline", False),
}
"""What a reason begins with (up to a colon): its label, and whether it was the caller's fault. All else is `other`."""
OUTCOMES = ("ok", "error", "expired", "refused", "rejected")
"""The statuses of a record, where `rejected` is a refusal that was the caller's fault: bad input, quota."""


@dataclass(frozen=True, kw_only=True)
class Declared:
    """A metric: its kind, labels, what it means, and for a histogram its edges."""

    kind: Literal["counter", "gauge", "histogram"]
    labels: tuple[str, ...]
    text: str
    buckets: tuple[float, ...] = ()


_VERSION = ("model", "version")
_ROLE = (*_VERSION, "role")
METRICS: Mapping[str, Declared] = {
    "gatewise_requests_total": Declared(
        kind="counter", labels=(*_ROLE, "outcome"), text="Requests by outcome; rejected is the caller's fault."
    ),
    "gatewise_request_latency_seconds": Declared(
        kind="histogram", labels=_ROLE, text="From arrival to the end of computation.", buckets=LATENCY_BUCKETS_S
    ),
    "gatewise_queue_seconds": Declared(
        kind="histogram", labels=_ROLE, text="From arrival to the start of computation.", buckets=LATENCY_BUCKETS_S
    ),
    "gatewise_batch_rows": Declared(
        kind="histogram", labels=_ROLE, text="Rows of the batch that a request ran in.", buckets=BATCH_BUCKETS
    ),
    "gatewise_refusals_total": Declared(
        kind="counter", labels=(*_VERSION, "reason"), text="Requests that were not run, by reason."
    ),
    "gatewise_queue_depth": Declared(kind="gauge", labels=_VERSION, text="Requests that wait."),
    "gatewise_in_flight": Declared(kind="gauge", labels=_VERSION, text="Requests that wait or run."),
    "gatewise_shadow_pairs_total": Declared(kind="counter", labels=_VERSION, text="Requests answered by both."),
    "gatewise_shadow_disagreements_total": Declared(
        kind="counter", labels=_VERSION, text="Shadow pairs whose predictions differ."
    ),
    "gatewise_alarms_total": Declared(
        kind="counter", labels=(*_VERSION, "kind", "severity"), text="Alarms that were raised."
    ),
    "gatewise_notices_total": Declared(
        kind="counter", labels=("output", "result"), text="Alarms handed to an output: sent, failed or dropped."
    ),
    "gatewise_drift_gap": Declared(
        kind="gauge",
        labels=(*_VERSION, "feature"),
        text="Share of recent values that lie elsewhere than in the reference.",
    ),
    "gatewise_drift_strength": Declared(
        kind="gauge", labels=(*_VERSION, "feature"), text="Evidence of drift; 1 raises an alarm."
    ),
    "gatewise_health": Declared(
        kind="gauge", labels=(*_VERSION, "site", "measure"), text="Health of activations, of the latest sample."
    ),
    "gatewise_accuracy_estimate": Declared(
        kind="gauge", labels=(*_VERSION, "edge"), text="Estimated accuracy without labels: low, estimate, high."
    ),
    "gatewise_accuracy_trusted": Declared(
        kind="gauge", labels=_VERSION, text="1 while labels bear the estimates out, 0 once they refuted them."
    ),
    "gatewise_alias_info": Declared(
        kind="gauge", labels=("model", "alias", "version", "digest"), text="1 for what an alias stands for now."
    ),
    "gatewise_alias_followed": Declared(
        kind="gauge",
        labels=("model", "alias", "version"),
        text="0 for an alias whose version is refused or cannot be loaded: what was served goes on. Else 1.",
    ),
    "gatewise_records_dropped_total": Declared(kind="counter", labels=(), text="Records that were not kept."),
    "gatewise_records_pending": Declared(kind="gauge", labels=(), text="Records accepted and not yet durable."),
}

_Key = tuple[str, str, str]


@dataclass(slots=True, kw_only=True)
class _Hits:
    """What the hot path counts for one model, version and role."""

    outcomes: dict[str, int] = field(default_factory=lambda: dict.fromkeys(OUTCOMES, 0))
    latency: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    queue: list[int] = field(default_factory=lambda: [0] * (len(LATENCY_BUCKETS_S) + 1))
    batch: list[int] = field(default_factory=lambda: [0] * (len(BATCH_BUCKETS) + 1))
    latency_s: float = 0.0
    queue_s: float = 0.0
    batch_rows: float = 0.0


def outcome_of(record: Record) -> str:
    """The outcome that a record counts as. A reason that is not in `REASONS` is held against the server."""
    return "rejected" if record.status == "refused" and _reason(record)[1] else record.status


def reason_of(record: Record) -> str:
    """A refusal's reason as a label: one of a few, never what a caller wrote."""
    return _reason(record)[0]


def _reason(record: Record) -> tuple[str, bool]:
    return REASONS.get((record.reason or "").partition(":")[0], (OTHER, False))


class Metrics:
    """All metrics of one server, in a registry of its own.

    Raises `MissingExtraError` where prometheus-client is not installed.
    """

    def __init__(self) -> None:
        try:
            from prometheus_client import CollectorRegistry
        except ImportError as error:
            raise MissingExtraError("prometheus-client", "serve") from error
        self._lock = threading.Lock()
        self._hits: dict[_Key, _Hits] = {}
        self._values: dict[str, dict[tuple[str, ...], float]] = {name: {} for name in METRICS}
        self.registry = CollectorRegistry(auto_describe=False)
        self.registry.register(self)  # pyright: ignore[reportArgumentType]  a collector is what has `collect`

    def observe(self, record: Record) -> None:
        """Count one record. A few microseconds."""
        queue_s, latency_s = record.queue_s, record.queue_s + record.compute_s
        with self._lock:
            key = (record.model, record.version, record.role)
            hits = self._hits.get(key)
            if hits is None:
                key = key if len(self._hits) < MOST_SERIES else (OTHER, OTHER, OTHER)
                hits = self._hits.setdefault(key, _Hits())
            if record.status != "ok":
                hits.outcomes[outcome_of(record)] += 1
                if record.status == "refused":
                    self._add("gatewise_refusals_total", (key[0], key[1], reason_of(record)), 1.0)
                return
            hits.outcomes["ok"] += 1
            hits.latency[bisect_left(LATENCY_BUCKETS_S, latency_s)] += 1
            hits.latency_s += latency_s
            hits.queue[bisect_left(LATENCY_BUCKETS_S, queue_s)] += 1
            hits.queue_s += queue_s
            hits.batch[bisect_left(BATCH_BUCKETS, record.batch_rows)] += 1
            hits.batch_rows += record.batch_rows

    def _add(self, name: str, labels: tuple[str, ...], amount: float) -> None:
        values = self._values[name]
        if labels not in values and len(values) >= MOST_SERIES:
            labels = (OTHER,) * len(labels)
        values[labels] = values.get(labels, 0.0) + amount

    def _labels(self, name: str, kind: str, labels: Mapping[str, str]) -> tuple[str, ...]:
        valid = [each for each, declared in METRICS.items() if declared.kind == kind]
        if name not in valid:
            raise unknown_name(kind, name, valid)
        if set(labels) != set(METRICS[name].labels):
            raise GatewiseError(f"{name} has the labels {', '.join(METRICS[name].labels) or '(none)'}")
        return tuple(str(labels[label]) for label in METRICS[name].labels)

    def add(self, name: str, amount: float = 1.0, /, **labels: str) -> None:
        """Count up one of the counters of `METRICS`. Raises `GatewiseError` for an unknown one or other labels."""
        found = self._labels(name, "counter", labels)
        if not amount >= 0.0:
            raise GatewiseError(f"{name} only counts up, not by {amount}")
        if name == "gatewise_requests_total":
            raise GatewiseError("requests are counted by observe")
        with self._lock:
            self._add(name, found, amount)

    def set(self, name: str, value: float, /, **labels: str) -> None:
        """Set one of the gauges of `METRICS`. Raises `GatewiseError` for an unknown one or other labels."""
        found = self._labels(name, "gauge", labels)
        with self._lock:
            values = self._values[name]
            if found in values or len(values) < MOST_SERIES:
                values[found] = float(value)

    def clear(self, name: str, /, **labels: str) -> None:
        """Forget the values of a gauge that have these labels: a version that is gone, an alias before it moves."""
        if name not in METRICS or METRICS[name].kind != "gauge":
            raise unknown_name("gauge", name, [each for each, known in METRICS.items() if known.kind == "gauge"])
        places = [(METRICS[name].labels.index(label), value) for label, value in labels.items()]
        with self._lock:
            for key in [key for key in self._values[name] if all(key[at] == value for at, value in places)]:
                del self._values[name][key]

    def alarm(self, alarm: Alarm) -> None:
        """Count one alarm."""
        labels = (alarm.model, alarm.version, alarm.kind, alarm.severity)
        with self._lock:
            self._add("gatewise_alarms_total", labels, 1.0)

    def collect(self) -> "Iterator[Family]":
        """What the registry asks for: every metric that is declared, with its values of now."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        with self._lock:
            values = {name: dict(found) for name, found in self._values.items()}
            hits = {key: _copy(found) for key, found in self._hits.items()}
        for key, found in hits.items():
            for outcome, count in found.outcomes.items():
                values["gatewise_requests_total"][*key, outcome] = float(count)
        for name, declared in METRICS.items():
            if declared.kind == "histogram":
                yield _histogram(name, declared, hits)
                continue
            make = CounterMetricFamily if declared.kind == "counter" else GaugeMetricFamily
            family = make(name, declared.text, labels=list(declared.labels))
            for labels, value in sorted(values[name].items()):
                family.add_metric(list(labels), value)
            yield family

    def text(self, accept: str = "") -> tuple[bytes, str]:
        """The body of `/metrics` and its content type: OpenMetrics where the caller accepts it, else the classic."""
        from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
        from prometheus_client.openmetrics import exposition

        if "application/openmetrics-text" in accept:
            return exposition.generate_latest(self.registry), exposition.CONTENT_TYPE_LATEST
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


def _copy(hits: _Hits) -> _Hits:
    return _Hits(
        outcomes=dict(hits.outcomes),
        latency=list(hits.latency),
        queue=list(hits.queue),
        batch=list(hits.batch),
        latency_s=hits.latency_s,
        queue_s=hits.queue_s,
        batch_rows=hits.batch_rows,
    )


def _histogram(name: str, declared: Declared, hits: Mapping[_Key, _Hits]) -> "Family":
    from prometheus_client.core import HistogramMetricFamily
    from prometheus_client.utils import floatToGoString

    family = HistogramMetricFamily(name, declared.text, labels=list(declared.labels))
    edges = [*(floatToGoString(edge) for edge in declared.buckets), "+Inf"]
    for key, found in sorted(hits.items()):
        counts, total = {
            "gatewise_request_latency_seconds": (found.latency, found.latency_s),
            "gatewise_queue_seconds": (found.queue, found.queue_s),
            "gatewise_batch_rows": (found.batch, found.batch_rows),
        }[name]
        below, buckets = 0, list[tuple[str, float]]()
        for edge, count in zip(edges, counts, strict=True):
            below += count
            buckets.append((edge, float(below)))
        family.add_metric(list(key), buckets, total)
    return family
