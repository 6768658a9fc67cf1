"""The native kernels, blocks and training steps beside eager and their peers, and beside what the machine allows.

    python benchmarks/kernels.py --quick                            fewer processes and rounds, smaller arrays
    python benchmarks/kernels.py --threads 1 2 --json kernels.json  everything, about 50 minutes
    python benchmarks/kernels.py --part ffn train --markdown kernels.md
    python benchmarks/kernels.py --render kernels.json --summary summary.md     the short tables; measures nothing

Correctness comes first: where anything is wrong, no speed is printed and the exit code is 1. Then fresh processes,
each with all candidates of its part, called in random interleaved order, and the machine's limits among them. A figure
is the median of the processes' medians, a ratio is eager / candidate (above 1: faster, or smaller), and its 95 %
interval takes one process as one observation; a figure that lies in it is undecided. Verdicts are of one thread.
Nothing else should run on the machine.

`--json` is written after every process. Started again with the same file, the same code and machine, a run goes on
where it was ended.

Recycled and fresh memory are told apart. A large allocation that malloc maps anew costs a page fault for every 4 KiB
at its first touch, which is more than the arithmetic. `recycled` lets malloc keep all that is freed (no maps, no
trimming), as a long-running process ends up; `fresh` maps every block of 64 KiB or more anew and gives it back at once:
page faults are counted and printed, and peaks of memory are taken there. Columns `out=` write to memory that is kept.
"""

import argparse
import ctypes
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from kernel_tables import report, store
from kernel_tables.record import Job
from kernel_tables.schedule import PARTS, RUNNERS, Step, remaining_s, steps

CHILD = "GATEWISE_KERNELS_JOB"
MALLOC = {
    "recycled": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**46), "MALLOC_TOP_PAD_": str(2**26)},
    "fresh": {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"},
}
"""How glibc's malloc is set in a process; others ignore it, which the page faults that are counted show."""
LONGEST_S = 900


class ProcessFailedError(RuntimeError):
    """A process gave no result; says which, and how it ended."""


def end_with_parent() -> None:
    """On Linux this process ends when the run does: one that went on would disturb the run that is started again."""
    try:
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)
    except (OSError, AttributeError):
        return


def child(job: Job) -> dict[str, object]:
    """In a fresh process: run one part once. Ends it where the kernels are not what they were."""
    from gatewise.kernels import status

    if job.kernels and job.kernels != str(status()):
        raise SystemExit(f"the native kernels were {job.kernels} when the run began, and are {status()}")
    module, _, function = RUNNERS[job.part].partition(":")
    return getattr(import_module(f"kernel_tables.{module}"), function)(job).plain()


def in_a_process(job: Job) -> dict[str, Any]:
    """The same, from here. Raises `ProcessFailedError` where it crashes or hangs."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(job.threads), MKL_NUM_THREADS=str(job.threads))
    environment |= MALLOC[job.memory] | {CHILD: json.dumps(asdict(job)), "PYTHONWARNINGS": "ignore"}
    environment |= {"GATEWISE_CACHE": job.folder, "TORCHINDUCTOR_CACHE_DIR": f"{job.folder}/inductor"}
    command = [sys.executable, str(Path(__file__).resolve())]
    try:
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=LONGEST_S)
    except subprocess.TimeoutExpired as error:
        raise ProcessFailedError(f"the process of {job.label()} did not end in {LONGEST_S} s") from error
    if done.returncode:
        lines = "\n".join(done.stderr.strip().splitlines()[-8:])
        raise ProcessFailedError(f"the process of {job.label()} ended with {done.returncode}:\n{lines}")
    return json.loads(done.stdout.splitlines()[-1])


def correct(folder: str, quick: bool) -> tuple[list[str], list[str]]:
    """What to print, and what is wrong: one line each, empty when all is right."""
    job = Job(part="correctness", threads=1, memory="recycled", seed=0, quick=quick, folder=folder)
    try:
        notes = in_a_process(job)["notes"]
    except ProcessFailedError as error:
        return [], [str(error)]
    red = [line for name, line in notes.items() if name.startswith("RED")]
    told = [notes["accuracy"]] if "accuracy" in notes else []
    told += [f"{name}: {line}" for name, line in notes.items() if not name.startswith("RED") and name != "accuracy"]
    return told, red


@dataclass(kw_only=True)
class Run:
    """What the processes handed back, how many were left out for want of time, and what failed."""

    found: list[dict[str, Any]] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    failed: list[str] = field(default_factory=list)

    def remarks(self) -> list[str]:
        """What a reader must know, a line each."""
        return [f"{count} processes of {label} were left out: the time was up" for label, count in self.left.items()]

    def took_s(self) -> dict[str, list[float]]:
        """Of the processes that ended, by what they were asked."""
        times: dict[str, list[float]] = {}
        for process in self.found:
            times.setdefault(process["name"], []).append(process["took_s"])
        return times


def measure(
    planned: Sequence[Step],
    folder: str,
    quick: bool,
    until: float,
    run: Run | None = None,
    keep: Callable[[Run], None] | None = None,
) -> Run:
    """Run the steps in order that `run` does not hold yet; `keep` is called after each.

    After `until` only the first two processes of each kind of one thread still start.
    """
    run = run or Run()
    there = store.seen(run.found)
    left = [step for step in planned if (_job(step, folder, quick).label(), step.number) not in there]
    began = time.monotonic()
    for index, step in enumerate(left):
        job = _job(step, folder, quick)
        if (step.number >= 2 or step.asked["threads"] > 1) and time.monotonic() > until:
            run.left[job.label()] = run.left.get(job.label(), 0) + 1
            continue
        started = time.monotonic()
        try:
            record = in_a_process(job)
        except ProcessFailedError as error:
            run.failed.append(str(error))
            continue
        took = time.monotonic() - started
        run.found.append(
            record | {"job": job.label(), "part": job.part, "name": step.name, "number": step.number, "took_s": took}
        )
        if keep is not None:
            keep(run)
        rest = remaining_s(left[index + 1 :], run.took_s(), quick=quick)
        print(
            f"{index + 1}/{len(left)} {job.label()}, process {step.number + 1}: {took:.0f} s; "
            f"{(time.monotonic() - began) / 60:.1f} min so far, about {rest / 60:.0f} left",
            file=sys.stderr,
            flush=True,
        )
    return run


def _job(step: Step, folder: str, quick: bool) -> Job:
    from gatewise.kernels import status

    return Job(seed=step.number, quick=quick, folder=folder, kernels=str(status()), **step.asked)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, print; 1 where something is wrong."""
    options = _options(arguments)
    if options.render is not None:
        return _rendered(options)
    from kernel_tables import machine

    head = machine.header(options.threads)
    print("\n".join(f"{name}: {value}" for name, value in head.items()), flush=True)
    try:
        document = store.begun(
            options.json,
            {
                "machine": head,
                "fingerprint": store.fingerprint(),
                "quick": options.quick,
                "threads": options.threads,
                "parts": options.part,
                "minutes": 0.0,
                "processes": [],
            },
        )
    except store.OtherRunError as error:
        print(error, file=sys.stderr)
        return 2
    with tempfile.TemporaryDirectory() as empty:
        folder = empty
        if options.json is not None:  # what was compiled and chosen is there when the run goes on
            folder = f"{options.json}.folder"
            Path(folder).mkdir(exist_ok=True)
        return _in(folder, options, document)


def _in(folder: str, options: argparse.Namespace, document: dict[str, Any]) -> int:
    from kernel_tables import limits, machine

    began, before = time.monotonic(), document["minutes"]
    told, red = correct(folder, options.quick)
    print("\nCorrectness, against float64\n\n" + "\n".join(told), flush=True)
    if red:
        return _stopped(red)
    document["told"] = told
    remarks = [f"limits of memory: {why}" for why in [limits.build(Path(folder))] if why]

    def keep(run: Run) -> None:
        document["processes"] = run.found
        document["minutes"] = before + (time.monotonic() - began) / 60
        store.write(options.json, document)

    planned = steps(options.part, options.threads, quick=options.quick)
    found = list(document["processes"])
    until = began + 60 * (options.minutes - before)
    run = measure(planned, folder, options.quick, until, Run(found=found), keep)
    keep(run)
    if wrong := report.wrong(run.found):
        return _stopped(wrong)
    document["remarks"] = remarks + machine.busy(max(options.threads)) + run.remarks() + run.failed
    report.judged(document)
    store.write(options.json, document)
    print(report.text(document))
    _write(options, document)
    for line in run.failed:
        print(f"FAILED {line}")
    if not run.failed:
        shutil.rmtree(folder, ignore_errors=True)
    return 1 if run.failed else 0


def _stopped(red: Sequence[str]) -> int:
    print("\n" + "\n".join(f"RED {line}" for line in red) + "\n\nno speed is told before this is right")
    return 1


def _rendered(options: argparse.Namespace) -> int:
    """Tables of a run that was kept, whole or not."""
    try:
        document = store.read(options.render)
    except (OSError, store.OtherRunError) as error:
        print(error, file=sys.stderr)
        return 2
    if wrong := report.wrong(document["processes"]):
        return _stopped(wrong)
    report.judged(document)
    print(report.text(document))
    _write(options, document)
    return 0


def _write(options: argparse.Namespace, document: dict[str, Any]) -> None:
    for path, content in ((options.markdown, report.markdown), (options.summary, report.summary)):
        if path is not None:
            path.write_text(content(document), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="these parts (default: all)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="tables for these numbers of threads")
    parser.add_argument("--quick", action="store_true", help="fewer processes and rounds, smaller arrays")
    parser.add_argument(
        "--minutes", type=float, default=52.0, help="after these only two processes of a kind start, of one thread"
    )
    parser.add_argument("--json", type=Path, help="keep the run in this file, or go on with the one that is in it")
    parser.add_argument("--render", type=Path, help="measure nothing: tables of the run that this file holds")
    parser.add_argument("--markdown", type=Path, help="write all tables and verdicts to this file")
    parser.add_argument("--summary", type=Path, help="write the short tables to this file")
    options = parser.parse_args(arguments)
    if min(options.threads) < 1:
        parser.error(f"--threads must be 1 or more, not {min(options.threads)}")
    for name in ("json", "markdown", "summary"):
        path = getattr(options, name)
        if path is not None and not path.parent.is_dir():
            parser.error(f"--{name}: there is no folder {path.parent}")
    return options


if __name__ == "__main__":
    if CHILD in os.environ:
        end_with_parent()
        print(json.dumps(child(Job(**json.loads(os.environ[CHILD])))), flush=True)
        os._exit(0)  # engines and compilers take long to be taken down, and all is said
    sys.exit(main())
