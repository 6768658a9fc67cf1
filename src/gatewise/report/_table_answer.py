"""The sentences at the head of an own file's page. They come from judged comparisons and say no more than those do."""

from collections.abc import Mapping

from . import _numbers as num
from . import _table_words as words
from ._read import Document, number, pair, record, records, strings, text

Verdicts = Mapping[tuple[str, str], Document]
BASELINES = ("linear", "trees")
_RARE = 0.25
"""What is more frequent than this is not searched for in the top tenth."""


def verdicts(split: Document) -> Verdicts:
    """A split's comparisons by (arm, baseline)."""
    return {(text(each.get("arm")), text(each.get("baseline"))): each for each in records(split, "comparisons")}


def arms_of(split: Document) -> list[str]:
    """The neural arms that were judged."""
    return [
        text(each.get("name"))
        for each in records(split, "learners")
        if each.get("kind") == "neural" and each.get("scores")
    ]


def headline(split: Document) -> str:
    """Is any neural network worth it, and what to use? The first sentence is about the networks."""
    recommended = record(split, "recommended")
    learner = text(recommended.get("learner"))
    if not learner:
        return "Nothing was finished, so there is no answer yet."
    if (number(split.get("seeds")) or 0.0) < 2.0:
        return "Too little was finished to judge anything: one run alone has no spread. A longer --budget goes on."
    if not strings(recommended, "useful"):
        return (
            "Nothing was shown to be better than guessing. These columns may not tell what is asked, or too few rows."
        )
    worth = strings(recommended, "worth")
    if worth:
        first = f"A neural network is worth it here: with {words.listed(worth)} it beats"
        return f"{first} the linear model and the boosted trees. Use {words.the(learner)}."
    return f"{_not_worth(split)} Use {words.the(learner)}."


def _not_worth(split: Document) -> str:
    """The first sentence where no neural arm was judged better than both baselines."""
    found, arms = verdicts(split), arms_of(split)
    losing = {arm: [base for base in BASELINES if _says(found, arm, base) == "worse"] for arm in arms}
    lost = [arm for arm in arms if losing[arm]]
    if not arms:
        return "No neural network came to an end here."
    if len(lost) == len(arms):
        to = [words.THE[base] for base in BASELINES if any(base in losing[arm] for arm in arms)]
        common = [words.THE[base] for base in BASELINES if all(base in losing[arm] for arm in arms)]
        who = "it loses" if len(arms) == 1 else "all of them lose"
        return f"No neural network is worth it here: {who} to {words.listed(common or to, 'and' if common else 'or')}."
    if lost:
        to = sorted({words.THE[base] for arm in lost for base in losing[arm]})
        rest = [arm for arm in arms if arm not in lost]
        loses = "loses" if len(lost) == 1 else "lose"
        return (
            f"No neural network is worth it here: {words.listed(lost)} {loses} to {words.listed(to, 'or')}, "
            f"and {words.listed(rest)} {'was' if len(rest) == 1 else 'were'} not shown to be better."
        )
    return (
        "No neural network was shown to be worth it: none is better than both the linear model and the boosted trees."
    )


def _says(found: Verdicts, arm: str, baseline: str) -> str:
    return text(found.get((arm, baseline), {}).get("verdict"))


def lead(document: Document) -> tuple[str, ...]:
    """What an owner asks next: how good, which activation, on new rows, how sure."""
    splits = records(document, "splits")
    if not splits or not record(splits[0], "recommended") or (number(splits[0].get("seeds")) or 0.0) < 2.0:
        return ()
    first = splits[0]
    learner = text(record(first, "recommended").get("learner"))
    found = [_why(first, learner), _quality(document, first, learner), _activation(first, document)]
    found += [_by_time(first, each) for each in splits[1:]]
    found.append(_sure(first))
    return tuple(each for each in found if each)


def _why(split: Document, learner: str) -> str:
    """Why this one: the rule that was fixed beforehand."""
    if learner not in BASELINES or not strings(record(split, "recommended"), "useful"):
        return ""
    if learner == "trees":
        return (
            "Why these: they are better than the linear model, and no network was shown to be better than both."
            if (_says(verdicts(split), "trees", "linear") == "better")
            else "Why these: they beat guessing, which the linear model was not shown to do."
        )
    scored = [each for each in records(split, "learners") if number(each.get("removes")) is not None]
    best: Document = max(scored, key=lambda each: number(each.get("removes")) or 0.0, default={})
    name = text(best.get("name"))
    said = "Why this one: it is the simplest, and nothing was shown to be better."
    if name in ("", "linear", "guess"):
        return said
    return f"{said} {words.the(name).capitalize()} came out best in these rows, by a difference that chance could make."


def entry(split: Document, learner: str) -> Document:
    """A learner's record."""
    return next((each for each in records(split, "learners") if each.get("name") == learner), {})


def _quality(document: Document, split: Document, learner: str) -> str:
    scores = record(entry(split, learner), "scores")
    target = record(document, "target")
    classes = [text(each.get("name")) for each in records(target, "classes")]
    removes = words.removes(number(entry(split, learner).get("removes")))
    verb = "remove" if learner == "trees" else "removes"
    against = pair(verdicts(split).get((learner, "guess"), {}).get("interval"))
    between = (
        ""
        if against is None
        else f" ({words.removes(-against[1]).removesuffix(' %')} to {words.removes(min(-against[0], 1.0))})"
    )
    start = f"How good: on rows not seen before, {words.the(learner)} {verb} {removes}{between} of the guesswork."
    if len(classes) == 2:
        top, ranking = record(scores, "top_tenth"), record(scores, "auc")
        area = f"{words.score('auc', words.value_of(ranking))} ({words.score_between('auc', ranking.get('interval'))})"
        if _share_of_last(target) > _RARE:
            return f"{start} {_right(scores, split)} Ranking (AUC): {area}."
        share = f"{words.score('top_tenth', words.value_of(top))} of all {classes[1]!r}"
        return (
            f"{start} The tenth of rows that it rates highest holds {share} "
            f"({words.score_between('top_tenth', top.get('interval'))}); picked blindly it would hold 10 %. "
            f"Ranking (AUC): {area}."
        )
    if classes:
        return f"{start} {_right(scores, split)}"
    error, blind = record(scores, "mae"), record(record(entry(split, "guess"), "scores"), "mae")
    return (
        f"{start} It is off by {words.score('mae', words.value_of(error))} on average "
        f"({words.score_between('mae', error.get('interval'))}); always saying the mean is off by "
        f"{words.score('mae', words.value_of(blind))}."
    )


def _right(scores: Document, split: Document) -> str:
    right, blind = record(scores, "accuracy"), record(record(entry(split, "guess"), "scores"), "accuracy")
    return (
        f"{words.score('accuracy', words.value_of(right))} of its answers are right "
        f"({words.score_between('accuracy', right.get('interval'))}); always saying the most frequent one is right in "
        f"{words.score('accuracy', words.value_of(blind))}."
    )


def _share_of_last(target: Document) -> float:
    """How frequent the class is that is looked for."""
    rows = [number(each.get("rows")) or 0.0 for each in records(target, "classes")]
    return rows[-1] / sum(rows) if sum(rows) else 0.0


def _activation(split: Document, document: Document) -> str:
    """What the activations do against the first one."""
    arms = strings(record(document, "plan"), "arms")
    found = verdicts(split)
    if len(arms) < 2:
        return ""
    base = arms[0]
    said: list[str] = []
    for verdict, phrase in (
        ("better", "better than"),
        ("worse", "worse than"),
        ("equivalent", "in practice the same as"),
    ):
        named = [arm for arm in arms[1:] if _says(found, arm, base) == verdict]
        if named:
            said.append(f"{words.listed(named)} {'is' if len(named) == 1 else 'are'} {phrase} {base}")
    open_ = [arm for arm in arms[1:] if _says(found, arm, base) == "inconclusive"]
    if open_:
        said.append(f"no difference from {base} was shown for {words.listed(open_, 'or')}")
    said_all = "; ".join(said)
    return f"Which activation: {said_all}." if said_all else ""


def _by_time(random: Document, newest: Document) -> str:
    """What the split by time says beside the random one."""
    learner = text(record(newest, "recommended").get("learner"))
    if not learner:
        return ""
    before = text(record(random, "recommended").get("learner"))
    here, there = (number(entry(each, before).get("removes")) for each in (random, newest))
    verb = "remove" if before == "trees" else "removes"
    same = "the same one is to be used" if learner == before else f"{words.the(learner)} would be the one to use"
    return (
        f"On newer rows: asked about those since {text(newest.get('since'))}, with only older ones to learn from, "
        f"{words.the(before)} {verb} {words.removes(there)} of the guesswork instead of {words.removes(here)}, "
        f"and {same}. That is the fairer test where you predict the future."
    )


def _sure(split: Document) -> str:
    heldout, seeds = number(split.get("heldout_rows")) or 0.0, number(split.get("seeds")) or 0.0
    folds = number(split.get("folds")) or 0.0
    if seeds < 2.0:
        return ""
    if folds:
        rounds = seeds / folds
        often = "once" if rounds == 1.0 else "twice" if rounds == 2.0 else f"{rounds:.0f} times"
        return (
            f"How sure: the rows are few, so each of the {num.count(heldout)} was held out {often}, by "
            f"cross-validation in {folds:.0f} parts, and everything was trained {seeds:.0f} times. The verdicts allow "
            "for the chance in what was learnt from and in what was asked; the scores' intervals only for the latter."
        )
    return (
        f"How sure: {num.count(heldout)} rows were held out, and everything was trained {seeds:.0f} "
        "times from other random starts. The verdicts allow for the chance in both."
    )
