"""Is a mean beyond a target? A one-sided t-test, as rules of speed-runs ask for."""

import itertools
import math
from collections.abc import Iterator

from ._result import Evidence, Result, short
from ._table import Arm, Table
from ._welch import holm, obstacle, t_quantile, t_tail


def target_results(table: Table) -> Iterator[Result]:
    """For each arm the distance to the target with its interval, and one-sided p (several arms: also after Holm)."""
    if table.target is None:
        raise ValueError("no target")
    tested = [arm for arm in table.arms if obstacle(table, arm) is None]
    judged = dict(zip(tested, holm([_p(table, arm) for arm in tested], table.alpha), strict=True))
    side = "below" if table.better == "lower" else "above"
    for arm in table.arms:
        gap = arm.mean.minus(table.target)
        detail: dict[str, object] = {"arm": arm.name, "target": table.target.value, "side": side, "n": arm.n}
        quantity = f"{arm.name}, {table.name}: mean {side} {table.target.value:g}"
        if arm not in judged:
            evidence, reason, interval = "cannot tell", str(obstacle(table, arm)), None
        else:
            verdict = judged[arm]
            evidence: Evidence = "established" if verdict.rejected else "not established"
            after = f" after Holm over {len(tested)} arms" if len(tested) > 1 else ""
            reason = (
                f"one-sided p{after} {short(verdict.p)}, {'at most' if verdict.rejected else 'above'} {table.alpha:g}"
            )
            low, high = _range(table, arm)
            published = table.published_p.get(arm.name)
            detail |= {"p": _p(table, arm), "p_holm": verdict.p, "p_rounding": [low, high]}
            if published is not None:
                inside = low <= published <= high
                detail |= {"published_p": published, "published_p_within_rounding": inside}
                where = "inside" if inside else "outside"
                reason += f"; the source's own p = {short(published)} lies {where} what rounding leaves open"
            interval = _interval(arm, gap, verdict.level)
        yield _result(table, f"{quantity}: difference", gap, (evidence, reason), detail, interval)
        if arm in judged:
            yield _result(table, f"{quantity}: p", _p(table, arm), (evidence, reason), detail)
            if len(tested) > 1:
                yield _result(table, f"{quantity}: p after Holm", judged[arm].p, (evidence, reason), detail)


def _result(
    table: Table,
    quantity: str,
    value: float,
    word: tuple[Evidence, str],
    detail: dict[str, object],
    interval: tuple[float, float] | None = None,
) -> Result:
    return Result(
        table=table.name,
        analysis="one-sample-t",
        quantity=quantity,
        value=value,
        unit=table.unit if interval is not None or quantity.endswith("difference") else "",
        evidence=word[0],
        reason=word[1],
        interval=interval,
        detail=detail,
    )


def _p(table: Table, arm: Arm) -> float:
    if table.target is None or arm.sd is None:
        raise ValueError("no test")
    return _one_sided(table, arm, arm.mean.minus(table.target), arm.sd.value)


def _one_sided(table: Table, arm: Arm, gap: float, sd: float) -> float:
    if arm.n is None:
        raise ValueError("no test")
    ahead = -gap if table.better == "lower" else gap
    return t_tail(ahead / (sd / math.sqrt(arm.n)), arm.n - 1)


def _range(table: Table, arm: Arm) -> tuple[float, float]:
    """The p-values that figures which print alike could have. The target is a rule, not a measurement."""
    if table.target is None or arm.sd is None:
        raise ValueError("no test")
    gaps = [edge - table.target.value for edge in (arm.mean.low, arm.mean.high)]
    spreads = max(arm.sd.low, arm.sd.value / 100), arm.sd.high
    found = [_one_sided(table, arm, gap, sd) for gap, sd in itertools.product(gaps, spreads)]
    return min(found), max(found)


def _interval(arm: Arm, gap: float, level: float) -> tuple[float, float]:
    if arm.sd is None or arm.n is None:
        raise ValueError("no test")
    reach = t_quantile(1 - level, arm.n - 1) * arm.sd.value / math.sqrt(arm.n)
    return gap - reach, gap + reach
