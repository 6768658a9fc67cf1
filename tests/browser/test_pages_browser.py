"""The pages of a dilution and of scenarios, and a report with moves, selection and texts, in a headless Chromium."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from looking import VISITS, EveryPage, looked_at

from gatewise import report

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
import test_report_scenarios
from report_examples import diluted, with_extras

pytestmark = pytest.mark.browser


def page(kind: str, folder: Path) -> Path:
    if kind == "dilution":
        report.write_dilution(diluted(), {}, folder)
        return folder / "dilution.html"
    if kind == "scenarios":
        held = test_report_scenarios.hybrid(test_report_scenarios.POINT | {"threshold": 0.7})
        report.write_scenarios(test_report_scenarios.document(hybrid=held), folder)
        return folder / "scenarios.html"
    example = Path(__file__).parents[1] / "data" / "result-example.json"
    report.write(with_extras(json.loads(example.read_text("utf-8"))), folder)
    return folder / "report.html"


@pytest.fixture(scope="module", params=["dilution", "extras", "scenarios"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return looked_at(page(request.param, tmp_path_factory.mktemp("browser")), shots=request.param)


class TestEveryPage(EveryPage):
    """What holds for every page."""


@pytest.mark.parametrize("visit", VISITS)
def test_the_headline_is_there_once(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["headline"] is True
    assert findings[visit]["headings"] == 1


def test_without_scripts_the_page_says_the_same(findings: dict[str, dict[str, Any]]) -> None:
    same = ("heading", "text", "tables", "figures")
    assert {key: findings["no-script"][key] for key in same} == {key: findings["light"][key] for key in same}


def test_a_narrow_window_has_the_same_figures_in_their_narrow_form(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["tiny"]["figures"] == findings["light"]["figures"] >= 1
