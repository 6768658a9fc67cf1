"""Where untimed cells run: what is refused before anything is begun, and when something may be timed."""

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.study import evaluate, to_plan
from gatewise.study._executor import EXECUTORS, current, running_on
from gatewise.study._executor_processes import Processes
from gatewise.study._plan import Plan

SUBJECT = {"workload": "byte-lm"}


def plan_of(**tables: Any) -> Plan:
    return to_plan({"study": {"arms": ["gelu", "relu"], "budget": "60s"}, "subject": SUBJECT, **tables})


# -- names and addresses


def test_processes_are_what_runs_where_nothing_else_was_said() -> None:
    assert isinstance(current(), Processes)
    with running_on("processes"):
        assert isinstance(current(), Processes)


@pytest.mark.parametrize("where", ["", "proceses", "dusk", "dask:/127.0.0.1:1", "ray://127.0.0.1:1"])
def test_an_unknown_place_names_those_there_are(where: str) -> None:
    with pytest.raises(GatewiseError, match="unknown place") as caught, running_on(where):
        pass
    assert all(name in str(caught.value) for name in EXECUTORS)


@pytest.mark.parametrize(
    "where",
    [
        "dask://",
        "dask://127.0.0.1",
        "dask://:8786",
        "dask://127.0.0.1:x",
        "dask://127.0.0.1:99999",
        "dask://127.0.0.1:8786/path",
        "dask://me@127.0.0.1:8786",
        "dask://127.0.0.1:8786?timeout=soon",
        "dask://127.0.0.1:8786?timeouts=3s",
        "processes://127.0.0.1:8786",
    ],
)
def test_what_is_no_address_is_refused_in_two_lines(where: str) -> None:
    pytest.importorskip("distributed")
    with pytest.raises(GatewiseError) as caught, running_on(where):
        pass
    assert 1 <= len(str(caught.value).splitlines()) <= 2


def test_an_address_is_dasks_own_with_a_time_to_reach_it() -> None:
    from gatewise.study._dask_cluster import TIMEOUT_S, parse

    assert parse("node7:8786") == ("tcp://node7:8786", TIMEOUT_S)
    assert parse("[::1]:8786?timeout=2m") == ("tcp://[::1]:8786", 120.0)


def test_without_dask_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.study._dask_cluster.find_spec", lambda name: None)
    for where in ("dask", "dask://127.0.0.1:1"):
        with pytest.raises(MissingExtraError, match=r"gatewise\[dask\]"), running_on(where):
            pass


# -- what cannot be reached


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        yield server


def refusal(port: int, folder: Path) -> str:
    """What is said of a cluster at a port, by a study that must leave nothing behind."""
    out = folder / "out"
    plan = plan_of(train={"seeds": 2})
    with pytest.raises(GatewiseError) as caught, running_on(f"dask://127.0.0.1:{port}?timeout=0.5s"):
        evaluate(plan, out)
    assert not out.exists()
    text = str(caught.value)
    assert len(text.splitlines()) == 2
    return text


def test_nobody_listens(tmp_path: Path, listener: socket.socket) -> None:
    pytest.importorskip("distributed")
    port = listener.getsockname()[1]
    listener.close()
    assert "no Dask scheduler answers" in refusal(port, tmp_path)


def test_somebody_listens_and_says_nothing(tmp_path: Path, listener: socket.socket) -> None:
    pytest.importorskip("distributed")
    assert "within 0.5 s" in refusal(listener.getsockname()[1], tmp_path)


def test_something_else_answers(tmp_path: Path, listener: socket.socket) -> None:
    pytest.importorskip("distributed")

    def answer() -> None:
        client, _ = listener.accept()
        with closing(client):
            client.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" * 9)
            client.recv(4096)

    thread = threading.Thread(target=answer)
    thread.start()
    assert "is no Dask scheduler" in refusal(listener.getsockname()[1], tmp_path)
    thread.join()


# -- what is on the workers


HERE = {"python": "3.11.7", "torch": "2.13.0", "gatewise's code": "abc"}


def test_other_versions_are_refused_by_what_differs() -> None:
    from gatewise.study._dask_cluster import refuse_differing

    refuse_differing(HERE, {"worker a": HERE | {"more": "1"}})
    with pytest.raises(GatewiseError) as caught:
        refuse_differing(HERE, {"worker a": HERE, "worker b": HERE | {"torch": "2.12.0"}, "worker c": {}})
    assert "worker b" in str(caught.value)
    assert "torch 2.12.0 (here 2.13.0)" in str(caught.value)
    assert "python" not in str(caught.value)
    assert "1 more" in str(caught.value)


def client_of(about: Any) -> Any:
    packages = {"packages": {"python": "3", "dask": "1", "distributed": "1"}}
    versions = {"client": packages, "scheduler": packages, "workers": {"tcp://w": packages}}
    return SimpleNamespace(get_versions=lambda check: versions, run=lambda function, on_error: {"tcp://w": about})


def test_a_worker_that_cannot_import_gatewise_is_named() -> None:
    from gatewise.study._dask_cluster import check_versions

    with pytest.raises(GatewiseError, match=r"tcp://w cannot run gatewise: No module named 'gatewise'"):
        check_versions(client_of(ModuleNotFoundError("No module named 'gatewise'")))


def test_the_code_itself_must_be_the_same() -> None:
    from gatewise.study._dask_cluster import check_versions
    from gatewise.study._dask_task import about, versions

    mine = about()
    check_versions(client_of(mine))
    with pytest.raises(GatewiseError, match=r"gatewise's code 000 \(here "):
        check_versions(client_of(mine | {"versions": versions() | {"gatewise's code": "000"}}))


# -- timed cells


def test_a_plan_without_training_has_nothing_for_dask(tmp_path: Path) -> None:
    pytest.importorskip("distributed")
    out = tmp_path / "out"
    for tables in ({"measure": {"metrics": ["latency"]}}, {"train": {"metrics": ["step_time"]}}):
        with pytest.raises(GatewiseError, match="nothing of this plan can go to Dask"), running_on("dask"):
            evaluate(plan_of(**tables), out)
        assert not out.exists()


def dask_with(*looks: dict[str, Any]) -> Any:
    """Dask on a cluster of which each look finds the next; the last one stays."""
    from gatewise.study._executor_dask import Dask

    left = list(looks)

    def run(function: Callable[..., Any], on_error: str) -> dict[str, Any]:
        return left.pop(0) if len(left) > 1 else left[0]

    return Dask(client=SimpleNamespace(run=run), here={"machine": "here"})


def seen(executed: int, executing: int = 0, machine: str = "here") -> dict[str, Any]:
    return {"machine": machine, "executed": executed, "executing": executing}


def timed() -> Iterator[dict[str, Any]]:
    yield {"cell": 1}
    yield {"cell": 2}


def test_what_is_timed_beside_idle_workers_and_busy_ones_elsewhere_is_kept() -> None:
    elsewhere = [{"a": seen(3), "b": seen(number, 1, "there")} for number in range(5)]
    assert list(dask_with(*elsewhere).alone(timed())) == [{"cell": 1}, {"cell": 2}]


def test_a_worker_that_joins_and_does_nothing_disturbs_nothing() -> None:
    assert len(list(dask_with({}, {}, {"new": seen(0)}).alone(timed()))) == 2


@pytest.mark.parametrize("disturbed", [{"a": seen(4)}, {"a": seen(3, 1)}, {"a": seen(3), "new": seen(1)}])
def test_what_was_timed_beside_a_cell_here_is_dropped_and_what_came_before_is_kept(disturbed: dict[str, Any]) -> None:
    found = dask_with({"a": seen(3)}, {"a": seen(3)}, disturbed).alone(timed())
    assert next(found) == {"cell": 1}
    with pytest.raises(GatewiseError, match="timed cells never share a machine"):
        next(found)


def test_nothing_is_timed_here_while_a_worker_stays_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.study._executor_dask.IDLE_S", 0.0)
    begun: list[str] = []

    def watched() -> Iterator[dict[str, Any]]:
        begun.append("begun")
        yield {}

    with pytest.raises(GatewiseError, match="timed cells never share a machine"):
        list(dask_with({"a": seen(3, 1)}).alone(watched()))
    assert not begun


# -- what a worker is sent


def test_what_travels_is_small_and_plain(tmp_path: Path) -> None:
    from gatewise.study._executor_dask import Dask

    sent: list[Any] = []

    class StoppedError(Exception):
        """The first cell was seen."""

    def submit(function: Callable[[str], str], text: str, **options: Any) -> Any:
        sent.append((function, text))
        raise StoppedError

    client = SimpleNamespace(submit=submit, run=lambda function, on_error: {})
    job = {"job": "train", "plan": plan_of(train={"seeds": 2}).to_json(), "part": 0, "folder": str(tmp_path / "arms")}
    with pytest.raises(StoppedError):
        list(Dask(client=client).untimed([job]))
    function, text = sent[0]
    assert function.__module__.startswith("gatewise.study")  # sent by name
    assert set(json.loads(text)) == {"job", "versions", "cwd", "shared"}
    assert len(text) < 10_000
    assert list((tmp_path / "arms").iterdir()) == []
