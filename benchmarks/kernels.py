"""The native kernels, blocks and training steps beside eager and their peers, and beside what the machine allows.

    python benchmarks/kernels.py --quick                   a few minutes: fewer rounds, smaller arrays
    python benchmarks/kernels.py --threads 1 2             everything, about 25 minutes
    python benchmarks/kernels.py --part ffn train --json kernels.json --markdown kernels.md

Correctness comes first: where anything is wrong, no speed is printed and the exit code is 1. Then fresh processes,
each with all candidates of its part, called in random interleaved order, and the machine's limits among them. A figure
is the median of the processes' medians, a ratio is eager / candidate (above 1: faster, or smaller), and its 95 %
interval takes one process as one observation. Verdicts are of one thread. Nothing else should run on the machine.

Recycled and fresh memory are told apart. A large allocation that malloc maps anew costs a page fault for every 4 KiB
at its first touch, which is more than the arithmetic. `recycled` lets malloc keep all that is freed (no maps, no
trimming), as a long-running process ends up; `fresh` maps every block of 64 KiB or more anew and gives it back at once:
page faults are counted and printed, and peaks of memory are taken there. Columns `out=` write to memory that is kept.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
from kernel_tables import asked, special, tables
from kernel_tables.figures import Cells
from kernel_tables.record import Job
from kernel_tables.schedule import PARTS, RUNNERS, Step, steps
from kernel_tables.targets import Verdict, judge

CHILD = "GATEWISE_KERNELS_JOB"
MALLOC = {
    "recycled": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**46), "MALLOC_TOP_PAD_": str(2**26)},
    "fresh": {"MALLOC_MMAP_THRESHOLD_": str(2**16), "MALLOC_TRIM_THRESHOLD_": "0"},
}
"""How glibc's malloc is set in a process; others ignore it, which the page faults that are counted show."""
LONGEST_S = 900


class ProcessFailedError(RuntimeError):
    """A process gave no result; says which, and how it ended."""


def child(job: Job) -> dict[str, object]:
    """In a fresh process: run one part once."""
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


def measure(planned: Sequence[Step], folder: str, quick: bool, until: float) -> Run:
    """Run the steps in order. After `until` only the first two processes of each kind still start."""
    run = Run()
    for step in planned:
        job = Job(seed=step.number, quick=quick, folder=folder, **step.asked)
        if step.number >= 2 and time.monotonic() > until:
            run.left[job.label()] = run.left.get(job.label(), 0) + 1
            continue
        began = time.monotonic()
        try:
            record = in_a_process(job)
        except ProcessFailedError as error:
            run.failed.append(str(error))
            continue
        took = time.monotonic() - began
        print(f"{job.label()}, process {step.number + 1}: {took:.0f} s", file=sys.stderr, flush=True)
        run.found.append(record | {"job": job.label(), "part": job.part, "took_s": took})
    return run


def verdicts(records: Sequence[Cells], parts: Sequence[str]) -> list[Verdict]:
    """Of every target whose part was asked for."""
    from kernel_tables.correctness import FLOOR, ROUNDING

    found = [verdict for target in asked.targets() if target.part in parts for verdict in judge(target, records)]
    others = special.all_of(records, ROUNDING, FLOOR)
    return found + [verdict for part, each in others.items() if part in parts for verdict in each]


def main(arguments: Sequence[str] | None = None) -> int:
    """Check, measure, print; 1 where something is wrong."""
    options = _options(arguments)
    from kernel_tables import limits, machine

    head = machine.header()
    print("\n".join(f"{name}: {value}" for name, value in head.items()), flush=True)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        told, red = correct(folder, options.quick)
        print("\nCorrectness, against float64\n\n" + "\n".join(told), flush=True)
        if red:
            print("\n" + "\n".join(f"RED {line}" for line in red) + "\n\nno speed is measured before this is right")
            return 1
        remarks = [f"limits of memory: {why}" for why in [limits.build(Path(folder))] if why]
        planned = steps(options.part, options.threads, quick=options.quick)
        run = measure(planned, folder, options.quick, began + 60 * options.minutes)
    found = run.found
    records: list[Cells] = [record["cells"] for record in found]
    remarks += machine.busy(max(options.threads)) + run.remarks()
    remarks += [f"{name} was left out: {why}" for name, why in _skipped(found).items()]
    if options.quick:
        remarks.append("quick: fewer processes and rounds, smaller arrays; no figure of it is a result")
    remarks += [f"{name}: {line}" for record in found for name, line in record["notes"].items()]
    judged = verdicts(records, options.part)
    for section in tables.sections(records):
        print(f"\n{section}\n\n{tables.text(tables.shown(records, section))}")
    if len(rates := tables.limits(records)) > 1:
        print(f"\nLimits of the machine, in this run\n\n{tables.text(rates)}")
    print("\n" + "\n".join(dict.fromkeys(remarks)))
    print(f"\nVerdicts\n\n{tables.verdict_lines(judged)}")
    print(f"\n{len(found)} processes, {(time.monotonic() - began) / 60:.1f} minutes")
    _write(options, head, [*told, *dict.fromkeys(remarks)], found, judged)
    for line in run.failed:
        print(f"FAILED {line}")
    return 1 if run.failed else 0


def _skipped(found: Sequence[dict[str, Any]]) -> dict[str, str]:
    return {f"{name} ({record['part']})": why for record in found for name, why in record["skipped"].items()}


def _write(
    options: argparse.Namespace,
    head: dict[str, str],
    told: list[str],
    found: list[dict[str, Any]],
    judged: list[Verdict],
) -> None:
    if options.json:
        document = {"machine": head, "quick": options.quick, "told": told, "processes": found}
        document["verdicts"] = [asdict(verdict) | {"word": verdict.word} for verdict in judged]
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    if options.markdown:
        records = [record["cells"] for record in found]
        options.markdown.write_text(tables.document(head, told, records, judged), encoding="utf-8")


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", nargs="+", choices=PARTS, default=list(PARTS), help="these parts (default: all)")
    parser.add_argument("--threads", nargs="+", type=int, default=[1], help="tables for these numbers of threads")
    parser.add_argument("--quick", action="store_true", help="a few minutes: fewer rounds, smaller arrays")
    parser.add_argument("--minutes", type=float, default=25.0, help="after these only two processes of a kind start")
    parser.add_argument("--json", type=Path, help="write every process's figures to this file")
    parser.add_argument("--markdown", type=Path, help="write the tables and verdicts to this file")
    options = parser.parse_args(arguments)
    if min(options.threads) < 1:
        parser.error(f"--threads must be 1 or more, not {min(options.threads)}")
    for name in ("json", "markdown"):
        path = getattr(options, name)
        if path is not None and not path.parent.is_dir():
            parser.error(f"--{name}: there is no folder {path.parent}")
    return options


if __name__ == "__main__":
    if CHILD in os.environ:
        print(json.dumps(child(Job(**json.loads(os.environ[CHILD])))), flush=True)
        os._exit(0)  # engines and compilers take long to be taken down, and all is said
    sys.exit(main())
