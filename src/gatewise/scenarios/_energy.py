"""Energy, where the machine itself measures it: Intel's and AMD's RAPL counters of whole packages. Never estimated."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

ROOT = Path("/sys/class/powercap")


@dataclass(frozen=True, kw_only=True)
class Energy:
    """Joules of all processor packages while something ran, the rest of the machine's work included.

    `joules` is None where it was not measured, and `reason` then says why.
    """

    joules: float | None
    reason: str | None


def _counters(root: Path) -> dict[str, tuple[int, int]] | str:
    """Microjoules and where they wrap, by package; or why there are none."""
    found: dict[str, tuple[int, int]] = {}
    zones = sorted(path for path in root.glob("*-rapl:*") if path.name.count(":") == 1)
    if not zones:
        return "not measured: this machine offers no energy counter"
    try:
        for zone in zones:
            value = int((zone / "energy_uj").read_text(encoding="ascii"))
            found[zone.name] = value, int((zone / "max_energy_range_uj").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return "not measured: the energy counter cannot be read by this user"
    return found


def energy_of(work: Callable[[], object], *, root: Path = ROOT) -> Energy:
    """Do some work and read what the packages used meanwhile; a counter that wraps once is followed."""
    before = _counters(root)
    work()
    after = _counters(root)
    if isinstance(before, str):
        return Energy(joules=None, reason=before)
    if isinstance(after, str):
        return Energy(joules=None, reason=after)
    micro = sum((after[name][0] - value) % (limit + 1) for name, (value, limit) in before.items() if name in after)
    return Energy(joules=micro * 1e-6, reason=None)
