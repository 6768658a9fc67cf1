"""A claim's plan as it runs here, with the claims that rest on it."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewise.study import Plan

from ._available import available
from ._claim import Claim
from ._looks import shared_rate

STUDIES = "studies"
OWN_RATE = "a learning rate of each arm's own"


@dataclass(kw_only=True)
class Trial:
    """A plan as it runs here, with the claims that rest on it."""

    plan: Plan | None
    left_out: list[dict[str, str]]
    claims: list[Claim] = field(default_factory=list[Claim])
    failure: str = ""
    too_small: bool = False
    seconds: float = 0.0
    looks: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """The studies in the folder that ask the same, this one with them."""

    own: "Trial | None" = None
    """The same on gatewise's kernels, where its plan can have them: a column beside the grade, see `_kernels`."""

    dropped: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    """What the study left out to keep its budget."""

    @property
    def name(self) -> str:
        """The folder of the study: plans that are the same share one, whoever asks."""
        return self.plan.fingerprint[:16] if self.plan else ""

    def share_rate(self, why: str) -> bool:
        """Go on with one learning rate for all arms, and say so; False where the plan searches none."""
        plan = shared_rate(self.plan) if self.plan else None
        if plan is None:
            return False
        self.plan = plan
        self.left_out.append({"what": OWN_RATE, "reason": f"{why}; all arms were trained at one rate"})
        return True


def trials_of(claims: Sequence[Claim]) -> list[Trial]:
    """The plans to run, each once, in the order of the claims."""
    found: dict[str, Trial] = {}
    for claim in claims:
        if claim.plan is None or claim.waits_for:
            continue
        key = claim.plan.fingerprint
        if key not in found:
            plan, left_out = available(claim.plan)
            found[key] = Trial(plan=plan, left_out=left_out)
        found[key].claims.append(claim)
    return list(found.values())
