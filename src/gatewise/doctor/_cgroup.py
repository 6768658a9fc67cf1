"""What a control group allows this process: cores and memory, in version 1 and version 2 of the interface.

A limit may be set on the group or on any group above it; the tightest holds. Inside a container the path that
`/proc/self/cgroup` gives may not exist below the mount: then the mount itself is the group.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ._files import fields, number, text

UNLIMITED_BYTES = 2**60
"""Version 1 writes a huge number where there is no limit on memory."""


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Cores and bytes that the control groups allow (None: no limit), and how often the cores ran out so far."""

    cores: float | None
    memory_bytes: int | None
    throttled: int | None


def limits(root: Path) -> Limits:
    """The limits on this process."""
    cores: list[float] = []
    memory: list[int] = []
    throttled: int | None = None
    for folder in _folders(root):
        quota = _quota(folder)
        if quota is not None:
            cores.append(quota)
        for name in ("memory.max", "memory.limit_in_bytes"):
            size = number(folder / name)
            if size is not None and size < UNLIMITED_BYTES:
                memory.append(size)
        count = fields(text(folder / "cpu.stat")).get("nr_throttled")
        if count is not None:
            throttled = (throttled or 0) + count
    return Limits(cores=min(cores, default=None), memory_bytes=min(memory, default=None), throttled=throttled)


def _quota(folder: Path) -> float | None:
    """Cores that one group allows by its quota of time per period."""
    words = (text(folder / "cpu.max") or "").split()
    if len(words) == 2:
        quota, period = words
    else:
        quota, period = text(folder / "cpu.cfs_quota_us") or "", text(folder / "cpu.cfs_period_us") or ""
    if not (quota.isdecimal() and period.isdecimal()) or int(period) == 0 or int(quota) == 0:
        return None  # `max` and -1: no limit
    return int(quota) / int(period)


def _folders(root: Path) -> Iterator[Path]:
    """The folders of this process's groups for cores and memory, and of all groups above them, each once."""
    mount = root / "sys/fs/cgroup"
    seen: set[Path] = set()
    for line in (text(root / "proc/self/cgroup") or "0::/").splitlines():
        _, _, rest = line.partition(":")
        controllers, _, group = rest.partition(":")
        if not controllers:
            tops = [mount, mount / "unified"]
        elif {"cpu", "memory"} & set(controllers.split(",")):
            # Controllers of one mount have a folder of their joined names, and links of each.
            tops = [mount / name for name in (controllers, *controllers.split(","))]
        else:
            continue
        parts = [part for part in group.split("/") if part not in ("", ".", "..")]
        for top in tops:
            for depth in range(len(parts), -1, -1):
                folder = top.joinpath(*parts[:depth])
                if folder.is_dir() and folder.resolve() not in seen:
                    seen.add(folder.resolve())
                    yield folder
