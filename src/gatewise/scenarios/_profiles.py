"""The edge profile: what a small device is asked. The cloud profile is `best_batch` and the Server scenario.

One thread, batch 1. A cold start runs from the start of a process to its first answer; files come from the system's
cache after the first time, and the record says so. Memory is the peak of the whole process, interpreter and framework
included, and is judged against a cap: a limit on the address space would fail on memory that is reserved and never
touched.
"""

import json
import os
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from typing import Any

from gatewise.core import GatewiseError

from ._rule import Percentile, percentile_of
from ._subject import SubjectPlan

REPEATS = 6
"""The fewest processes whose smallest and largest value enclose the median at 95 %."""

START_S = 300.0


@dataclass(frozen=True, kw_only=True)
class EdgeProfile:
    """What one answer from nothing takes.

    Attributes:
        cold_start, load: medians over fresh processes, with intervals: process start to first answer; framework
            imported to model callable.
        peak_bytes: the largest peak of any process. `within_cap`: whether it is at most `cap_bytes`; None without one.
        size_bytes: of the file named in `size_of`; None where the model has none.
    """

    cold_start: Percentile
    load: Percentile
    peak_bytes: int
    cap_bytes: int | None
    within_cap: bool | None
    size_bytes: int | None
    size_of: str
    implementation: str
    note: str = "files in the system's cache after the first process; memory is the whole process's"


def edge_profile(plan: SubjectPlan, *, cap_bytes: int | None = None, repeats: int = REPEATS) -> EdgeProfile:
    """Start the model in fresh processes, one after the other.

    Raises:
        GatewiseError: a plan that is not one thread and batch 1; a model that cannot run; a process that crashed.
    """
    if plan.threads != 1 or plan.max_batch != 1:
        raise GatewiseError("the edge profile is one thread and batch 1; leave threads and batch out, or take cloud")
    if cap_bytes is not None and cap_bytes <= 0:
        raise GatewiseError(f"a memory cap must be above 0 bytes, not {cap_bytes!r}")
    if repeats < 1:
        raise GatewiseError(f"at least one process is needed, not {repeats!r}")
    starts = [_start(plan) for _ in range(repeats)]
    peak, last = max(start["peak_bytes"] for start in starts), starts[-1]
    return EdgeProfile(
        cold_start=percentile_of([start["cold_start_s"] for start in starts], 0.5),
        load=percentile_of([start["load_s"] for start in starts], 0.5),
        peak_bytes=peak,
        cap_bytes=cap_bytes,
        within_cap=None if cap_bytes is None else peak <= cap_bytes,
        size_bytes=last["size_bytes"],
        size_of=last["size_of"],
        implementation=last["implementation"],
    )


def _start(plan: SubjectPlan) -> dict[str, Any]:
    """One fresh process: what it said, and when its first answer came."""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1", "PYTHONWARNINGS": "ignore"}
    command = [sys.executable, "-m", "gatewise.scenarios._first_answer", json.dumps(asdict(plan))]
    begin = time.monotonic()
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            seconds = time.monotonic() - begin
            rest, _ = process.communicate(timeout=START_S)
        except subprocess.TimeoutExpired as error:
            raise GatewiseError(f"the model did not answer within {START_S:g} s") from error
        finally:
            process.kill()
    said: dict[str, Any] = {}
    for line in [first, *rest.splitlines()]:
        said |= json.loads(line) if line.strip() else {}
    if "error" in said:
        raise GatewiseError(said["error"])
    if "peak_bytes" not in said:
        raise GatewiseError(f"the process that was to answer ended early (exit status {process.returncode})")
    return said | {"cold_start_s": seconds}
