"""From comparisons to a grade. The words come from the judge's verdicts and from nothing else."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from gatewise.core import METRICS, Comparison, holm
from gatewise.study import patience

from ._compare import Asked

SUPPORTED, REFUTED, EQUIVALENT = "supported", "refuted", "equivalent"
INCONCLUSIVE, NOT_TESTABLE = "inconclusive", "not testable here"
GRADES = (SUPPORTED, REFUTED, EQUIVALENT, INCONCLUSIVE, NOT_TESTABLE)

HOPELESS = 50.0
"""From this many times the evidence on, waiting is no advice."""

UNITS = {"process": "processes", "seed": "seeds", "item": "items"}

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
    settle: list[str] = field(default_factory=list[str])
    """What would decide the rest, in sentences."""

    answers: "Answers" = field(default_factory=list["tuple[Asked, Comparison]"])
    """The comparisons themselves, without controls."""


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
    answers, controls = judged(asked, alpha)
    rows = [item.to_json(comparison, grade_of(item, comparison)) for item, comparison in (*answers, *controls)]
    lost = [item for item, comparison in controls if grade_of(item, comparison) != SUPPORTED]
    if lost:
        name = f"{METRICS[lost[0].relation.metric].label} of {lost[0].arm}"
        against = any(item is lost[0] and grade_of(item, comparison) == REFUTED for item, comparison in controls)
        how = "came out the other way" if against else "was not found"
        reason = f"the control {how} ({name}), so this test cannot be trusted with the effect"
        return Graded(grade=INCONCLUSIVE, reason=reason, comparisons=rows, settle=settle([*answers, *controls]))
    found = [grade_of(item, comparison) for item, comparison in answers]
    word = together(found)
    more = settle(answers) if word == INCONCLUSIVE else []
    reason = _reason(word, found, answers)
    return Graded(grade=word, reason=reason, comparisons=rows, settle=more, answers=answers)


Answers = list[tuple[Asked, Comparison]]


def judged(asked: Sequence[Asked], alpha: float) -> tuple[Answers, Answers]:
    """The comparisons as one family, and the controls, each for itself."""
    answers = _judged([item for item in asked if not item.relation.control], alpha)
    return answers, [(item, _alone(item, alpha)) for item in asked if item.relation.control]


def still_open(asked: Sequence[Asked], alpha: float) -> dict[str, set[str]]:
    """By part, the cells that some comparison of a claim still needs.

    Each is asked at alpha over the whole family, with those that are not measured yet: what is closed by that stays
    decided when Holm's procedure, which is never stricter, grades the claim.
    """
    found: dict[str, set[str]] = {}
    total = sum(not item.relation.control for item in asked)
    for item in asked:
        if _alone(item, alpha if item.relation.control else alpha / total).verdict == INCONCLUSIVE:
            for part, guard in item.guards:
                found.setdefault(part, set()).add(guard)
    return found


def _judged(asked: Sequence[Asked], alpha: float) -> Answers:
    answers = {i: item.refused(alpha) for i, item in enumerate(asked) if item.refusal or item.evidence is None}
    family = [(i, item.evidence) for i, item in enumerate(asked) if i not in answers and item.evidence is not None]
    for (index, _), comparison in zip(family, holm([evidence for _, evidence in family], alpha), strict=True):
        answers[index] = comparison
    return [(item, answers[index]) for index, item in enumerate(asked)]


def _alone(asked: Asked, alpha: float) -> Comparison:
    return asked.refused(alpha) if asked.refusal or asked.evidence is None else asked.evidence.at(alpha)


def together(found: Sequence[str]) -> str:
    """One word for several comparisons: refuted by one against it, open by one that is open."""
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
        said = "as it says" if word == SUPPORTED else "without a practical difference"
        return f"{_of(total, total)} came out {said}"
    if word == REFUTED:
        held = f"; {counts[SUPPORTED]} came out as it says" if counts[SUPPORTED] else ""
        return f"{_of(counts[REFUTED], total)} came out against it{held}"
    if not counts[INCONCLUSIVE]:
        rest = f"{counts[EQUIVALENT]} without a practical difference"
        return f"it depends: {counts[SUPPORTED]} of {total} came out as it says, {rest}"
    reasons = Counter(str(c.reason) for (_, c), said in zip(answers, found, strict=True) if said == INCONCLUSIVE)
    decided = ", ".join(f"{counts[kind]} {kind}" for kind in (SUPPORTED, EQUIVALENT) if counts[kind])
    beside = f" (beside {decided})" if decided else ""
    return f"{_of(counts[INCONCLUSIVE], total)} {_are(counts[INCONCLUSIVE])} open{beside}: {_listed(reasons)}"


def _of(some: int, total: int) -> str:
    if total == 1:
        return "the one comparison"
    return f"all {total} comparisons" if some == total else f"{some} of {total} comparisons"


def _are(many: int) -> str:
    return "is" if many == 1 else "are"


def _listed(reasons: Counter[str]) -> str:
    """The commonest reasons; where there are several, each with its count."""
    if len(reasons) == 1:
        return next(iter(reasons))
    shown = [f"{reason} ({count} times)" if count > 1 else reason for reason, count in reasons.most_common(2)]
    more = len(reasons) - len(shown)
    return "; ".join(shown) + (f"; and {more} other {'reason' if more == 1 else 'reasons'}" if more else "")


def settle(answers: Answers) -> list[str]:
    """What would decide the comparisons that are open: how much more evidence, or what stands in the way."""
    needed: dict[tuple[str, str], list[tuple[int, int]]] = {}
    noisy: list[str] = []
    unmeasured: list[str] = []
    edge: list[str] = []
    even: list[str] = []
    beyond: list[str] = []
    for item, found in answers:
        if found.verdict != INCONCLUSIVE:
            continue
        label = METRICS[item.relation.metric].label
        factor = patience(found)
        if factor is None and "identical" in str(found.reason):
            continue  # more of the same would not help
        if factor is None and "the grid of rates ends" in str(found.reason):
            beyond.append(f"{item.arm} and {item.than}")
        elif factor is None:
            (noisy if "twin" in str(found.reason) else unmeasured).append(label)
        elif factor >= HOPELESS:
            (edge if item.rule.margin else even).append(label if item.rule.margin else f"{item.arm} vs {item.than}")
        else:
            unit = UNITS[METRICS[item.relation.metric].evidence]
            needed.setdefault((label, unit), []).append((math.ceil(found.n * factor), found.n))
    lines: list[str] = []
    for (label, unit), rows in needed.items():
        want, have = max(want for want, _ in rows), min(have for _, have in rows)
        lines.append(f"about {want} {unit} (now {have}) would settle the {label}")
    lines += [f"a longer budget would measure the {label}" for label in dict.fromkeys(unmeasured)]
    lines += [
        f"a quieter machine or a longer budget would let the {label} be judged: the twin was not told equal"
        for label in dict.fromkeys(noisy)
    ]
    lines += [
        f"the {label} lies at the margin itself: no patience settles that, another margin may"
        for label in dict.fromkeys(edge)
    ]
    lines += [f"rates beyond the grid would show where the basins of {pair} end" for pair in dict.fromkeys(beyond)]
    return lines + [f"{pair} came out so even that no patience within reach settles it" for pair in dict.fromkeys(even)]
