"""The other end of a study's worker process: one job a line on standard input, one answer a line on standard output.

A job has two phases. First it loads (imports, models): several workers may do that side by side. It then answers
`ready` and sleeps until the word `go`, so that nothing else of the study runs while it measures.
"""

import ctypes
import json
import os
import signal
import sys
from collections.abc import Callable
from importlib import import_module
from typing import Any

from ._workers import PARENT

JOBS = {
    "prepare": "._jobs:prepare",
    "latency": "._timing:latency",
    "memory": "._timing:memory",
    "train": "._training:run_training",
    "step_time": "._training:step_time",
    "training_memory": "._training:training_memory",
}

PR_SET_PDEATHSIG = 1


def _die_with_parent() -> None:
    """On Linux a worker never outlives a study that was killed: it would disturb the one that resumes."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if str(os.getppid()) != os.environ.get(PARENT, str(os.getppid())):
        os._exit(1)  # it was gone before the line above


def _load(job: dict[str, Any]) -> Callable[[], dict[str, Any]]:
    module, _, function = JOBS[job["job"]].partition(":")
    return getattr(import_module(module, __package__), function)(job)


def main() -> None:
    """Serve jobs until standard input ends."""
    _die_with_parent()
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, never between the answers

    def answer(content: dict[str, Any]) -> None:
        answers.write(json.dumps(content, allow_nan=False) + "\n")
        answers.flush()

    from gatewise.core import GatewiseError

    for line in sys.stdin:
        try:
            run = _load(json.loads(line))
            answer({"ready": True})
            if sys.stdin.readline().strip() != "go":
                return
            answer({"result": run()})
        except GatewiseError as error:
            answer({"error": str(error)})
        except MemoryError:
            answer({"error": "out of memory: fewer arms, a smaller batch, or a larger machine"})


if __name__ == "__main__":
    main()
