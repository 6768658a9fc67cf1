"""Opens a page in headless Chromium by `look.mjs`, and says what it found at each visit."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

HERE = Path(__file__).parent
REQUIRED = os.environ.get("GATEWISE_REQUIRE_BROWSER") == "1"
VISITS = ("light", "dark", "phone", "tiny", "no-script")
SCRIPTED = [visit for visit in VISITS if visit != "no-script"]


def missing(reason: str) -> None:
    """Skips; where the browser is required, fails."""
    if REQUIRED:
        pytest.fail(f"GATEWISE_REQUIRE_BROWSER=1, but {reason}")
    pytest.skip(reason)


def looked_at(page: Path, *, shots: str = "") -> dict[str, dict[str, Any]]:
    """What each visit to a page found, by name. With GATEWISE_SCREENSHOTS pictures go into `shots` there."""
    chromium, node = shutil.which("chromium"), shutil.which("node")
    if not chromium:
        missing("chromium is not installed (Debian: apt-get install chromium)")
    if not node:
        missing("node is not installed (Debian: apt-get install nodejs npm)")
    if not (HERE / "node_modules" / "playwright-core").is_dir() or not (HERE / "node_modules" / "axe-core").is_dir():
        missing("tests/browser/node_modules is missing (cd tests/browser && npm ci)")
    command = [str(node), str(HERE / "look.mjs"), "--chromium", str(chromium), "--report", str(page)]
    command += ["--profile", str(page.parent / "profile")]
    if folder := os.environ.get("GATEWISE_SCREENSHOTS"):
        command += ["--shots", str(Path(folder) / shots)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return {each["name"]: each for each in json.loads(done.stdout)}


class EveryPage:
    """What holds for every page. A test module gives the fixture `findings`, as `looked_at` returns them."""

    @pytest.mark.parametrize("visit", VISITS)
    def test_nothing_is_requested_and_nothing_is_logged(self, findings: dict[str, dict[str, Any]], visit: str) -> None:
        assert findings[visit]["requests"] == []
        assert findings[visit]["messages"] == []

    @pytest.mark.parametrize("visit", SCRIPTED)
    def test_axe_finds_no_violation(self, findings: dict[str, dict[str, Any]], visit: str) -> None:
        assert findings[visit]["violations"] == []
        assert findings[visit]["passes"] > 20  # the audit really ran

    @pytest.mark.parametrize("visit", SCRIPTED)
    def test_the_page_is_never_wider_than_the_window_and_the_first_stop_is_the_skip_link(
        self, findings: dict[str, dict[str, Any]], visit: str
    ) -> None:
        assert findings[visit]["overflow"] <= 0
        assert findings[visit]["firstFocus"] == "skip"
