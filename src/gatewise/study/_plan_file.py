"""Plans from TOML and from the command line's `--set KEY=VALUE`; unknown keys are refused with the nearest one."""

import tomllib
from dataclasses import fields
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._plan import Arm, Cost, Judge, Measure, Part, Plan, Subject, Train, seconds

STUDY_KEYS = ("name", "question", "baseline", "arms", "budget", "seed")
TABLES: dict[str, type] = {"subject": Subject, "measure": Measure, "train": Train, "judge": Judge, "cost": Cost}
EXAMPLES = {"margin": "{ latency = 0.02 }", "options": "{ dim = 96 }"}
"""Keys whose values are tables."""

PART_KEYS = ("name", "baseline", "arms", *TABLES)


def read_plan(path: Path) -> dict[str, Any]:
    """The raw tables of a plan file. Raises `GatewiseError` for a missing file and for broken TOML."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise GatewiseError(f"cannot read the plan {path}: {reason}") from error
    except tomllib.TOMLDecodeError as error:
        raise GatewiseError(f"{path} is not valid TOML: {error}") from error


def apply_settings(document: dict[str, Any], settings: list[str]) -> None:
    """Apply `table.key=value` settings in place; a value is TOML, and a bare word is a string."""
    for setting in settings:
        key, equals, text = setting.partition("=")
        path = key.strip().split(".")
        if not equals or len(path) < 2 or not all(path):
            raise GatewiseError(f"--set takes TABLE.KEY=VALUE, for instance measure.batch=[1,8], not {setting!r}")
        try:
            value = tomllib.loads(f"value = {text}")["value"]
        except tomllib.TOMLDecodeError as error:
            value = text.strip()
            if value[:1] in ("[", "{", '"', "'"):
                raise GatewiseError(f"--set {setting}: the value is not valid TOML") from error
        target = document
        for step in path[:-1]:
            target = target.setdefault(step, {})
            if not isinstance(target, dict):
                raise GatewiseError(f"--set {setting}: {step!r} is not a table; parts are set in the plan file")
        target[path[-1]] = value


def _check_keys(where: str, table: Any, valid: tuple[str, ...]) -> dict[str, Any]:
    if not isinstance(table, dict):
        raise GatewiseError(f"{where} must be a table, not {table!r}")
    for key in table:
        if key not in valid:
            raise unknown_name(f"key in {where}", key, valid)
    return table


def _build(kind: type, where: str, table: Any) -> Any:
    names = tuple(item.name for item in fields(kind))
    values = _check_keys(where, table, names)
    defaults = {item.name: item.default for item in fields(kind)}
    types = {item.name: item.type for item in fields(kind)}
    built: dict[str, Any] = {}
    for key, value in values.items():
        default = defaults.get(key)
        if key == "kernels" and not isinstance(value, list):  # one word would be an arm's `kernel`
            raise GatewiseError(f'{where}.kernels is a list, such as ["stock", "gatewise"], not {value!r}')
        if isinstance(default, tuple):
            built[key] = tuple(value) if isinstance(value, list) else (value,)
        elif types[key] is str and not isinstance(value, str):
            raise GatewiseError(f"{where}.{key} must be text, not {value!r}")
        elif isinstance(default, float) and not (isinstance(value, (int, float)) and not isinstance(value, bool)):
            raise GatewiseError(f"{where}.{key} must be a number, not {value!r}")
        elif type(default) is int and type(value) is not int:
            raise GatewiseError(f"{where}.{key} must be a whole number, not {value!r}")
        elif key in EXAMPLES and not isinstance(value, dict):
            raise GatewiseError(f"{where}.{key} must be a table such as {EXAMPLES[key]}, not {value!r}")
        else:
            built[key] = value
    try:
        return kind(**built)
    except TypeError as error:
        raise GatewiseError(f"{where}: {str(error).partition(') ')[2] or error}") from error


def _arms(where: str, value: Any) -> tuple[Arm, ...]:
    if not isinstance(value, list) or not value:
        raise GatewiseError(f"{where} must be a list of names or tables, not {value!r}")
    arms: list[Arm] = []
    for item in value:
        if isinstance(item, dict) and "name" not in item:
            raise GatewiseError(f"an arm in {where} needs a name: {item!r}")
        arms.append(_build(Arm, "arm", {"name": item} if isinstance(item, str) else item))
    return tuple(arms)


def _part(table: dict[str, Any], name: str) -> Part:
    built = {key: _build(kind, f"[{key}]", table[key]) for key, kind in TABLES.items() if key in table}
    if "subject" not in built:
        raise GatewiseError('the plan needs [subject] with a workload, for instance workload = "sentence-encoder"')
    if "train" not in built and "measure" not in built:
        built["measure"] = Measure()
    return Part(name=name, baseline=table.get("baseline", ""), arms=_arms("arms", table.get("arms")), **built)


def to_plan(document: dict[str, Any]) -> Plan:
    """The plan of a document of tables: `[study]` and `[subject]`, or `[study]` and several `[[part]]`."""
    study = _check_keys("[study]", document.get("study", {}), STUDY_KEYS)
    _check_keys("the plan", document, ("study", "part", *TABLES))
    for key in ("name", "question", "baseline"):
        if not isinstance(study.get(key, ""), str):
            raise GatewiseError(f"[study].{key} must be text, not {study[key]!r}")
    if "part" in document and not isinstance(document["part"], list):
        raise GatewiseError("parts are written as [[part]] tables, with two brackets")
    if "part" in document:
        doubled = [key for key in (*TABLES, "arms", "baseline") if key in document or key in study]
        if doubled:
            raise GatewiseError(f"with [[part]], {', '.join(doubled)} must stand inside each part")
        tables = [_check_keys("[[part]]", part, PART_KEYS) for part in document["part"]]
        parts = tuple(_part(table, str(table.get("name", f"part {i}"))) for i, table in enumerate(tables, 1))
    else:
        table = {key: study[key] for key in ("baseline", "arms") if key in study}
        parts = (_part(table | {key: document[key] for key in TABLES if key in document}, "main"),)
    return Plan(
        name=str(study.get("name", "a gatewise study")),
        question=str(study.get("question", "")),
        seed=study.get("seed", 0),
        budget_s=seconds(study.get("budget", "10m")),
        parts=parts,
    )
