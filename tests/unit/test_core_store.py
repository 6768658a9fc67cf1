"""The store: all or nothing, every cell once, safe against newer versions, other files and a kill in the middle."""

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from gatewise.core import GatewiseError, Store
from gatewise.core._store import SCHEMA_VERSION


def test_what_is_put_comes_back(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.put("plan", {"a": [1, None, "é"]})
    store.put("plan", {"a": 2})
    store.add("part", 1, {"b": {"v": 2}, "a": {"v": 1}})
    store.add("part", 0, {"a": {"v": 0}})
    store.close()
    again = Store(tmp_path / "s.sqlite")
    assert again.get("plan") == {"a": 2}
    assert again.get("nothing") is None
    assert again.cells("part") == [("a", 0, {"v": 0}), ("a", 1, {"v": 1}), ("b", 1, {"v": 2})]
    assert again.cells("other") == []
    again.close()


def test_a_cell_is_stored_once_and_a_process_whole(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.add("part", 0, {"a": 1})
    with pytest.raises(GatewiseError):
        store.add("part", 0, {"0": 5, "a": 2})
    assert store.cells("part") == [("a", 0, 1)]
    store.close()


def test_not_a_number_is_never_stored(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    with pytest.raises(ValueError, match="Out of range"):
        store.add("part", 0, {"a": float("nan")})
    assert store.cells("part") == []
    store.close()


def test_a_newer_store_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    database = sqlite3.connect(path)
    database.execute(f"PRAGMA user_version={SCHEMA_VERSION + 1}")
    database.close()
    before = path.read_bytes()
    with pytest.raises(GatewiseError, match="newer gatewise"):
        Store(path)
    assert path.read_bytes() == before


def test_another_file_is_not_a_study(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    path.write_bytes(b"hello, this is no database at all" * 100)
    with pytest.raises(GatewiseError, match="not a gatewise study"):
        Store(path)


def test_a_database_of_something_else_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "s.sqlite"
    database = sqlite3.connect(path)
    database.execute("CREATE TABLE mine (x)")
    database.commit()
    database.close()
    before = path.read_bytes()
    with pytest.raises(GatewiseError, match="something else"):
        Store(path)
    assert path.read_bytes() == before


def test_a_full_disk_loses_nothing(tmp_path: Path) -> None:
    store = Store(tmp_path / "s.sqlite")
    store.add("part", 0, {"a": 1})
    pages = store._db.execute("PRAGMA page_count").fetchone()[0]
    store._db.execute(f"PRAGMA max_page_count={pages + 1}")
    with pytest.raises(GatewiseError, match="disk is full"):
        store.add("part", 1, {"a": "x" * 1_000_000})
    assert store.cells("part") == [("a", 0, 1)]
    store.close()


def test_kill_nine_in_the_middle_of_writing_leaves_whole_processes(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from gatewise.core import Store\n"
        "store = Store(Path(sys.argv[1]))\n"
        "for process in range(100000):\n"
        "    store.add('part', process, {str(c): 'x' * 500 for c in range(5)})\n"
        "    print(process, flush=True)\n"
    )
    path = tmp_path / "s.sqlite"
    child = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    seen = [int(child.stdout.readline()) for _ in range(20)]
    os.kill(child.pid, signal.SIGKILL)
    child.stdout.close()
    child.wait()
    store = Store(path)
    processes = [process for _, process, _ in store.cells("part")]
    store.close()
    assert set(seen) <= set(processes)
    assert all(processes.count(process) == 5 for process in set(processes))
