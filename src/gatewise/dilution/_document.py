"""From a study's document to the table of a dilution: shares and ratios by level, dtype and tokens."""

from collections.abc import Iterator, Mapping
from statistics import median
from typing import Any

from gatewise.core import GatewiseError

from ._plan import BASELINE, LEVELS, WITHOUT

SCHEMA = "gatewise.dilution/1"

Key = tuple[str, int, str]


def table(study: Mapping[str, Any]) -> dict[str, Any]:
    """One document: the rows, the arms, how they were judged, the environment.

    A row is one level, dtype and number of tokens. `share` is the part of the call's time that the activation takes
    (1 - identity / gelu); `ratios` has every arm's time against GELU's; `times_s` the median time of a call, by arm.
    Shares and ratios have `estimate`, `interval`, `verdict`, `n` and `reason`. What was measured and not decided keeps
    its estimate and says so; what was refused has a reason and no estimate; what was not measured is null.

    Raises:
        GatewiseError: a study that is no dilution.
    """
    facts = study.get("study") or {}
    parts: list[Mapping[str, Any]] = list(facts.get("parts") or [])
    if not parts or any(not _names_a_level(part) for part in parts):
        raise GatewiseError("this study is no dilution: its parts are not named level/dtype")
    arms = [arm["label"] for arm in parts[0]["arms"] if arm["label"] not in (BASELINE, WITHOUT)]
    found = {
        (row["part"], row["conditions"]["tokens"], row["arm"]): row
        for row in study["comparisons"]
        if row["metric"] == "latency" and not row.get("twin")
    }
    times = _times(study["measurements"])
    verdict = study.get("verdict") or {}
    return {
        "schema": SCHEMA,
        "gatewise": study.get("gatewise"),
        "baseline": BASELINE,
        "arms": arms,
        "levels": [level for level in LEVELS if any(_level(part) == level for part in parts)],
        "sizes": _sizes(parts),
        "judge": parts[0]["judge"] | {"margin": _margin(study)},
        "rows": list(_rows(parts, arms, found, times)),
        "warnings": list(dict.fromkeys(verdict.get("warnings") or [])),
        "interrupted": bool(facts.get("interrupted")),
        "started": facts.get("started"),
        "seconds": facts.get("seconds"),
        "budget_s": facts.get("budget_s"),
        "seed": facts.get("seed"),
        "environment": study["environment"],
        "replay": study["replay"],
    }


def _names_a_level(part: Mapping[str, Any]) -> bool:
    level, slash, dtype = str(part["name"]).partition("/")
    return level in LEVELS and bool(slash and dtype)


def _level(part: Mapping[str, Any]) -> str:
    return str(part["name"]).partition("/")[0]


def _sizes(parts: list[Mapping[str, Any]]) -> dict[str, Any]:
    """What all levels share: the shape of the model they are taken from, batch and threads."""
    facts = (parts[0].get("facts") or {}).get("model") or {}
    measured = parts[0]["measure"]
    shape = {key: value for key, value in facts.items() if key != "level"}
    return shape | {"batch": measured["batch"][0], "threads": measured["threads"][0]}


def _margin(study: Mapping[str, Any]) -> float | None:
    return next((row["margin"] for row in study["comparisons"] if row["metric"] == "latency"), None)


def _times(measurements: list[Mapping[str, Any]]) -> dict[Key, float]:
    """The median time of a call, by part, tokens and arm."""
    gathered: dict[Key, list[float]] = {}
    for entry in measurements:
        if entry["metric"] == "latency":
            key = (str(entry["part"]), int(entry["conditions"]["tokens"]), str(entry["arm"]))
            gathered.setdefault(key, []).extend(entry["values"])
    return {key: median(values) for key, values in gathered.items() if values}


def _rows(
    parts: list[Mapping[str, Any]], arms: list[str], found: Mapping[Key, Mapping[str, Any]], times: Mapping[Key, float]
) -> Iterator[dict[str, Any]]:
    for part in parts:
        name = str(part["name"])
        for tokens in part["measure"]["tokens"]:
            yield {
                "level": _level(part),
                "dtype": name.partition("/")[2],
                "tokens": tokens,
                "share": _share(found.get((name, tokens, WITHOUT))),
                "ratios": {arm: _ratio(found.get((name, tokens, arm))) for arm in arms},
                "times_s": {arm: times.get((name, tokens, arm)) for arm in (BASELINE, WITHOUT, *arms)},
            }


def _ratio(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None or not row["n"]:
        return None
    return {key: row[key] for key in ("estimate", "interval", "verdict", "n", "reason")}


def _share(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """1 - identity / gelu. The identity does nothing, so what is below 0 is noise, and is shown as it was measured."""
    ratio = _ratio(row)
    if ratio is None:
        return None
    low, high = ratio["interval"] or (None, None)
    interval = [1.0 - high, 1.0 - low] if low is not None and high is not None else None
    estimate = None if ratio["estimate"] is None else 1.0 - ratio["estimate"]
    return ratio | {"estimate": estimate, "interval": interval}
