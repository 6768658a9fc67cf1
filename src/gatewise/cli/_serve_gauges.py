"""What the metrics say beside the counts of requests: queues, aliases, pairs, the log, drift, health, notices."""

import sys
import threading
import time
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

if TYPE_CHECKING:
    from gatewise import monitor, serve

WAITING = 20_000
"""Requests of which one record of a pair is there, at most."""


class Pairs:
    """Counts shadow pairs and those whose predictions differ; one of the judges, so that it runs in their thread."""

    def __init__(self, metrics: "monitor.Metrics", tolerance: float) -> None:
        self._metrics, self._tolerance = metrics, tolerance
        self._waiting: OrderedDict[tuple[str, str], monitor.Record] = OrderedDict()

    def add(self, record: "monitor.Record") -> "list[monitor.Alarm]":
        """Take a record. There is never an alarm."""
        if record.status != "ok" or record.first is None:
            return []
        key = (record.model, record.request)
        other = self._waiting.pop(key, None)
        if other is None or other.role == record.role:
            self._waiting[key] = record
            if len(self._waiting) > WAITING:
                self._waiting.popitem(last=False)
            return []
        version = (record if record.role == "shadow" else other).version
        self._metrics.add("gatewise_shadow_pairs_total", 1.0, model=record.model, version=version)
        both = zip(record.predictions, other.predictions, strict=False)
        if len(record.predictions) != len(other.predictions) or any(
            not abs(one - two) <= self._tolerance for one, two in both
        ):
            self._metrics.add("gatewise_shadow_disagreements_total", 1.0, model=record.model, version=version)
        return []

    def label(self, label: "monitor.Label") -> "list[monitor.Alarm]":
        """Labels change no count."""
        del label
        return []


class Gauges:
    """Sets the gauges: those of queues, aliases and the log when somebody asks, the costly ones every few seconds.

    Args:
        metrics: where they are set. `links`: the health of activations. `log`: None where nothing is kept.
        look: calls a function of the watches while no record is being judged.
    """

    def __init__(
        self,
        metrics: "monitor.Metrics",
        *,
        watches: "monitor.Watches | None",
        links: "serve.HealthLinks | None",
        log: "monitor.Log | None",
        look: Callable[[Callable[[], object]], object],
    ) -> None:
        self._metrics, self._watches, self._links, self._log, self._look = metrics, watches, links, log, look
        self._dropped = 0
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def scraped(
        self, application: Any, accept: str, followed: Mapping[tuple[str, str, str], bool] | None = None
    ) -> tuple[bytes, str]:
        """The body of `/metrics`, with the queues and the aliases as they are at this moment.

        `followed`: by model, alias and version, whether what the alias points at is served.
        """
        metrics = self._metrics
        for gauge in ("gatewise_alias_info", "gatewise_alias_followed", "gatewise_queue_depth", "gatewise_in_flight"):
            metrics.clear(gauge)
        for (model, alias, version), is_served in (followed or {}).items():
            metrics.set("gatewise_alias_followed", float(is_served), model=model, alias=alias, version=version)
        for model in application.stats()["models"]:
            waiting, under_way = Counter[str](), Counter[str]()
            for each in model["versions"]:
                name = {"model": model["model"], "version": each["version"]}
                waiting[each["version"]] += each["waiting"]
                under_way[each["version"]] += each["under_way"]
                metrics.set("gatewise_queue_depth", waiting[each["version"]], **name)
                metrics.set("gatewise_in_flight", under_way[each["version"]], **name)
                if each["role"] != "control":  # a copy of live, which no alias names
                    metrics.set("gatewise_alias_info", 1, alias=each["role"], digest=each["digest"], **name)
        if self._log is not None:
            state = self._log.state()
            metrics.set("gatewise_records_pending", state.waiting)
            metrics.add("gatewise_records_dropped_total", max(0, state.dropped - self._dropped))
            self._dropped = state.dropped
        return metrics.text(accept)

    def start(self, every_s: float = 5.0) -> None:
        """Look at the watches again and again, in a thread, until `stop`."""

        def work() -> None:
            while not self._stop.wait(every_s):
                self.tick()

        self._thread = threading.Thread(target=work, name="gatewise-gauges", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End the thread, after a last look."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(10)
        self.tick()

    def tick(self) -> None:
        """Drift, estimates and health as they stand."""
        if self._watches is not None:
            self._look(self._watched)
        if self._links is not None:
            self._metrics.clear("gatewise_health")
            for labels, value in self._links.latest():
                self._metrics.set("gatewise_health", value, **labels)
            self._keep_health(self._links)

    def _watched(self) -> None:
        assert self._watches is not None
        for gauge in ("gatewise_drift_gap", "gatewise_drift_strength"):
            self._metrics.clear(gauge)
        for each in self._watches.drift():
            name = {"model": each["model"], "version": each["version"], "feature": each["feature"]}
            self._metrics.set("gatewise_drift_strength", each["strength"], **name)
            if each["moved"] is not None:
                self._metrics.set("gatewise_drift_gap", each["moved"]["gap"], **name)
        for (model, version), state in self._watches.estimates().items():
            self._metrics.set("gatewise_accuracy_trusted", float(state["trusted"]), model=model, version=version)
            estimate = state["estimate"] or {}
            for edge, value in (("low", "low"), ("estimate", "value"), ("high", "high")):
                if value in estimate:
                    self._metrics.set(
                        "gatewise_accuracy_estimate", estimate[value], model=model, version=version, edge=edge
                    )

    def _keep_health(self, links: "serve.HealthLinks") -> None:
        """Beside the records, for `gatewise monitor`."""
        from gatewise import monitor

        features = links.features()
        if self._log is None or not features:
            return
        try:
            monitor.keep_health(self._log.folder, features, time.time_ns())
        except GatewiseError as error:
            print(f"gatewise: {error}", file=sys.stderr)
