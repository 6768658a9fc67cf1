"""Facts about the machine and the software that a measurement depends on. Reads files; imports nothing heavy.

Every function takes the `root` below which `/proc` and `/sys` lie, so that tests can bring a machine of their own. A
file that is not there, or does not hold what it should, makes a fact unknown and never raises.
"""

import os
import sys
from collections.abc import Set
from pathlib import Path

ROOT = Path("/")

PACKAGES = ("gatewise", "torch", "transformers", "tokenizers", "safetensors", "numpy", "scipy")
ENGINES = ("onnxruntime", "openvino", "zentorch", "nncf", "executorch")
"""Named where they are installed: what a study ran on must be the same for its records to be compared."""

# What must be equal for two records to be compared (rule 7): another machine or another version is another experiment.
IDENTITY = ("cpu", "cores", "instruction_set", "os", "python", "packages")

VENDORS_OF_VIRTUAL_MACHINES = (
    "qemu",
    "kvm",
    "vmware",
    "virtualbox",
    "innotek",
    "xen",
    "amazon ec2",
    "bochs",
    "parallels",
)
"""Where the processor does not say that it is virtual (ARM), the maker of the mainboard may."""

Fact = str | int | float | bool | None | dict[str, str | None]


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None


def _first(path: Path, *names: str) -> str | None:
    """The value of the first `name : value` line with one of these names."""
    for line in (_text(path) or "").splitlines():
        name, colon, value = line.partition(":")
        if colon and name.strip() in names:
            return value.strip()
    return None


def _kilobytes(path: Path, name: str) -> int | None:
    words = (_first(path, name) or "").split()
    return int(words[0]) * 1024 if words and words[0].isdecimal() else None


def _version(package: str) -> str | None:
    from importlib.metadata import PackageNotFoundError, version  # keeps `gatewise --help` light

    try:
        return version(package)
    except PackageNotFoundError:
        return None


def _flags(root: Path) -> frozenset[str]:
    """What the processor says it can do, in the kernel's words (`avx2`, `asimd`, ...); empty when unknown."""
    return frozenset((_first(root / "proc/cpuinfo", "flags", "Features") or "").split())


def _instruction_set(flags: Set[str]) -> str:
    for name, needed in (
        ("AVX-512 with bf16", {"avx512f", "avx512_bf16"}),
        ("AVX-512", {"avx512f"}),
        ("AVX2", {"avx2"}),
        ("SVE", {"sve"}),
        ("NEON", {"asimd"}),
    ):
        if needed <= flags:
            return name
    return "no AVX"


def _cpu(root: Path) -> str:
    """The processor's name; ARM kernels give its maker's and its own number instead."""
    import platform  # keeps `gatewise --help` light

    info = root / "proc/cpuinfo"
    name = _first(info, "model name")
    maker, part = _first(info, "CPU implementer"), _first(info, "CPU part")
    if not name and maker and part:
        name = f"ARM implementer {maker} part {part}"
    return name or platform.processor() or "unknown"


def _virtual(root: Path, flags: Set[str]) -> bool:
    if "hypervisor" in flags:
        return True
    dmi = root / "sys/class/dmi/id"
    maker = f"{_text(dmi / 'sys_vendor') or ''} {_text(dmi / 'product_name') or ''}".lower()
    return "virtual machine" in maker or any(vendor in maker for vendor in VENDORS_OF_VIRTUAL_MACHINES)


def available_memory_bytes(root: Path = ROOT) -> int:
    """Memory that a new process could take without swapping, in bytes (0 when unknown)."""
    return _kilobytes(root / "proc/meminfo", "MemAvailable") or 0


def num_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def environment(root: Path = ROOT) -> dict[str, Fact]:
    """The machine and the software, as plain data for a record."""
    import platform  # keeps `gatewise --help` light

    flags = _flags(root)
    governor = _text(root / "sys/devices/system/cpu/cpu0/cpufreq/scaling_governor")
    return {
        "machine": platform.machine(),
        "cpu": _cpu(root),
        "cores": num_cores(),
        "instruction_set": _instruction_set(flags),
        "memory_bytes": _kilobytes(root / "proc/meminfo", "MemTotal"),
        "frequency_governor": governor.strip() if governor is not None else None,
        "virtual_machine": _virtual(root, flags),
        "load_at_start": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
        "os": f"{platform.system()} {platform.release()}",
        "python": sys.version.split()[0],
        "packages": {package: _version(package) for package in PACKAGES}
        | {package: version for package in ENGINES if (version := _version(package)) is not None},
    }


def same_machine(one: dict[str, Fact], other: dict[str, Fact]) -> list[str]:
    """The facts that differ between two environments and forbid comparing their records; empty when none do."""
    return [key for key in IDENTITY if one.get(key) != other.get(key)]
