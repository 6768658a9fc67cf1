"""The plan of one A/A study: the baseline, identical arms under other labels, and arms with a known slowdown."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gatewise.study import Plan

MARGIN = 0.02
INSIDE, BEYOND = 0.005, 0.10

PLANTED: Mapping[str, float] = {
    "same": 0.0,
    "same again": 0.0,
    "slower by 0.5 %": INSIDE,
    "slower by 10 %": BEYOND,
}
"""Each arm's label and what is planted in it. The last is the positive control: a judge that never speaks fails it."""

ACTIVATION = "gelu"
DEFAULT_WORKLOAD = "ffn"


@dataclass(frozen=True, kw_only=True)
class Design:
    """What every study of one record has in common."""

    workload: str = DEFAULT_WORKLOAD
    batch: tuple[int, ...] = (1, 4, 16)
    tokens: int = 16

    def to_json(self) -> dict[str, Any]:
        """As a line of the record carries it."""
        return {
            "workload": self.workload,
            "batch": list(self.batch),
            "tokens": self.tokens,
            "margin": MARGIN,
            "planted": dict(PLANTED),
        }


def plan(design: Design, *, seed: int, budget_s: float) -> "Plan":
    """One study."""
    from gatewise.study import to_plan  # imports torch; a look reads the quiet machine first

    arms = [ACTIVATION, *({"name": ACTIVATION, "label": name, "slowdown": by} for name, by in PLANTED.items())]
    return to_plan(
        {
            "study": {"name": "A/A", "arms": arms, "seed": seed, "budget": f"{budget_s:.3f}"},
            "subject": {"workload": design.workload},
            "measure": {"metrics": ["latency"], "batch": list(design.batch), "tokens": [design.tokens]},
            "judge": {"margin": {"latency": MARGIN}},
        }
    )
