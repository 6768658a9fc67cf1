"""The files of a log: closed ones become Parquet, old ones go, damaged ones are named, a kill leaves each once."""

import json
import os
import shutil
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from test_monitor_log import TINY, parquet_files, record, until

import gatewise.monitor._parquet as parquet
import gatewise.monitor._retention as retention
from gatewise.core import GatewiseError, MissingExtraError
from gatewise.monitor import Label
from gatewise.monitor._log import Log
from gatewise.monitor._log_read import log_facts, read_entries, read_records
from gatewise.monitor._log_segment import Segment
from gatewise.monitor._log_settings import LogSettings

ROOT = Path(__file__).parents[2]


def fill(folder: Path, count: int = 6, settings: LogSettings = TINY) -> None:
    """A log of several files: each entry has its own."""
    with Log(folder, settings) as log:
        for i in range(count):
            item = Label(request="r", value=0.5, at_ns=i) if i == 2 else None
            assert log.wait(log.label(item) if item else log.append(record(i)), 20)
        if settings.parquet:
            until(lambda: len(list(folder.glob("segments/*.sqlite"))) == 1)


def read(folder: Path) -> tuple[list[int], list[str]]:
    lines: list[str] = []
    return [entry.number for entry in read_entries(folder, damaged=lines.append)], lines


@pytest.mark.parametrize("step", ["write", "replace records", "replace labels", "before deletion"])
def test_a_kill_while_a_file_changes_form_leaves_each_entry_once(tmp_path: Path, step: str) -> None:
    settings = LogSettings(parquet=False)
    with Log(tmp_path, settings) as log:
        log.append(record(1))
        log.label(Label(request="r1", value=1.0, at_ns=2))
        assert log.flush()

    class KilledError(BaseException):
        pass

    replaced: list[str] = []
    original, deletion = os.replace, parquet.remove

    def replace(source: Any, target: Any) -> None:
        if step == f"replace {Path(target).parent.name}":
            raise KilledError
        replaced.append(str(target))
        original(source, target)

    def remove(paths: Any) -> None:
        found = list(paths)
        if step == "before deletion" and any(path.suffix == ".sqlite" for path in found):
            raise KilledError
        if step == "before deletion":
            deletion(found)  # a kill would not even do that: drafts stay

    def sync(_: int) -> None:
        if step == "write":
            raise KilledError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parquet.os, "replace", replace)
        patch.setattr(parquet, "remove", remove)
        patch.setattr(parquet.os, "fsync", sync)
        with pytest.raises(KilledError):
            parquet.convert(tmp_path, 1, threading.Event())
    assert read(tmp_path) == ([1, 2], [])
    assert parquet.convert(tmp_path, 1, threading.Event())
    assert read(tmp_path) == ([1, 2], [])
    assert not list(tmp_path.glob("segments/*"))
    with Log(tmp_path) as log:  # a log whose files are all Parquet goes on too
        assert log.append(record(3)) == 3
    assert read(tmp_path) == ([1, 2, 3], [])


def test_pandas_and_pyarrow_read_the_folder(tmp_path: Path) -> None:
    fill(tmp_path)
    import pyarrow.parquet as pq

    table = pq.read_table(tmp_path / "records")
    assert table.column("number").to_pylist() == [1, 2, 4, 5, 6]
    assert pq.read_table(tmp_path / "labels").column("value").to_pylist() == [0.5]


def test_a_large_file_comes_out_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parquet, "_PAGE", 16)  # pages and row groups that do not divide the rows
    monkeypatch.setattr(parquet, "_GROUP", 64)
    with Log(tmp_path, LogSettings(parquet=False, queue=2000)) as log:
        for i in range(1, 1004):
            log.append(record(i))
    assert parquet.convert(tmp_path, 1, threading.Event())
    assert read(tmp_path) == (list(range(1, 1004)), [])
    assert [e.number for e in read_entries(tmp_path, after=990)] == list(range(991, 1004))
    assert [r.at_ns for r in read_records(tmp_path, since_ns=60, until_ns=70)] == list(range(60, 70))


def test_a_reader_under_way_sees_everything_while_files_change(tmp_path: Path) -> None:
    fill(tmp_path, settings=LogSettings(segment_bytes=1, keep_bytes=1 << 30, commit_s=0.0, parquet=False))
    entries = read_entries(tmp_path)
    seen = [next(entries).number]
    for first in range(1, 6):
        parquet.convert(tmp_path, first, threading.Event())
    assert seen + [entry.number for entry in entries] == [1, 2, 3, 4, 5, 6]
    assert parquet_files(tmp_path)


@pytest.mark.parametrize("form", ["parquet", "sqlite"])
@pytest.mark.parametrize("damage", ["garbage", "cut off", "empty"])
def test_a_damaged_file_is_named_and_the_rest_is_read(
    tmp_path: Path, form: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    fill(tmp_path, settings=LogSettings(segment_bytes=1, keep_bytes=1 << 30, commit_s=0.0, parquet=form == "parquet"))
    path = sorted(tmp_path.glob("records/*.parquet" if form == "parquet" else "segments/*.sqlite"))[1]
    data = path.read_bytes()
    path.write_bytes({"garbage": b"\xff" * len(data), "cut off": data[: len(data) // 2], "empty": b""}[damage])
    numbers, lines = read(tmp_path)
    assert numbers == [1, 3, 4, 5, 6]
    assert len(lines) == 1
    assert str(path) in lines[0]
    assert "\n" not in lines[0]
    assert list(read_entries(tmp_path)) is not None
    assert str(path) in caplog.text
    with Log(tmp_path, TINY) as log:  # and the log goes on
        assert log.append(record(9)) == 7


def test_a_damaged_open_file_is_left_and_its_numbers_are_not_used_again(tmp_path: Path) -> None:
    fill(tmp_path)
    path = max(tmp_path.glob("segments/*.sqlite"))
    path.write_bytes(b"\xff" * 5000)
    path.with_name(path.name + "-wal").unlink(missing_ok=True)
    with Log(tmp_path) as log:
        number = log.append(record(7))
        assert number > int(path.stem) + (1 << 31)
        assert log.flush()
    numbers, lines = read(tmp_path)
    assert numbers == [1, 2, 3, 4, 5, 6, number]
    assert len(lines) == 1
    assert path.exists()


def test_retention_deletes_the_oldest_and_says_what(tmp_path: Path) -> None:
    fill(tmp_path, count=3, settings=LogSettings(segment_bytes=1, keep_bytes=1 << 30, commit_s=0.0, parquet=False))
    for path in sorted(tmp_path.glob("segments/*.sqlite"))[:2]:
        os.utime(path, (time.time() - 7200.0,) * 2)
    with Log(tmp_path, LogSettings(keep_s=3600.0)) as log:
        until(lambda: log.state().deleted_until == 2)
        assert log.state().deleted_records == 2
        until(lambda: len(list(tmp_path.glob("labels/*.parquet"))) == 1)
        assert read(tmp_path) == ([3], [])
    assert log_facts(tmp_path)["deleted_until"] == "2"
    small = LogSettings(segment_bytes=40_000, keep_bytes=150_000, commit_s=0.0, parquet=False, content="full")
    with Log(tmp_path, small) as log:
        for i in range(40):
            assert log.wait(log.append(record(i, content=b"x" * 5000)), 20)
        log._keeper.wake()
        until(lambda: 0 < log.state().size_bytes <= 150_000)
    deleted = int(log_facts(tmp_path)["deleted_until"])
    assert 3 < deleted < 43
    numbers, _ = read(tmp_path)
    assert numbers == list(range(deleted + 1, 44))
    assert int(log_facts(tmp_path)["deleted_records"]) == deleted - 1  # one was a label


def test_a_kill_between_writing_the_deletion_down_and_deleting(tmp_path: Path) -> None:
    fill(tmp_path)
    kept = tmp_path.with_name("kept")
    shutil.copytree(tmp_path, kept)
    path = max(kept.glob("segments/*.sqlite"))
    db = sqlite3.connect(path)
    db.execute("UPDATE meta SET value = '2' WHERE key = 'deleted_until'")
    db.commit()
    db.close()
    assert read(kept) == ([3, 4, 5, 6], [])
    with Log(kept) as log:
        until(lambda: parquet_files(kept)[0] > f"{2:020d}")
        log.append(record())
    assert read(kept) == ([3, 4, 5, 6, 7], [])


def test_another_version_is_refused_politely(tmp_path: Path) -> None:
    fill(tmp_path)
    path = next(tmp_path.glob("segments/*.sqlite"))
    for version, words in ((99, "a newer gatewise"), (0, "an older gatewise")):
        db = sqlite3.connect(path)
        db.execute(f"PRAGMA user_version={version}")
        db.close()
        with pytest.raises(GatewiseError, match=words):
            Log(tmp_path)
        with pytest.raises(GatewiseError, match=words):
            list(read_entries(tmp_path))


def test_without_pyarrow_files_stay_sqlite_and_that_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill(tmp_path / "old")
    monkeypatch.setattr(retention, "missing_pyarrow", lambda: "pyarrow is not installed")
    with Log(tmp_path / "new", TINY) as log:
        for i in range(3):
            assert log.wait(log.append(record(i)), 20)
        assert log.state().parquet == "pyarrow is not installed"
    assert read(tmp_path / "new") == ([1, 2, 3], [])
    assert not list(tmp_path.glob("new/records/*"))
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr("gatewise.monitor._log_read.missing_pyarrow", lambda: "pyarrow is not installed")
    with pytest.raises(MissingExtraError, match="pyarrow"):
        list(read_entries(tmp_path / "old"))


def test_no_log_and_no_folder_are_one_clear_line(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="there is no log here"):
        read_entries(tmp_path / "nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(GatewiseError, match="cannot write a log"):
        Log(tmp_path / "file" / "log")


def test_five_kills_under_load_lose_nothing() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "record.py"), "--kills", "5", "--longest", "0.5"],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] == 5
    assert found["acknowledged"] > 5
    assert found["read"] >= found["acknowledged"]


def test_a_next_file_that_cannot_be_opened_at_once_loses_nothing(tmp_path: Path) -> None:
    """The new file was there, opening it failed, and the old one took entries that belonged behind the new name."""
    original = Segment.__init__
    failures: list[Path] = []

    def refuse(self: Segment, path: Path) -> None:
        if int(path.stem) == 4 and len(failures) < 2:
            failures.append(path)
            raise sqlite3.OperationalError("database is locked")
        original(self, path)

    settings = LogSettings(commit_s=0.0, retry_s=0.01, parquet=False)
    with Log(tmp_path, settings) as log, pytest.MonkeyPatch.context() as patch:
        assert log.wait(log.append(record(1)), 20)
        assert log.wait(log.append(record(2)), 20)
        patch.setattr(Segment, "__init__", refuse)
        patch.setattr(Segment, "size_bytes", lambda self: (1 << 40) if self.first < 4 else 0)
        assert log.wait(log.append(record(3)), 20)
        until(lambda: len(failures) > 0)
        assert log.wait(log.append(record(4)), 20)
        assert log.wait(log.append(record(5)), 20)
        assert log.flush()
    assert failures
    assert read(tmp_path) == ([1, 2, 3, 4, 5], [])
    for after in range(6):  # who comes back later misses nothing either
        assert [entry.number for entry in read_entries(tmp_path, after=after)] == list(range(after + 1, 6))


def test_a_label_does_not_overtake_a_record_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gatewise.monitor._log_read._PAGE", 2)
    with Log(tmp_path, LogSettings(commit_s=0.0)) as log:
        log.append(record(1))
        log.label(Label(request="r1", value=1.0, at_ns=1))
        log.label(Label(request="r1", value=1.0, at_ns=1))
        assert log.flush()
        entries = read_entries(tmp_path)
        seen = [next(entries).number, next(entries).number]
        log.append(record(2))
        log.label(Label(request="r2", value=1.0, at_ns=1))
        assert log.flush()
        seen += [entry.number for entry in entries]
        assert seen == [1, 2, 3]
        assert [entry.number for entry in read_entries(tmp_path, after=3)] == [4, 5]
