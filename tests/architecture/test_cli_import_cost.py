"""`gatewise --help` stays cheap. Seconds are not asserted: the number of modules it imports stands for them.

On Python 3.11 argparse adds about 35 modules to bare python, and dataclasses with what it needs about 20 more. What
would break the budget of 60 ms brings many more: importlib.metadata with its mail parser 105, numpy over a hundred.
"""

import importlib.util
import re
import subprocess
import sys

import pytest

HEAVY = {"torch", "numpy", "scipy", "transformers", "safetensors", "rich", "jinja2", "asyncio", "sqlite3"}
MAX_EXTRA_MODULES = 75

pytestmark = pytest.mark.skipif(
    importlib.util.find_spec("gatewise.cli") is None, reason="the command line is not written yet"
)

# What the installed `gatewise` script does.
SCRIPT = ("-c", "import sys; sys.argv[0] = 'gatewise'; from gatewise.cli import main; sys.exit(main())")
MODULE = ("-m", "gatewise")


def imported(*arguments: str) -> tuple[list[str], str]:
    """The modules that a fresh interpreter imports for these arguments, and what it prints. Expects exit code 0."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    return re.findall(r"^import time:\s+\d+ \|\s+\d+ \|\s+(\S+)$", done.stderr, flags=re.MULTILINE), done.stdout


@pytest.mark.parametrize("way", [SCRIPT, MODULE], ids=["script", "module"])
@pytest.mark.parametrize("flag", ["--help", "--version"])
def test_answers_without_heavy_imports(way: tuple[str, ...], flag: str) -> None:
    bare, _ = imported("-c", "pass")
    loaded, output = imported(*way, flag)
    assert "gatewise.cli" in loaded
    assert output.strip()
    assert {name.split(".")[0] for name in loaded} & HEAVY == set()
    extra = sorted(set(loaded) - set(bare))
    assert len(extra) <= MAX_EXTRA_MODULES, extra


@pytest.mark.parametrize("way", [SCRIPT, MODULE], ids=["script", "module"])
def test_help_names_the_main_job(way: tuple[str, ...]) -> None:
    assert "evaluate" in imported(*way, "--help")[1]
