"""`gatewise scenarios`: what it refuses before it loads anything, what it prints, and its JSON."""

import argparse
import json
from typing import Any

import pytest

from gatewise.cli._scenarios import SCHEMA, duration, run
from gatewise.core import GatewiseError


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
