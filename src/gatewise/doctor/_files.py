"""Small files of the kernel, read without trust: what is not there, or not what it should be, is None."""

import re
from pathlib import Path

ROOT = Path("/")

_SIZES = {"": 1, "K": 2**10, "M": 2**20, "G": 2**30}


def text(path: Path) -> str | None:
    """The stripped text of a file, or None."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except OSError:
        return None


def number(path: Path) -> int | None:
    """A file that holds one whole number of 0 or more."""
    content = text(path)
    return int(content) if content is not None and content.isdecimal() else None


def size_bytes(content: str | None) -> int | None:
    """A size as the kernel writes it: `32K`, `1024K`, `8M`."""
    found = re.fullmatch(r"(\d+)([KMG]?)", content or "")
    return int(found[1]) * _SIZES[found[2]] if found else None


def cpus(content: str | None) -> frozenset[int]:
    """A list of processors as the kernel writes it: `0-3,8`. Empty when it is not one."""
    found: set[int] = set()
    for span in (content or "").split(","):
        ends = re.fullmatch(r"(\d+)(?:-(\d+))?", span.strip())
        if ends is None:
            return frozenset()
        found |= set(range(int(ends[1]), int(ends[2] or ends[1]) + 1))
    return frozenset(found)


def fields(content: str | None) -> dict[str, int]:
    """Lines of `name value`, those with a whole number."""
    pairs = (line.split() for line in (content or "").splitlines())
    return {pair[0].rstrip(":"): int(pair[1]) for pair in pairs if len(pair) >= 2 and pair[1].isdecimal()}
