"""From a study's document to the table of a dilution: shares and ratios by level, dtype and tokens."""

from collections.abc import Iterator, Mapping
from typing import Any

from gatewise.core import GatewiseError

from ._plan import BASELINE, LEVELS, WITHOUT

SCHEMA = "gatewise.dilution/1"


def table(study: Mapping[str, Any]) -> dict[str, Any]:
    """One document: the rows, the arms, the environment.

    A row is one level, dtype and number of tokens: `share` of the call's time that the activation takes (1 - identity /
    gelu, with its interval), and for every arm the `ratio` of its time to GELU's. What was not decided keeps its
    estimate and says so; what was not measured is null.

    Raises:
        GatewiseError: a study that is no dilution.
    """
    names = [str(part["name"]) for part in study["study"]["parts"]]
    if any(name.partition("/")[0] not in LEVELS or "/" not in name for name in names):
        raise GatewiseError("this study is no dilution: its parts are not named level/dtype")
    arms = [arm["label"] for arm in study["study"]["parts"][0]["arms"] if arm["label"] not in (BASELINE, WITHOUT)]
    found = {
        (row["part"], row["conditions"]["tokens"], row["arm"]): row
        for row in study["comparisons"]
        if row["metric"] == "latency" and not row.get("twin")
    }
    return {
        "schema": SCHEMA,
        "baseline": BASELINE,
        "arms": arms,
        "rows": list(_rows(study, arms, found)),
        "environment": study["environment"],
        "replay": study["replay"],
    }


def _rows(
    study: Mapping[str, Any], arms: list[str], found: Mapping[tuple[str, int, str], Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    for part in study["study"]["parts"]:
        level, _, dtype = str(part["name"]).partition("/")
        for tokens in part["measure"]["tokens"]:
            without = found.get((part["name"], tokens, WITHOUT))
            yield {
                "level": level,
                "dtype": dtype,
                "tokens": tokens,
                "share": _share(without),
                "ratios": {arm: _ratio(found.get((part["name"], tokens, arm))) for arm in arms},
            }


def _ratio(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None or row["estimate"] is None:
        return None
    return {"estimate": row["estimate"], "interval": row["interval"], "verdict": row["verdict"]}


def _share(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """1 - identity / gelu. The identity does nothing, so what is below 0 is noise, and is shown as it was measured."""
    ratio = _ratio(row)
    if ratio is None:
        return None
    low, high = ratio["interval"] or (None, None)
    interval = [1.0 - high, 1.0 - low] if low is not None and high is not None else None
    return {"estimate": 1.0 - ratio["estimate"], "interval": interval, "verdict": ratio["verdict"]}
