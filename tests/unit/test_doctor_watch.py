"""Who else used the processors: counters of the kernel, made here, between two moments."""

import os
from pathlib import Path
from typing import Any

import pytest

from gatewise.doctor._missing import Missing
from gatewise.doctor._watch import Moment, between, load, moment

TICK = os.sysconf("SC_CLK_TCK")


def at(time_s: float, **changes: Any) -> Moment:
    zero: dict[str, Any] = {"busy_s": 0.0, "steal_s": 0.0, "total_s": 0.0, "own_s": 0.0, "throttled": 0}
    return Moment(**(zero | {"time_s": time_s, "programs_s": {}} | changes))


def test_counters_are_read(tmp_path: Path) -> None:
    folder = tmp_path / "proc" / "42"
    folder.mkdir(parents=True)
    # user nice system idle iowait irq softirq steal guest: guest is in user already
    columns = [TICK * seconds for seconds in (10, 1, 2, 100, 5, 3, 4, 6, 7)]
    (tmp_path / "proc" / "stat").write_text(f"cpu  {' '.join(map(str, columns))}\ncpu0 1 2 3 4\n")
    name = "a) S (b"  # a process may call itself anything
    fields = f"S 1 1 1 0 -1 0 0 0 0 0 {2 * TICK} {TICK} 0 0"
    (folder / "stat").write_text(f"42 ({name}) {fields}\n")
    found = moment(tmp_path, programs=True)
    assert found.busy_s == 10 + 1 + 2 + 3 + 4
    assert found.steal_s == 6
    assert found.total_s == 10 + 1 + 2 + 100 + 5 + 3 + 4 + 6
    assert found.programs_s == {42: (name, 3.0)}


@pytest.mark.parametrize("text", [None, "", "cpu\n", "cpu a b c d e\n", "intr 1\n", "cpu  1 2 3\n"])
def test_no_counters(tmp_path: Path, text: str | None) -> None:
    if text is not None:
        (tmp_path / "proc").mkdir()
        (tmp_path / "proc" / "stat").write_text(text)
    found = moment(tmp_path, programs=True)
    assert found.busy_s is None
    told = between(found, moment(tmp_path, programs=True))
    assert isinstance(told["others_cores"], Missing)
    assert isinstance(told["steal_share"], Missing)
    assert told["busiest"] == []


def test_an_old_kernel_has_no_steal(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "stat").write_text(f"cpu  {TICK} 0 0 {TICK}\n")
    found = moment(tmp_path)
    assert (found.busy_s, found.steal_s, found.total_s) == (1.0, 0.0, 2.0)


def test_others_are_what_this_process_did_not_use() -> None:
    last = at(2.0, busy_s=3.0, steal_s=0.4, total_s=8.0, own_s=1.0, throttled=3)
    found = between(at(0.0), last)
    assert found["others_cores"] == pytest.approx(1.0)  # 3 s busy, 1 s of them ours, in 2 s
    assert found["steal_share"] == pytest.approx(0.05)
    assert found["throttled"] == 3


def test_rounding_never_gives_less_than_nobody() -> None:
    assert between(at(0.0), at(1.0, busy_s=0.5, own_s=0.51, total_s=2.0))["others_cores"] == 0.0


def test_counters_that_stand_still() -> None:
    assert isinstance(between(at(0.0), at(1.0))["others_cores"], Missing)


def test_the_busiest_programs() -> None:
    before = {1: ("old", 5.0), 2: ("idle", 1.0), 3: ("me", 0.0), 4: ("gone", 9.0)}
    after = {1: ("old", 6.0), 2: ("idle", 1.0), 3: ("me", 2.0), 5: ("new", 0.5), 6: ("tiny", 0.001)}
    first = at(0.0, programs_s=before)
    last = at(2.0, total_s=4.0, programs_s=after)
    found = between(first, last, own_pid=3)["busiest"]
    assert found == [{"name": "old", "cores": 0.5}, {"name": "new", "cores": 0.25}]


def test_throttling_unknown_is_not_zero() -> None:
    assert isinstance(between(at(0.0, throttled=None), at(1.0))["throttled"], Missing)


def test_load(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text("0.61 0.34 0.43 3/92 27272\n")
    assert load(tmp_path) == {"average": 0.61, "runnable": 2}


@pytest.mark.parametrize("text", ["", "a b c d", "nan"])
def test_odd_load(tmp_path: Path, text: str) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc" / "loadavg").write_text(text)
    assert isinstance(load(tmp_path)["runnable"], Missing)


def test_what_children_used_is_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "times", lambda: os.times_result((1.0, 2.0, 4.0, 8.0, 100.0)))
    assert moment(tmp_path).own_s == 15.0
