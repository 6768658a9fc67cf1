"""What a Dask worker runs for a study: who it is, whether it is busy, and one cell in a process beside it.

It is called by name, with one JSON text, and answers with one: neither models nor functions travel.
"""

import hashlib
import json
import os
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError, environment

from ._dask_kept import kept_process
from ._workers import Worker, WorkerFailedError

LOOK_S = 0.2
"""How often a cell that runs looks whether it is still wanted."""

BOOT = Path("/proc/sys/kernel/random/boot_id")
SAME = ("python", "packages")
"""What of `environment()` must be equal for the cells of one study."""


def code_sha256() -> str:
    """A hash of gatewise's own Python files: two copies of one version may differ."""
    root = Path(__file__).parents[1]
    found = hashlib.sha256()
    for path in sorted(root.rglob("*.py")):
        found.update(f"{path.relative_to(root).as_posix()}\0".encode() + path.read_bytes() + b"\0")
    return found.hexdigest()


def versions() -> dict[str, str]:
    """What must be equal on every worker and where the study is conducted."""
    here = environment()
    packages = here["packages"]
    assert isinstance(packages, dict)
    named = ("gatewise", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy")
    found = {name: packages.get(name) or "none" for name in named}
    return {"python": str(here["python"]), "gatewise's code": code_sha256()[:12]} | found


def machine() -> str:
    """The same on two processes exactly where they share a machine, in whatever container they are."""
    return BOOT.read_text(encoding="ascii").strip() if BOOT.is_file() else socket.gethostname()


def processor() -> dict[str, str]:
    """What floating-point results may depend on, beside the versions."""
    here = environment()
    return {key: str(here[key]) for key in ("cpu", "instruction_set")}


def about() -> dict[str, Any]:
    """A worker, for the check before a study begins."""
    return {"versions": versions(), "machine": machine(), "processor": processor()}


def activity(dask_worker: Any) -> dict[str, Any]:
    """How many tasks a worker has finished and how many it has in hand, dropped ones included."""
    state = dask_worker.state
    return {"machine": machine(), "executed": state.executed_count, "executing": state.executing_count}


def run_cell(text: str) -> str:
    """Run one cell in a process of its own beside this worker. `text`: JSON of `job`, `versions`, `cwd` and `shared`.

    The answer is JSON too: `result` with `processor`, or `error` (bad input), or `failed` (its process ended by an
    error of its own). A process that was killed from outside raises `WorkerFailedError`, so that Dask tries again.
    """
    from distributed import get_worker

    worker = get_worker()
    key = worker.get_current_task()

    def dropped() -> bool:
        task = worker.state.tasks.get(key)
        return task is None or task.state == "cancelled"

    asked = json.loads(text)
    mine = versions()
    differing = [
        f"{name} {mine[name]} (the study: {its})" for name, its in asked["versions"].items() if mine[name] != its
    ]
    if differing:
        return json.dumps({"error": f"a Dask worker has {', '.join(differing)}\ninstall the same versions there"})
    job = asked["job"]
    if not Path(asked["shared"]).exists():
        job["folder"] = None  # not the study's folder: then the run keeps no checkpoints
    where = asked["cwd"] if os.path.isdir(asked["cwd"]) else None
    limit: int | None = worker.memory_manager.memory_limit
    kind = json.dumps([mine, where, limit])
    try:
        with kept_process(kind, cwd=where, memory_bytes=limit) as process:
            return json.dumps(_answer(process, job, dropped), allow_nan=False)
    except WorkerFailedError as failure:
        if failure.killed:
            raise
        return json.dumps({"failed": str(failure)})


def _answer(process: Worker, job: dict[str, Any], dropped: Callable[[], bool]) -> dict[str, Any]:
    def run() -> dict[str, Any]:
        process.load(job)
        process.ready()
        return process.run()

    with ThreadPoolExecutor(1) as pool:
        running = pool.submit(run)
        while not wait([running], timeout=LOOK_S).done:
            if dropped():
                process.end()  # then `run` fails, and nobody asks
        try:
            return {"result": running.result(), "processor": processor()}
        except GatewiseError as error:
            return {"error": str(error)}
