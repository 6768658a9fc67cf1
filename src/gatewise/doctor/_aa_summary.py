"""From the studies of an A/A record to rates with their intervals, and to words. Judges nothing: the studies did."""

from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from ._aa_plan import MARGIN
from ._missing import Missing
from ._words import percent

ALPHA = 0.05
"""What a study promises: the chance that any of its verdicts is wrong."""

LEVEL = 0.95
DECIDED, FOUND = 0.8, 0.9
"""The shares of identical arms told equal, and of slow arms found, from which a machine is called fit."""

DIFFERENT = ("better", "worse")

Comparison = Mapping[str, Any]


def clopper_pearson(hits: int, total: int, level: float = LEVEL) -> tuple[float, float]:
    """The exact binomial interval of a rate (Clopper and Pearson 1934); 0 to 1 when there was no trial."""
    from scipy.special import betaincinv

    tail = (1.0 - level) / 2.0
    low = 0.0 if hits == 0 else float(betaincinv(hits, total - hits + 1, tail))
    high = 1.0 if hits == total else float(betaincinv(hits + 1, total - hits, 1.0 - tail))
    return low, high


def rate(hits: int, total: int) -> dict[str, Any]:
    """A rate with its interval; `Missing` where there was no trial."""
    if total == 0:
        untold = Missing("nothing was judged")
        return {"hits": 0, "of": 0, "rate": untold, "interval": untold}
    return {"hits": hits, "of": total, "rate": hits / total, "interval": list(clopper_pearson(hits, total))}


def is_blocked(comparison: Comparison, all_of_study: Iterable[Comparison]) -> bool:
    """Whether the twin of a comparison's cell did not come out equivalent, so that nothing in it was judged."""
    return any(
        other["twin"]
        and other["metric"] == comparison["metric"]
        and other["conditions"] == comparison["conditions"]
        and other["verdict"] != "equivalent"
        for other in all_of_study
    )


def _spoke(comparison: Comparison) -> bool:
    """Whether there was an interval: what was refused had no chance to be wrong, and counts for no rate."""
    return comparison["interval"] is not None


def _tally(found: Sequence[tuple[Comparison, bool]]) -> dict[str, int]:
    words = [comparison["verdict"] for comparison, _ in found]
    blocked = sum(held for _, held in found)
    counts = {word: words.count(word) for word in ("better", "worse", "equivalent", "inconclusive")}
    judged = sum(_spoke(comparison) for comparison, _ in found)
    return {"comparisons": len(found), "judged": judged} | counts | {"blocked_by_twin": blocked}


def _wrong(comparison: Comparison, planted: Mapping[str, float]) -> bool:
    """Whether a verdict contradicts what was planted. No verdict is never wrong."""
    by, word = planted[comparison["arm"]], comparison["verdict"]
    return word in ("better", "equivalent") if by > MARGIN else word in DIFFERENT


def summary(studies: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Rates over comparisons and over whole studies, the control, the twins, the smallest difference; a verdict."""
    identical: list[tuple[Comparison, bool]] = []
    inside: list[tuple[Comparison, bool]] = []
    control: list[tuple[Comparison, bool]] = []
    twins: list[Comparison] = []
    wrong_studies = alarmed_studies = judged_studies = 0
    for study in studies:
        planted, rows = study["design"]["planted"], study["comparisons"]
        mine = [row for row in rows if not row["twin"]]
        twins += [row for row in rows if row["twin"]]
        for row in mine:
            by = planted[row["arm"]]
            group = identical if by == 0 else inside if by <= MARGIN else control
            group.append((row, is_blocked(row, rows)))
        judged_studies += any(_spoke(row) for row in mine)
        wrong_studies += any(_wrong(row, planted) for row in mine)
        alarmed_studies += any(planted[row["arm"]] == 0 and row["verdict"] in DIFFERENT for row in mine)
    seen = [row["smallest_detectable"] for row, _ in identical if row["smallest_detectable"] is not None]
    unseen = Missing("no comparison of identical arms has an interval yet")
    found: dict[str, Any] = {
        "studies": len(studies),
        "alpha": ALPHA,
        "level": LEVEL,
        "margin": MARGIN,
        "identical": _tally(identical),
        "inside_margin": _tally(inside),
        "control": _tally(control),
        "twins": {
            "comparisons": len(twins),
            "judged": sum(map(_spoke, twins)),
            "equivalent": sum(row["verdict"] == "equivalent" for row in twins),
            "called_different": sum(row["verdict"] in DIFFERENT for row in twins),
        },
        "alarms_by_comparison": rate(
            sum(row["verdict"] in DIFFERENT for row, _ in identical), sum(_spoke(row) for row, _ in identical)
        ),
        "alarms_by_study": rate(alarmed_studies, judged_studies),
        "wrong_by_study": rate(wrong_studies, judged_studies),
        "smallest_detectable": {
            "median": median(seen) if seen else unseen,
            "worst": max(seen) if seen else unseen,
            "known": len(seen),
        },
        "processes": _span(row["n"] for row, _ in identical),
        "study_seconds": _span(study["seconds"] for study in studies),
        # What the kernel told of each study: who else worked while it ran.
        "others_cores": _span(_known(studies, "others_cores")),
        "steal_share": _span(_known(studies, "steal_share")),
    }
    return found | {"verdict": verdict(found)}


def _span(values: Iterable[float]) -> Any:
    found = list(values)
    if not found:
        return Missing("no finished study tells it")
    return {"median": median(found), "low": min(found), "high": max(found)}


def _known(studies: Sequence[Mapping[str, Any]], name: str) -> list[float]:
    return [study[name] for study in studies if study.get(name) is not None]


def _say(answer: str, text: str, then: str = "") -> dict[str, Any]:
    return {"answer": answer, "basis": "measured", "text": text, "next": then or Missing("nothing more is needed")}


def verdict(found: Mapping[str, Any]) -> dict[str, Any]:
    """Can a 2 % verdict be trusted here: `yes`, `no`, `too noisy`, or `not yet`, with the reason."""
    same, control = found["identical"], found["control"]
    wrong, alarms = found["wrong_by_study"], found["alarms_by_comparison"]
    if wrong["of"] == 0:
        return _nothing_judged(found)
    slow = f"the arm slower by 10 % was found {control['worse']} of {control['comparisons']} times"
    if wrong["interval"][0] > ALPHA or control["better"] + control["equivalent"] == control["comparisons"]:
        return _say(
            "no",
            f"Do not trust a 2 % verdict here: {wrong['hits']} of {wrong['of']} studies held a wrong verdict, where "
            f"{percent(ALPHA, 0)} are promised, and {slow}.",
            "find what disturbs (see the look above); until then a larger margin, or another machine",
        )
    wrongs = f"{wrong['hits']} of {wrong['of']} studies held a wrong verdict"
    if same["equivalent"] < DECIDED * same["comparisons"] or control["worse"] < FOUND * control["comparisons"]:
        said = "What is said is not wrong more often than promised; often nothing is said."
        if wrong["hits"] > 0:
            said = f"{wrongs}, too few to tell chance ({percent(ALPHA, 0)} are promised) from a fault."
        return _say(
            "too noisy",
            f"Too noisy for 2 % with this budget: {same['equivalent']} of {same['comparisons']} identical arms were "
            f"told equal, and {slow}. {said}",
            "more processes (a longer budget a study), a larger margin, or what the look says of disturbances",
        )
    if alarms["interval"][1] > ALPHA and wrong["hits"] > 0:
        return _say(
            "not yet",
            f"{wrongs}. {percent(ALPHA, 0)} are promised, and too few studies were run to tell chance from a fault.",
            "more studies; with --out they add up",
        )
    if alarms["interval"][1] > ALPHA:
        return _say(
            "not yet",
            f"So far nothing speaks against a 2 % verdict here, but {alarms['of']} comparisons leave room for a rate "
            f"of false alarms up to {percent(alarms['interval'][1], 1)}.",
            "more studies; with --out they add up",
        )
    return _say(
        "yes",
        f"A 2 % verdict can be trusted here: {alarms['hits']} of {alarms['of']} identical arms were called different, "
        f"and {slow}. {wrong['hits']} of {wrong['of']} studies, which are independent, held a wrong verdict: at most "
        f"{percent(wrong['interval'][1], 1)} of all would.",
    )


def _nothing_judged(found: Mapping[str, Any]) -> dict[str, Any]:
    if not found["studies"]:
        return _say("not yet", "No A/A study has finished: nothing is known.", "a longer --budget")
    if found["twins"]["judged"] == 0:
        return _say(
            "not yet",
            "Nothing was judged: the studies ended before they had the processes that a verdict needs.",
            "fewer studies in the same --budget, or a longer one",
        )
    return _say(
        "too noisy",
        "Too noisy for any verdict at 2 %: in no cell was the baseline's twin, a second copy of it, told equal to "
        "it, so nothing was judged.",
        "what the look says of disturbances; then more processes (a longer budget a study) or a larger margin",
    )
