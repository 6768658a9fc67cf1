"""From judged comparisons to plain words: does each arm pay, why, and what would settle the rest."""

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from gatewise.core import METRICS, Comparison, Verdict

from ._cells import TRAIN, cells
from ._cost import million_requests
from ._evidence import Judged
from ._plan import TIMED, Part
from ._record import Record, identical, without_kernels
from ._words import at, change, listed, percent, prefix, sentence, signed, span

OVERHEAD_LIMIT = 0.01

ORDER = ("worse", "better", "equivalent", "inconclusive")
"""What decides an arm comes first."""

HOPELESS = 25
"""Times more evidence than there is; beyond it the honest advice is another margin, not patience."""


def overall(answers: Sequence[Judged]) -> Verdict:
    """One word for an arm: worse if worse in anything, else open if open in anything, better if better in something."""
    found = {answer.comparison.verdict for answer in answers}
    for word in ("worse", "inconclusive", "better"):
        if word in found:
            return word
    return "equivalent"


def _clauses(answers: Sequence[Judged]) -> list[str]:
    """What was found on each metric, one clause each; conditions with the same verdict share one."""
    clauses: list[tuple[int, str]] = []
    for metric in dict.fromkeys(answer.question.metric for answer in answers):
        mine = [answer for answer in answers if answer.question.metric == metric]
        for verdict in sorted({answer.comparison.verdict for answer in mine}, key=ORDER.index):
            same = [answer for answer in mine if answer.comparison.verdict == verdict]
            lengths = _lengths(answers)
            places = [f"{at(a.question.conditions, tokens=lengths)}{span(metric, a.comparison)}" for a in same]
            if verdict in ("better", "worse"):
                details = zip((change(metric, a.comparison) for a in same), places, strict=True)
                text = listed([f"{what}{place}" for what, place in details])
            else:
                said = "is not decided" if verdict == "inconclusive" else "stays inside the margin"
                text = f"{METRICS[metric].label} {said}{listed(places)}"
            clauses.append((ORDER.index(verdict), text))
    return [text for _, text in sorted(clauses, key=lambda clause: clause[0])]


def _lengths(answers: Sequence[Judged]) -> bool:
    """Whether answers stand at several numbers of tokens."""
    return len({answer.question.conditions.get("tokens") for answer in answers} - {None}) > 1


def _answer(record: Record, arm: str, answers: Sequence[Judged]) -> dict[str, Any]:
    word = overall(answers)
    found = {answer.comparison.verdict for answer in answers}
    outputs = record.prepared.get("outputs", {}).get(arm, {})
    clauses = _clauses(answers)
    if "values" in outputs and not any(outputs["values"]):
        clauses.append("outputs identical bit by bit" if identical(outputs) else "outputs equal within rounding")
    start = {
        "better": f"{arm} pays",
        "worse": f"{arm} is a trade-off" if "better" in found else f"{arm} does not pay",
        "equivalent": f"{arm} makes no practical difference",
        "inconclusive": f"whether {arm} pays is not decided",
    }[word]
    notes = listed(list(dict.fromkeys(note for answer in answers for note in answer.question.notes)))
    text = f"{start}: {'; '.join(clauses)}{f' ({notes})' if notes else ''}."
    return {"part": record.part.name, "arm": arm, "verdict": word, "text": text}


def _part_headline(record: Record, answers: Sequence[dict[str, Any]]) -> str:
    part = record.part
    subject = part.subject.workload or Path(part.subject.model).name
    doing = f"For {part.name} of {subject}" if part.name != "main" else f"On {subject}"
    if not answers:
        return f"{doing}, nothing was measured."
    branded = _branded(record)
    answers = [answer | {"arm": branded.get(answer["arm"], answer["arm"])} for answer in answers]
    named = {word: [a["arm"] for a in answers if a["verdict"] == word] for word in ("better", "worse", "equivalent")}
    mixed = [a["arm"] for a in answers if a["verdict"] == "worse" and "trade-off" in a["text"]]
    opened = [a["arm"] for a in answers if a["verdict"] == "inconclusive"]
    if named["better"]:
        text = f"{listed(named['better'])} {'pays' if len(named['better']) == 1 else 'pay'} against {part.baseline}"
    elif opened and len(opened) == len(answers):
        return f"{doing}, nothing is decided yet: the evidence is too thin or too noisy."
    elif opened:
        text = f"nothing has been shown to pay against {part.baseline} yet"
    else:
        text = f"keep {part.baseline}: nothing else pays"
    tail: list[str] = []
    plain = [arm for arm in named["worse"] if arm not in mixed]
    if named["better"] and plain:
        tail.append(f"{listed(plain)} {'does' if len(plain) == 1 else 'do'} not")
    if mixed:
        tail.append(f"{listed(mixed)} {'buys' if len(mixed) == 1 else 'buy'} one thing with another")
    if named["equivalent"]:
        tail.append(
            f"{listed(named['equivalent'])} {'makes' if len(named['equivalent']) == 1 else 'make'} no difference"
        )
    if opened:
        tail.append(f"{listed(opened)} {'is' if len(opened) == 1 else 'are'} not decided")
    return f"{doing}, {text}{'; ' if tail else ''}{'; '.join(tail)}."


def _branded(record: Record) -> dict[str, str]:
    """The names of arms that are no fair match, with what every line that shows them says."""
    facts = record.prepared.get("arms", {})
    return {run.label: f"{run.label} (unfair)" for run in record.arms if facts.get(run.arm, {}).get("unfair")}


def _for(part: Part, advice: str) -> str:
    return sentence(advice) if part.name == "main" else f"For {part.name}, {advice}"


def _recommendation(record: Record, answers: Sequence[dict[str, Any]], judged: Sequence[Judged]) -> str:
    part = record.part
    better = [answer["arm"] for answer in answers if answer["verdict"] == "better"]
    if not better:
        return _for(part, f"stay with {part.baseline}.")
    gains = {
        arm: min(
            a.comparison.estimate if a.comparison.direction == "lower" else 1 / a.comparison.estimate
            for a in judged
            if a.question.arm == arm and a.comparison.verdict == "better" and a.comparison.estimate
        )
        for arm in better
    }
    branded = _branded(record)
    best = min(gains, key=lambda arm: (arm in branded, gains[arm]))
    if best in branded:
        unlike = "what an arm of the same cost would do was not shown"
        stay = f"stay with {part.baseline}: only {branded[best]} came out better"
        return _for(part, f"{stay}, which is no fair match; {unlike}.")
    return _for(part, f"change to {best}, on this machine and this model.")


def next_steps(record: Record, answers: Sequence[Judged]) -> list[str]:
    """For each metric that is still open, what would settle it; metrics with one reason share a sentence."""
    steps: list[str] = []
    refused: dict[str, list[str]] = {}
    for metric in dict.fromkeys(answer.question.metric for answer in answers):
        still_open = [a for a in answers if a.question.metric == metric and a.comparison.verdict == "inconclusive"]
        factors = {id(a): factor for a in still_open if (factor := patience(a.comparison)) is not None}
        if not factors:
            for reason in dict.fromkeys(str(answer.comparison.reason) for answer in still_open):
                mine = [answer for answer in still_open if str(answer.comparison.reason) == reason]
                refused.setdefault(reason, []).append(f"{METRICS[metric].label} of {_who(mine)}")
            continue
        near = [answer for answer in still_open if factors.get(id(answer), HOPELESS) < HOPELESS]
        edge = [answer for answer in still_open if factors.get(id(answer), 0) >= HOPELESS]
        if near:
            unit = {"process": "processes", "seed": "seeds", "item": "items"}[METRICS[metric].evidence]
            have = max(answer.comparison.n for answer in near)
            amount = round(have * max(factors[id(answer)] for answer in near))
            steps.append(
                f"about {amount} {unit} (now {have}) would settle the {METRICS[metric].label} of {_who(near)}."
            )
        if edge:
            lies = f"{METRICS[metric].label} of {_who(edge)} lies at the margin itself"
            steps.append(f"{lies}: no patience settles that, another margin may.")
    # Twins differ in their figures from cell to cell; what helps is the same.
    noisy = [what for reason, whats in refused.items() if "twin" in reason for what in whats]
    if noisy:
        helps = "a quieter machine or a longer budget would let it be judged (gatewise doctor says what disturbs)"
        steps.append(f"{listed(list(dict.fromkeys(noisy)))}: the twin was not told equal; {helps}.")
    for reason, whats in refused.items():
        if "twin" in reason:
            continue
        if "not measured" in reason or "not trained" in reason:
            steps.append(f"a longer budget would measure the {listed(whats)}.")
        else:
            steps.append(f"{listed(whats)}: {reason}.")
    return [f"{prefix(record.part.name)}{step}" for step in steps]


def _who(answers: Sequence[Judged]) -> str:
    return listed(list(dict.fromkeys(f"{a.question.arm}{at(a.question.conditions)}" for a in answers)))


def patience(found: Comparison) -> float | None:
    """How many times as much evidence would bring the interval clear of the nearest limit, were the estimate true.

    A t interval of few seeds narrows faster than 1 / sqrt(n), since its quantile falls too: from 64 at n = 2 to 4.8 at
    n = 5 where alpha is .01.
    """
    if found.interval is None or found.estimate is None:
        return None
    scale = math.log if found.kind == "ratio" else float
    center, low, high = (scale(value) for value in (found.estimate, *found.interval))
    distance, half = min(abs(center - scale(limit)) for limit in found.limits), (high - low) / 2
    if distance <= 0:
        return math.inf
    if found.method != "paired t":
        return max(1.2, (half / distance) ** 2)
    from scipy.special import stdtrit

    def width(n: int) -> float:
        return float(stdtrit(n - 1, 1 - found.alpha / 2)) / math.sqrt(n)

    enough = half / distance / width(found.n)
    n = found.n
    while width(n) * enough > 1 and n <= HOPELESS * found.n:
        n += 1
    return max(1.2, n / found.n)


def verdict(
    records: Sequence[Record],
    judged: Sequence[Sequence[Judged]],
    *,
    shares: Sequence[float],
    dropped: Sequence[dict[str, Any]],
    interrupted: bool,
) -> dict[str, Any]:
    """Headline, recommendation, reasons, warnings and next steps of a whole study."""
    headlines: list[str] = []
    recommendations: list[str] = []
    answers: list[dict[str, Any]] = []
    warnings: list[str] = ["The study was interrupted; --resume goes on where it stopped."] if interrupted else []
    steps: list[str] = []
    for record, found in zip(records, judged, strict=True):
        arms = dict.fromkeys(a.question.arm for a in found if not a.question.twin)
        mine = [_answer(record, arm, [a for a in found if a.question.arm == arm]) for arm in arms]
        answers += mine
        headlines.append(_part_headline(record, mine))
        recommendations.append(_recommendation(record, mine, found))
        warnings += _warnings(record, found)
        steps += next_steps(record, [a for a in found if not a.question.twin])
    if shares and max(shares) > OVERHEAD_LIMIT:
        warnings.append(
            f"The timing loop itself costs {max(shares):.1%} of the shortest call: times are that much too long."
        )
    return {
        "headline": " ".join(headlines),
        "recommendation": " ".join(recommendations),
        "reasons": [sentence(text) for r, found in zip(records, judged, strict=True) for text in _reasons(r, found)],
        "warnings": [sentence(text) for text in warnings],
        "next": [sentence(text) for text in steps] or ["Everything the plan asked is settled."],
        "answers": answers,
    }


def costs(record: Record) -> list[str]:
    """What a million requests cost on this machine, by arm and condition, at the plan's price and utilisation."""
    part = record.part
    if part.cost is None or part.cost.utilisation == 0 or part.measure is None:
        return []
    lines: list[str] = []
    for cell in cells(part.measure):
        prices = [f"{label} {price:.3g}" for label, price in million_requests(record, cell.conditions).items()]
        if prices and cell.call == "forward":
            lines.append(
                f"{prefix(part.name)}a million requests at batch {cell.batch} cost {', '.join(prices)} (machine time, "
                f"{part.cost.price_per_hour:g} an hour at a utilisation of {part.cost.utilisation:.0%})."
            )
    return lines


def _reasons(record: Record, found: Sequence[Judged]) -> list[str]:
    """What the verdicts of a part rest on: how much evidence there is, and what identical copies did."""
    part, reasons = record.part, list[str]()
    for answer in found:
        if answer.question.twin and answer.comparison.interval:
            low, high = answer.comparison.interval
            where = at(answer.question.conditions, tokens=_lengths(found))
            place = f"{METRICS[answer.question.metric].label}{where}"
            found_span = f"{signed(low - 1)} to {signed(high - 1)}"
            count = f"{answer.comparison.n} fresh processes"
            reasons.append(
                f"{prefix(part.name)}{place}: {count}; two identical copies of {part.baseline} differ by {found_span}."
            )
    if any(" group=" in key for key in record.rows):
        apart = "memory does not hold all arms at once: each stands with the baseline and its twin in its own processes"
        reasons.append(f"{prefix(part.name)}{apart}.")
    settings = record.prepared.get("training")
    if part.train and settings:
        runs = [row for key, rows in record.rows.items() if key.startswith(TRAIN) for _, row in rows]
        steps = f" of {max(row['steps'] for row in runs):,} steps" if runs else ""
        reasons.append(
            f"{prefix(part.name)}{len(runs)} runs{steps}, paired by seed, the same data in the same order; "
            f"the target is {settings['target']}."
        )
    reasons += costs(record)
    family, level = sum(not answer.question.twin for answer in found), percent(part.judge.alpha)
    reasons.append(f"{prefix(part.name)}the chance that any of {family} verdicts is wrong is held at {level} (Holm).")
    return reasons


def _warnings(record: Record, found: Sequence[Judged]) -> list[str]:
    warnings: list[str] = []
    for answer in found:
        if answer.question.twin and answer.comparison.verdict != "equivalent" and answer.question.metric in TIMED:
            warnings.append(
                f"{prefix(record.part.name)}two identical copies of {answer.question.baseline} did not come out "
                f"equivalent{at(answer.question.conditions, tokens=_lengths(found))}; nothing measured there is judged."
            )
    for arm in without_kernels(record.prepared):
        warnings.append(f"{prefix(record.part.name)}nothing in {arm} has a gatewise kernel: torch's own code ran.")
    warnings += _below_baselines(record)
    for note in dict.fromkeys(note for answer in found for note in answer.question.notes):
        arms = listed(list(dict.fromkeys(a.question.arm for a in found if note in a.question.notes)))
        warnings.append(f"{prefix(record.part.name)}{arms}: {note}.")
    return warnings


def _below_baselines(record: Record) -> list[str]:
    """For each arm whose mean held-out accuracy does not reach a simple answer's: that it does not."""
    simple: dict[str, float | None] = (record.prepared.get("training") or {}).get("baselines") or {}
    reached: dict[str, list[float]] = {}
    for key, rows in record.rows.items():
        for _, row in rows if key.startswith(TRAIN) else ():
            value = row.get("diagnostics", {}).get("heldout_accuracy")
            if value is not None:
                reached.setdefault(key[len(TRAIN) :].partition("|")[0], []).append(value)
    return [
        f"{prefix(record.part.name)}the held-out accuracy of {arm}, {percent(fmean(values))}, is below that of {name}, "
        f"{percent(value)}."
        for arm, values in reached.items()
        for name, value in simple.items()
        if value is not None and fmean(values) < value
    ]
