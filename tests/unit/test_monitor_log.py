"""The durable record: what goes in comes out, in order, once, through rotation, restarts and a full disk."""

import math
import sqlite3
import threading
import time
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.core import GatewiseError
from gatewise.monitor import Label, Record
from gatewise.monitor._log import Log
from gatewise.monitor._log_read import log_facts, read_entries, read_labels, read_records
from gatewise.monitor._log_segment import Segment
from gatewise.monitor._log_settings import LogSettings

TINY = LogSettings(segment_bytes=1, keep_bytes=1 << 30, commit_s=0.0)


def record(number: int = 1, **changes: Any) -> Record:
    values: dict[str, Any] = {
        "request": f"r{number}",
        "at_ns": number,
        "model": "encoder",
        "version": "v1",
        "digest": "d" * 64,
        "role": "live",
    }
    return Record(**values | changes)


def until(condition: Callable[[], bool]) -> None:
    """Wait for a thread's work, at most 20 s."""
    for _ in range(2000):
        if condition():
            return
        time.sleep(0.01)
    raise AssertionError("it did not happen")


def parquet_files(folder: Path) -> list[str]:
    return sorted(path.stem for path in folder.glob("records/*.parquet"))


def same(first: Any, second: Any) -> bool:
    """Equal field by field; NaN is NaN."""
    return repr([getattr(first, f.name) for f in fields(first)]) == repr(
        [getattr(second, f.name) for f in fields(second)]
    )


numbers = st.floats().map(lambda x: x + 0.0)  # SQLite keeps no sign of zero
texts = st.text(max_size=6)
mappings = st.dictionaries(texts, numbers, max_size=3)
tuples = st.lists(numbers, max_size=3).map(tuple)
records = st.builds(
    Record,
    request=texts,
    at_ns=st.integers(-(2**63), 2**63 - 1),
    model=texts,
    version=texts,
    digest=texts,
    role=st.sampled_from(["live", "canary", "shadow"]),
    first=st.none() | st.booleans(),
    status=st.sampled_from(["ok", "error", "refused", "expired"]),
    reason=st.none() | texts,
    queue_s=numbers,
    compute_s=numbers,
    rows=st.integers(0, 99),
    batch_rows=st.integers(0, 99),
    fingerprint=texts,
    features=mappings,
    outputs=mappings,
    predictions=tuples,
    confidences=tuples,
    content=st.none() | st.binary(max_size=5),
)
labels = st.builds(Label, request=texts, row=st.integers(0, 9), value=numbers, at_ns=st.integers(-(2**63), 2**63 - 1))


@settings(max_examples=10, deadline=None)
@given(st.lists(records | labels, max_size=8))
def test_what_goes_in_comes_out(tmp_path_factory: pytest.TempPathFactory, items: list[Record | Label]) -> None:
    folder = tmp_path_factory.mktemp("log")
    with Log(folder, LogSettings(content="full", segment_bytes=1, keep_bytes=1 << 30)) as log:
        numbers = [log.append(item) if isinstance(item, Record) else log.label(item) for item in items]
        assert log.flush()
        first = [entry.item for entry in read_entries(folder)]
        if items:
            until(lambda: not [p for p in folder.glob("segments/*.sqlite") if int(p.stem) <= numbers[-1]])
    again = list(read_entries(folder))
    assert numbers == [entry.number for entry in again] == list(range(1, len(items) + 1))
    for got in (first, [entry.item for entry in again]):  # from SQLite, and from Parquet
        assert all(same(a, b) for a, b in zip(items, got, strict=True))


def test_numbers_go_on_after_a_restart_and_after_a_kill(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        assert [log.append(record(i)) for i in range(3)] == [1, 2, 3]
    with Log(tmp_path) as log:
        assert log.durable == 3
        assert log.append(record()) == 4
    killed = Segment(next(tmp_path.glob("segments/*.sqlite")))  # as a kill leaves it: numbers reserved, none given back
    killed.write([], [], {"reserved": "1000"})
    killed.close()
    with Log(tmp_path) as log:
        assert log.append(record()) == 1001
    assert [entry.number for entry in read_entries(tmp_path)] == [1, 2, 3, 4, 1001]


def test_a_second_writer_is_refused_and_readers_are_welcome(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        number = log.append(record())
        with pytest.raises(GatewiseError, match="another writer"):
            Log(tmp_path)
        assert log.wait(number, 20)
        assert [r.request for r in read_records(tmp_path)] == ["r1"]
    Log(tmp_path).close()
    with pytest.raises(GatewiseError, match="closed"):
        log.append(record())


def test_filters_and_order_with_a_clock_that_goes_back(tmp_path: Path) -> None:
    with Log(tmp_path, TINY) as log:
        for at, model in ((5, "a"), (3, "b"), (9, "a"), (1, "a")):
            assert log.wait(log.append(record(at, model=model)), 20)
        log.label(Label(request="r5", value=1.0, at_ns=100))
        assert log.flush()
        for _ in range(2):
            assert [r.at_ns for r in read_records(tmp_path)] == [5, 3, 9, 1]
            assert [r.at_ns for r in read_records(tmp_path, model="a")] == [5, 9, 1]
            assert [r.at_ns for r in read_records(tmp_path, since_ns=3, until_ns=9)] == [5, 3]
            assert [r.at_ns for r in read_records(tmp_path, after=2)] == [9, 1]
            assert [la.request for la in read_labels(tmp_path)] == ["r5"]
            until(lambda: len(parquet_files(tmp_path)) == 4)


def test_what_may_not_be_stored_is_nowhere_on_disk(tmp_path: Path) -> None:
    secret = record(
        fingerprint="SECRETF", features={"SECRETN": 1.0}, reason="SECRETR", content=b"SECRETC", predictions=(1.0,)
    )
    for content, kept in (("none", b""), ("fingerprint", b"FNR"), ("full", b"FNRC")):
        folder = tmp_path / content
        with Log(folder, LogSettings(content=content)) as log:  # pyright: ignore[reportArgumentType]
            log.append(secret)
            assert log.flush()
            on_disk = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
            assert {name for name in b"FNRC" if b"SECRET%c" % name in on_disk} == set(kept)
            assert next(read_records(folder)).predictions == (1.0,)
    with pytest.raises(GatewiseError, match="did you mean 'full'"):
        LogSettings(content="fulll")  # pyright: ignore[reportArgumentType]


def test_what_no_file_can_hold_is_counted_and_stops_nothing(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        bad = [log.append(record(at_ns=2**70)), log.append(record(features={"x": "not a number"}))]
        odd = log.append(record(request="\ud800 odd", features={"\ud800": 1.0}))
        assert log.flush()
        assert not any(log.wait(number, 1) for number in bad)
        assert log.wait(odd, 1)
        assert log.state().dropped == 2
        assert log.healthy
    assert [(r.request, dict(r.features)) for r in read_records(tmp_path)] == [("\\ud800 odd", {"\\ud800": 1.0})]
    assert log_facts(tmp_path)["dropped"] == "2"


def test_a_full_disk_is_told_and_survived(tmp_path: Path) -> None:
    with Log(tmp_path, LogSettings(queue=10, retry_s=0.05, content="full")) as log:
        assert log.wait(log.append(record()), 20)
        segment = log._writer._segment
        assert segment is not None
        pages = segment.db.execute("PRAGMA page_count").fetchone()[0]
        original = Segment.write

        def refuse(self: Segment, *rest: Any) -> None:
            self.db.execute(f"PRAGMA max_page_count={pages}")
            original(self, *rest)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(Segment, "write", refuse)
            numbers = [log.append(record(i, content=b"x" * 10_000)) for i in range(30)]
            until(lambda: not log.healthy)
            assert log.state().problem == "the disk is full; what was stored before is safe"
            until(lambda: log.append(record()) == 0)  # the queue is full: it returns at once
            dropped = log.state().dropped
            assert dropped > 0
            assert not log.wait(numbers[0], 0.05)
        kept = [number for number in numbers if number]
        assert log.wait(kept[-1], 20)
        assert log.healthy
        assert log.flush()
    assert int(log_facts(tmp_path)["dropped"]) >= dropped
    read = [entry.number for entry in read_entries(tmp_path)]
    assert read == sorted(set(read))
    assert set(kept) <= set(read)


def test_a_commit_of_unknown_fate_is_stored_once(tmp_path: Path) -> None:
    original = Segment.write
    failed: list[int] = []

    def stored_and_then_failed(self: Segment, rows: Any, *rest: Any) -> None:
        original(self, rows, *rest)
        if rows and not failed:
            failed.append(1)
            raise sqlite3.OperationalError("disk I/O error")

    with Log(tmp_path, LogSettings(retry_s=0.01)) as log, pytest.MonkeyPatch.context() as patch:
        patch.setattr(Segment, "write", stored_and_then_failed)
        assert log.wait(log.append(record()), 20)
    assert failed
    assert [entry.number for entry in read_entries(tmp_path)] == [1]


def test_a_full_queue_waits_where_it_may(tmp_path: Path) -> None:
    with Log(tmp_path, LogSettings(queue=5, block_s=20.0)) as log:
        assert [log.append(record(i)) for i in range(200)] == list(range(1, 201))
        assert log.flush()
        assert log.state().dropped == 0


def test_many_threads_append_at_once(tmp_path: Path) -> None:
    given: list[list[tuple[int, str]]] = [[] for _ in range(4)]

    def work(at: int) -> None:
        for i in range(300):
            name = f"{at}-{i}"
            given[at].append((log.append(record(request=name)), name))

    with Log(tmp_path) as log:
        threads = [threading.Thread(target=work, args=(at,)) for at in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert log.flush()
    expected = sorted(pair for pairs in given for pair in pairs)
    assert [(e.number, e.item.request) for e in read_entries(tmp_path)] == expected
    assert len(expected) == 1200


def test_close_says_what_was_lost(tmp_path: Path) -> None:
    log = Log(tmp_path, LogSettings(retry_s=0.01))
    with pytest.MonkeyPatch.context() as patch:

        def refuse(*_: Any) -> None:
            raise sqlite3.OperationalError("attempt to write a readonly database")

        patch.setattr(Segment, "write", refuse)
        log.append(record())
        until(lambda: not log.healthy)
        with pytest.raises(GatewiseError, match="1 entries could not be written: the folder or the disk is read-only"):
            log.close()
    Log(tmp_path).close()  # the lock was let go


def test_nan_stays_nan_and_sql_reads_it(tmp_path: Path) -> None:
    with Log(tmp_path) as log:
        log.append(record(features={"a": math.nan, "b": -math.inf, "c": 0.5}, compute_s=math.inf))
        assert log.flush()
        db = sqlite3.connect(next(tmp_path.glob("segments/*.sqlite")))
        found = db.execute("SELECT model, features ->> 'c', features ->> 'b', compute_s FROM records").fetchall()
        db.close()
    assert found == [("encoder", 0.5, "-Infinity", math.inf)]
    features = next(read_records(tmp_path)).features
    assert repr(features) == "{'a': nan, 'b': -inf, 'c': 0.5}"
