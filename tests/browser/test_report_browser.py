"""The page in a real headless Chromium: no request, no axe violation, light and dark, narrow, without scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from looking import VISITS, EveryPage, looked_at

from gatewise import report

EXAMPLE = Path(__file__).parents[1] / "data" / "result-example.json"
pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    page = tmp_path_factory.mktemp("browser") / "report.html"
    page.write_text(report.html(json.loads(EXAMPLE.read_text("utf-8"))), "utf-8")
    return looked_at(page)


class TestEveryPage(EveryPage):
    """What holds for every page."""


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
