"""Do two columns order the same arms alike? Spearman and Kendall, with an exact permutation test."""

import itertools
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gatewise.core import GatewiseError

from ._pairs import Pair, all_pairs
from ._read import Tables
from ._result import Evidence, Result, short
from ._table import Agreement, Source, Table
from ._welch import Judged, holm

if TYPE_CHECKING:
    import numpy as np

EXACT_UP_TO = 8
LEAST_ARMS = 5  # with four, the strongest agreement there is has p = 2/24
ALPHA = 0.05


@dataclass(frozen=True, kw_only=True)
class _Columns:
    name: str
    here: Table
    there: Table
    arms: list[tuple[str, str]]

    @property
    def values(self) -> tuple[list[float], list[float]]:
        """The two columns, in the order of the first; both read as 'more is better'."""
        signs = [1 if table.better == "higher" else -1 for table in (self.here, self.there)]
        return (
            [signs[0] * self.here.arm(one).mean.value for one, _ in self.arms],
            [signs[1] * self.there.arm(other).mean.value for _, other in self.arms],
        )


def agreement_results(source: Source, tables: Tables) -> Iterator[Result]:
    """Spearman and Kendall for every declared agreement of a source, with Holm over them, and what is reversed."""
    found = [_columns(each, source, tables) for each in source.agreements]
    measured = [_measure(*columns.values) for columns in found]
    for statistic in ("Spearman", "Kendall"):
        p_values = [
            values[f"{statistic} p"] if len(columns.arms) >= LEAST_ARMS else None
            for columns, values in zip(found, measured, strict=True)
        ]
        tested = [p for p in p_values if p is not None]
        judged = iter(holm(tested, ALPHA))
        for columns, values, p in zip(found, measured, p_values, strict=True):
            fate = next(judged) if p is not None else None
            yield _agreement(columns, statistic, values[statistic], (p, fate), len(tested))
    for columns in found:
        yield from _reversals(columns)


def _columns(agreement: Agreement, source: Source, tables: Tables) -> _Columns:
    _, here = tables.find(agreement.of, source)
    owner, there = tables.find(agreement.other, source)
    names = {arm.name for arm in there.arms}
    for one, other in agreement.names.items():
        if one not in {arm.name for arm in here.arms} or other not in names:
            raise GatewiseError(f"{source.name}: agreement names {one!r} = {other!r}, which the two tables do not have")
    pairs = [(arm.name, agreement.names.get(arm.name, arm.name)) for arm in here.arms]
    arms = [pair for pair in pairs if pair[1] in names]
    if len(arms) < 2:
        raise GatewiseError(f"{source.name}: {agreement.of!r} and {agreement.other!r} share fewer than two arms")
    taken = [other for _, other in arms]
    doubled = next((other for other in taken if taken.count(other) > 1), None)
    if doubled is not None:
        both = " and ".join(repr(one) for one, other in arms if other == doubled)
        raise GatewiseError(f"{source.name}: agreement names make {both} the same arm, {doubled!r}")
    title = there.name if owner is source else f"{owner.name}/{there.name}"
    return _Columns(name=f"{here.name} against {title}", here=here, there=there, arms=arms)


def _measure(here: Sequence[float], there: Sequence[float]) -> dict[str, float | None]:
    if len(set(here)) == 1 or len(set(there)) == 1:
        return {"Spearman": None, "Spearman p": None, "Kendall": None, "Kendall p": None}
    from scipy.stats import kendalltau, rankdata, spearmanr

    if len(here) > EXACT_UP_TO:
        spearman: Any = spearmanr(here, there)
        kendall: Any = kendalltau(here, there)
        return {
            "Spearman": float(spearman.statistic),
            "Spearman p": float(spearman.pvalue),
            "Kendall": float(kendall.statistic),
            "Kendall p": float(kendall.pvalue),
        }
    import numpy as np

    first, second = rankdata(here), rankdata(there)
    orders = np.array(list(itertools.permutations(range(len(second)))))
    found: dict[str, float | None] = {}
    for name, statistic in (("Spearman", _spearman), ("Kendall", _kendall)):
        value = float(statistic(first, second[None, :])[0])
        chance = statistic(first, second[orders])
        # Two-sided: twice the rarer tail.
        rarer = min(int(np.count_nonzero(side * chance >= side * value - 1e-12)) for side in (1, -1))
        found[name] = value
        found[f"{name} p"] = min(1.0, 2 * rarer / len(orders))
    return found


def _spearman(first: "np.ndarray[Any, Any]", rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    centred, others = first - first.mean(), rows - rows.mean(axis=1, keepdims=True)
    return others @ centred / (math.sqrt(centred @ centred) * (others**2).sum(axis=1) ** 0.5)


def _kendall(first: "np.ndarray[Any, Any]", rows: "np.ndarray[Any, Any]") -> "np.ndarray[Any, Any]":
    import numpy as np

    one, other = np.triu_indices(len(first), 1)
    signs = np.sign(first[one] - first[other])
    others = np.sign(rows[:, one] - rows[:, other])
    return others @ signs / np.sqrt((signs**2).sum() * (others**2).sum(axis=1))


def _agreement(
    columns: _Columns, statistic: str, value: float | None, tested: tuple[float | None, Judged | None], family: int
) -> Result:
    p, judged = tested
    evidence: Evidence = "cannot tell"
    if value is None:
        reason = "a column in which all arms are equal orders nothing"
    elif judged is None or p is None:
        reason = f"{len(columns.arms)} common arms are too few: no order of them could be told from chance"
    else:
        evidence = "established" if judged.rejected and value > 0 else "not established"
        reason = f"{'exact permutation test ' if len(columns.arms) <= EXACT_UP_TO else ''}p = {short(p)}"
        reason += f", {short(judged.p)} after Holm over {family}" if family > 1 else ""
        reason += "; it says that the orders agree, not which arm is better" if evidence == "established" else ""
    return Result(
        table=columns.name,
        analysis="rank-agreement",
        quantity=f"{statistic}, {columns.name}",
        value=value,
        evidence=evidence,
        reason=reason,
        detail={"arms": [list(pair) for pair in columns.arms], "p": p},
    )


def _reversals(columns: _Columns) -> Iterator[Result]:
    here, there = _by_names(columns.here), _by_names(columns.there)
    for (a, x), (b, y) in itertools.combinations(columns.arms, 2):
        first, second = here[frozenset((a, b))], there[frozenset((x, y))]
        gaps = [_gap(columns.here, a, b), _gap(columns.there, x, y)]
        turned = columns.here.better != columns.there.better
        if gaps[0] * gaps[1] * (-1 if turned else 1) >= 0:
            continue
        evidence, reason = _reversal(first, second)
        yield Result(
            table=columns.name,
            analysis="rank-agreement",
            quantity=f"{a} vs {b}: the order is reversed, {columns.name}",
            value=gaps[1],
            unit=columns.there.unit,
            evidence=evidence,
            reason=reason,
            detail={"pair": [a, b], "differences": gaps},
        )


def _by_names(table: Table) -> dict[frozenset[str], Pair]:
    return {frozenset(pair.names): pair for pair in all_pairs(table)}


def _gap(table: Table, one: str, other: str) -> float:
    return table.arm(one).mean.minus(table.arm(other).mean)


def _reversal(first: Pair, second: Pair) -> tuple[Evidence, str]:
    for pair in (first, second):
        if pair.evidence == "cannot tell":
            return "cannot tell", pair.reason
    if first.evidence == second.evidence == "established":
        return "established", "both differences survive Holm, in opposite directions"
    return "not established", "not both differences survive Holm"
