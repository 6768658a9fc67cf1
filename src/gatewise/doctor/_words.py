"""Numbers for people."""

from collections.abc import Mapping
from typing import Any


def percent(share: float, digits: int) -> str:
    """A share in percent."""
    return f"{100 * share:.{digits}f} %"


def duration(seconds: float) -> str:
    """A time span."""
    return f"{seconds:.1f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def size(count: float) -> str:
    """Bytes with a binary prefix, as memory is sold."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.3g} {unit}"
        count /= 1024
    return f"{count:.3g} GiB"


def spread(found: Mapping[str, float], scale: float) -> str:
    """The middle of some repeats with the lowest and the highest."""
    middle, low, high = (found[name] / scale for name in ("median", "low", "high"))
    return f"{middle:.0f} ({low:.0f}–{high:.0f})"


def cache(each: Mapping[str, Any]) -> str:
    """One level of cache."""
    kind = {"data": "d", "instruction": "i", "unified": ""}.get(each["kind"], f" {each['kind']}")
    name = f"L{each['level']}{kind}"
    many = f"{each['instances']} × " if each["instances"] > 1 else ""
    shared = f" shared by {each['shared_by']} threads" if each["shared_by"] > 1 else ""
    return f"{name} {many}{size(each['size_bytes'])}{shared}"


def array(count: int, beyond: float | None) -> str:
    """The size of an array, and how far beyond the last cache it is."""
    if beyond is None:
        return f"{size(count)}; the size of the last cache is unknown"
    return f"{size(count)}, {beyond:.1f} times the last cache"


def rate_of(found: Mapping[str, Any]) -> str:
    """A rate with its interval."""
    low, high = found["interval"]
    return f"{found['hits']} of {found['of']}: {percent(found['rate'], 1)} ({percent(low, 1)} to {percent(high, 1)})"
