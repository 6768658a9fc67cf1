"""`gatewise table`: a file of one's own, from reading it to a page in plain words."""

import argparse
import json
import shlex
import sys
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from ._progress import Progress

DEFAULT_OUT = "gatewise-table"


def run(parsed: argparse.Namespace) -> int:
    """Run the study and write its pages. 0 whatever came out."""
    if parsed.out is not None and not parsed.out.strip():
        raise GatewiseError("--out needs a folder's name")
    from gatewise import report, tabular

    plan = tabular.TablePlan(target=parsed.target, **_arguments(parsed))
    out = Path(parsed.out or DEFAULT_OUT)
    if parsed.resume and not (out / tabular.STORE).exists():
        print(f"gatewise: {out} holds nothing to resume; a new study begins", file=sys.stderr)
    asking = tabular.Asking(
        data=Path(parsed.data), plan=plan, predict=None if parsed.predict is None else Path(parsed.predict)
    )
    progress = Progress(sys.stderr)
    try:
        found = tabular.study(asking, out, resume=parsed.resume, progress=progress.show, replay=_replay(parsed))
    finally:
        progress.close()
    others = {} if found.predictions is None else {tabular.PREDICTIONS: found.predictions}
    written = report.write_table(found.document, out, others)
    if parsed.json:
        print(json.dumps(found.document, allow_nan=False))
    else:
        report.table_terminal(found.document)
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return 0


def _arguments(parsed: argparse.Namespace) -> dict[str, Any]:
    """What was asked for, as arguments of `TablePlan`."""
    from gatewise import study, tabular

    found: dict[str, Any] = {"task": parsed.task, **tabular.settings(_settings(parsed.settings))}
    if parsed.seeds is not None:
        found["seeds"] = parsed.seeds
    if parsed.budget is not None:
        found["budget_s"] = study.seconds(parsed.budget)
    if parsed.arms is not None:
        found["arms"] = tuple(name.strip() for name in parsed.arms.split(",") if name.strip())
    return found


def _settings(settings: list[str]) -> dict[str, str]:
    """`--set` by key. Raises `GatewiseError` with what a setting looks like."""
    found: dict[str, str] = {}
    for setting in settings:
        key, equals, content = (each.strip() for each in setting.partition("="))
        if not equals or not content:
            raise GatewiseError(f"--set takes KEY=VALUE, for instance drop=notes, not {setting!r}")
        found[key] = f"{found[key]},{content}" if key in found else content
    return found


def _replay(parsed: argparse.Namespace) -> str:
    words = ["gatewise", "table", parsed.data, "--target", parsed.target]
    for name in ("predict", "arms", "seeds", "budget"):
        value = getattr(parsed, name)
        words += [f"--{name}", str(value)] if value is not None else []
    words += ["--task", parsed.task] if parsed.task != "auto" else []
    for setting in parsed.settings:
        words += ["--set", setting]
    return shlex.join(words)
