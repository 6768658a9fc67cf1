"""Checks that a built wheel holds every file of the package, the native kernels, and nothing else: `python .ci/check_wheel.py FILE.whl`."""

import sys
import zipfile
from pathlib import Path

NATIVE = "gatewise/kernels/_native.so"
MAX_BYTES = 2_000_000


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
    if NATIVE not in names:
        return f"the wheel lacks the native kernels, {NATIVE}: they were not built (is a C++ compiler there?)"
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
