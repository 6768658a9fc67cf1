"""Worker processes as the conductor sees them."""

import json
import os
import queue as queues
import subprocess
import sys
import tempfile
from collections.abc import Generator, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager, suppress
from typing import Any

from gatewise.core import GatewiseError, num_cores

RECYCLED = {
    # glibc's own largest mmap threshold, and no trimming: what a call frees, the next one takes without page faults.
    "MALLOC_MMAP_THRESHOLD_": str(32 * 2**20),
    "MALLOC_TRIM_THRESHOLD_": str(2**31),
    "MALLOC_TOP_PAD_": str(2**27),
}


PARENT = "GATEWISE_PARENT"
"""The variable that tells a worker the process it must not outlive."""


def at_once() -> int:
    """How many untimed processes of a study this machine runs side by side."""
    return min(2, num_cores())


class WorkerFailedError(Exception):
    """A worker ended without an answer: a crash, not a result. Carries the last lines it printed.

    `killed`: by a signal, so from outside or for memory; else by an error of its own, which would come again.
    """

    def __init__(self, words: str, killed: bool = False) -> None:
        super().__init__(words, killed)
        self.words = words
        self.killed = killed

    def __str__(self) -> str:
        return self.words


class Worker:
    """One fresh process. `load` sends a job, `ready` waits until it has loaded, `run` gives the word and the answer."""

    def __init__(
        self, *, threads: int = 1, recycled: bool = False, cwd: str | None = None, memory_bytes: int | None = None
    ) -> None:
        environment = dict(
            os.environ,
            **(RECYCLED if recycled else {}),
            HF_HUB_OFFLINE="1",
            TOKENIZERS_PARALLELISM="false",
            OMP_NUM_THREADS=str(threads),
            MKL_NUM_THREADS=str(threads),
            PYTHONWARNINGS="ignore",
            **{PARENT: str(os.getpid())},
        )
        self._errors = tempfile.TemporaryFile()  # noqa: SIM115  (lives as long as the process)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "gatewise.study._worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            encoding="utf-8",
            env=environment,
            cwd=cwd,
        )
        if memory_bytes and sys.platform == "linux":
            limit_memory(self._process.pid, memory_bytes)

    def load(self, job: dict[str, Any]) -> None:
        """Send a job; returns at once."""
        self._send(json.dumps(job))

    def ready(self) -> None:
        """Wait until the job has loaded. Raises `GatewiseError` for bad input, `WorkerFailedError` for a crash."""
        self._receive()

    def run(self) -> dict[str, Any]:
        """Give the word and wait for the answer."""
        self._send("go")
        return self._receive()["result"]

    def _send(self, line: str) -> None:
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line + "\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            raise self._failure() from None

    def _receive(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise self._failure()
        content = json.loads(line)
        if "error" in content:
            raise GatewiseError(content["error"])
        return content

    def _failure(self) -> WorkerFailedError:
        code = self._process.wait()
        self._errors.seek(0)
        text = self._errors.read().decode(errors="replace").strip()
        ended = f"killed by signal {-code}" if code < 0 else f"exit status {code}"
        return WorkerFailedError(f"{ended}: {text.splitlines()[-1]}" if text else ended, killed=code < 0)

    def end(self) -> None:
        """End the process, whatever it does."""
        self._process.kill()

    def close(self) -> None:
        """End the process and wait for it."""
        self._process.kill()
        self._process.wait()
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):  # what was still to be sent has nobody left to read it
                    stream.close()
        self._errors.close()


def limit_memory(process: int, memory_bytes: int) -> None:
    """Bound the data of a process: beyond it, its own allocation fails and nobody else's."""
    import resource

    with suppress(ProcessLookupError):  # it has ended already, and whoever waits for it will hear why
        resource.prlimit(process, resource.RLIMIT_DATA, (memory_bytes, memory_bytes))


@contextmanager
def workers(count: int, *, threads: int = 1, recycled: bool = False) -> Generator[list[Worker]]:
    """Some fresh processes, ended on the way out whatever happens."""
    started: list[Worker] = []
    try:
        for _ in range(count):
            started.append(Worker(threads=threads, recycled=recycled))
        yield started
    finally:
        for worker in started:
            worker.close()


def one_job(job: dict[str, Any], *, threads: int = 1) -> dict[str, Any]:
    """A job in a process of its own, untimed."""
    with workers(1, threads=threads, recycled=True) as (worker,):
        worker.load(job)
        worker.ready()
        return worker.run()


def in_turn(jobs: Sequence[dict[str, Any]], *, threads: int = 1, recycled: bool = True) -> Iterator[dict[str, Any]]:
    """Jobs in a fresh process each: they load side by side, then measure one after the other while the rest sleep."""
    with workers(len(jobs), threads=threads, recycled=recycled) as started:
        for worker, job in zip(started, jobs, strict=True):
            worker.load(job)
        for worker in started:
            worker.ready()
        for worker in started:
            yield worker.run()
            worker.close()


def side_by_side(jobs: Sequence[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Jobs in a fresh process each, all at once: for what no neighbour disturbs, such as memory."""
    with workers(len(jobs)) as started:
        for worker, job in zip(started, jobs, strict=True):
            worker.load(job)
        with ThreadPoolExecutor(len(jobs)) as pool:
            yield from pool.map(_finish, started)


def _finish(worker: Worker) -> dict[str, Any]:
    worker.ready()
    return worker.run()


def queue(jobs: Sequence[dict[str, Any]], count: int) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    """Many untimed jobs over a few processes, in order of their ends. What is left is dropped when the caller stops."""
    free: queues.SimpleQueue[Worker] = queues.SimpleQueue()

    def work(job: dict[str, Any]) -> dict[str, Any]:
        worker = free.get()
        try:
            worker.load(job)
            return _finish(worker)
        finally:
            free.put(worker)

    with ThreadPoolExecutor(count) as pool:
        try:
            with workers(
                min(count, len(jobs)), recycled=True
            ) as started:  # ended before the pool, so that no thread waits for one
                for worker in started:
                    free.put(worker)
                running = {pool.submit(work, job): job for job in jobs}
                for future in as_completed(running):
                    yield running[future], future.result()
        finally:
            pool.shutdown(wait=False, cancel_futures=True)
