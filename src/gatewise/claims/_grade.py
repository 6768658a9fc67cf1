"""From comparisons to a grade. The words come from the judge's verdicts and from nothing else."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewise.core import METRICS, Comparison, holm

from ._compare import Asked

SUPPORTED, REFUTED, EQUIVALENT = "supported", "refuted", "equivalent"
INCONCLUSIVE, NOT_TESTABLE = "inconclusive", "not testable here"
GRADES = (SUPPORTED, REFUTED, EQUIVALENT, INCONCLUSIVE, NOT_TESTABLE)

MEANING = {
    SUPPORTED: "every comparison came out as the sentence says",
    REFUTED: "at least one comparison came out against the sentence, which states it without an exception",
    EQUIVALENT: "no practical difference in any comparison",
    INCONCLUSIVE: "what was measured does not decide it, or it holds under some conditions only",
    NOT_TESTABLE: "it cannot be run on this machine or in this version",
}


@dataclass(frozen=True, kw_only=True)
class Graded:
    """A claim's grade, why, and the comparisons that it rests on."""

    grade: str
    reason: str
    comparisons: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])


def grade_of(asked: Asked, comparison: Comparison) -> str:
    """What one comparison says of the sentence."""
    says, found = asked.relation.says, comparison.verdict
    if found == "inconclusive":
        return INCONCLUSIVE
    if says == "equivalent":
        return SUPPORTED if found == "equivalent" else REFUTED
    if says == "not worse":
        return REFUTED if found == "worse" else SUPPORTED
    if found == "equivalent":
        return asked.relation.equivalent
    return SUPPORTED if found == says else REFUTED


def grade(asked: Sequence[Asked], alpha: float) -> Graded:
    """Judge every comparison of a claim as one family (Holm, at the claim's alpha), and put them together.

    A sentence is taken as it stands, without exceptions: one comparison against it refutes it. Where a control, a
    relation that is known to hold, was not found, nothing is graded: the test could not have seen the effect.
    """
    answers = _judged([item for item in asked if not item.relation.control], alpha)
    controls = [(item, _alone(item, alpha)) for item in asked if item.relation.control]
    rows = [item.to_json(comparison, grade_of(item, comparison)) for item, comparison in (*answers, *controls)]
    lost = [item for item, comparison in controls if grade_of(item, comparison) != SUPPORTED]
    if lost:
        name = f"{METRICS[lost[0].relation.metric].label} of {lost[0].arm}"
        reason = f"the control was not found ({name}), so this test could not have seen the effect"
        return Graded(grade=INCONCLUSIVE, reason=reason, comparisons=rows)
    found = [grade_of(item, comparison) for item, comparison in answers]
    word = _together(found)
    return Graded(grade=word, reason=_reason(word, found, answers), comparisons=rows)


def _judged(asked: Sequence[Asked], alpha: float) -> list[tuple[Asked, Comparison]]:
    answers = {i: item.refused(alpha) for i, item in enumerate(asked) if item.refusal or item.evidence is None}
    family = [(i, item.evidence) for i, item in enumerate(asked) if i not in answers and item.evidence is not None]
    for (index, _), comparison in zip(family, holm([evidence for _, evidence in family], alpha), strict=True):
        answers[index] = comparison
    return [(item, answers[index]) for index, item in enumerate(asked)]


def _alone(asked: Asked, alpha: float) -> Comparison:
    return asked.refused(alpha) if asked.refusal or asked.evidence is None else asked.evidence.at(alpha)


def _together(found: Sequence[str]) -> str:
    kinds = set(found)
    if REFUTED in kinds:
        return REFUTED
    if not kinds or INCONCLUSIVE in kinds or len(kinds) > 1:
        return INCONCLUSIVE
    return found[0]


def _reason(word: str, found: Sequence[str], answers: Sequence[tuple[Asked, Comparison]]) -> str:
    counts = Counter(found)
    total = len(found)
    if not total:
        return "nothing was measured that could decide it"
    if word in (SUPPORTED, EQUIVALENT):
        one = "the one comparison" if total == 1 else f"all {total} comparisons"
        return f"{one} came out {'as it says' if word == SUPPORTED else 'without a practical difference'}"
    if word == REFUTED:
        against = f"{counts[REFUTED]} of {total} comparisons came out against it"
        held = f"; {counts[SUPPORTED]} came out as it says" if counts[SUPPORTED] else ""
        return against + held
    if not counts[INCONCLUSIVE]:
        return (
            f"it depends: {counts[SUPPORTED]} of {total} came out as it says, {counts[EQUIVALENT]} make no difference"
        )
    reasons = Counter(str(c.reason) for (_, c), said in zip(answers, found, strict=True) if said == INCONCLUSIVE)
    decided = ", ".join(f"{counts[kind]} {kind}" for kind in (SUPPORTED, EQUIVALENT) if counts[kind])
    beside = f" (beside {decided})" if decided else ""
    return f"{counts[INCONCLUSIVE]} of {total} comparisons are open{beside}: {reasons.most_common(1)[0][0]}"
