"""The machine and the software, on top of every output."""

import os
from collections.abc import Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from gatewise.core import environment

PEERS = ("torch", "zentorch", "onnxruntime", "openvino", "numba")


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "absent"


def caches() -> str:
    """Sizes of the first core's caches, as the kernel tells them."""
    found: list[str] = []
    for index in sorted(Path("/sys/devices/system/cpu/cpu0/cache").glob("index*")):
        try:
            level, kind, size = ((index / name).read_text().strip() for name in ("level", "type", "size"))
        except OSError:
            continue
        if kind != "Instruction":
            found.append(f"L{level} {size}")
    return ", ".join(found) or "unknown"


def header(threads: Sequence[int]) -> dict[str, str]:
    """Facts by name; the first says what figures hold for."""
    from gatewise.kernels import status

    facts = environment()
    family = _cpuinfo("cpu family"), _cpuinfo("model")
    pages = Path("/sys/kernel/mm/transparent_hugepage/enabled")
    counted = " and ".join(map(str, sorted(set(threads))))
    return {
        "measured on": f"{facts['cpu']} (family {family[0]} model {family[1]}), {status()}, torch {_version('torch')}, "
        f"{counted} thread{'s' if counted != '1' else ''}, accuracy default (`high` where a row or column says so)",
        "cpu": f"{facts['cpu']}, family {family[0]} model {family[1]}, {facts['cores']} cores usable, "
        f"{facts['instruction_set']}, caches {caches()}",
        "virtual machine": "yes" if facts["virtual_machine"] else "no",
        "memory": f"{int(facts['memory_bytes'] or 0) / 2**30:.0f} GiB; transparent huge pages: "
        f"{pages.read_text().strip() if pages.is_file() else 'unknown'}",
        "load at start": f"{os.getloadavg()[0]:.2f}",
        "os": f"{facts['os']}, python {facts['python']}",
        "kernels": str(status()),
        "versions": ", ".join(f"{name} {_version(name)}" for name in PEERS),
    }


def busy(threads: int) -> list[str]:
    """A line where other work ran while this one did, so far as the load of the last minute tells."""
    load = os.getloadavg()[0]
    if load <= threads + 0.5:
        return []
    return [f"the load is {load:.1f} after the run: something else ran too, no figure of it is a result"]


def _cpuinfo(name: str) -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return "?"
    return next((line.partition(":")[2].strip() for line in lines if line.partition(":")[0].strip() == name), "?")
