"""The claims' pages in a real headless Chromium: no request, no axe violation, light and dark, narrow, no scripts."""

import json
from pathlib import Path
from typing import Any

import pytest
from looking import VISITS, EveryPage, looked_at

from gatewise import report

EXAMPLE = Path(__file__).parents[1] / "data" / "claims-example.json"
pytestmark = pytest.mark.browser


def document(schema: str) -> dict[str, Any]:
    """The example as it is, or as the results of two machines that differ in one claim."""
    graded = json.loads(EXAMPLE.read_text("utf-8"))
    if schema == "claims":
        return graded
    names = ["an example processor, 2 cores", "another example processor, 64 cores"]
    rows = []
    for entry in graded["claims"]:
        results = [entry | {"machine": name} for name in names]
        results[1] |= {"grade": "inconclusive"} if entry["id"] == "E1" else {}
        rows.append({"id": entry["id"], "sentence": entry["sentence"], "results": results})
    machines = [{"name": name, "environment": graded["environment"], "written": graded["written"]} for name in names]
    return {
        "schema": "gatewise.claims-merged/1",
        "meaning": graded["meaning"],
        "machines": machines,
        "claims": rows,
    }


@pytest.fixture(scope="module", params=["claims", "merged"])
def findings(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, Any]]:
    folder = tmp_path_factory.mktemp("browser")
    report.write_claims(document(request.param), folder)
    return looked_at(folder / "claims.html", shots=request.param)


class TestEveryPage(EveryPage):
    """What holds for every page."""


@pytest.mark.parametrize("visit", VISITS)
def test_the_headline_is_there_once(findings: dict[str, dict[str, Any]], visit: str) -> None:
    assert findings[visit]["headline"] is True
    assert findings[visit]["headings"] == 1
    assert " claims" in findings[visit]["heading"]


def test_without_scripts_the_page_says_the_same(findings: dict[str, dict[str, Any]]) -> None:
    same = ("heading", "text", "tables", "figures")
    assert {key: findings["no-script"][key] for key in same} == {key: findings["light"][key] for key in same}
    assert findings["light"]["figures"] > 10


def test_a_narrow_window_has_the_same_figures_in_their_narrow_form(findings: dict[str, dict[str, Any]]) -> None:
    assert findings["tiny"]["figures"] == findings["light"]["figures"]
