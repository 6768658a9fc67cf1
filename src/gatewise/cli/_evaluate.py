"""`gatewise evaluate`: build the plan from a file or from arguments, run it, print what came out."""

import argparse
import json
import shlex
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._arguments import DEFAULT_OUT
from ._progress import Progress


def run(parsed: argparse.Namespace) -> int:
    """Run a study. 0 done; with `--fail-on` 1 where the gate failed and 3 where it could not be decided."""
    from gatewise import report, study

    from . import _table_plan

    if (code := _table_plan.run_plan(parsed)) is not None:
        return code
    plan = study.to_plan(_tables(parsed))
    if parsed.out is not None and not parsed.out.strip():
        raise GatewiseError("--out needs a folder's name")
    out = Path(parsed.out) if parsed.out else _default_out(resume=parsed.resume)
    if parsed.resume and not (out / study.STORE).exists():
        print(f"gatewise: {out} holds nothing to resume; a new study begins", file=sys.stderr)
    progress = Progress(sys.stderr)
    try:
        with nullcontext() if parsed.on is None else study.running_on(parsed.on):
            document = study.evaluate(plan, out, resume=parsed.resume, progress=progress.show, replay=_replay(parsed))
    except KeyboardInterrupt:
        progress.close()
        _rescue(out, study.read_study, report.write)
        raise
    finally:
        progress.close()
    written = report.write(document, out)
    if parsed.json:
        print(json.dumps(document, allow_nan=False))
    else:
        report.terminal(document)
        print(f"\nwritten: {', '.join(str(path) for path in written)}")
    return _gate(document, parsed.fail_on)


def _default_out(*, resume: bool) -> Path:
    """`gatewise-out`, or the next free `gatewise-out-2`, ...; to resume, the last one that is there."""
    number, last = 1, Path(DEFAULT_OUT)
    while (path := Path(DEFAULT_OUT if number == 1 else f"{DEFAULT_OUT}-{number}")).exists():
        number, last = number + 1, path
    return last if resume else path


def _rescue(out: Path, read: Callable[[Path], dict[str, Any]], write: Callable[[dict[str, Any], Path], Any]) -> None:
    """Write the report of what there is; a study that was stopped before its plan was stored has none."""
    try:
        write(read(out), out)
    except GatewiseError as error:
        print(f"gatewise: no report yet: {error}", file=sys.stderr)


def _tables(parsed: argparse.Namespace) -> dict[str, Any]:
    from gatewise.study import apply_settings, builtin, read_plan

    target: str | None = parsed.plan
    if target is not None and not target.strip():
        raise GatewiseError("the plan's name is empty; without one, leave it out and the built-in study runs")
    if target and parsed.workload:
        raise GatewiseError("give a plan or model, or --workload, not both")
    tables: dict[str, Any]
    if target and target.endswith(".toml"):
        tables = read_plan(Path(target))
    elif target or parsed.workload:
        named: str = parsed.workload or (target if target and _is_name(target) else "")
        tables = {"study": {}, "subject": {"workload": named} if named else {"model": target}}
        if parsed.seeds is None and named == "byte-lm":
            tables["train"] = {}
    elif parsed.arms or parsed.seeds:
        raise GatewiseError("--arms and --seeds need a model or --workload; without them the built-in study runs")
    else:
        tables = builtin()
    for name in ("study", "train"):
        if not isinstance(tables.get(name, {}), dict):
            raise GatewiseError(f"[{name}] must be a table, not {tables[name]!r}")
    study: dict[str, Any] = tables.setdefault("study", {})
    if parsed.arms is not None:
        names = [name.strip() for name in parsed.arms.split(",")]
        if not all(names):
            raise GatewiseError(f"--arms needs names with a comma between two, not {parsed.arms!r}")
        study["arms"] = [_arm(name) for name in names]
    elif "model" in tables.get("subject", {}):
        study.setdefault("arms", ["original", "gelu", "gelu_tanh", "silu", "relu"])
    elif "subject" in tables:
        study.setdefault("arms", ["gelu", "relu", "swiglu"])
    if parsed.seeds is not None:
        tables.setdefault("train", {})["seeds"] = parsed.seeds
    if parsed.budget:
        study["budget"] = parsed.budget
    if not target and not parsed.workload and not parsed.settings:
        return tables
    study.setdefault("name", f"{target or parsed.workload}: does another activation pay?")
    apply_settings(tables, parsed.settings)
    return tables


def _arm(named: str) -> str | dict[str, str]:
    """`swiglu`, `swiglu:none` (another matching), `swiglu:gatewise` (another kernel), each in a row of its own."""
    from gatewise.study import KERNELS, MATCHINGS

    name, *words = named.split(":")
    arm = {"name": name, "label": name}
    for word in words:
        if word not in (*MATCHINGS, *KERNELS):
            raise unknown_name(f"matching or kernel of the arm {name!r}:", word, (*MATCHINGS, *KERNELS))
        if word in KERNELS:
            arm |= {"kernel": word, "label": f"{arm['label']}+{word}"}
        else:
            arm |= {"matching": word, "label": f"{arm['label']}-{word}"}
    return arm if words else name


def _is_name(target: str) -> bool:
    """Whether this can only be a workload's name: no path, no function, no file."""
    return target.replace("-", "").replace("_", "").isalnum() and not Path(target).exists()


def _replay(parsed: argparse.Namespace) -> str:
    words = ["gatewise", "evaluate", *([parsed.plan] if parsed.plan else [])]
    for name in ("workload", "arms", "seeds", "budget"):
        value = getattr(parsed, name)
        words += [f"--{name}", str(value)] if value is not None else []
    for setting in parsed.settings:
        words += ["--set", setting]
    return shlex.join(words)


def _gate(document: dict[str, Any], fail_on: str | None) -> int:
    """0 passed, 1 failed, 3 not decided."""
    if fail_on is None:
        return 0
    found = {answer["verdict"] for answer in document["verdict"]["answers"]}
    failing = {"worse"} if fail_on == "worse" else {"worse", "equivalent"}
    if found & failing:
        return 1
    return 3 if "inconclusive" in found or not found else 0
