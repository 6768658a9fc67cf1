"""What is in the repository: small text files, no models or built things, nothing that holds on one machine only."""

import re
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
MAX_BYTES = 300_000
BINARIES = {
    ".safetensors",
    ".bin",
    ".onnx",
    ".parquet",
    ".whl",
    ".pt",
    ".pth",
    ".pkl",
    ".npz",
    ".npy",
    ".sqlite",
    ".so",
}
PICTURES = {".png", ".jpg", ".webp", ".ico"}
# Somebody's home or checkout, written into a file. A path that starts with `~` travels; these do not.
MACHINE_PATH = re.compile(r"(?<![\w.~])(/(home|Users|root|work|workspace|tmp/[\w.-]+)/[\w.]|[A-Z]:\\Users\\)")
# Where packages come from is the user's choice: no index in a command, no resolved address in a lock file.
PACKAGE_SOURCE = re.compile(r"--(extra-)?index-url|--find-links|\"resolved\": *\"http")

pytestmark = pytest.mark.skipif(
    shutil.which("git") is None or not (ROOT / ".git").exists(), reason="not a git checkout"
)


def git(*arguments: str) -> list[str]:
    """The NUL-separated answer of a git command that only reads."""
    done = subprocess.run(["git", *arguments, "-z"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    return [name for name in done.stdout.split("\0") if name]


def tree() -> list[Path]:
    """What git has or would take: tracked files and new ones that are not ignored."""
    paths = [ROOT / name for name in git("ls-files", "--cached", "--others", "--exclude-standard")]
    return [path for path in paths if path.is_file()]


def machine_paths(text: str) -> list[str]:
    """The absolute paths of a developer's machine in a text."""
    return [match.group() for match in MACHINE_PATH.finditer(text)]


def test_tree_was_read() -> None:
    assert {"pyproject.toml", "README.md", "LICENSE", ".gitignore"} <= {path.name for path in tree()}


def test_files_are_small() -> None:
    assert [path.name for path in tree() if path.stat().st_size > MAX_BYTES] == []


def test_no_binaries() -> None:
    assert [path.name for path in tree() if path.suffix in BINARIES] == []
    with_nul = [path.name for path in tree() if path.suffix not in PICTURES and b"\0" in path.read_bytes()]
    assert with_nul == []


def test_no_paths_of_one_machine() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in tree() if path.suffix not in PICTURES}
    found = [f"{path.relative_to(ROOT)}: {name}" for path, text in texts.items() for name in machine_paths(text)]
    assert found == []


def test_no_package_source_is_named() -> None:
    this = Path(__file__)
    texts = {path: path.read_text(encoding="utf-8") for path in tree() if path.suffix not in PICTURES and path != this}
    assert [path.name for path, text in texts.items() if PACKAGE_SOURCE.search(text)] == []


@pytest.mark.parametrize("text", ["see " + "/ho" + "me/ada/x.py", "'" + "/wo" + "rk/x'", "C:" + "\\Users\\ada"])
def test_machine_paths_are_seen(text: str) -> None:
    assert machine_paths(text) != []


@pytest.mark.parametrize("text", ["src/home/x", "https://a.org/home/x", "and/or", "/usr/bin/env bash", "~/home/x"])
def test_other_paths_pass(text: str) -> None:
    assert machine_paths(text) == []


IGNORED = [
    ".venv/bin/python",
    ".ci/venv/dev/bin/python",
    "src/gatewise/core/__pycache__/x.pyc",
    "tests/browser/node_modules/x/index.js",
    ".hypothesis/examples/x",
    ".pytest_cache/x",
    ".ruff_cache/x",
    "dist/gatewise.whl",
    "gatewise-out/result.json",
    "model.safetensors",
    "study.sqlite",
]


@pytest.mark.parametrize("name", IGNORED)
def test_gitignore_leaves_out(name: str) -> None:
    done = subprocess.run(["git", "check-ignore", "-q", "--no-index", name], cwd=ROOT, timeout=60, check=False)
    assert done.returncode == 0


def test_gitignore_hides_nothing_that_is_tracked() -> None:
    assert git("ls-files", "--cached", "--ignored", "--exclude-standard") == []


def test_gitignore_hides_no_source() -> None:
    hidden = git("ls-files", "--others", "--ignored", "--exclude-standard", "--", "src", "tests", "docs", "benchmarks")
    assert [
        name
        for name in hidden
        if name.endswith((".py", ".md", ".html", ".j2", ".js", ".css")) and "node_modules" not in name
    ] == []


def test_nox_names_stages_of_ci() -> None:
    stages = set(
        re.findall(r"^stage_(\w+)\(\)", (ROOT / ".ci" / "run").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    sessions = set(
        re.findall(r"^_stage\(\"(\w+)\"", (ROOT / "noxfile.py").read_text(encoding="utf-8"), flags=re.MULTILINE)
    )
    assert {"tests", "lint", "types", "wheel", "bare", "demo", "browser"} <= stages
    assert sessions == stages


def test_tests_cannot_reach_the_network() -> None:
    with socket.socket() as plug, pytest.raises(AssertionError, match="reached for the network"):
        plug.connect(("192.0.2.1", 80))
