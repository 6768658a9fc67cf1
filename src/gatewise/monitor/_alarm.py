"""An alarm: what was found, about which version, with the evidence and the command that shows it again."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Severity = Literal["page", "ticket"]


@dataclass(frozen=True, kw_only=True)
class Alarm:
    """One alarm. It is raised once for each cause, not once for each record that confirms it.

    Attributes:
        kind: what was watched: `latency`, `tail`, `accuracy`, `disagreement`, `drift`, `health`, `errors`, ...
        model, version: whom it is about. `baseline`: the version that it was compared with, if any.
        at_ns: when the last of its evidence arrived, Unix time in nanoseconds.
        severity: `page` (somebody must look now) or `ticket` (somebody must look).
        summary: one line in plain words, with the numbers.
        evidence: the numbers: estimate, interval, n, alpha, threshold, ...; JSON values only.
        replay: the command that comes to the same alarm from the stored records.
    """

    kind: str
    model: str
    version: str
    baseline: str | None = None
    at_ns: int
    severity: Severity = "ticket"
    summary: str
    evidence: Mapping[str, Any] = field(default_factory=dict[str, Any])
    replay: str = ""
