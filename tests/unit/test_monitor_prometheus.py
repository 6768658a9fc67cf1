"""`/metrics`: what it counts, that others can read it, and that it stays small."""

import math
import shutil
import subprocess
import threading

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as read_openmetrics
from prometheus_client.parser import text_string_to_metric_families as read_classic

from gatewise.core import GatewiseError
from gatewise.monitor import Alarm, Record
from gatewise.monitor._prometheus import LATENCY_BUCKETS_S, METRICS, OUTCOMES, Metrics


def record(status: str = "ok", reason: str | None = None, **numbers: object) -> Record:
    given = {"model": "m", "version": "v1", "role": "live", "queue_s": 0.001, "compute_s": 0.004, **numbers}
    return Record(request="r", at_ns=0, digest="d", status=status, reason=reason, **given)  # pyright: ignore


def filled() -> Metrics:
    """One value at least for everything that is declared."""
    metrics = Metrics()
    metrics.observe(record())
    metrics.observe(record("refused", "full: 90 are waiting"))
    metrics.alarm(Alarm(kind="drift", model="m", version='v"1\\\n', at_ns=0, summary=""))
    for name, declared in METRICS.items():
        labels = dict.fromkeys(declared.labels, "x")
        if declared.kind == "gauge":
            metrics.set(name, 0.5, **labels)
        elif declared.kind == "counter" and name != "gatewise_requests_total":
            metrics.add(name, 2.0, **labels)
    return metrics


def samples(
    metrics: Metrics, read=read_classic, accept: str = ""
) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text, _ = metrics.text(accept)
    families = read(text.decode())
    return {
        (each.name, tuple(sorted(each.labels.items()))): each.value for family in families for each in family.samples
    }


def value(metrics: Metrics, name: str, **labels: str) -> float:
    return samples(metrics)[name, tuple(sorted(labels.items()))]


def test_both_formats_say_the_same_of_everything_that_is_declared():
    metrics = filled()
    classic = samples(metrics)
    openmetrics = samples(metrics, read_openmetrics, "application/openmetrics-text; version=1.0.0")
    assert classic == openmetrics
    stems = {name.removesuffix("_bucket").removesuffix("_count").removesuffix("_sum") for name, _ in classic}
    assert stems == set(METRICS)
    assert "openmetrics" in metrics.text("application/openmetrics-text")[1]
    assert metrics.text()[1].startswith("text/plain")


@pytest.mark.parametrize(
    ("given", "outcome", "reason"),
    [
        (record("error", "the model failed: ValueError: full: of quota"), "error", None),
        (record("expired", "the deadline passed"), "expired", None),
        (record("refused", "full: 90 are waiting"), "refused", "queue full"),
        (record("refused", "quota: 5 a second"), "rejected", "quota"),
        (record("refused", "input: 'x' has the wrong shape"), "rejected", "bad input"),
        (record("refused", "HTTP 429"), "rejected", "quota"),
        (record("refused", "HTTP 503"), "refused", "queue full"),
        (record("refused", "whatever a caller wrote, 'quota'"), "refused", "other"),
        (record("refused"), "refused", "other"),
    ],
)
def test_a_request_counts_once_by_what_became_of_it(given, outcome, reason):
    metrics = Metrics()
    metrics.observe(given)
    for each in OUTCOMES:
        found = value(metrics, "gatewise_requests_total", model="m", version="v1", role="live", outcome=each)
        assert found == float(each == outcome)
    found = [dict(labels)["reason"] for name, labels in samples(metrics) if name == "gatewise_refusals_total"]
    assert found == ([] if reason is None else [reason])
    # What was not answered has no latency.
    count = value(metrics, "gatewise_request_latency_seconds_count", model="m", version="v1", role="live")
    assert count == 0.0


def test_a_latency_falls_into_the_bucket_that_it_does_not_exceed():
    metrics = Metrics()
    seconds = [0.0001, 0.005, 0.0051, 11.0]
    for each in seconds:
        metrics.observe(record(queue_s=0.0, compute_s=each))
    labels = {"model": "m", "version": "v1", "role": "live"}
    for edge in (*LATENCY_BUCKETS_S, math.inf):
        le = "+Inf" if math.isinf(edge) else repr(edge)
        found = value(metrics, "gatewise_request_latency_seconds_bucket", **labels, le=le)
        assert found == sum(each <= edge for each in seconds)
    assert value(metrics, "gatewise_request_latency_seconds_sum", **labels) == pytest.approx(sum(seconds))


def test_labels_are_bounded_whatever_callers_do(monkeypatch):
    monkeypatch.setattr("gatewise.monitor._prometheus.MOST_SERIES", 50)
    most = 50
    metrics = Metrics()
    for n in range(most + 50):
        metrics.observe(record("error", version=f"v{n}"))
        metrics.add("gatewise_shadow_pairs_total", model="m", version=f"v{n}")
        metrics.set("gatewise_queue_depth", 1.0, model="m", version=f"v{n}")
    found = samples(metrics)
    pairs = {labels: count for (name, labels), count in found.items() if name == "gatewise_shadow_pairs_total"}
    assert len(pairs) == most + 1
    assert pairs[("model", "other"), ("version", "other")] == 50
    assert sum(name == "gatewise_queue_depth" for name, _ in found) == most
    other = value(metrics, "gatewise_requests_total", model="other", version="other", role="other", outcome="error")
    assert other == 50


def test_an_alias_that_moved_leaves_nothing_behind():
    metrics = Metrics()
    for version in ("v1", "v2"):
        metrics.clear("gatewise_alias_info", model="m", alias="live")
        metrics.set("gatewise_alias_info", 1.0, model="m", alias="live", version=version, digest="d")
    found = [dict(labels)["version"] for name, labels in samples(metrics) if name == "gatewise_alias_info"]
    assert found == ["v2"]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda m: m.set("gatewise_queue_dept", 1.0), "gatewise_queue_depth"),
        (lambda m: m.set("gatewise_queue_depth", 1.0, model="m"), "has the labels model, version"),
        (lambda m: m.add("gatewise_records_dropped_total", -1.0), "only counts up"),
        (lambda m: m.add("gatewise_records_dropped_total", math.nan), "only counts up"),
        (lambda m: m.add("gatewise_queue_depth"), "unknown counter"),
        (
            lambda m: m.add("gatewise_requests_total", **dict.fromkeys(("model", "version", "role", "outcome"), "x")),
            "observe",
        ),
    ],
)
def test_what_is_not_declared_is_refused(call, said):
    with pytest.raises(GatewiseError, match=said):
        call(Metrics())


def test_no_count_is_lost_between_threads():
    metrics = Metrics()

    def work() -> None:
        for _ in range(2000):
            metrics.observe(record())

    threads = [threading.Thread(target=work) for _ in range(4)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    assert value(metrics, "gatewise_batch_rows_count", model="m", version="v1", role="live") == 8000


@pytest.mark.skipif(shutil.which("promtool") is None, reason="promtool is not installed (Debian: prometheus)")
def test_promtool_has_nothing_to_say():
    found = subprocess.run(["promtool", "check", "metrics"], input=filled().text()[0], capture_output=True, check=False)
    assert (found.returncode, found.stdout, found.stderr) == (0, b"", b"")
