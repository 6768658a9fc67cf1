"""The page in a real headless Chromium: no request, no axe violation, light and dark, narrow, without scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from looking import SCRIPTED, VISITS, looked_at

from gatewise import report

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    page = tmp_path_factory.mktemp("browser") / "report.html"
    page.write_text(report.html(json.loads(EXAMPLE.read_text("utf-8"))), "utf-8")
    return looked_at(page)


@pytest.mark.parametrize("visit", VISITS)
def test_nothing_is_requested_and_nothing_is_logged(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["requests"] == []
    assert findings[visit]["messages"] == []


@pytest.mark.parametrize("visit", SCRIPTED)
def test_axe_finds_no_violation(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["violations"] == []
    assert findings[visit]["passes"] > 20  # the audit really ran


@pytest.mark.parametrize("visit", SCRIPTED)
def test_the_page_is_never_wider_than_the_window_and_the_first_stop_is_the_skip_link(
    findings: dict[str, dict[str, Any]], visit: str
) -> None:
    assert findings[visit]["overflow"] <= 0
    assert findings[visit]["firstFocus"] == "skip"


@pytest.mark.parametrize("visit", VISITS)
def test_the_headline_stands_on_the_first_screen(findings: dict[str, dict[str, Any]], visit: str) -> None:
    wanted = json.loads(EXAMPLE.read_text("utf-8"))["verdict"]["headline"]
    assert findings[visit]["headline"] is True
    assert " ".join(findings[visit]["heading"].split()) == wanted
    assert findings[visit]["headings"] == 1
    assert findings[visit]["answersBelow"] <= 0


def test_without_scripts_the_page_says_the_same(findings: dict[str, dict[str, Any]]) -> None:
    same = ("heading", "text", "tables", "figures")
    assert {key: findings["no-script"][key] for key in same} == {key: findings["light"][key] for key in same}
    assert findings["light"]["figures"] > 10


def test_a_narrow_window_has_the_same_figures_in_their_narrow_form(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["tiny"]["figures"] == findings["light"]["figures"]
