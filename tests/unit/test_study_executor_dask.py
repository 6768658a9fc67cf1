"""A study over Dask is the study of one machine, also when a worker or the study itself is killed half-way."""

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

import pytest

from gatewise.core import Store, environment
from gatewise.study import evaluate, to_plan
from gatewise.study._executor import running_on
from gatewise.study._training import prepare_training

pytest.importorskip("distributed")

import distributed
import psutil

from gatewise.study import _dask_cluster, _dask_task

PATIENCE_S = 240.0
OPTIONS = {"dim": 16, "layers": 1, "heads": 2, "context": 32, "batch": 2, "heldout_windows": 16, "heldout_batch": 4}
PLAN = to_plan(
    {
        "study": {"arms": ["gelu", "swiglu"], "budget": "20m"},
        "subject": {"workload": "byte-lm", "options": OPTIONS},
        "train": {"seeds": 2, "steps": 40, "metrics": ["heldout_loss", "steps_to_target"]},
    }
)
DRIVER = """
import json, sys
from pathlib import Path
from gatewise.study import evaluate
from gatewise.study._executor import running_on
from gatewise.study._plan import from_json

plan = from_json(json.loads(Path("plan.json").read_text()))
with running_on(sys.argv[1]):
    evaluate(plan, "out", resume=True)
"""


def wait_for(happened: Callable[[], Any], what: str) -> Any:
    until = time.monotonic() + PATIENCE_S
    while time.monotonic() < until:
        found = happened()
        if found:
            return found
        time.sleep(0.05)
    raise AssertionError(f"no {what} within {PATIENCE_S:.0f} s")


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A study whose arms are prepared and of which nothing is trained."""
    out = tmp_path_factory.mktemp("begun") / "out"
    out.mkdir()
    with closing(Store(out / "study.sqlite")) as store:
        store.put("plan", PLAN.to_json())
        store.put("environment", environment())
        store.put(f"prepared:{PLAN.parts[0].name}", prepare_training(PLAN.parts[0], seed=0))
    return out


@pytest.fixture(scope="module")
def expected(begun: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What the study of this machine alone comes to."""
    return evaluate(PLAN, shutil.copytree(begun, tmp_path_factory.mktemp("alone") / "out"), resume=True)


class Cluster:
    """A scheduler and workers that a test may kill: processes of their own, without anybody who restarts them."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.processes = folder, []
        self.file = folder / "scheduler.json"
        self._start("scheduler", "--port", "0", "--scheduler-file", str(self.file))
        text = wait_for(lambda: self.file.exists() and self.file.read_text().strip(), "scheduler")
        self.address = json.loads(text)["address"]
        self.where = self.address.replace("tcp://", "dask://")

    def _start(self, kind: str, *options: str) -> "subprocess.Popen[bytes]":
        command = [sys.executable, "-m", "dask", kind, *options, "--host", "127.0.0.1"]
        command += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        environment = dict(os.environ, PYTHONWARNINGS="ignore")
        with (self.folder / "log.txt").open("ab") as log:
            started = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
        self.processes.append(started)
        return started

    def worker(self) -> "subprocess.Popen[bytes]":
        return self._start("worker", self.address, "--nthreads", "1", "--no-nanny")

    def close(self) -> None:
        for process in reversed(self.processes):
            process.kill()
            process.wait()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with closing(Cluster(tmp_path_factory.mktemp("cluster"))) as made:
        yield made


def same(found: dict[str, Any], wanted: dict[str, Any]) -> None:
    """Curves, losses, comparisons and verdict are equal to the last bit, and every run is there once."""
    assert found["comparisons"] == wanted["comparisons"]
    assert found["verdict"] == wanted["verdict"]

    def trained(document: dict[str, Any]) -> list[dict[str, Any]]:
        rows = [entry for entry in document["measurements"] if entry["seed"] is not None]
        return sorted(rows, key=lambda entry: (entry["arm"], entry["seed"], entry["metric"]))

    assert trained(found) == trained(wanted)
    assert len([row for row in trained(found) if row["metric"] == "heldout_curve"]) == 4


def rows(out: Path) -> dict[tuple[str, int], str]:
    """The runs that a store holds, as text; none where it is not there yet."""
    with closing(sqlite3.connect(f"file:{out / 'study.sqlite'}?mode=ro", uri=True)) as store:
        return {(cell, seed): text for cell, seed, text in store.execute("SELECT cell, process, record FROM cells")}


def ended(process: psutil.Process) -> bool:
    """Whether a process is gone, or only waits to be read by its parent."""
    with suppress(psutil.NoSuchProcess):
        return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE
    return True


def dask_processes() -> list[psutil.Process]:
    """The workers of a cluster of our own."""
    return [child for child in psutil.Process().children() if any("spawn_main" in word for word in child.cmdline())]


def test_a_worker_killed_half_way_loses_nothing(begun: Path, expected: dict[str, Any], tmp_path: Path) -> None:
    killed: list[psutil.Process] = []

    def at_work() -> list[psutil.Process]:
        return [worker for worker in dask_processes() if worker.children()]

    def progress(text: str, left_s: float) -> None:
        if "trained 1 of" in text and not killed:  # three of four runs are still to be done, by two workers
            assert len(dask_processes()) == 2
            worker = wait_for(at_work, "worker with a run")[0]
            killed.extend((worker, *worker.children()))
            worker.kill()

    with running_on("dask"):
        found = evaluate(PLAN, shutil.copytree(begun, tmp_path / "out"), resume=True, progress=progress)
    same(found, expected)
    assert len(killed) > 1
    wait_for(lambda: all(ended(process) for process in killed), "end of the killed worker's run")
    assert not dask_processes()  # nor does any other outlive the study


def test_a_study_killed_half_way_is_resumed(
    cluster: Cluster, begun: Path, expected: dict[str, Any], tmp_path: Path
) -> None:
    for _ in range(2):
        cluster.worker()
    out = shutil.copytree(begun, tmp_path / "out")
    (tmp_path / "plan.json").write_text(json.dumps(PLAN.to_json()))
    (tmp_path / "driver.py").write_text(DRIVER)
    driver = subprocess.Popen([sys.executable, "driver.py", cluster.where], cwd=tmp_path, stderr=subprocess.PIPE)
    try:
        wait_for(lambda: rows(out) or driver.poll() is not None, "finished run")
    finally:
        driver.kill()
        _, errors = driver.communicate()
    assert driver.returncode == -signal.SIGKILL, errors.decode()
    before = rows(out)
    assert before
    with running_on(cluster.where):
        found = evaluate(PLAN, out, resume=True)
    same(found, expected)
    assert before.items() <= rows(out).items()  # seconds and all: no finished run was made again


def test_a_worker_of_another_version_that_joins_later_is_refused(cluster: Cluster) -> None:
    cluster.worker()  # one more at least, should this test run alone
    asked = {"job": {}, "versions": _dask_task.versions() | {"torch": "0.4.1"}, "cwd": "", "shared": ""}
    with distributed.Client(cluster.address, set_as_default=False) as client:
        client.wait_for_workers(1, timeout=PATIENCE_S)
        found = json.loads(client.submit(_dask_task.run_cell, json.dumps(asked)).result(timeout=PATIENCE_S))
    assert "torch" in found["error"]
    assert "0.4.1" in found["error"]


def test_a_cluster_of_its_own_is_bounded_and_listens_on_the_loopback_alone() -> None:
    with _dask_cluster.quiet(), _dask_cluster.local() as client:
        assert list(client.nthreads().values()) == [1] * _dask_cluster.WORKERS
        limits = client.run(lambda dask_worker: dask_worker.memory_manager.memory_limit)
        assert all(limits.values())
        for pid in (os.getpid(), *client.run(os.getpid).values()):
            found = [each for each in psutil.Process(pid).net_connections(kind="inet") if each.status == "LISTEN"]
            assert found
            assert {each.laddr.ip for each in found} == {"127.0.0.1"}
