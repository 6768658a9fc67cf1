"""Alert rules for Prometheus and a dashboard for Grafana, for the goals that a service has stated.

A goal leaves a budget of bad requests: 99.9 % leaves 0.1 % in 30 days. The rules watch how fast it burns, each over a
long window, so that a blip does not page, and a short one, so that the alert ends when the trouble does. The factors
and windows are those of Google's Site Reliability Workbook, chapter 5: 14.4 over 1 h spends 2 % of a 30-day budget, 6
over 6 h 5 %, 3 over 1 day 10 %, 1 over 3 days 10 %.
"""

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

from gatewise.core import GatewiseError

from ._prometheus import LATENCY_BUCKETS_S, METRICS

WINDOWS = ("5m", "30m", "1h", "2h", "6h", "1d", "3d")
RULES, DASHBOARD = "gatewise-rules.yml", "gatewise-dashboard.json"


@dataclass(frozen=True, kw_only=True)
class Burn:
    """One alert: `factor` times the pace that would spend the budget in 30 days, over both windows."""

    factor: float
    long: str
    short: str
    severity: str


BURNS = (
    Burn(factor=14.4, long="1h", short="5m", severity="page"),
    Burn(factor=6.0, long="6h", short="30m", severity="page"),
    Burn(factor=3.0, long="1d", short="2h", severity="ticket"),
    Burn(factor=1.0, long="3d", short="6h", severity="ticket"),
)


@dataclass(frozen=True, kw_only=True)
class ServiceGoal:
    """What a service promises over 30 days.

    Attributes:
        availability: the share of requests that are answered; what was the caller's fault does not count.
        latency_share: the share of answered requests that take at most `latency_s`, an edge of `LATENCY_BUCKETS_S`.
        replay: the command that a reader of an alert is pointed to.
    """

    availability: float = 0.999
    latency_s: float = 0.1
    latency_share: float = 0.99
    replay: str = "gatewise monitor"

    def __post_init__(self) -> None:
        for name, share in (("availability", self.availability), ("latency_share", self.latency_share)):
            if not 0.5 <= share < 1.0:
                raise GatewiseError(f"{name} is a share from 0.5 to below 1, such as 0.999; not {share}")
            most = 1.0 / (1.0 - share)
            if most <= min(burn.factor for burn in BURNS):
                raise GatewiseError(f"{name} {share} leaves so much room that no alert could ever fire")
        if self.latency_s not in LATENCY_BUCKETS_S:
            nearest = min(LATENCY_BUCKETS_S, key=lambda edge: abs(math.log(edge / max(self.latency_s, 1e-9))))
            valid = ", ".join(f"{edge:g}" for edge in LATENCY_BUCKETS_S)
            wrong = f"latency_s {self.latency_s:g} is not an edge of the histogram; the nearest is {nearest:g}"
            raise GatewiseError(f"{wrong}\nvalid: {valid}")


def write_rules(folder: str | os.PathLike[str], goal: ServiceGoal | None = None) -> tuple[Path, Path]:
    """Write the rules and the dashboard into a folder, which is made where there is none; returns both paths."""
    target = Path(folder)
    try:
        target.mkdir(parents=True, exist_ok=True)
        paths = target / RULES, target / DASHBOARD
        paths[0].write_text(rules(goal or ServiceGoal()), encoding="utf-8")
        paths[1].write_text(dashboard(), encoding="utf-8")
    except OSError as error:
        raise GatewiseError(f"the rules cannot be written to {target}: {error}") from error
    return paths


def dashboard() -> str:
    """The Grafana dashboard, to be imported as it is."""
    return files("gatewise.monitor").joinpath("files", DASHBOARD).read_text(encoding="utf-8")


def rules(goal: ServiceGoal) -> str:
    """The rules as Prometheus' YAML."""
    return "\n".join(_lines(goal)) + "\n"


def _lines(goal: ServiceGoal) -> Iterator[str]:
    bad = 'gatewise_requests_total{role!="shadow",outcome=~"error|expired|refused"}'
    asked = 'gatewise_requests_total{role!="shadow",outcome!="rejected"}'
    edge = float(goal.latency_s)
    fast = f'gatewise_request_latency_seconds_bucket{{role!="shadow",le="{edge!r}"}}'
    answered = 'gatewise_request_latency_seconds_count{role!="shadow"}'
    yield f"# Goals: {_percent(goal.availability)} answered, {_percent(goal.latency_share)} within {edge:g} s."
    yield "groups:"
    yield "  - name: gatewise-ratios"
    yield "    rules:"
    for window in WINDOWS:
        ratio = f"sum by (model) (rate({bad}[{window}])) / sum by (model) (rate({asked}[{window}]))"
        yield from _record(f"gatewise:unanswered:ratio_rate{window}", ratio)
        within = f"sum by (model) (rate({fast}[{window}])) / sum by (model) (rate({answered}[{window}]))"
        yield from _record(f"gatewise:slow:ratio_rate{window}", f"1 - {within}")
    for what, share, words in (
        ("unanswered", goal.availability, "are not answered"),
        ("slow", goal.latency_share, f"take more than {edge:g} s"),
    ):
        yield f"  - name: gatewise-{what}"
        yield "    rules:"
        for burn in BURNS:
            if burn.factor * (1.0 - share) < 1.0:  # no share of requests is above 1
                yield from _alert(what, share, words, burn, goal)
    yield from _found(goal)


def _record(name: str, expression: str) -> Iterator[str]:
    yield f"      - record: {name}"
    yield f"        expr: {json.dumps(expression)}"


def _alert(what: str, share: float, words: str, burn: Burn, goal: ServiceGoal) -> Iterator[str]:
    limit = f"{burn.factor * (1.0 - share):.10g}"
    ratio = f"gatewise:{what}:ratio_rate"
    yield f"      - alert: Gatewise{what.capitalize()}Burns{burn.factor:g}x".replace(".", "_")
    yield f"        expr: {json.dumps(f'{ratio}{burn.long} > {limit} and {ratio}{burn.short} > {limit}')}"
    yield "        labels:"
    yield f"          severity: {burn.severity}"
    yield "        annotations:"
    told = "{{ $value | humanizePercentage }} of the requests to {{ $labels.model }} "
    yield f"          summary: {json.dumps(f'{told}{words}: {burn.factor:g} times what the goal allows')}"
    yield f"          replay: {json.dumps(goal.replay)}"


def _found(goal: ServiceGoal) -> Iterator[str]:
    """What gatewise itself found, and whether it still sees."""
    alarms = (
        "increase(gatewise_alarms_total[15m]) > 0 or (gatewise_alarms_total unless gatewise_alarms_total offset 15m)"
    )
    yield "  - name: gatewise-alarms"
    yield "    rules:"
    for name, expression, severity, summary in (
        (
            "GatewiseAlarm",
            alarms,
            '"{{ $labels.severity }}"',
            "{{ $labels.model }} {{ $labels.version }}: {{ $labels.kind }}",
        ),
        (
            "GatewiseRecordsDropped",
            "increase(gatewise_records_dropped_total[15m]) > 0",
            "ticket",
            "records are not kept",
        ),
        (
            "GatewiseAliasRefused",
            "gatewise_alias_followed == 0",
            "ticket",
            "{{ $labels.alias }} of {{ $labels.model }}: {{ $labels.version }} is refused, what was served goes on",
        ),
        ("GatewiseEstimateRefuted", "gatewise_accuracy_trusted == 0", "ticket", "labels refute the estimated accuracy"),
    ):
        yield f"      - alert: {name}"
        yield f"        expr: {json.dumps(expression)}"
        yield "        labels:"
        yield f"          severity: {severity}"
        yield "        annotations:"
        yield f"          summary: {json.dumps(summary)}"
        yield f"          replay: {json.dumps(goal.replay)}"


def _percent(share: float) -> str:
    return f"{100.0 * share:.6g} %"


def metric_names(expression: str) -> set[str]:
    """The metrics of gatewise that an expression of Prometheus uses, by the names in `METRICS`.

    Raises `GatewiseError` for one that the exporter does not have.
    """
    import re

    found: set[str] = set()
    for name in re.findall(r"(?<![:\w])gatewise_\w+", expression):
        stem = re.sub(r"_(bucket|count|sum)$", "", name)
        known = name if name in METRICS else stem if METRICS.get(stem, None) is not None else None
        if known is None or (known != name and METRICS[known].kind != "histogram"):
            raise GatewiseError(f"no metric is called {name!r}")
        found.add(known)
    return found
