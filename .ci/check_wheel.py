"""Checks that a built wheel holds every file of the package, the native kernels, and nothing else.

python .ci/check_wheel.py FILE.whl
"""

import re
import sys
import zipfile
from pathlib import Path

NATIVE = "gatewise/kernels/_native.so"
MAX_BYTES = 2_000_000
NEWEST = {"GLIBC": (2, 28), "GLIBCXX": (3, 4, 25), "CXXABI": (1, 3, 11)}


def too_new(library: bytes) -> list[str]:
    """Symbol versions that a system with glibc 2.28 lacks."""
    found = set(re.findall(rb"\b(GLIBC|GLIBCXX|CXXABI)_(\d+(?:\.\d+)+)", library))
    return sorted(
        f"{kind.decode()}_{version.decode()}"
        for kind, version in found
        if tuple(map(int, version.split(b"."))) > NEWEST[kind.decode()]
    )


def main(wheel: Path) -> str | None:
    """Says what is wrong with the wheel, or None."""
    source = Path(__file__).parents[1] / "src"
    wanted = {
        path.relative_to(source).as_posix()
        for path in (source / "gatewise").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    } | {NATIVE}
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if ".dist-info/" not in name}
        licences = [name for name in archive.namelist() if name.endswith("licenses/LICENSE")]
        newer = too_new(archive.read(NATIVE)) if NATIVE in names else []
    if NATIVE not in names:
        return f"the wheel lacks the native kernels, {NATIVE}: they were not built (is a C++ compiler there?)"
    if newer:
        return f"the native kernels need a newer system than glibc 2.28: {', '.join(newer)}"
    if wanted != names:
        return f"missing from the wheel: {sorted(wanted - names)}; too much in it: {sorted(names - wanted)}"
    if "gatewise/py.typed" not in names or not licences:
        return "the wheel lacks py.typed or the licence"
    if wheel.stat().st_size > MAX_BYTES:
        return f"the wheel has {wheel.stat().st_size} bytes, at most {MAX_BYTES}"
    print(f"{wheel.name}: {len(names)} files, {wheel.stat().st_size} bytes")
    return None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
