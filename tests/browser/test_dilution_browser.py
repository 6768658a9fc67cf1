"""The dilution's page, and a report with moves, selection and continuations, in a real headless Chromium."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from looking import SCRIPTED, VISITS, looked_at

from gatewise import report

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from report_examples import diluted, with_extras

pytestmark = pytest.mark.browser


def page(kind: str, folder: Path) -> Path:
    if kind == "dilution":
        report.write_dilution(diluted(), {}, folder)
        return folder / "dilution.html"
    example = Path(__file__).parents[1] / "data" / "result-example.json"
    report.write(with_extras(json.loads(example.read_text("utf-8"))), folder)
    return folder / "report.html"


@pytest.fixture(scope="module", params=["dilution", "extras"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return looked_at(page(request.param, tmp_path_factory.mktemp("browser")), shots=request.param)


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
def test_the_headline_is_there_once(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["headline"] is True
    assert findings[visit]["headings"] == 1


def test_without_scripts_the_page_says_the_same(findings: dict[str, dict[str, Any]]) -> None:
    same = ("heading", "text", "tables", "figures")
    assert {key: findings["no-script"][key] for key in same} == {key: findings["light"][key] for key in same}


def test_a_narrow_window_has_the_same_figures_in_their_narrow_form(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["tiny"]["figures"] == findings["light"]["figures"] >= 2
