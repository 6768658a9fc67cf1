"""The figures of a study, read from its `result.json` as plain data, and whether a later study is worse."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, same_machine

ACCEPTED = ("quality", "output_difference", "latency", "heldout_loss", "peak_memory")
ON_ONE_MACHINE = ("latency", "peak_memory")
_KEYS = ("part", "metric", "arm", "baseline", "conditions", "direction", "margin", "estimate", "interval", "verdict")


def read_metrics(study: Path) -> dict[str, Any]:
    """The comparisons of a study that a lock keeps, with the environment that they were measured in.

    Raises:
        GatewiseError: there is no readable `result.json`.
    """
    path = study / "result.json" if study.is_dir() else study
    try:
        result = json.loads(path.read_text(encoding="utf-8"))
        rows = [row for row in result["comparisons"] if row["metric"] in ACCEPTED and not row.get("twin")]
        comparisons = [{key: row.get(key) for key in _KEYS} for row in rows]
        environment = dict(result["environment"])
    except FileNotFoundError as error:
        raise GatewiseError(f"there is no {path}; --study takes the folder that gatewise evaluate wrote") from error
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise GatewiseError(f"{path} is no result of gatewise evaluate: {error}") from error
    return {"comparisons": comparisons, "environment": environment}


def worse_metrics(locked: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    """What a later study shows to be worse, and notes on what could not be compared."""
    other = same_machine(locked["environment"], now["environment"])
    later = {_key(row): row for row in now["comparisons"]}
    failures: list[str] = []
    notes: list[str] = []
    for row in locked["comparisons"]:
        found = later.get(_key(row))
        where = f"{row['metric']} of {row['arm']} against {row['baseline']}{_conditions(row)}"
        if found is None:
            failures.append(f"{where}: was accepted as {row['verdict']}, and the new study does not measure it")
        elif found["verdict"] == "worse" and row["verdict"] != "worse":
            failures.append(f"{where}: was {_shown(row)}, is {_shown(found)}")
        elif other and row["metric"] in ON_ONE_MACHINE:
            notes.append(f"{where}: not compared by value, the machines differ in {', '.join(other)}")
        elif row["interval"] and not found["interval"]:
            failures.append(f"{where}: was {_shown(row)}, and the new study cannot say")
        elif row["interval"] and _drifted(row, found):
            failures.append(f"{where}: was {_shown(row)}, is {_shown(found)}; the intervals do not meet")
    return failures, notes


def _key(row: Mapping[str, Any]) -> str:
    return json.dumps([row.get(key) for key in ("part", "metric", "arm", "baseline", "conditions")], sort_keys=True)


def _drifted(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether the new interval lies wholly on the worse side of the old one, by more than the margin."""
    sign = 1 if old["direction"] == "lower" else -1
    apart = new["interval"][0] > old["interval"][1] if sign > 0 else new["interval"][1] < old["interval"][0]
    return apart and sign * (new["estimate"] - old["estimate"]) > (old["margin"] or 0.0)


def _shown(row: Mapping[str, Any]) -> str:
    if not row["interval"] or row["estimate"] is None:
        return str(row["verdict"])
    low, high = row["interval"]
    return f"{row['verdict']} ({row['estimate']:.4g}, {low:.4g} to {high:.4g})"


def _conditions(row: Mapping[str, Any]) -> str:
    found = ", ".join(f"{key} {value}" for key, value in (row["conditions"] or {}).items())
    return f" ({found})" if found else ""
