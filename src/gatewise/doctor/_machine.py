"""What the machine says of itself: cores, caches, instruction sets, memory, frequency. Reads files only."""

import os
from collections.abc import Set
from pathlib import Path
from typing import Any

from gatewise.core import available_memory_bytes, environment

from ._cgroup import limits
from ._files import ROOT, cpus, number, size_bytes, text
from ._missing import Missing

CPU = "sys/devices/system/cpu"

INSTRUCTIONS = {
    "AVX2": ("avx2", "fma"),
    "AVX-512": ("avx512f", "avx512bw", "avx512dq", "avx512vl"),
    "AVX-512 VNNI": ("avx512_vnni",),
    "AVX-512 bf16": ("avx512_bf16",),
    "AVX-512 fp16": ("avx512_fp16",),
    "AMX bf16": ("amx_tile", "amx_bf16"),
    "AMX int8": ("amx_tile", "amx_int8"),
}
ARM_INSTRUCTIONS = {
    "NEON": ("asimd",),
    "NEON fp16": ("asimdhp",),
    "NEON bf16": ("bf16",),
    "SVE": ("sve",),
    "SVE2": ("sve2",),
}
"""What matters for matrix products and elementwise work, and the kernel's words for it."""


def allowed_cpus() -> frozenset[int]:
    """The processors this process may run on, by the kernel's numbers."""
    if hasattr(os, "sched_getaffinity"):
        return frozenset(os.sched_getaffinity(0))
    return frozenset(range(os.cpu_count() or 1))


def machine(root: Path = ROOT, allowed: Set[int] | None = None) -> dict[str, Any]:
    """The facts below `root`, for the processors `allowed`; what the system does not tell is `Missing`."""
    mine = frozenset(allowed if allowed is not None else allowed_cpus())
    facts = environment(root)
    return {
        "cpu": facts["cpu"],
        "architecture": facts["machine"],
        "os": facts["os"],
        "python": facts["python"],
        "virtual_machine": facts["virtual_machine"],
        "container": any((root / name).exists() for name in (".dockerenv", "run/.containerenv")),
        "cores": _cores(root, mine),
        "caches": _caches(root, mine),
        "instruction_sets": _instructions(root),
        "memory": _memory(root, facts["memory_bytes"]),
        "frequency": _frequency(root, mine),
    }


def _or(value: Any, reason: str) -> Any:
    return Missing(reason) if value is None else value


def _cores(root: Path, mine: Set[int]) -> dict[str, Any]:
    online = cpus(text(root / CPU / "online"))
    siblings: set[frozenset[int]] = set()
    for cpu in mine:
        folder = root / CPU / f"cpu{cpu}" / "topology"
        siblings.add(cpus(text(folder / "core_cpus_list") or text(folder / "thread_siblings_list")))
    known = frozenset() not in siblings and bool(siblings)
    quota = limits(root).cores
    unknown = "the system does not tell which threads share a core"
    return {
        "allowed": len(mine),
        "online": len(online) if online else Missing("the system does not tell which processors are on"),
        "physical": len(siblings) if known else Missing(unknown),
        "threads_per_core": max(len(group) for group in siblings) if known else Missing(unknown),
        "quota": _or(quota, "no control group limits the cores"),
    }


def _caches(root: Path, mine: Set[int]) -> Any:
    """Each level once, from the first to the last, with how many of it there are and how many threads share one."""
    found: dict[tuple[int, str], dict[frozenset[int], int]] = {}
    for cpu in sorted(mine):
        for index in (root / CPU / f"cpu{cpu}" / "cache").glob("index*"):
            level, kind = number(index / "level"), text(index / "type")
            size, shared = size_bytes(text(index / "size")), cpus(text(index / "shared_cpu_list"))
            if level is not None and kind and size:
                found.setdefault((level, kind.lower()), {})[shared or frozenset({cpu})] = size
    if not found:
        return Missing("the system does not tell its caches")
    return [
        {
            "level": level,
            "kind": kind,
            "size_bytes": max(instances.values()),
            "instances": len(instances),
            "shared_by": max(len(shared) for shared in instances),
        }
        for (level, kind), instances in sorted(found.items())
    ]


def last_cache_bytes(caches: Any) -> int:
    """All caches of the last level together; 0 when unknown."""
    if isinstance(caches, Missing) or not caches:
        return 0
    last = max(caches, key=lambda cache: cache["level"])
    return int(last["size_bytes"] * last["instances"])


def _instructions(root: Path) -> Any:
    flags = _flags(root)
    if not flags:
        return Missing("the system does not tell its instruction sets")
    table = ARM_INSTRUCTIONS if {"asimd", "fp"} & flags and "sse2" not in flags else INSTRUCTIONS
    return {name: set(needed) <= flags for name, needed in table.items()}


def _flags(root: Path) -> frozenset[str]:
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() in ("flags", "Features"):
            return frozenset(value.split())
    return frozenset()


def _memory(root: Path, total: Any) -> dict[str, Any]:
    unknown = "the system does not tell its memory"
    return {
        "total_bytes": _or(total, unknown),
        "available_bytes": available_memory_bytes(root) or Missing(unknown),
        "limit_bytes": _or(limits(root).memory_bytes, "no control group limits the memory"),
    }


def _frequency(root: Path, mine: Set[int]) -> dict[str, Any]:
    """Of the first allowed processor; a virtual machine rarely tells."""
    folder = root / CPU / f"cpu{min(mine, default=0)}" / "cpufreq"
    current = number(folder / "scaling_cur_freq")
    shown = _shown_hz(root)
    hidden = "the system does not tell it (usual in a virtual machine)"
    most = number(folder / "cpuinfo_max_freq")
    return {
        "governor": _or(text(folder / "scaling_governor") or None, hidden),
        "current_hz": _or(current * 1000 if current else shown, hidden),
        "max_hz": _or(most * 1000 if most else None, hidden),
    }


def _shown_hz(root: Path) -> int | None:
    for line in (text(root / "proc/cpuinfo") or "").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "cpu MHz":
            try:
                return round(float(value) * 1e6)
            except (ValueError, OverflowError):
                return None
    return None
