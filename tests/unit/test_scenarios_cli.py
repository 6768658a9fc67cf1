"""`gatewise scenarios`: what it refuses before it loads anything, what it prints, and its JSON."""

import argparse
import json
import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from gatewise.cli._scenarios import SCHEMA, run
from gatewise.cli._scenarios_asked import duration
from gatewise.core import GatewiseError

HYBRID: dict[str, Any] = {"profile": "hybrid", "price_per_hour": 1.0, "utilisation": 0.5, "runtime": "eager"}
PAYBACK: dict[str, Any] = {"scenario": "offline", "price_per_hour": 1.0, "utilisation": 0.5}
TRAINING = ["training_hours=12", "training_price_per_hour=2.5"]

SMALL = """
import torch
from torch import nn


def data():
    generator = torch.Generator().manual_seed(0)
    y = torch.randint(0, 3, (200,), generator=generator)
    return torch.eye(3)[y] + 0.4 * torch.randn(200, 3, generator=generator), y.tolist()


def layer(scale):
    made = nn.Linear(3, 3)
    with torch.no_grad():
        made.weight.copy_(scale * torch.eye(3))
        made.bias.zero_()
    return made


def cloud():
    return (layer(4.0), *data())


def edge():
    return (layer(1.0), *data())
"""


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    (tmp_path / "cli_small_models.py").write_text(SMALL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield "cli_small_models"
    sys.modules.pop("cli_small_models", None)


def parsed(**given: Any) -> argparse.Namespace:
    default: dict[str, Any] = {
        "model": "ffn",
        "scenario": None,
        "p99": None,
        "runtime": None,
        "batch": None,
        "budget": "300ms",
        "price_per_hour": None,
        "utilisation": None,
        "profile": None,
        "settings": ["tokens=4"],
        "json": False,
    }
    return argparse.Namespace(**default | given)


@pytest.mark.parametrize(("text", "seconds"), [("50ms", 0.05), ("2m", 120), ("1.5s", 1.5), ("10us", 1e-5)])
def test_times_have_units(text: str, seconds: float) -> None:
    assert duration("--p99", text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "--p99"),
        ({"p99": "50"}, "50ms"),
        ({"p99": "-5ms"}, "0 or more"),
        ({"p99": "0ms"}, "--p99 must be above 0"),
        ({"p99": "5ms", "budget": "0s"}, "--budget must be above 0"),
        ({"p99": "5ms", "settings": ["percentile=99"]}, "between 0 and 1"),
        ({"p99": "5ms", "batch": 257}, "at most 256"),
        ({"scenario": "offline", "settings": ["confidence=2"]}, "between 0 and 1"),
        ({"scenario": "offline", "settings": ["confidence=nan"]}, "between 0 and 1"),
        ({"scenario": "offline", "batch": 100_000_000}, "at most 4,096"),
        ({"scenario": "offline", "p99": "5ms"}, "--scenario server"),
        ({"scenario": "offline", "settings": ["requests_per_month=1e6"]}, "--price-per-hour"),
        ({"scenario": "offline", "settings": ["percentile=0.9"]}, "--scenario server"),
        ({"scenario": "offline", "settings": ["memory_cap=1GB"]}, "--profile edge"),
        ({"scenario": "multi-stream", "batch": 4}, "8 samples"),
        ({"scenario": "offline", "model": " "}, "empty"),
        ({"scenario": "servr", "p99": "5ms"}, "did you mean 'server'"),
        ({"profile": "egde"}, "did you mean 'edge'"),
        ({"profile": "edge", "batch": 4}, "batch 1"),
        ({"scenario": "offline", "price_per_hour": 1.0}, "utilisation"),
        ({"scenario": "offline", "utilisation": 0.5}, "--price-per-hour"),
        ({"scenario": "offline", "price_per_hour": 1.0, "utilisation": 3.0}, "utilisation"),
        ({"scenario": "single-stream", "price_per_hour": 1.0, "utilisation": 0.3}, "capacity"),
        ({"scenario": "offline", "settings": ["token=4"]}, "did you mean 'tokens'"),
        ({"scenario": "offline", "settings": ["tokens"]}, "KEY=VALUE"),
        ({"scenario": "offline", "settings": ["tokens=many"]}, "number"),
        ({"scenario": "offline", "model": "no-such"}, "no model"),
        ({"scenario": "offline", "runtime": "onnxruntme"}, "did you mean"),
        ({"profile": "edge", "settings": ["memory_cap=lots"]}, "512MB"),
        ({"scenario": "offline", "settings": ["margin=0.1"]}, "--profile hybrid"),
        ({"scenario": "offline", "settings": ["training_hours=1"]}, "against="),
        ({"profile": "hybrid"}, "--price-per-hour"),
        ({"profile": "hybrid", "price_per_hour": 1.0}, "utilisation"),
        ({"profile": "hybrid", "price_per_hour": 1.0, "utilisation": 0.5}, "two versions"),
        ({"profile": "hybrid", "price_per_hour": 1.0, "utilisation": 0.5, "p99": "5ms"}, "its own load"),
        ({**HYBRID, "batch": 4}, "batch 1"),
        ({**HYBRID, "model": "ffn"}, "ffn"),
        ({**HYBRID, "settings": ["edge=ffn", "data=no.csv"]}, "all three"),
        ({**HYBRID, "settings": ["edge=ffn", "network=20"]}, "50ms"),
        ({**HYBRID, "settings": ["edge=ffn", "cloud_runtime=egaer"]}, "did you mean"),
        ({**PAYBACK, "settings": ["against=eager"]}, "training_hours"),
        ({**PAYBACK, "settings": ["against=eager", "training_hours=1"]}, "training_price_per_hour"),
        ({**PAYBACK, "settings": [*TRAINING, "against=onnxruntme"]}, "did you mean 'onnxruntime'"),
        ({**PAYBACK, "price_per_hour": None, "utilisation": None, "settings": [*TRAINING, "against=eager"]}, "price"),
        ({**PAYBACK, "scenario": "server", "p99": "5ms", "settings": [*TRAINING, "against=eager"]}, "offline"),
        ({**PAYBACK, "utilisation": None, "settings": [*TRAINING, "against=eager"]}, "utilisation"),
        ({"scenario": "offline", "settings": [f"out={__file__}"]}, "is a file"),
    ],
)
def test_bad_input_is_one_or_two_lines(given: dict[str, Any], words: str) -> None:
    with pytest.raises(GatewiseError) as refused:
        run(parsed(**given))
    assert words in str(refused.value)
    assert len(str(refused.value).splitlines()) <= 2


def test_offline_with_a_price(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(parsed(scenario="offline", batch=2, price_per_hour=0.4, utilisation=0.3, json=True)) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["schema"] == SCHEMA
    rate, cost = document["result"]["samples_per_s"], document["cost"]
    assert cost["busy_per_million"]["value"] == pytest.approx(1e6 / rate / 0.3 / 3600 * 0.4)
    assert cost["per_million"]["value"] == pytest.approx(cost["busy_per_million"]["value"])
    assert cost["machines"] == 1


def test_a_cost_stands_only_beside_its_utilisation(capsys: pytest.CaptureFixture[str]) -> None:
    run(parsed(scenario="offline", price_per_hour=0.4, utilisation=0.25, settings=["tokens=4", "currency=EUR"]))
    lines = capsys.readouterr().out
    assert "EUR" in lines
    assert "25 %" in lines
    run(parsed(scenario="offline"))
    assert "Cost" not in capsys.readouterr().out


def test_a_server_that_cannot_be_settled_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    run(parsed(p99="500ms", batch=2, budget="200ms"))
    lines = capsys.readouterr().out
    assert "hold" in lines or "undecided" in lines
    run(parsed(p99="1us", budget="200ms", json=True))
    found = json.loads(capsys.readouterr().out)["result"]
    assert found["verdict"] in ("fails", "undecided")
    assert found["rate"] is None


def test_the_cloud_profile_finds_its_batch(capsys: pytest.CaptureFixture[str]) -> None:
    run(parsed(scenario="offline", profile="cloud", p99="10s", json=True))
    document = json.loads(capsys.readouterr().out)
    best = max(document["batches"]["trials"], key=lambda trial: trial["samples_per_s"])
    assert document["result"]["batch"] == best["batch"] == document["batches"]["best"]["batch"]
    run(parsed(scenario="offline", profile="cloud", batch=2, p99="10s", json=True))
    assert json.loads(capsys.readouterr().out)["result"]["batch"] == 2


def test_streams_print_their_percentiles(capsys: pytest.CaptureFixture[str]) -> None:
    run(parsed(scenario="multi-stream"))
    assert "p99" in capsys.readouterr().out


def test_price_utilisation_and_traffic_move_the_cost(capsys: pytest.CaptureFixture[str]) -> None:
    """Each figure from the run's own capacity, by the formula in docs/cost.md."""
    month = 730 * 3600
    for price, loaded, requests, peak in (
        (0.4, 0.3, 3e9, 1),
        (0.8, 0.3, 3e9, 1),
        (0.4, 0.6, 3e9, 1),
        (0.4, 0.3, 9e9, 3),
    ):
        settings = ["tokens=4", f"requests_per_month={requests}", f"peak_to_mean={peak}"]
        run(parsed(scenario="offline", batch=2, price_per_hour=price, utilisation=loaded, json=True, settings=settings))
        document = json.loads(capsys.readouterr().out)
        cost, rate = document["cost"], document["result"]["samples_per_s"]
        machines = max(1, math.ceil(requests * peak / month / (rate * loaded)))
        assert cost["machines"] == machines
        assert cost["per_month"]["value"] == pytest.approx(machines * 730 * price)
        assert cost["per_request"]["value"] == pytest.approx(machines * 730 * price / requests)
        assert cost["busy_per_million"]["value"] == pytest.approx(1e6 / rate / loaded / 3600 * price)
        assert cost["per_month"]["interval"][0] <= cost["per_month"]["value"] <= cost["per_month"]["interval"][1]


def test_one_machines_traffic_has_no_step_to_a_second_machine(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["tokens=4", "peak_to_mean=3"]
    run(parsed(scenario="offline", price_per_hour=0.4, utilisation=0.3, json=True, settings=settings))
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert cost["per_million"]["value"] == pytest.approx(3 * cost["busy_per_million"]["value"])
    assert cost["per_million"]["interval"] == pytest.approx([3 * end for end in cost["busy_per_million"]["interval"]])


def test_hybrid_end_to_end(small: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = [f"edge={small}:edge", "margin=0.1", f"out={tmp_path / 'page'}"]
    given = {**HYBRID, "model": f"{small}:cloud", "settings": settings}
    assert run(parsed(**given, json=True)) == 0
    document = json.loads(capsys.readouterr().out)
    found = document["hybrid"]
    # Both layers rank the classes alike, so no item is answered differently: the edge is enough, and free.
    assert found["hybrid"]["chosen"]["passed_on"] == 0
    assert found["hybrid"]["chosen"]["cost"] == 0
    assert found["hybrid"]["curve"][-1]["threshold"] is None
    assert document["result"] is None
    assert json.loads((tmp_path / "page" / "scenarios.json").read_text()) == document
    assert "The edge answers alone" in (tmp_path / "page" / "scenarios.md").read_text()
    run(parsed(**given))
    lines = capsys.readouterr().out
    assert "the edge answers all" in lines
    assert "loaded to 50 %" in lines
    assert "written:" in lines


def test_a_break_even_says_when_or_never(capsys: pytest.CaptureFixture[str]) -> None:
    settings = ["tokens=4", *TRAINING, "against=eager"]
    run(parsed(**PAYBACK, settings=settings, json=True))
    document = json.loads(capsys.readouterr().out)
    found, even = document["break_even"], document["break_even"]["even"]
    assert even["extra"] == 30.0
    assert len(found["before"]["values"]) == len(found["after"]["values"]) == 8
    low, high = even["saving_per_request"]["interval"]
    assert low <= even["saving_per_request"]["value"] <= high
    assert even["never"] == (low <= 0)
    if even["never"]:
        assert even["requests"] is None
    else:
        assert even["requests"]["value"] == pytest.approx(30 / even["saving_per_request"]["value"])
        assert even["days"]["value"] == pytest.approx(even["requests"]["value"] / found["requests_per_day"])
    run(parsed(**PAYBACK, settings=settings))
    assert "Break-even of 30 USD" in capsys.readouterr().out


def test_every_scenario_writes_its_page(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for scenario in ("single-stream", "offline", "server"):
        out = tmp_path / scenario
        given = {"p99": "500ms"} if scenario == "server" else {}
        run(parsed(scenario=scenario, settings=["tokens=4", f"out={out}"], json=True, **given))
        document = json.loads(capsys.readouterr().out)
        assert json.loads((out / "scenarios.json").read_text()) == document
        assert document["replay"].startswith(f"gatewise scenarios ffn --scenario {scenario}")
        assert "<svg" in (out / "scenarios.html").read_text()
        assert (out / "scenarios.md").read_text().startswith("# ")
