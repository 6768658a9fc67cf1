"""`gatewise dilution`: what is left of an activation's gain from the operator alone to a whole request."""

import argparse
import json
import shlex
import sys
import tomllib
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._progress import Progress

DEFAULT_OUT = "gatewise-dilution"
LISTS: dict[str, type] = {"levels": str, "dtypes": str, "tokens": int}
SIZES = ("dim", "layers", "heads")
SETTINGS = (*LISTS, *SIZES, "seed")
"""What `--set` takes: lists of levels, dtypes and tokens, the sizes of the model, the seed."""


def run(parsed: argparse.Namespace) -> int:
    """Run the study and write it, its table and its figure. 0 whatever came out."""
    given = _settings(parsed.settings)
    if parsed.out is not None and not parsed.out.strip():
        raise GatewiseError("--out needs a folder's name")
    from gatewise import dilution, report, study

    plan = dilution.plan(
        budget_s=study.seconds(parsed.budget) if parsed.budget else dilution.BUDGET_S, **_arguments(parsed, given)
    )
    out = Path(parsed.out or DEFAULT_OUT)
    if parsed.resume and not (out / study.STORE).exists():
        print(f"gatewise: {out} holds nothing to resume; a new study begins", file=sys.stderr)
    progress = Progress(sys.stderr)
    try:
        found = study.evaluate(plan, out, resume=parsed.resume, progress=progress.show, replay=_replay(parsed))
    except KeyboardInterrupt:
        progress.close()
        _rescue(out)
        raise
    finally:
        progress.close()
    document = dilution.table(found)
    written = report.write_dilution(document, found, out)
    if parsed.json:
        print(json.dumps(document, allow_nan=False))
    else:
        report.dilution_terminal(document)
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


def _arguments(parsed: argparse.Namespace, given: dict[str, Any]) -> dict[str, Any]:
    """What was asked for, as arguments of `dilution.plan`."""
    found: dict[str, Any] = {key: value for key, value in given.items() if key not in SIZES}
    found["options"] = {key: value for key, value in given.items() if key in SIZES}
    found["threads"] = parsed.threads
    if parsed.arms is not None:
        found["arms"] = tuple(name.strip() for name in parsed.arms.split(",") if name.strip())
    return found


def _settings(settings: list[str]) -> dict[str, Any]:
    """`--set` as values. Raises `GatewiseError` with the nearest key, or with what a value looks like."""
    found: dict[str, Any] = {}
    for setting in settings:
        key, equals, content = (each.strip() for each in setting.partition("="))
        if not equals:
            raise GatewiseError(f"--set takes KEY=VALUE, for instance tokens=1,128, not {setting!r}")
        if key not in SETTINGS:
            raise unknown_name("setting", key, SETTINGS)
        found[key] = _list(key, content) if key in LISTS else _whole(key, content)
    return found


def _list(key: str, content: str) -> tuple[Any, ...]:
    """`1,128`, `[1, 128]` or `["float32"]`."""
    words = [word.strip().strip("\"'") for word in content.removeprefix("[").removesuffix("]").split(",")]
    if not all(words):
        raise GatewiseError(f"--set {key}= takes a list, for instance {_example(key)}, not {content!r}")
    return tuple(_whole(key, word) if LISTS[key] is int else word for word in words)


def _example(key: str) -> str:
    return {"tokens": "tokens=1,128", "levels": "levels=operator,model", "dtypes": "dtypes=float32"}[key]


def _whole(key: str, content: str) -> int:
    try:
        value = tomllib.loads(f"value = {content}")["value"]
    except tomllib.TOMLDecodeError:
        value = None
    if type(value) is not int:
        raise GatewiseError(f"--set {key}= takes whole numbers, not {content!r}")
    return value


def _rescue(out: Path) -> None:
    """Write what there is; a study that was stopped before its plan was stored has nothing."""
    from gatewise import dilution, report, study

    try:
        found = study.read_study(out)
        report.write_dilution(dilution.table(found), found, out)
    except GatewiseError as error:
        print(f"gatewise: no report yet: {error}", file=sys.stderr)


def _replay(parsed: argparse.Namespace) -> str:
    words = ["gatewise", "dilution"]
    for name, default in (("arms", None), ("budget", None), ("threads", 1)):
        value = getattr(parsed, name)
        words += [f"--{name}", str(value)] if value != default else []
    for setting in parsed.settings:
        words += ["--set", setting]
    return shlex.join(words)
