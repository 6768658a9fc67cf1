"""Pairs of arms: Welch with Holm over all pairs, or the pooled t-test and Cohen's d of the pairs a table names."""

import itertools
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from ._result import Evidence, Result, short
from ._table import Table
from ._welch import Judged, Test, holm, obstacle, test


@dataclass(frozen=True, kw_only=True)
class Pair:
    """Two arms of a table, with the test where one is possible and the reason where none is."""

    names: tuple[str, str]
    difference: float
    evidence: Evidence
    reason: str
    test: Test | None = None
    judged: Judged | None = None
    fragile: bool = False

    @property
    def label(self) -> str:
        """The pair as it is printed."""
        return f"{self.names[0]} vs {self.names[1]}"

    def winner(self, better: str) -> str:
        """The arm with the better figure; empty where they are equal."""
        if self.difference == 0:
            return ""
        return self.names[0] if (self.difference > 0) == (better == "higher") else self.names[1]


def all_pairs(table: Table) -> list[Pair]:
    """Every pair of arms by Welch's test, with Holm over all that can be tested."""
    names = [arm.name for arm in table.arms]
    return _judged(table, itertools.combinations(names, 2), pooled=False)


def named_pairs(table: Table) -> list[Pair]:
    """The pairs that the table asks for, by the pooled test: everything against one arm, and the named ones."""
    others = [(table.against, arm.name) for arm in table.arms if table.against and arm.name != table.against]
    wanted = dict.fromkeys([*others, *table.pairs])
    return _judged(table, wanted, pooled=True)


def _judged(table: Table, wanted: Iterable[tuple[str, str]], *, pooled: bool) -> list[Pair]:
    names = list(wanted)
    tests: dict[tuple[str, str], Test] = {}
    for first, second in names:
        arms = table.arm(first), table.arm(second)
        if obstacle(table, *arms) is None:
            tests[first, second] = test(*arms, pooled=pooled)
    family = list(tests.values())
    judged = dict(zip(tests, holm([each.p for each in family], table.alpha), strict=True))
    worst = dict(zip(tests, holm([each.highest for each in family], table.alpha), strict=True))
    best = dict(zip(tests, holm([each.lowest for each in family], table.alpha), strict=True))
    found: list[Pair] = []
    for pair in names:
        difference = table.arm(pair[0]).mean.minus(table.arm(pair[1]).mean)
        if pair not in tests:
            why = str(obstacle(table, table.arm(pair[0]), table.arm(pair[1])))
            found.append(Pair(names=pair, difference=difference, evidence="cannot tell", reason=why))
            continue
        evidence, reason = _word(table, judged[pair])
        fragile = worst[pair].rejected != best[pair].rejected
        reason += "; rounding of the printed figures could change it" if fragile else ""
        reason += _against_the_source(table, tests[pair])
        found.append(
            Pair(
                names=pair,
                difference=difference,
                evidence=evidence,
                reason=reason,
                test=tests[pair],
                judged=judged[pair],
                fragile=fragile,
            )
        )
    return found


def _word(table: Table, judged: Judged) -> tuple[Evidence, str]:
    shown = f"p after Holm {short(judged.p)}, {'at most' if judged.rejected else 'above'} {table.alpha:g}"
    if table.unmatched:
        return "cannot tell", f"unmatched: {', '.join(table.unmatched)} ({shown})"
    return ("established" if judged.rejected else "not established"), shown


def _published(table: Table, found: Test) -> float | None:
    """The p-value that the source printed for this pair, where there is one."""
    names = {found.first, found.second} - {table.against}
    return table.published_p.get(names.pop()) if len(names) == 1 else None


def _against_the_source(table: Table, found: Test) -> str:
    published = _published(table, found)
    if published is None:
        return ""
    where = "inside" if found.allows(published) else "outside"
    return f"; the source's own p = {short(published)} lies {where} what rounding leaves open"


def pair_results(table: Table, analysis: str, pairs: Sequence[Pair]) -> Iterator[Result]:
    """Per pair the difference with its interval, p, p after Holm and, for the pooled test, d."""
    for pair in pairs:
        if pair.test is None or pair.judged is None:
            yield _result(table, analysis, pair, "difference", pair.difference, unit=table.unit)
            continue
        interval = pair.test.interval(pair.judged.level)
        yield _result(table, analysis, pair, "difference", pair.difference, unit=table.unit, interval=interval)
        yield _result(table, analysis, pair, "p", pair.test.p)
        yield _result(table, analysis, pair, "p after Holm", pair.judged.p)
        if analysis == "pooled-t":
            yield _result(table, analysis, pair, "Cohen's d", pair.test.cohen_d)


def _result(
    table: Table,
    analysis: str,
    pair: Pair,
    what: str,
    value: float,
    *,
    unit: str = "",
    interval: tuple[float, float] | None = None,
) -> Result:
    detail: dict[str, object] = {"pair": list(pair.names), "better": pair.winner(table.better)}
    if interval is not None and pair.test is not None and pair.judged is not None:
        detail |= {
            "p": pair.test.p,
            "p_holm": pair.judged.p,
            "p_rounding": [pair.test.lowest, pair.test.highest],
            "rounding_matters": pair.fragile,
            "df": pair.test.df,
            "cohen_d": pair.test.cohen_d,
            "interval_level": 1 - pair.judged.level,
        }
        published = _published(table, pair.test)
        if published is not None:
            detail |= {"published_p": published, "published_p_within_rounding": pair.test.allows(published)}
    return Result(
        table=table.name,
        analysis=analysis,
        quantity=f"{pair.label}, {table.name}: {what}",
        value=value,
        unit=unit,
        evidence=pair.evidence,
        reason=pair.reason,
        interval=interval,
        detail=detail,
    )


def survivors(table: Table, pairs: Sequence[Pair]) -> Result:
    """How many of all pairs survive Holm, and which."""
    tested = [pair for pair in pairs if pair.judged is not None]
    kept = [pair for pair in tested if pair.judged is not None and pair.judged.rejected]
    unit = f"of {len(pairs)} pair{'s' if len(pairs) > 1 else ''}"
    quantity = f"pairs that survive Holm, {table.name}"
    detail: dict[str, object] = {"pairs": len(pairs), "tested": len(tested), "alpha": table.alpha}
    if not tested:
        reason = f"no pair can be tested: {pairs[0].reason}"
        return Result(
            table=table.name,
            analysis="welch-holm",
            quantity=quantity,
            value=None,
            unit=unit,
            evidence="cannot tell",
            reason=reason,
            detail=detail,
        )
    surest = sum(each.rejected for each in holm([p.test.highest for p in tested if p.test], table.alpha))
    at_most = sum(each.rejected for each in holm([p.test.lowest for p in tested if p.test], table.alpha))
    # A lower p-value for one pair never takes another one away, so these two bound the count for any rounding.
    detail |= {
        "survivors": [
            {
                "better": pair.winner(table.better),
                "than": next(name for name in pair.names if name != pair.winner(table.better)),
                "p": pair.test.p,
                "p_holm": pair.judged.p,
            }
            for pair in kept
            if pair.test is not None and pair.judged is not None
        ],
        "whatever_the_rounding": [surest, at_most],
    }
    reason = f"Welch tests with Holm over {len(tested)} pairs at {table.alpha:g}"
    if surest != at_most:
        reason += f"; {surest} to {at_most}, depending on what rounding of the printed figures hides"
    evidence: Evidence = "established" if kept else "not established"
    if table.unmatched:
        evidence, reason = "cannot tell", f"unmatched: {', '.join(table.unmatched)}; {reason}"
    return Result(
        table=table.name,
        analysis="welch-holm",
        quantity=quantity,
        value=len(kept),
        unit=unit,
        evidence=evidence,
        reason=reason,
        detail=detail,
    )


def relations(table: Table, pairs: Sequence[Pair]) -> Iterator[Result]:
    """For each declared relation, how many of its pairs survive in the declared direction."""
    by_names = {frozenset(pair.names): pair for pair in pairs}
    for relation in table.beats:
        crossed = [(one, other) for one in relation.arms for other in relation.than]
        found = {names: by_names[frozenset(names)] for names in crossed}
        held = [names for names, pair in found.items() if _holds(table, names[0], pair)]
        untested = [pair.reason for pair in found.values() if pair.judged is None]
        if untested:
            evidence, reason = "cannot tell", untested[0]
        elif table.unmatched:
            evidence, reason = "cannot tell", f"unmatched: {', '.join(table.unmatched)}"
        elif len(held) == len(crossed):
            evidence, reason = "established", "every pair survives Holm in this direction"
        else:
            missing = [f"{one} vs {other}" for one, other in crossed if (one, other) not in held]
            evidence, reason = "not established", f"does not survive: {', '.join(missing)}"
        yield Result(
            table=table.name,
            analysis="welch-holm",
            quantity=f"each of {', '.join(relation.arms)} beats each of {', '.join(relation.than)}, {table.name}",
            value=None if len(untested) == len(crossed) else len(held),
            unit=f"of {len(crossed)} pairs",
            evidence=evidence,
            reason=reason,
            detail={"held": [list(names) for names in held]},
        )


def _holds(table: Table, one: str, pair: Pair) -> bool:
    return pair.judged is not None and pair.judged.rejected and pair.winner(table.better) == one
