"""What the live judge says of one metric of one comparison, how much more it needs, and its alarms."""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from gatewise.core import Comparison, Rule, Verdict, fewest

from ._alarm import Alarm, Severity
from ._live_settings import LiveSettings
from ._record import Record

NEVER = 1e9
"""More units than anybody waits for."""

PAGED = ("errors",)
"""An alarm on these, about a canary, is for now; on the others, and about a shadow that no caller sees, for today.
Latency and tail are for now only where a control ran: without one a canary with a small share runs colder than live."""


@dataclass(frozen=True, kw_only=True)
class Subjects:
    """Whom a comparison is about: the two versions of a model, by label and by digest, and how they share traffic."""

    model: str
    version: str
    digest: str
    baseline: str
    baseline_digest: str
    role: Literal["shadow", "canary"]

    @classmethod
    def of(cls, live: Record, other: Record, role: Literal["shadow", "canary"]) -> "Subjects":
        """The version of a record against the live one of another."""
        return cls(
            model=live.model,
            version=other.version,
            digest=other.digest,
            baseline=live.version,
            baseline_digest=live.digest,
            role=role,
        )


@dataclass(frozen=True, kw_only=True)
class LiveComparison:
    """One metric of one comparison, as it stands.

    Attributes:
        verdict, estimate, interval, margin, alpha, reason, n: as in `gatewise.core.Comparison`.
        unit: what n counts.
        evidence: natural log of the evidence for an alarm; one is raised at `threshold` = ln(1 / alpha).
        alarmed: whether an alarm was raised.
        needs: about how many more units until there is a verdict, if the future is like the past; None where there is a
            verdict, or where the estimate lies so near to the margin that no number can be named.
        notes: what a reader must know: a limit in force, blocks in force, labels that are missing.
    """

    model: str
    version: str
    digest: str
    baseline: str
    baseline_digest: str
    role: str
    metric: str
    verdict: Verdict
    estimate: float | None
    interval: tuple[float, float] | None
    margin: float
    alpha: float
    n: int
    unit: str
    evidence: float
    threshold: float
    alarmed: bool
    needs: int | None
    reason: str | None
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def json(self) -> dict[str, Any]:
        """The comparison as JSON values."""
        return asdict(self)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """A metric's comparison and its evidence, before it is said whom it is about.

    `later(k)`: the comparison of k times as much of what was seen, for what can be counted; else its width is taken to
    fall as 1 / sqrt(n).
    """

    metric: str
    comparison: Comparison
    evidence: float
    unit: str = "pairs"
    scale: int = 1
    notes: Mapping[str, Any] = field(default_factory=dict[str, Any])
    later: Callable[[float], Comparison] | None = None

    def told(self, subjects: Subjects, *, alarmed: bool) -> LiveComparison:
        """The finding as it is shown."""
        found = self.comparison
        more = needs(found) if self.later is None else needs_of(found, self.later)
        return LiveComparison(
            **asdict(subjects),
            metric=self.metric,
            verdict=found.verdict,
            estimate=found.estimate,
            interval=found.interval,
            margin=found.margin,
            alpha=found.alpha,
            n=found.n * self.scale,
            unit=self.unit,
            evidence=self.evidence,
            threshold=math.log(1 / found.alpha),
            alarmed=alarmed,
            needs=None if more is None else more * self.scale,
            reason=found.reason,
            notes=self.notes,
        )


def needs(comparison: Comparison) -> int | None:
    """About how many more units until the interval lies on one side of a limit: its width falls as 1 / sqrt(n)."""
    if comparison.verdict != "inconclusive" or comparison.n == 0 or comparison.estimate is None:
        return None
    if comparison.interval is None:
        missing = fewest(comparison.alpha) - comparison.n
        return missing if missing > 0 and "at least" in str(comparison.reason) else None
    rule = Rule(kind=comparison.kind, direction=comparison.direction, margin=comparison.margin)
    scale = math.log if comparison.kind == "ratio" else float
    center, low, high = (scale(value) for value in (comparison.estimate, *comparison.interval))
    limits = [-rule.bound, rule.bound]
    if abs(center) >= rule.bound:  # beyond the margin the nearer limit must be cleared; inside, both
        limits = [math.copysign(rule.bound, center)]
    more = 0.0
    for limit in limits:
        gap = limit - center
        half = high - center if gap > 0 else center - low
        more = max(more, comparison.n * ((max(half, 0.0) / abs(gap)) ** 2 - 1) if gap else math.inf)
    if not more < NEVER:
        return None
    return _rounded(more)


def needs_of(comparison: Comparison, later: Callable[[float], Comparison]) -> int | None:
    """The same for shares, by what more of the same would say. Without an event the width falls as 1 / n."""
    if comparison.verdict != "inconclusive" or comparison.n == 0 or comparison.interval is None:
        return None
    low, high = 1.0, 2.0
    while later(high).verdict == "inconclusive":
        low, high = high, 2.0 * high
        if comparison.n * high > NEVER:
            return None
    for _ in range(4):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if later(middle).verdict == "inconclusive" else (low, middle)
    return _rounded(comparison.n * (high - 1.0))


def _rounded(more: float) -> int:
    digits = max(len(str(math.ceil(max(more, 1.0)))) - 2, 0)
    return math.ceil(max(more, 1.0) / 10**digits) * 10**digits


def alarm(finding: Finding, subjects: Subjects, settings: LiveSettings, *, at_ns: int, since: str) -> Alarm:
    """The alarm of a finding; `since` says which question was asked: `start` or `change`."""
    told = finding.told(subjects, alarmed=True)
    threshold = told.threshold if since == "start" else math.log(settings.run_length or math.inf)
    now = finding.metric in PAGED or bool(finding.notes.get("control"))
    severity: Severity = "page" if now and subjects.role == "canary" else "ticket"
    return Alarm(
        kind=finding.metric,
        model=subjects.model,
        version=subjects.version,
        baseline=subjects.baseline,
        at_ns=at_ns,
        severity=severity,
        summary=_summary(told, since),
        evidence={
            **told.json(),
            "evidence": finding.evidence,
            "threshold": threshold,
            "question": since,
            "run_length": settings.run_length if since == "change" else None,
            "at_ns": at_ns,
        },
        replay=f"gatewise monitor {settings.folder} --model {subjects.model} --until {at_ns}",
    )


def _summary(told: LiveComparison, since: str) -> str:
    estimate = told.estimate if told.estimate is not None else math.nan
    against = f"{told.version} against {told.baseline}"
    said = {
        "latency": f"{against}: the median latency is {estimate:.3g} times as long",
        "tail": f"{against}: {100 * estimate:+.2g} points more requests above the tail limit",
        "errors": f"{against}: {100 * estimate:+.2g} points more errors",
        "disagreement": f"{told.version} disagrees with {told.baseline} on {100 * estimate:.3g} % of predictions, "
        f"{100 * told.margin:.3g} % are allowed",
        "accuracy": f"{against}: {100 * estimate:+.3g} points of accuracy",
    }[told.metric]
    when = "" if since == "start" else ", and it was not so at first"
    return f"{said}{when} (n = {told.n:,} {told.unit})"
