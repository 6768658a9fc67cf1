"""Forwarding: each record once in the central log, whatever the link and kills do."""

import random
import sqlite3
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from test_monitor_log import TINY, record, until

from gatewise.core import GatewiseError
from gatewise.monitor import Label, Record
from gatewise.monitor._forward import Forwarder, Receiver, _gaps, _joined
from gatewise.monitor._forward_batch import unpack
from gatewise.monitor._log import Log
from gatewise.monitor._log_read import log_facts, read_entries
from gatewise.monitor._log_settings import LogSettings

FAST = LogSettings(commit_s=0.0, content="full")


def edge(folder: Path, count: int, start: int = 0) -> None:
    with Log(folder, FAST) as log:
        for i in range(start, start + count):
            if i % 5 == 4:
                log.label(Label(request=f"r{i}", value=i / 3, at_ns=i))
            else:
                content = b"\x00\xff" if i % 2 else None
                log.append(record(i, features={"x": float("nan")}, compute_s=float("inf"), content=content))


def sent(folder: Path) -> list[tuple[int, str]]:
    return [(entry.number, repr(entry.item)) for entry in read_entries(folder)]


def arrived(folder: Path, source: str) -> list[tuple[int, str]]:
    return [
        (entry.source_number, repr(entry.item))
        for entry in read_entries(folder)
        if (entry.source or "").startswith(source)
    ]


@pytest.mark.parametrize("seed", range(4))
def test_a_bad_link_leaves_each_entry_once(tmp_path: Path, seed: int) -> None:
    edge(tmp_path / "edge", 97)
    rng = random.Random(seed)
    with Log(tmp_path / "central", FAST) as central:
        receiver = Receiver(central)
        under_way: list[bytes] = []

        def transport(data: bytes) -> bytes:
            under_way.append(data)
            chance = rng.random()
            if chance < 0.2:  # it is late: it arrives after others, or twice
                raise OSError("link down")
            if chance < 0.3:  # what was late arrives, in another order
                rng.shuffle(under_way)
                for late in under_way:
                    receiver.receive(late)
            answer = receiver.receive(data)
            if chance > 0.8:  # the answer is lost
                raise TimeoutError("no answer")
            return answer

        for _ in range(400):
            forwarder = Forwarder(tmp_path / "edge", "a", transport, batch=rng.randint(1, 9))  # the edge restarts
            for _ in range(rng.randint(1, 6)):
                forwarder.step()
            if forwarder.state.until == 97:
                break
        for late in under_way:
            receiver.receive(late)
        assert [(e["until"], e["entries"], e["lost"]) for e in receiver.edges().values()] == [(97, 97, [])]
    assert arrived(tmp_path / "central", "a:") == sent(tmp_path / "edge")
    assert len(arrived(tmp_path / "central", "a:")) == 97


def test_two_edges_and_their_sides_of_time(tmp_path: Path) -> None:
    with Log(tmp_path / "central", FAST) as central:
        receiver = Receiver(central)
        for name in ("a", "b"):
            edge(tmp_path / name, 20)
        threads: list[threading.Thread] = []
        stop = threading.Event()
        forwarders = [Forwarder(tmp_path / name, name, receiver.receive, batch=3) for name in ("a", "b")]
        for forwarder in forwarders:
            threads.append(threading.Thread(target=forwarder.run, args=(stop,), kwargs={"idle_s": 0.01}))
            threads[-1].start()
        until(lambda: all(forwarder.state.until == 20 for forwarder in forwarders))
        edge(tmp_path / "a", 10, start=20)  # the edge goes on
        until(lambda: forwarders[0].state.until == 30)
        stop.set()
        for thread in threads:
            thread.join()
    for name in ("a", "b"):
        assert arrived(tmp_path / "central", f"{name}:") == sent(tmp_path / name)


def test_an_edge_that_begins_anew_is_another_log(tmp_path: Path) -> None:
    with Log(tmp_path / "central", FAST) as central:
        receiver = Receiver(central)
        for folder in ("first", "second"):
            edge(tmp_path / folder, 5)
            forwarder = Forwarder(tmp_path / folder, "a", receiver.receive)
            assert [forwarder.step(), forwarder.step()] == [5, 0]
        assert [held["until"] for held in receiver.edges().values()] == [5, 5]
    assert len(arrived(tmp_path / "central", "a:")) == 10


def test_what_retention_deleted_unsent_is_told_by_number(tmp_path: Path) -> None:
    edge(tmp_path / "edge", 3)
    with Log(tmp_path / "central", FAST) as central:
        receiver = Receiver(central)
        forwarder = Forwarder(tmp_path / "edge", "a", receiver.receive)
        assert [forwarder.step(), forwarder.step()] == [3, 0]
        small = LogSettings(segment_bytes=40_000, keep_bytes=80_000, commit_s=0.0, parquet=False, content="full")
        with Log(tmp_path / "edge", small) as log:  # no link for a while
            for i in range(40):
                assert log.wait(log.append(record(i, content=b"x" * 5000)), 20)
            until(lambda: 0 < log.state().size_bytes <= 80_000 and log.state().deleted_until > 3)
        deleted = int(log_facts(tmp_path / "edge")["deleted_until"])
        assert forwarder.step() == 43 - deleted
        assert forwarder.state.lost == ((4, deleted),)
        assert next(iter(receiver.edges().values()))["lost"] == [[4, deleted]]
    assert [number for number, _ in arrived(tmp_path / "central", "a:")] == [1, 2, 3, *range(deleted + 1, 44)]


def test_the_central_log_keeps_no_more_than_it_may(tmp_path: Path) -> None:
    edge(tmp_path / "edge", 4)
    with Log(tmp_path / "central", LogSettings(content="none")) as central:
        forwarder = Forwarder(tmp_path / "edge", "a", Receiver(central).receive)
        assert [forwarder.step(), forwarder.step()] == [4, 0]
    items = [entry.item for entry in read_entries(tmp_path / "central")]
    assert len(items) == 4
    assert all(isinstance(item, Record) and item.content is None and not item.features for item in items)


def test_a_log_that_was_set_back_is_noticed(tmp_path: Path) -> None:
    edge(tmp_path / "edge", 10)
    with Log(tmp_path / "central", FAST) as central:
        receiver = Receiver(central)
        forwarder = Forwarder(tmp_path / "edge", "a", receiver.receive)
        assert [forwarder.step(), forwarder.step()] == [10, 0]
        for path in tmp_path.glob("edge/segments/*.sqlite"):  # an older state of the same log
            db = sqlite3.connect(path)
            db.execute("DELETE FROM record_rows WHERE number > 5")
            db.execute("UPDATE meta SET value = '5' WHERE key = 'reserved'")
            db.commit()
            db.close()
        with pytest.raises(GatewiseError, match="set back to an older state"):
            Forwarder(tmp_path / "edge", "a", receiver.receive).step()


def test_what_is_no_batch_is_refused(tmp_path: Path) -> None:
    edge(tmp_path / "edge", 3)
    caught: list[bytes] = []

    def transport(data: bytes) -> bytes:
        caught.append(data)
        return b"hello"

    forwarder = Forwarder(tmp_path / "edge", "a", transport)
    assert forwarder.step() == 0
    assert "no good answer from the receiver" in (forwarder.state.problem or "")
    with Log(tmp_path / "central") as central:
        receiver = Receiver(central)
        bad: list[Callable[[bytes], bytes]] = [
            lambda _: b"",
            lambda _: b"not zlib",
            lambda data: data[:-5],
            lambda data: data[:20] + b"\xff" + data[21:],
        ]
        for damage in bad:
            with pytest.raises(GatewiseError, match="not what an edge sends"):
                receiver.receive(damage(caught[0]))
        assert receiver.edges() == {}
        assert unpack(caught[0]).edge == "a"
    with pytest.raises(GatewiseError, match="needs a name"):
        Forwarder(tmp_path / "edge", "", transport)


RECEIVER = """
    import struct, sys
    from gatewise.monitor._forward import Receiver
    from gatewise.monitor._log import Log
    source, target = sys.stdin.buffer, sys.stdout.buffer
    with Log(sys.argv[1]) as log:
        receiver = Receiver(log)
        while head := source.read(4):
            answer = receiver.receive(source.read(struct.unpack("<I", head)[0]))
            target.write(struct.pack("<I", len(answer)) + answer)
            target.flush()
"""


def test_a_receiver_that_is_killed_leaves_each_entry_once(tmp_path: Path) -> None:
    edge(tmp_path / "edge", 200)
    rng, kills = random.Random(0), 0
    while True:
        child = subprocess.Popen(
            [sys.executable, "-c", textwrap.dedent(RECEIVER), str(tmp_path / "central")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert child.stdin is not None
        assert child.stdout is not None
        into, out = child.stdin, child.stdout
        left = rng.randint(2, 4)

        def transport(data: bytes, into: Any = into, out: Any = out, child: Any = child) -> bytes:
            nonlocal left, kills
            into.write(len(data).to_bytes(4, "little") + data)
            into.flush()
            left -= 1
            if left == 0 and kills < 4:  # the batch may be stored or not; the answer does not come
                kills += 1
                threading.Event().wait(rng.uniform(0.0, 0.01))
                child.kill()
            head = out.read(4)
            if len(head) < 4:
                raise ConnectionError("the receiver is gone")
            return out.read(int.from_bytes(head, "little"))

        forwarder = Forwarder(tmp_path / "edge", "a", transport, batch=15)
        for _ in range(40):
            forwarder.step()
            if forwarder.state.problem or forwarder.state.until == 200:
                break
        child.kill()
        child.wait()
        for pipe in (into, out):
            with suppress(BrokenPipeError):
                pipe.close()
        if forwarder.state.until == 200:
            break
        assert kills <= 4
    assert kills == 4
    numbers = [number for number, _ in arrived(tmp_path / "central", "a:")]
    assert numbers == list(range(1, 201))


def test_gaps_and_ranges() -> None:
    assert _gaps(0, [3, 4, 7], 7) == [(1, 2), (5, 6)]
    assert _gaps(2, [3, 4], 9) == [(5, 9)]
    assert _gaps(2, [3, 9], 2) == []
    assert _joined([[5, 6], [1, 2], [3, 4]]) == [[1, 6]]
    assert _joined([[1, 1], [3, 3], [9, 9]], most=2) == [[1, 3], [9, 9]]
    assert TINY.segment_bytes == 1
