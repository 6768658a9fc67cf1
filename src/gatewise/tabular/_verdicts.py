"""From held-out predictions to comparisons, and from comparisons to the learner that is recommended.

Three questions, each a family of its own under Holm's method: does a learner beat guessing; does a neural arm beat the
linear model and the trees (and the trees the linear model); does an activation beat the first one.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

import numpy as np

from gatewise.core import Comparison, Rule, holm

from ._evidence import Heldout, crossed
from ._learners import BASELINES, GUESS, LINEAR, TREES
from ._plan import ALPHA, MARGIN
from ._resampled import resampled

Question = Literal["guess", "worth", "arm"]
Predictions = Mapping[str, np.ndarray]
"""By learner: the predictions of its models, [seeds, rows, classes or 1]."""


def pairs(arms: Sequence[str]) -> dict[Question, list[tuple[str, str]]]:
    """Every comparison that is made, as (arm, baseline), by question."""
    return {
        "guess": [(each, GUESS) for each in (*BASELINES, *arms)],
        "worth": [(TREES, LINEAR), *((arm, each) for arm in arms for each in BASELINES)],
        "arm": [(arm, arms[0]) for arm in arms[1:]],
    }


def judge(heldout: Heldout, given: Predictions, arms: Sequence[str]) -> list[dict[str, Any]]:
    """All comparisons as plain data; `effect` is the change of the loss as a share of what guessing costs."""
    rule = Rule(kind="difference", direction="lower", margin=MARGIN)
    found: list[dict[str, Any]] = []
    for question, wanted in pairs([arm for arm in arms if arm in given]).items():
        if not wanted:
            continue
        evidence = resampled if len(heldout.rounds) else crossed
        judged = holm([evidence(heldout, given[base], given[arm], rule) for arm, base in wanted], ALPHA)
        for (arm, base), comparison in zip(wanted, judged, strict=True):
            found.append({"question": question, "arm": arm, "baseline": base, **_plain(comparison)})
    return found


def _plain(comparison: Comparison) -> dict[str, Any]:
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(comparison).items()}


def recommend(comparisons: Sequence[Mapping[str, Any]], arms: Sequence[str]) -> dict[str, Any]:
    """The learner to use, by a rule fixed beforehand: the simplest one that nothing was shown to beat.

    The linear model, unless the trees are judged better (or beat guessing where it does not); a neural arm only where
    it is judged better than both, and of several such arms the one with the least loss.
    """
    verdict = {(each["arm"], each["baseline"]): each for each in comparisons}

    def says(arm: str, baseline: str) -> str:
        return str(verdict.get((arm, baseline), {}).get("verdict", ""))

    useful = [name for name in (*BASELINES, *arms) if says(name, GUESS) == "better"]
    simple = LINEAR
    only_trees = TREES in useful and LINEAR not in useful and says(TREES, LINEAR) != "worse"
    if only_trees or says(TREES, LINEAR) == "better":
        simple = TREES
    worth = [arm for arm in arms if all(says(arm, base) == "better" for base in BASELINES)]
    best = min(worth, key=lambda arm: verdict[arm, simple]["estimate"]) if worth else simple
    return {"learner": best, "beats_guessing": best in useful, "useful": useful, "worth": worth}
