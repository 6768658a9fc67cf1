"""The page of a scenario: what it says, that table and figure agree, and that broken documents do not stop it."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from gatewise.core import GatewiseError
from gatewise.report import _scenarios_view as view
from gatewise.report import write_scenarios

PERCENTILES = [
    {"percentile": 0.5, "value_s": 0.004, "low_s": 0.003, "high_s": 0.005, "n": 200, "confidence": 0.95, "needs": None},
    {"percentile": 0.99, "value_s": 0.009, "low_s": 0.007, "high_s": None, "n": 200, "confidence": 0.95, "needs": 368},
]
POINT = {
    "passed_on": 0.3,
    "quality": 0.91,
    "quality_change": -0.01,
    "quality_low": -0.02,
    "latency_s": 0.01,
    "cost": 1e-6,
}


def document(**given: Any) -> dict[str, Any]:
    asked = {"model": "m<b>", "scenario": "single-stream", "currency": "EUR", "p99_s": None, "percentile": 0.99}
    default: dict[str, Any] = {
        "schema": "gatewise.scenarios/1",
        "asked": asked | given.pop("asked", {}),
        "implementation": "engine 1",
        "notes": ["a note"],
        "result": {"scenario": "SingleStream", "percentiles": PERCENTILES},
        "edge": None,
        "batches": None,
        "cost": None,
        "hybrid": None,
        "break_even": None,
        "started": "2026-01-02T03:04:05+00:00",
        "seconds": 12.0,
        "environment": {"cpu": "some cpu", "cores": 2},
        "replay": "gatewise scenarios m",
    }
    return default | given


def hybrid(chosen: dict[str, Any] | None) -> dict[str, Any]:
    curve = [
        POINT | {"threshold": 0.5, "passed_on": 0.0, "cost": 0.0},
        POINT | {"threshold": 0.7},
        POINT | {"threshold": None, "passed_on": 1.0, "quality_change": 0.0, "quality_low": 0.0},
    ]
    return {
        "hybrid": {
            "curve": curve,
            "chosen": chosen,
            "cost_interval": [5e-7, 2e-6],
            "latency_interval": [0.008, 0.012],
            "cloud_quality": 0.92,
            "edge_quality": 0.8,
            "cloud_cost": 3e-6,
            "separation": 0.81,
            "warning": None,
            "margin": 0.03,
            "items": [100, 100],
            "reason": "no threshold qualifies: none" if chosen is None else "the cheapest threshold",
        },
        "measure": "accuracy",
        "confidence_is": "largest softmax probability",
        "edge_s": 0.004,
        "cloud_s": 0.02,
        "edge_implementation": "small engine",
    }


class Outline(HTMLParser):
    """Ids, references to them, addresses, and whether tags close."""

    def __init__(self) -> None:
        super().__init__()
        self.ids: list[str] = []
        self.wanted: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for key, value in attrs:
            if key == "id":
                self.ids.append(value or "")
            if key == "aria-labelledby":
                self.wanted += (value or "").split()
            if key in ("src", "href", "xlink:href"):
                self.addresses.append(value or "")


@pytest.fixture
def page(tmp_path: Path):
    def render(held: dict[str, Any]) -> tuple[str, str]:
        paths = write_scenarios(held, tmp_path / "out")
        assert [path.name for path in paths] == ["scenarios.json", "scenarios.md", "scenarios.html"]
        assert json.loads(paths[0].read_text()) == held
        return paths[1].read_text(), paths[2].read_text()

    return render


def test_the_page_is_one_accessible_offline_file(page: Any) -> None:
    for held in (document(), document(hybrid=hybrid(POINT | {"threshold": 0.7}), result=None)):
        _, html = page(held)
        found = Outline()
        found.feed(html)
        assert len(set(found.ids)) == len(found.ids)
        assert set(found.wanted) <= set(found.ids)
        assert all(each.startswith(("#", "data:")) for each in found.addresses)
        assert "<b>" not in html
        assert html.count("<svg role") == html.count("<desc ") > 0


def test_an_open_interval_is_said_and_drawn(page: Any) -> None:
    markdown, html = page(document())
    assert "| p99 | 9.00 ms | from 7.00 ms | 200 |" in markdown
    assert "A closed interval takes 368 queries" in markdown
    assert "bar open" in html


def test_each_try_of_the_rate_has_its_evidence(page: Any) -> None:
    tail = {"verdict": "holds", "n": 1000, "over": 3, "allowed": 5}
    tries = [
        {"purpose": "confirm", "rate": 50.0, "tail": tail, "generator": "process", "lateness_p99_s": 1e-4},
        {"purpose": "confirm", "rate": 60.0, "tail": tail | {"verdict": "fails", "over": 40}, "generator": "process"},
        {"purpose": "confirm", "rate": 70.0, "tail": tail, "generator": "process", "invalid": "the generator was late"},
    ]
    asked = {"scenario": "server", "p99_s": 0.05}
    held = document(asked=asked, result={"verdict": "holds", "rate": 50.0, "attempts": tries, "rule": "clumps counted"})
    markdown, html = page(held)
    assert "50.0 queries a second hold with p99 of at most 50.0 ms" in markdown
    assert "| 2 | confirm | 60.0/s | 1,000 | 40 | 5 | fails | process | – |" in markdown
    assert "Try 3: the generator was late" in markdown
    assert len(re.findall(r'class="mark v-better"', html.partition("<table")[0])) == 2  # once wide, once narrow
    undecided = document(
        asked=asked, result={"verdict": "undecided", "rate": None, "attempts": tries, "reason": "short"}
    )
    assert view.build(undecided).headline.startswith("Undecided")


def test_the_chosen_threshold_and_none(page: Any) -> None:
    markdown, html = page(document(hybrid=hybrid(POINT | {"threshold": 0.7}), result=None))
    assert markdown.startswith("# Pass on below a confidence of 0.7000: 30 % go to the cloud")
    assert "| cloud alone | 0.920 | 20.0 ms | 3.00 EUR |" in markdown
    assert "1.00 EUR (0.500 EUR to 2.00 EUR)" in markdown
    assert markdown.count("| any | 100 % |") == 1
    assert 'class="halo"' in html
    markdown, html = page(document(hybrid=hybrid(None), result=None))
    assert markdown.startswith("# No threshold qualifies: none")
    assert 'class="halo"' not in html
    assert "| hybrid |" not in markdown


def test_money_never_stands_without_its_utilisation(page: Any) -> None:
    amount = {"value": 2.0, "interval": [1.5, 2.5]}
    cost = dict.fromkeys(("per_request", "per_million", "per_month", "busy_per_million"), amount)
    pricing = {"price_per_hour": 0.4, "utilisation": 0.3, "currency": "EUR", "requests_per_month": 1e6, "shape": {}}
    held = cost | {"machines": 2, "pricing": pricing, "capacity": {"samples_per_s": 10.0, "source": "offline"}}
    markdown, _ = page(document(cost=held))
    assert "400 EUR an hour, machines loaded to 30 % of the measured capacity" in markdown
    assert "| a month | 2.00 EUR | 1.50 to 2.50 |" in markdown
    assert "no rate was confirmed" in page(document(cost={"reason": "no cost: no rate was confirmed"}))[0]


def test_a_break_even_that_never_comes(page: Any) -> None:
    even = {"extra": 30.0, "saving_per_request": {"value": 1e-9, "interval": [-1e-9, 2e-9]}, "requests": None}
    found = {
        "before": {"samples_per_s": 10.0},
        "after": {"samples_per_s": 11.0},
        "even": even | {"reason": "never: so"},
    }
    markdown, _ = page(document(break_even=found | {"basis": "its machine time", "requests_per_day": 5.0}))
    assert "| requests until it is paid for | never | – |" in markdown
    assert "never: so" in markdown


@pytest.mark.parametrize("key", ["asked", "result", "hybrid", "cost", "break_even", "edge", "batches", "environment"])
@pytest.mark.parametrize("value", [None, {}, [], "odd", {"curve": 3, "percentiles": [{}], "attempts": [{}]}])
def test_what_is_not_there_stops_nothing(page: Any, key: str, value: Any) -> None:
    markdown, html = page(document(hybrid=hybrid(None)) | {key: value})
    for text in (markdown, html.partition('<script type="application/json"')[0]):
        assert "None" not in text
        assert "nan" not in text.replace("provenance", "")


def test_another_schema_and_a_number_without_a_word_are_refused(tmp_path: Path) -> None:
    with pytest.raises(GatewiseError, match="no load scenario"):
        write_scenarios({"schema": "gatewise.dilution/1"}, tmp_path)
    with pytest.raises(GatewiseError, match="not finite"):
        write_scenarios(document(seconds=float("nan")), tmp_path / "none")
    assert not (tmp_path / "none").exists()
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write"):
        write_scenarios(document(), tmp_path / "file")
