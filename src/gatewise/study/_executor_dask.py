"""Untimed cells over a Dask cluster: one that is there, or one of its own that lives while they run.

Dask moves the cells of a lost worker to the others. This process alone writes the store, each answer as it comes.
"""

import json
import os
import queue as queues
import time
import uuid
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gatewise.core import GatewiseError

from . import _dask_cluster, _dask_kept, _dask_task
from ._plan import Plan
from ._workers import WorkerFailedError

RETRIES = 2
"""How often a cell whose process was killed is tried again; a lost worker does not count."""

LOOK_S = 1.0
IDLE_S = 10.0
"""How long workers on this machine may take to become idle before something is timed here."""

NO_WORKER_S = 60.0
"""How long a cluster may be without any worker before a study gives it up."""

RESUMED = "what was trained is stored; --resume goes on from there"


@dataclass(kw_only=True)
class Dask:
    """Cells on a cluster. Without a `client` it starts one of its own for them, which ends before anything is timed."""

    client: Any = None
    address: str = ""
    here: dict[str, Any] = field(default_factory=_dask_task.about)

    def check(self, plan: Plan) -> None:
        """Only training runs leave this machine: a plan without any is refused."""
        if not any(part.train and part.train.learns for part in plan.parts):
            raise GatewiseError(
                "nothing of this plan can go to Dask: every cell of it is timed or weighed, and that takes this machine"
                "\nto itself. Leave --on out, or train: --seeds N"
            )

    def untimed(self, jobs: Sequence[dict[str, Any]]) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        """The jobs as they end. See `Executor.untimed`."""
        if not jobs:
            return
        if self.client is not None:
            with closing(self._over(self.client, jobs)) as found:
                yield from found
            return
        with _dask_cluster.local() as client, closing(self._over(client, jobs)) as found:
            yield from found

    def _over(
        self, client: Any, jobs: Sequence[dict[str, Any]]
    ) -> Generator[tuple[dict[str, Any], dict[str, Any]], None, None]:
        ended: queues.SimpleQueue[Any] = queues.SimpleQueue()
        run = uuid.uuid4().hex  # a killed study's cells, still known to the scheduler, are not these
        waiting: dict[str, tuple[Any, dict[str, Any]]] = {}
        with self._shared(Path(jobs[0]["folder"])) as shared:
            try:
                for number, job in enumerate(jobs):
                    key = f"gatewise-{run}-{number}"
                    sent = self._envelope(job, shared)
                    future = client.submit(
                        _dask_task.run_cell, sent, key=key, pure=False, retries=RETRIES, priority=-number
                    )
                    waiting[key] = (future, job)
                    future.add_done_callback(ended.put)
                while waiting:
                    future = self._next(client, ended)
                    found = self._answer(future)
                    yield waiting.pop(future.key)[1], found
            finally:
                self._end(client, [future for future, _ in waiting.values()])

    @contextmanager
    def _shared(self, folder: Path) -> Generator[Path]:
        """A file by which a worker sees whether it has the study's folder: then runs keep their checkpoints there."""
        folder.mkdir(parents=True, exist_ok=True)
        path = (folder / f"shared-{uuid.uuid4().hex}").resolve()
        path.touch()
        try:
            yield path
        finally:
            path.unlink(missing_ok=True)

    def _envelope(self, job: dict[str, Any], shared: Path) -> str:
        placed = job | {"folder": str(Path(job["folder"]).resolve())}
        more = {"versions": self.here["versions"], "cwd": os.getcwd(), "shared": str(shared)}
        return json.dumps({"job": placed} | more, allow_nan=False)

    def _next(self, client: Any, ended: "queues.SimpleQueue[Any]") -> Any:
        alone_since: float | None = None
        while True:
            try:
                return ended.get(timeout=LOOK_S)
            except queues.Empty:
                alone_since = (alone_since or time.monotonic()) if not self._num_workers(client) else None
            if alone_since is not None and time.monotonic() - alone_since > NO_WORKER_S:
                raise GatewiseError(f"the Dask cluster{self._at} has had no worker for {NO_WORKER_S:.0f} s\n{RESUMED}")

    def _num_workers(self, client: Any) -> int:
        try:
            return len(client.nthreads())
        except (OSError, ValueError, RuntimeError) as error:
            raise self._lost() from error

    @property
    def _at(self) -> str:
        return f" at {self.address}" if self.address else ""

    def _lost(self) -> GatewiseError:
        return GatewiseError(f"the scheduler of the Dask cluster{self._at} was lost\n{RESUMED}")

    def _answer(self, future: Any) -> dict[str, Any]:
        if future.status == "cancelled":
            raise self._lost()
        from concurrent.futures import CancelledError

        from distributed import KilledWorker

        try:
            found = json.loads(future.result())
        except KilledWorker as error:
            words = "the workers that ran it were lost, one after the other"
            raise WorkerFailedError(words, killed=True) from error
        except (CancelledError, OSError) as error:
            raise self._lost() from error
        except ModuleNotFoundError as error:
            raise GatewiseError(f"a Dask worker that joined later cannot run gatewise: {error}\n{RESUMED}") from error
        if "error" in found:
            raise GatewiseError(found["error"])
        if "failed" in found:
            raise WorkerFailedError(found["failed"])
        result = found["result"]
        if found["processor"] != self.here["processor"]:
            result["implementation"] += f", on {found['processor']['cpu']}"
        return result

    def _end(self, client: Any, unwanted: Sequence[Any]) -> None:
        """Cells that nobody waits for any more are ended, and idle processes too: nothing is timed beside them."""
        with suppress(OSError, ValueError, RuntimeError):  # a cluster that is gone runs nothing of ours
            if unwanted:
                client.cancel(unwanted, force=True)
                self._wait_idle(client)
            client.run(_dask_kept.let_go, on_error="ignore")

    def _busy(self, client: Any) -> dict[str, dict[str, Any]]:
        """The workers on this machine, by address."""
        found: dict[str, Any] = client.run(_dask_task.activity, on_error="ignore")
        return {name: seen for name, seen in found.items() if seen["machine"] == self.here["machine"]}

    def _wait_idle(self, client: Any) -> dict[str, dict[str, Any]]:
        until = time.monotonic() + IDLE_S
        while True:
            seen = self._busy(client)
            if time.monotonic() > until or not any(each["executing"] for each in seen.values()):
                return seen
            time.sleep(0.1)

    def alone(self, timed: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
        """What is timed here, while the cluster's workers on this machine, if there are any, do nothing."""
        if self.client is None:
            yield from timed  # its own cluster has ended
            return
        try:
            before = self._wait_idle(self.client)
            self._refuse_busy(before, before)
            for found in timed:
                self._refuse_busy(before, self._busy(self.client))
                yield found
        except OSError as error:
            raise self._lost() from error

    def _refuse_busy(self, before: dict[str, dict[str, Any]], now: dict[str, dict[str, Any]]) -> None:
        done = {name: before.get(name, {"executed": 0})["executed"] for name in now}
        busy = [name for name, seen in now.items() if seen["executing"] or seen["executed"] != done[name]]
        if busy:
            raise GatewiseError(
                f"timed cells never share a machine with other cells, and Dask workers here are busy: {', '.join(busy)}"
                "\nwhat was measured before is stored; --resume when they are idle, or time on another machine"
            )


@contextmanager
def opened(address: str) -> Generator[Dask]:
    """Dask at `HOST:PORT`, reached and checked; without an address a cluster of its own, when there is work for it."""
    _dask_cluster.check_installed()
    if not address:
        with _dask_cluster.quiet():
            yield Dask()
        return
    reached, timeout_s = _dask_cluster.parse(address)
    with _dask_cluster.quiet(), _dask_cluster.connected(reached, timeout_s) as client:
        yield Dask(client=client, address=reached)
