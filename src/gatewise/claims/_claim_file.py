"""Claims from TOML: `[[claim]]` tables, each with its plan or the name of a shared one under `[plans]`."""

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name
from gatewise.study import Plan, to_plan

from ._claim import Claim, Relation, require
from ._ranking import published_means

CLAIM_KEYS = (
    "id",
    "sentence",
    "source",
    "plan",
    "relation",
    "otherwise",
    "follows",
    "waits_for",
    "ranking",
    "alpha",
)
RELATION_KEYS = (
    "metric",
    "arm",
    "than",
    "is",
    "margin",
    "part",
    "where",
    "over",
    "form",
    "equivalent",
    "control",
    "distance",
    "text",
)
NEEDED = ("metric", "arm", "than", "is")


def read_claims(path: Path, *, plans: Path | None = None) -> list[Claim]:
    """The claims of a file; `plans` is a file of plans that it shares with others.

    Raises `GatewiseError` in one line: what is wrong, in which claim, and what is valid.
    """
    tables = _read(path)
    if plans is not None:
        tables = _read(plans) | tables
    try:
        return to_claims(tables, str(path))
    except GatewiseError as error:
        raise GatewiseError(str(error).replace("\n", "; ")) from error  # one line, whatever was wrong


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GatewiseError(f"cannot read the claims {path}: {reason}") from error
    except RecursionError as error:
        raise GatewiseError(f"{path} is nested too deeply to be a claim file") from error
    except tomllib.TOMLDecodeError as error:
        raise GatewiseError(f"{path} is not valid TOML: {error}") from error


def to_claims(tables: dict[str, Any], where: str) -> list[Claim]:
    """The claims of a document of tables."""
    _keys(where, tables, ("claim", "plans"))
    entries, plans = tables.get("claim"), tables.get("plans", {})
    require(isinstance(entries, list) and bool(entries), f"{where} has no claims: write each as a [[claim]] table")
    require(isinstance(plans, dict), f"{where}: plans are written as [plans.NAME] tables")
    claims = [_claim(entry, plans, f"claim {number}") for number, entry in enumerate(entries or [], 1)]
    ids = [claim.id for claim in claims]
    twice = sorted({name for name in ids if ids.count(name) > 1})
    require(not twice, f"{where}: two claims have the id {', '.join(twice)}")
    for claim in claims:
        if claim.follows and claim.follows not in ids:
            raise unknown_name(f"claim that {claim.id} follows", claim.follows, ids)
    follows = {claim.id: claim.follows for claim in claims}
    for claim in claims:
        seen, name = {claim.id}, claim.follows
        while name:
            require(name not in seen, f"claim {claim.id} follows itself, by way of {claim.follows}")
            seen.add(name)
            name = follows[name]
    return claims


def _keys(where: str, table: Any, valid: tuple[str, ...]) -> dict[str, Any]:
    require(isinstance(table, dict), f"{where} must be a table, not {table!r}")
    for key in table:
        if key not in valid:
            raise unknown_name(f"key in {where}", key, valid)
    return table


def _text(where: str, table: dict[str, Any], key: str) -> str:
    value = table.get(key, "")
    require(isinstance(value, str), f"{where}: {key} must be text, not {value!r}")
    return value


def _claim(entry: Any, plans: dict[str, Any], number: str) -> Claim:
    table = _keys(number, entry, CLAIM_KEYS)
    require("id" in table, f"{number} needs an id, a short word such as G1")
    where = f"claim {str(table['id'])[:40]}"
    relations = table.get("relation", [])
    require(isinstance(relations, list), f"{where}: relations are written as [[claim.relation]], with two brackets")
    otherwise = table.get("otherwise", [])
    require(
        isinstance(otherwise, list) and all(isinstance(line, str) for line in otherwise),
        f"{where}: otherwise is a list of sentences, not {otherwise!r}",
    )
    alpha = table.get("alpha", 0.05)
    require(type(alpha) in (int, float), f"{where}: alpha must be a number, not {alpha!r}")
    if table.get("ranking"):
        published_means(_text(where, table, "ranking"))  # refuses a table that is not there
    texts = ("id", "sentence", "source", "follows", "waits_for", "ranking")
    return Claim(
        **{key: _text(where, table, key) for key in texts},
        relations=tuple(_relation(where, relation) for relation in relations),
        plan=_plan(where, table["plan"], plans) if "plan" in table else None,
        otherwise=tuple(otherwise),
        alpha=alpha,
        sha256=_digest(table, plans),
    )


def _digest(table: dict[str, Any], plans: dict[str, Any]) -> str:
    """SHA-256 of what decides a claim, as its file has it: the relations, the plan and the error rate. No prose."""
    plan = table.get("plan")
    content = {key: table[key] for key in ("relation", "alpha", "follows", "waits_for") if key in table}
    content["plan"] = plans.get(plan) if isinstance(plan, str) else plan
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _plan(where: str, value: Any, plans: dict[str, Any]) -> Plan:
    if isinstance(value, str):
        if value not in plans:
            raise unknown_name(f"plan in {where}", value, tuple(plans))
        value = plans[value]
    require(isinstance(value, dict), f"{where}: plan is a table such as [claim.plan.study], or a name under [plans]")
    try:
        return to_plan(value)
    except GatewiseError as error:
        raise GatewiseError(f"{where}: {error}") from error


def _relation(where: str, entry: Any) -> Relation:
    table = _keys(f"a relation of {where}", entry, RELATION_KEYS)
    missing = [key for key in NEEDED if key not in table]
    require(not missing, f"{where}: a relation needs {', '.join(NEEDED)}; {', '.join(missing)} missing")
    for key in ("metric", "is", "part", "over", "form", "equivalent", "text"):
        _text(f"a relation of {where}", table, key)
    _check_conditions(where, table.get("where", {}))
    require(type(table.get("control", False)) is bool, f"{where}: control is true or false")
    rest = {key: value for key, value in table.items() if key not in ("is", "arm", "than")}
    arm, than = _labels(where, table, "arm"), _labels(where, table, "than")
    try:
        return Relation(says=table["is"], arm=arm, than=than, **rest)
    except GatewiseError as error:
        raise GatewiseError(f"{where}: {error}") from error


def _labels(where: str, table: dict[str, Any], key: str) -> tuple[str, ...]:
    value = table[key]
    labels = value if isinstance(value, list) else [value]
    good = bool(labels) and all(isinstance(label, str) and label for label in labels)
    require(good, f"{where}: {key} is the label of an arm, or a list of them, not {value!r}")
    require(len(set(labels)) == len(labels), f"{where}: {key} names an arm twice: {', '.join(labels)}")
    return tuple(labels)


def _check_conditions(where: str, conditions: Any) -> None:
    require(isinstance(conditions, dict), f"{where}: where must be a table such as {{ batch = 1 }}, not {conditions!r}")
    for key, value in conditions.items():
        values = value if isinstance(value, list) else [value]
        good = bool(values) and all(type(item) in (int, str) for item in values)
        require(good, f"{where}: where.{key} is a value of the plan, or a list of them, not {value!r}")
