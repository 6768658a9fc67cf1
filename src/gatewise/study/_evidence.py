"""From stored cells to independent effects, and from effects to judged comparisons. It judges only through `core`."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any

from gatewise.core import METRICS, Comparison, Evidence, Judgeable, Rule, holm

from ._plan import Judge
from ._words import signed


@dataclass(frozen=True, kw_only=True)
class Question:
    """One comparison to be judged: an arm against the baseline on a metric under a condition."""

    metric: str
    arm: str
    baseline: str
    conditions: Mapping[str, Any]
    evidence: Judgeable | None
    refusal: str | None = None
    twin: bool = False
    guard: str = ""
    """The cell whose twin must come out equivalent before this is judged."""
    notes: tuple[str, ...] = ()


def rule_of(metric: str, judge: Judge) -> Rule:
    """The rule of a metric under a part's margins."""
    facts = METRICS[metric]
    return Rule(kind=facts.kind, direction=facts.direction, margin=judge.margin_of(metric))


def process_effect(record: Mapping[str, Any], baseline: str, arm: str) -> float:
    """The median paired log-ratio of one process; the two calls of a round make one pair."""

    def per_pair(label: str) -> list[float]:
        sums: dict[int, float] = {}
        for pair, value in zip(record["pairs"], record["values"][label], strict=True):
            sums[pair] = sums.get(pair, 0.0) + value
        return list(sums.values())

    pairs = zip(per_pair(baseline), per_pair(arm), strict=True)
    return median(math.log(b / a) for a, b in pairs)


def timing_evidence(records: Iterable[Mapping[str, Any]], baseline: str, arm: str, rule: Rule) -> Evidence:
    """One effect per process in which both stood."""
    sign = 1.0 if rule.direction == "lower" else -1.0  # throughput is the inverse of time
    effects = tuple(sign * process_effect(r, baseline, arm) for r in records if arm in r["values"])
    return Evidence(effects=effects, rule=rule, method="median")


def twin_rule(metric: str, judge: Judge) -> Rule:
    """The twin must lie inside the margin, or inside the default one where the plan asks for a direction only."""
    facts = METRICS[metric]
    return Rule(kind=facts.kind, direction=facts.direction, margin=judge.margin_of(metric) or facts.margin)


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A question with its answer."""

    question: Question
    comparison: Comparison
    conditions: Mapping[str, Any] = field(default_factory=dict[str, Any])

    def to_json(self) -> dict[str, Any]:
        """As `result.json` shows it."""
        facts = METRICS[self.question.metric]
        content = asdict(self.comparison)
        return {
            "metric": self.question.metric,
            "arm": self.question.arm,
            "baseline": self.question.baseline,
            "twin": self.question.twin,
            "conditions": dict(self.question.conditions),
            "evidence": facts.evidence,
            "notes": list(self.question.notes),
        } | content


def judge_all(questions: Sequence[Question], judge: Judge) -> list[Judged]:
    """Twins first, each at alpha for itself: they guard. Then the rest as one family, by Holm.

    A comparison in a cell whose twin is not equivalent to the baseline is refused, whatever its values say.
    """
    guards = twin_comparisons(questions, judge)
    answers = {index: guards[question.guard] for index, question in enumerate(questions) if _is_twin(question)}
    open_questions: list[int] = []
    for index, question in enumerate(questions):
        if question.twin:
            continue
        refusal = question.refusal or guard_refusal(guards.get(question.guard))
        if refusal is not None or question.evidence is None:
            answers[index] = _refused(question, judge, refusal or "it was not measured")
        else:
            open_questions.append(index)
    family = [evidence for index in open_questions if (evidence := questions[index].evidence) is not None]
    for index, comparison in zip(open_questions, holm(family, judge.alpha), strict=True):
        answers[index] = comparison
    return [Judged(question=question, comparison=answers[index]) for index, question in enumerate(questions)]


def _is_twin(question: Question) -> bool:
    return question.twin and isinstance(question.evidence, Evidence)


def twin_comparisons(questions: Sequence[Question], judge: Judge) -> dict[str, Comparison]:
    """How the baseline's twin came out in each cell, by guard, each at alpha for itself."""
    found: dict[str, Comparison] = {}
    for question in questions:
        if question.twin and isinstance(question.evidence, Evidence):
            rule = twin_rule(question.metric, judge)
            found[question.guard] = Evidence(effects=question.evidence.effects, rule=rule, method="median").at(
                judge.alpha
            )
    return found


def guard_refusal(guard: Comparison | None) -> str | None:
    """Why a cell is not judged, from how its twin came out; None where it is."""
    if guard is None or guard.verdict == "equivalent":
        return None
    if guard.interval is None:
        return f"the baseline's twin could not be judged ({guard.reason})"
    low, high = guard.interval
    return (
        f"the baseline's twin is not yet equivalent to it ({signed(low - 1)} to {signed(high - 1)}): "
        "this cell is too noisy for a verdict"
    )


def _refused(question: Question, judge: Judge, reason: str) -> Comparison:
    rule = rule_of(question.metric, judge)
    n = len(question.evidence.effects) if isinstance(question.evidence, Evidence) else 0
    return rule.refuse(reason, alpha=judge.alpha, n=n, method="none")
