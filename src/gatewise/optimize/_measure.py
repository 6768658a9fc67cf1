"""Is the optimised file faster? Fresh processes, both files and a twin of the first in each, interleaved calls."""

import json
import math
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np

from gatewise import measure
from gatewise.core import Comparison, GatewiseError, compare

BEFORE, AFTER, TWIN = "before", "after", "twin"
PROCESSES, MOST = 9, 25
"""How many fresh processes at least, and at most where the twin is not equivalent before."""
SECONDS = 1.5
LONGEST_S = 60.0
"""After this time no more processes are started, once there are enough."""


def gain(before: Path, after: Path, feed: Mapping[str, Any], *, threads: int) -> tuple[Comparison, Comparison]:
    """The time of a call, after against before, and the twin of `before` against it: one effect per fresh process.

    Processes are added until the twin is equivalent. The intervals are the judge's own, which hold however often one
    looks. A twin that is not equivalent even then says that this machine is too noisy now; the caller shows it.
    """
    with tempfile.TemporaryDirectory() as folder:
        inputs = Path(folder) / "inputs.npz"
        np.savez(inputs, **feed)
        job = {"files": {BEFORE: str(before), AFTER: str(after), TWIN: str(before)}, "inputs": str(inputs)}
        records: list[dict[str, float]] = []
        started = time.monotonic()
        while True:
            records.append(_process(job | {"threads": threads, "seed": len(records)}))
            if len(records) >= PROCESSES:
                twin = _effect(records, TWIN)
                late = time.monotonic() - started > LONGEST_S
                if twin.verdict == "equivalent" or late or len(records) == MOST:
                    return _effect(records, AFTER), twin


def _effect(records: Sequence[Mapping[str, float]], name: str) -> Comparison:
    return compare([1.0] * len(records), [record[name] for record in records])


def _process(job: dict[str, Any]) -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-m", "gatewise.optimize._measure", json.dumps(job)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode != 0:
        last = done.stderr.strip().splitlines()[-1:] or ["no reason given"]
        raise GatewiseError(f"a process that timed the model failed: {last[0]}")
    return json.loads(done.stdout)


def timed(job: Mapping[str, Any]) -> dict[str, float]:
    """In a fresh process: every file's median paired ratio of times against `before`."""
    from ._pieces import session

    with np.load(job["inputs"], allow_pickle=False) as content:
        feed = {name: content[name] for name in content.files}
    sessions = {label: session(file, job["threads"]) for label, file in job["files"].items()}
    calls = {label: _call(found, feed) for label, found in sessions.items()}
    effort = measure.Effort(seconds=SECONDS, fewest=5, most=400, warmup=5)
    times = measure.interleave(calls, effort=effort, seed=job["seed"])
    return {label: _ratio(times, label) for label in (AFTER, TWIN)}


def _call(session: Any, feed: Mapping[str, Any]) -> Callable[[], object]:
    return lambda: session.run(None, feed)


def _ratio(times: measure.Timings, label: str) -> float:
    pairs = zip(times.values_s[BEFORE], times.values_s[label], strict=True)
    return math.exp(median(math.log(after / before) for before, after in pairs))


if __name__ == "__main__":
    print(json.dumps(timed(json.loads(sys.argv[1]))))
