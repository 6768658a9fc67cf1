"""A plan file about a CSV file: `data = "customers.csv"` and `target = "churn"` under `[subject]`, and no model.

    [study]
    arms = ["gelu", "swiglu", "relu"]
    budget = "5m"
    seed = 0
    [subject]
    data = "customers.csv"
    target = "churn"
    predict = "new.csv"
    [train]
    seeds = 6

It is the same study as `gatewise table` runs, with the same result.
"""

import argparse
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

KEYS = {
    "study": ("name", "question", "baseline", "arms", "budget", "seed"),
    "subject": ("data", "target", "predict", "task", "drop", "keep", "group", "time", "folds"),
    "train": ("seeds",),
}
"""What a plan of a CSV file may hold, by table."""

_LISTS, _WHOLE = ("drop", "keep"), ("seed", "seeds", "folds")
_NOT_OWN = ("model", "workload")


def run_plan(parsed: argparse.Namespace) -> int | None:
    """Run `gatewise evaluate PLAN.toml` where the plan is about a CSV file; None where it is not.

    `--arms`, `--seeds`, `--budget` and `--set TABLE.KEY=VALUE` overrule the file; `--out`, `--resume` and `--json` are
    those of `gatewise table`. A path is looked for as it stands, then beside the plan.

    Raises:
        GatewiseError: an unknown key or table, a value of another type, an option that means nothing here.
    """
    tables = _read(parsed.plan)
    if tables is None:
        return None
    from gatewise.study import apply_settings

    from . import _table

    apply_settings(tables, list(parsed.settings))
    for option in ("workload", "on", "fail_on"):
        if getattr(parsed, option, None):
            raise GatewiseError(f"--{option.replace('_', '-')} means nothing for a plan about a CSV file")
    asked = arguments(tables, folder=Path(parsed.plan).parent)
    for name in ("arms", "seeds", "budget"):
        given = getattr(parsed, name, None)
        if given is not None:
            setattr(asked, name, given)
    asked.out, asked.resume, asked.json = parsed.out, parsed.resume, parsed.json
    return _table.run(asked)


def _read(plan: str | None) -> dict[str, Any] | None:
    """The tables of a plan file that names data and neither model nor workload. Broken files are for others to say."""
    if plan is None or not plan.endswith(".toml"):
        return None
    try:
        tables = tomllib.loads(Path(plan).read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError):
        return None
    subject = tables.get("subject")
    own = isinstance(subject, dict) and "data" in subject and not any(key in subject for key in _NOT_OWN)
    return tables if own else None


def arguments(tables: Mapping[str, Any], *, folder: Path) -> argparse.Namespace:
    """The plan, which lies in `folder`, as the arguments of `gatewise table`. Raises `GatewiseError`."""
    for name, table in tables.items():
        if name not in KEYS:
            raise unknown_name("table in a plan about a CSV file", name, tuple(KEYS))
        if not isinstance(table, dict):
            raise GatewiseError(f"[{name}] must be a table, not {table!r}")
        for key in table:
            if key not in KEYS[name]:
                raise unknown_name(f"key in [{name}] of a plan about a CSV file", key, KEYS[name])
    study, subject = tables.get("study", {}), tables["subject"]
    if "target" not in subject:
        raise GatewiseError('[subject] data needs a target: the column to predict, for instance target = "churn"')
    texts = {key: _text(key, subject[key]) for key in subject if key not in (*_LISTS, *_WHOLE)}
    settings = [f"{key}={','.join(_texts(key, subject[key]))}" for key in _LISTS if key in subject]
    settings += [f"{key}={texts[key]}" for key in ("group", "time") if key in texts]
    settings += [f"seed={_whole('seed', study['seed'])}"] if "seed" in study else []
    settings += [f"folds={_whole('folds', subject['folds'])}"] if "folds" in subject else []
    return argparse.Namespace(
        data=_path(texts["data"], folder),
        target=texts["target"],
        predict=_path(texts["predict"], folder) if "predict" in texts else None,
        arms=_arms(study),
        task=texts.get("task", "auto"),
        seeds=_whole("seeds", tables["train"]["seeds"]) if "seeds" in tables.get("train", {}) else None,
        budget=str(study["budget"]) if "budget" in study else None,
        settings=settings,
    )


def _path(name: str, folder: Path) -> str:
    return name if Path(name).exists() or not (folder / name).exists() else str(folder / name)


def _arms(study: Mapping[str, Any]) -> str | None:
    """The arms with the baseline in front; None where the plan names none."""
    arms = _texts("arms", study["arms"]) if "arms" in study else None
    base = _text("baseline", study["baseline"]) if "baseline" in study else None
    if arms is None or base is None:
        if base is not None:
            raise GatewiseError("[study] baseline goes with arms: it is one of them")
        return None if arms is None else ",".join(arms)
    if base not in arms:
        raise unknown_name("baseline", base, arms)
    return ",".join([base, *(arm for arm in arms if arm != base)])


def _text(key: str, value: object) -> str:
    if not isinstance(value, str) or not value.strip():
        raise GatewiseError(f"{key} must be text, not {value!r}")
    return value


def _texts(key: str, value: object) -> list[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found:
        raise GatewiseError(f"{key} must be a list of names, not {value!r}")
    return [_text(f"each of {key}", each) for each in found]


def _whole(key: str, value: object) -> int:
    if type(value) is not int or value < 0:
        raise GatewiseError(f"{key} must be a whole number, not {value!r}")
    return value
