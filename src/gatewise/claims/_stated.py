"""The statements of a claim, each with a grade of its own: relations that share a text are one statement."""

import math
import shlex
from collections import Counter
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

from gatewise.core import METRICS
from gatewise.study import Record, patience

from ._basins import TRAINED
from ._compare import Asked
from ._grade import HOPELESS, INCONCLUSIVE, Answers, together

SPARE = 1.2
"""What a budget is given beyond what the runs took here."""

SIDE_BY_SIDE = 2
FEWEST = 4
"""Seeds for which a study wants time before it goes on with any."""


def stated(answers: Answers, grades: Sequence[str]) -> list[dict[str, Any]]:
    """Each text with its grade over its comparisons: the same rule as the claim's, at the same corrected levels.

    `seeds` is about how many it would take (now `n`), were the estimates true; None where none is open, or where no
    number of them would do; `even` says the latter.
    """
    groups: dict[str, list[int]] = {}
    for place, (item, _) in enumerate(answers):
        if item.relation.text:
            groups.setdefault(item.relation.text, []).append(place)
    return [_statement(text, [(*answers[i], grades[i]) for i in places]) for text, places in groups.items()]


def _statement(text: str, rows: Sequence[tuple[Asked, Any, str]]) -> dict[str, Any]:
    counts = Counter(word for _, _, word in rows)
    still = [comparison for _, comparison, word in rows if word == INCONCLUSIVE]
    factors = [patience(comparison) for comparison in still]
    known = [(factor, found.n) for factor, found in zip(factors, still, strict=True) if factor is not None]
    seeds = None
    by_seed = all(METRICS[item.relation.metric].evidence == "seed" for item, _, _ in rows)
    few = any(n < FEWEST for _, n in known)  # a spread of so few says little about how many it takes
    if by_seed and still and not few and len(known) == len(still) and all(factor < HOPELESS for factor, _ in known):
        seeds = max(math.ceil(factor * n) for factor, n in known)
    return {
        "text": text,
        "grade": together([word for _, _, word in rows]),
        "comparisons": len(rows),
        "counts": dict(counts),
        "open": [f"{item.arm} vs {item.than}" for item, _, word in rows if word == INCONCLUSIVE],
        "against": [f"{item.arm} vs {item.than}" for item, _, word in rows if word == "refuted"],
        "n": max((comparison.n for _, comparison, _ in rows), default=0),
        "seeds": seeds,
        "even": not few and len(known) == len(still) and any(factor >= HOPELESS for factor, _ in known),
    }


def needs(
    statements: Sequence[Mapping[str, Any]], records: Sequence[Record], replay: str, *, fixed: bool
) -> dict[str, Any] | None:
    """Seeds and time that would decide what is open, and the command; None where nothing is open or none would do.

    Seeds of the plan that are not trained yet come first: the same command goes on with them, unless the first budget
    `fixed` fewer. Beyond them it takes a new look, judged more strictly, so that its seeds are a lower figure. The time
    is what runs and searches took here, two side by side, with a fifth to spare.
    """
    still = [each for each in statements if each["grade"] == INCONCLUSIVE]
    trains = [(record, record.part.train) for record in records if record.part.train]
    if not still or not trains:
        return None
    wanted = max(int(each["seeds"] or 0) for each in still)
    planned = trains[0][1].seeds
    done = min(len(record.rows.get(TRAINED + arm.label, [])) for record, _ in trains for arm in record.part.arms)
    resumes = not fixed and done < planned
    if not resumes and not wanted:
        return None
    seeds = planned if resumes else max(wanted, planned + 1)
    left = [record for record, _ in trains]
    total = sum(_runs_s(record) * (max(FEWEST, seeds - done) if resumes else seeds) for record in left)
    total += 0.0 if resumes else sum(_search_s(record) for record in left)
    minutes = max(1, math.ceil(total * SPARE / 60))
    again = _without(shlex.split(replay), "--budget")
    again = again if resumes else [*_without(again, "--seeds"), "--seeds", str(seeds)]
    command = shlex.join([*again, "--budget", f"{minutes}m"]) if replay else None
    what = (
        f"{done} of the plan's {planned} seeds are trained; the rest" if resumes else f"a new look with {seeds} seeds"
    )
    said = f"{what} may take {minutes} min{f': {command}' if command else ''}"
    return {"seeds": seeds, "budget_s": minutes * 60, "command": command, "text": said}


def _runs_s(record: Record) -> float:
    """Seconds that one seed of all arms takes, two runs side by side."""
    took = [row["seconds"] for key, rows in record.rows.items() if key.startswith(TRAINED) for _, row in rows]
    return fmean(took) * len(record.part.arms) / SIDE_BY_SIDE if took else 0.0


def _search_s(record: Record) -> float:
    return float(((record.prepared.get("training") or {}).get("search") or {}).get("seconds", 0.0))


def _without(words: Sequence[str], option: str) -> list[str]:
    """A command without one option and its value."""
    if option not in words:
        return list(words)
    place = list(words).index(option)
    return [*words[:place], *words[place + 2 :]]
