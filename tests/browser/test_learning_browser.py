"""A report of arms that trained at rates of their own, in a headless Chromium."""

import json
import sys
from pathlib import Path
from typing import Any

import pytest
from looking import VISITS, EveryPage, looked_at

from gatewise import report

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from learning_examples import with_search

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def findings(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("browser")
    example = Path(__file__).parents[1] / "data" / "result-example.json"
    report.write(with_search(json.loads(example.read_text("utf-8"))), folder)
    return looked_at(folder / "report.html", shots="learning")


class TestEveryPage(EveryPage):
    """What holds for every page."""


@pytest.mark.parametrize("visit", VISITS)
def test_the_headline_is_there_once(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["headline"] is True
    assert findings[visit]["headings"] == 1


def test_a_narrow_window_has_the_same_figures_in_their_narrow_form(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["tiny"]["figures"] == findings["light"]["figures"] >= 3
