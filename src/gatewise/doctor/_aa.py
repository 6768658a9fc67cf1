"""A/A studies on this very machine, end to end: the main job on identical arms, again and again."""

import shutil
import tempfile
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, unknown_name

from ._aa_plan import DEFAULT_WORKLOAD, Design, plan
from ._aa_record import FILE, Record
from ._aa_summary import summary
from ._files import ROOT
from ._look import SCHEMA, Progress
from ._missing import Missing, settle
from ._watch import between, moment

BUDGET = "5m"
STUDY_S = 70.0
"""The budget of one study. It ends before that where everything is settled."""

GROWTH = 1.3
"""How much more a study gets where the planner says that its budget is too small on this machine."""


SHORTER = 0.8
"""A study begins where this share of the longest one so far is left: it stops by itself at the end of the budget."""

INTERRUPTED = "Ctrl-C"


def _silent(what: str, left_s: float) -> None:
    del what, left_s


@dataclass(frozen=True, kw_only=True)
class _Job:
    design: Design
    total_s: float
    each_s: float


def _job(studies: int | None, budget: str | float | None, workload: str | None) -> _Job:
    if studies is not None and (type(studies) is not int or studies < 1):
        raise GatewiseError(f"--studies must be a whole number above 0, not {studies!r}")
    from gatewise.study import seconds
    from gatewise.workloads import WORKLOADS

    design = Design(workload=workload if workload is not None else DEFAULT_WORKLOAD)
    if design.workload not in WORKLOADS:
        raise unknown_name("workload", design.workload, WORKLOADS)
    text = budget if budget is not None else studies * STUDY_S if studies else BUDGET
    total_s = seconds(text)
    each_s = max(STUDY_S, total_s / studies) if studies and budget is not None else STUDY_S
    return _Job(design=design, total_s=total_s, each_s=each_s)


def check(
    *,
    studies: int | None = None,
    budget: str | float | None = None,
    workload: str | None = None,
    out: Path | str | None = None,
) -> None:
    """Refuse what `aa` would refuse before its first study. Raises `GatewiseError`."""
    job = _job(studies, budget, workload)
    with Record(Path(out) if out is not None else None, job.design):
        pass


def aa(
    *,
    studies: int | None = None,
    budget: str | float | None = None,
    workload: str | None = None,
    out: Path | str | None = None,
    progress: Progress = _silent,
) -> dict[str, Any]:
    """Run A/A studies and return what they showed (schema `gatewise.doctor/1`, `kind = "aa"`).

    Args:
        studies: how many; by default as many as the budget allows.
        budget: the time for all of them together, such as "5m"; by default five minutes, or what `studies` take.
        workload: what they run, by name.
        out: keep every finished study in `aa.jsonl` there, and add to what is there already.
        progress: told what is being done and how many seconds are left.

    Returns:
        Plain data: the rates over all studies of the record, with their intervals, and a verdict. Stopped by Ctrl-C it
        is the summary of what was finished, and `interrupted` is true.

    Raises:
        GatewiseError: bad input, a budget too small for one study, a record of another machine or design.
    """
    job = _job(studies, budget, workload)
    began, started = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds")
    with Record(Path(out) if out is not None else None, job.design) as record:
        before = len(record.studies)
        stopped = _run(job, record, studies, progress)
        content = summary(record.studies) | {
            "in_this_call": len(record.studies) - before,
            "from_before": before,
            "cut_bytes": record.cut,
            "environment": _told_facts(record.studies[-1]["environment"]) if record.studies else {},
        }
    return {
        "schema": SCHEMA,
        "kind": "aa",
        "started": started,
        "seconds": time.monotonic() - began,
        "interrupted": stopped == INTERRUPTED,
        "stopped": stopped,
        "design": job.design.to_json(),
        "record": str(Path(out) / FILE) if out is not None else "kept in memory; --out keeps it",
        **settle(content),
    }


def _run(job: _Job, record: Record, studies: int | None, progress: Progress) -> str:
    """One study after the other until they are done, the budget ends or Ctrl-C; returns why it stopped."""
    from gatewise.study import BudgetTooSmallError

    began, done, longest, each_s = time.monotonic(), 0, 0.0, job.each_s
    while studies is None or done < studies:
        left = job.total_s - (time.monotonic() - began)
        if left < longest or left <= 0:
            return "the budget is spent"
        try:
            record.add(_study(job.design, record.next_seed, min(each_s, left), _told(progress, done, studies, left)))
        except KeyboardInterrupt:
            return INTERRUPTED
        except BudgetTooSmallError:
            if each_s < left:  # a slow machine, or one core: the same study needs more
                each_s *= GROWTH
                continue
            if not done:
                raise
            return "what is left of the budget is too little for another study"
        done += 1
        longest = max(longest, SHORTER * record.studies[-1]["seconds"])
    return "all studies are done"


def _told_facts(environment: Mapping[str, Any]) -> dict[str, Any]:
    """An environment in which what is not known has its reason."""
    return {
        key: _told_facts(value)
        if isinstance(value, Mapping)
        else Missing("the system does not tell it, or it is not installed")
        if value is None
        else value
        for key, value in environment.items()
    }


def _told(progress: Progress, done: int, studies: int | None, left_s: float) -> Progress:
    began = time.monotonic()

    def tell(what: str, left_of_study_s: float) -> None:
        del left_of_study_s
        of = f" of {studies}" if studies else ""
        progress(f"A/A study {done + 1}{of}: {what}", max(0.0, left_s - (time.monotonic() - began)))

    return tell


def _study(design: Design, seed: int, budget_s: float, progress: Progress) -> dict[str, Any]:
    """One whole study in a folder of its own, which is removed; its comparisons are what is kept."""
    from gatewise.study import evaluate

    began, started, first = time.monotonic(), datetime.now(UTC).isoformat(timespec="seconds"), moment(ROOT)
    folder = Path(tempfile.mkdtemp(prefix="gatewise-aa-"))
    try:
        document = evaluate(plan(design, seed=seed, budget_s=budget_s), folder / "study", progress=progress)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    meanwhile = settle(between(first, moment(ROOT)))
    return {
        "seed": seed,
        "started": started,
        "seconds": time.monotonic() - began,
        "budget_s": budget_s,
        "load_at_start": document["environment"].get("load_at_start"),
        "others_cores": meanwhile["others_cores"],
        "steal_share": meanwhile["steal_share"],
        "comparisons": document["comparisons"],
    }
