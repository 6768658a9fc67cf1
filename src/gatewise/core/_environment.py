"""Facts about the machine and the software that a measurement depends on. Reads files; imports nothing heavy."""

import os
import sys
from pathlib import Path

PACKAGES = ("gatewise", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy")

# What must be equal for two records to be compared (rule 7): another machine or another version is another experiment.
IDENTITY = ("cpu", "cores", "instruction_set", "os", "python", "packages")

Fact = str | int | float | bool | None | dict[str, str | None]


def _first(path: str, prefix: str) -> str | None:
    try:
        with Path(path).open(encoding="utf-8") as lines:
            for line in lines:
                if line.startswith(prefix):
                    return line.partition(":")[2].strip()
    except OSError:
        pass
    return None


def _read(path: str) -> str | None:
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except OSError:
        return None


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # keeps `gatewise --help` light

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _instruction_set() -> str:
    flags = set((_first("/proc/cpuinfo", "flags") or "").split())
    for name, needed in (
        ("AVX-512 with bf16", {"avx512f", "avx512_bf16"}),
        ("AVX-512", {"avx512f"}),
        ("AVX2", {"avx2"}),
    ):
        if needed <= flags:
            return name
    return "no AVX"


def available_memory_bytes() -> int:
    """Memory that a new process could take without swapping, in bytes (0 when unknown)."""
    text = _first("/proc/meminfo", "MemAvailable")
    return int(text.split()[0]) * 1024 if text else 0


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment() -> dict[str, Fact]:
    """The machine and the software, as plain data for a record."""
    import platform  # keeps `gatewise --help` light

    total = _first("/proc/meminfo", "MemTotal")
    return {
        "machine": platform.machine(),
        "cpu": _first("/proc/cpuinfo", "model name") or platform.processor() or "unknown",
        "cores": num_cores(),
        "instruction_set": _instruction_set(),
        "memory_bytes": int(total.split()[0]) * 1024 if total else None,
        "frequency_governor": _read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor"),
        "virtual_machine": "hypervisor" in (_first("/proc/cpuinfo", "flags") or "").split(),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "os": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "packages": {package: _version(package) for package in PACKAGES},
    }


def same_machine(one: dict[str, Fact], other: dict[str, Fact]) -> list[str]:
    """The facts that differ between two environments and forbid comparing their records; empty when none do."""
    return [key for key in IDENTITY if one.get(key) != other.get(key)]
