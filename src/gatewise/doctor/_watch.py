"""Who else used the processors between two moments: other programs, and the hypervisor (steal)."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ._cgroup import limits
from ._files import text
from ._missing import Missing

BUSY = (0, 1, 2, 5, 6)
"""user, nice, system, irq, softirq: the columns of /proc/stat in which a processor works."""

STEAL, COLUMNS = 7, 8
WORTH_NAMING = 0.02
"""Cores that a program must use to be named."""


@dataclass(frozen=True, kw_only=True)
class Moment:
    """The kernel's counters at one time, in seconds; None where it does not tell.

    `own_s` is of this process and of its children that have ended: between two moments at which none runs, of all.
    """

    busy_s: float | None
    steal_s: float | None
    total_s: float | None
    own_s: float
    time_s: float
    throttled: int | None
    programs_s: dict[int, tuple[str, float]]


def moment(root: Path, *, programs: bool = False) -> Moment:
    """The counters now; with `programs` those of every visible process too."""
    tick = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
    columns = _columns(text(root / "proc/stat"))
    own = os.times()
    return Moment(
        busy_s=sum(columns[i] for i in BUSY) / tick if columns else None,
        steal_s=columns[STEAL] / tick if columns else None,
        total_s=sum(columns) / tick if columns else None,
        own_s=own.user + own.system + own.children_user + own.children_system,
        time_s=time.monotonic(),
        throttled=limits(root).throttled,
        programs_s=_programs(root, tick) if programs else {},
    )


def _columns(content: str | None) -> list[int]:
    """The first eight counters over all processors; old kernels have fewer, which are 0."""
    for line in (content or "").splitlines():
        words = line.split()
        if words[:1] == ["cpu"] and len(words) > 4 and all(word.isdecimal() for word in words[1:]):
            found = [int(word) for word in words[1 : COLUMNS + 1]]
            return found + [0] * (COLUMNS - len(found))
    return []


def _programs(root: Path, tick: int) -> dict[int, tuple[str, float]]:
    found: dict[int, tuple[str, float]] = {}
    for path in (root / "proc").glob("[0-9]*/stat"):
        # `pid (any name, even with a bracket) S ppid ... utime stime`
        head, _, rest = (text(path) or "").rpartition(")")
        words = rest.split()
        if path.parent.name.isdecimal() and len(words) > 12 and words[11].isdecimal() and words[12].isdecimal():
            name = head.partition("(")[2]
            found[int(path.parent.name)] = (name, (int(words[11]) + int(words[12])) / tick)
    return found


def between(first: Moment, last: Moment, own_pid: int | None = None) -> dict[str, Any]:
    """What happened between two moments.

    `others_cores`: cores kept busy by anything but this process and its children; `steal_share`: time that the
    hypervisor gave to others while this machine wanted it, of all processor time; `throttled`: how often a control
    group stopped this process.
    """
    seconds = last.time_s - first.time_s
    untold = Missing("the system does not tell (/proc/stat)")
    found: dict[str, Any] = {"seconds": seconds, "others_cores": untold, "steal_share": untold}
    if first.busy_s is not None and last.busy_s is not None and first.total_s is not None and last.total_s is not None:
        total = last.total_s - first.total_s
        if total > 0 and seconds > 0:
            others = last.busy_s - first.busy_s - (last.own_s - first.own_s)
            found["others_cores"] = max(0.0, others) / seconds
            found["steal_share"] = max(0.0, (last.steal_s or 0.0) - (first.steal_s or 0.0)) / total
        else:
            found["others_cores"] = found["steal_share"] = Missing("the kernel's counters stood still")
    if first.throttled is None or last.throttled is None:
        found["throttled"] = Missing("no control group counts it")
    else:
        found["throttled"] = max(0, last.throttled - first.throttled)
    used = {
        # A program that was not there before has spent all its time since.
        pid: (name, (spent - first.programs_s.get(pid, ("", 0.0))[1]) / seconds)
        for pid, (name, spent) in last.programs_s.items()
        if pid != (own_pid or os.getpid()) and seconds > 0
    }
    busiest = sorted(used.values(), key=lambda each: -each[1])
    found["busiest"] = [{"name": name, "cores": cores} for name, cores in busiest[:3] if cores >= WORTH_NAMING]
    return found


def load(root: Path) -> dict[str, Any]:
    """The load average of one minute and what wants to run now, this process not counted."""
    words = (text(root / "proc/loadavg") or "").split()
    untold = Missing("the system does not tell (/proc/loadavg)")
    found: dict[str, Any] = {"average": untold, "runnable": untold}
    try:
        found["average"] = float(words[0])
        found["runnable"] = max(0, int(words[3].partition("/")[0]) - 1)
    except (IndexError, ValueError):
        pass
    return found
