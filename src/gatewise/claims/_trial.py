"""A claim's plan as it runs here: what can run, at the level that the claim's comparisons need."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from gatewise.core import METRICS
from gatewise.study import Part, Plan, timed_family

from ._available import available
from ._claim import CONDITIONS, Claim, Relation, measuring

STUDIES = "studies"


@dataclass(kw_only=True)
class Trial:
    """A plan as it runs here, with the claims that rest on it."""

    plan: Plan | None
    left_out: list[dict[str, str]]
    claims: list[Claim] = field(default_factory=list[Claim])
    failure: str = ""
    too_small: bool = False
    seconds: float = 0.0
    open: dict[str, Any] = field(default_factory=dict[str, Any])
    """What the study dropped to keep its budget, and what would settle the rest."""

    @property
    def name(self) -> str:
        """The folder of the study: plans that are the same share one, whoever asks."""
        return self.plan.fingerprint[:16] if self.plan else ""


def trials_of(claims: Sequence[Claim], ledger: Sequence[Claim]) -> list[Trial]:
    """The plans to run, each once, in the order of the claims.

    A plan is run at the level that the largest of *all* claims of the ledger that rest on it needs, whichever are asked
    for now, so that what one call measures serves the next.
    """
    found: dict[str, Trial] = {}
    for claim in claims:
        if claim.plan is None or claim.waits_for:
            continue
        key = claim.plan.fingerprint
        if key not in found:
            sharing = [other for other in ledger if other.plan and other.plan.fingerprint == key]
            plan, left_out = available(at_level(claim.plan, sharing or [claim]))
            found[key] = Trial(plan=plan, left_out=left_out)
        found[key].claims.append(claim)
    return list(found.values())


def at_level(plan: Plan, claims: Sequence[Claim]) -> Plan:
    """The plan with every part judged as strictly as the claims will judge it.

    A study stops when its own comparisons are settled. A claim judges all of its comparisons as one family, over all
    parts; at a part's own level a study would stop before the claim's is reached.
    """
    alpha = min(claim.alpha for claim in claims)
    most = max(sum(count(relation, plan) for relation in claim.relations) for claim in claims)

    def strict(part: Part) -> Part:
        level = min(alpha, alpha * timed_family(part) / max(1, most))
        return replace(part, judge=replace(part.judge, alpha=level))

    return replace(plan, parts=tuple(strict(part) for part in plan.parts))


def count(relation: Relation, plan: Plan) -> int:
    """How many comparisons a relation makes."""
    pairs = len(relation.arm) * len(relation.than)
    each = [_conditions(relation, part) for part in measuring(plan.parts, relation)]
    across = relation.over and relation.over not in CONDITIONS
    return pairs * (max(each) if across else sum(each))


def _conditions(relation: Relation, part: Part) -> int:
    if part.measure is None or METRICS[relation.metric].evidence != "process":
        return 1
    total = 1
    for name in (*CONDITIONS, "runtime"):
        values = set(getattr(part.measure, "runtimes" if name == "runtime" else name))
        if name in relation.where:
            wanted = relation.where[name]
            values &= set(wanted) if isinstance(wanted, list) else {wanted}
        total *= 1 if name == relation.over else len(values)
    return total
