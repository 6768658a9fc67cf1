"""The page of a running service in a headless Chromium: light, dark, on a phone, without scripts."""

import sys
from pathlib import Path
from typing import Any

import pytest
from looking import VISITS, EveryPage, looked_at

sys.path.insert(0, str(Path(__file__).parents[1] / "unit"))
from monitor_examples import Story, example, reference, written

from gatewise.monitor import Record
from gatewise.monitor._cost import Machine
from gatewise.monitor._page import write_page
from gatewise.monitor._status import StatusSettings, status_of

pytestmark = pytest.mark.browser


def page(kind: str, folder: Path) -> Path:
    """An alarm with everything on the page, or a service that has hardly begun."""
    settings = StatusSettings(machine=Machine(cores=4, price_per_hour=0.2))
    if kind == "calm":
        one = Record(request="a", at_ns=10**18, model="encoder", version="v1", digest="d", role="live", compute_s=0.01)
        return write_page(status_of([one], settings, folder="records"), folder / "page.html")
    records, labels = example(Story(requests=3000, canary=True))
    (folder / "references" / "encoder").mkdir(parents=True)
    (folder / "references" / "encoder" / "v1.json").write_text(reference(records).to_json(), "utf-8")
    return write_page(status_of(written(records, labels), settings, folder=str(folder)), folder / "page.html")


@pytest.fixture(scope="module", params=["alarm", "calm"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    return looked_at(page(request.param, tmp_path_factory.mktemp("browser")), shots=f"monitor-{request.param}")


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
