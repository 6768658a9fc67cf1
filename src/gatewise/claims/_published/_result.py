"""One recomputed figure, and the word for what its evidence supports."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

Evidence = Literal["established", "not established", "cannot tell"]


@dataclass(frozen=True, kw_only=True)
class Result:
    """A figure with its evidence and the reason for that word."""

    table: str
    analysis: str
    quantity: str
    value: float | None
    evidence: Evidence
    reason: str
    unit: str = ""
    interval: tuple[float, float] | None = None
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def document(self, source: str) -> dict[str, Any]:
        """The figure as plain data."""
        found: dict[str, Any] = {
            "source": source,
            "table": self.table,
            "analysis": self.analysis,
            "quantity": self.quantity,
            "value": self.value,
            "unit": self.unit,
            "evidence": self.evidence,
            "reason": self.reason,
        }
        if self.interval is not None:
            found["interval"] = list(self.interval)
        return found | {"detail": dict(self.detail)}


def short(value: float) -> str:
    """A number for a sentence: three digits that count."""
    return f"{value:.3g}"
