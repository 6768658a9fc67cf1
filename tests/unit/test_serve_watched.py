"""`gatewise serve --record` in a process of its own, from the first request to the alarm and what is done about it."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gatewise import surgery
from gatewise.cli import main
from gatewise.versions import Registration, Registry, register

WIDTH = 8
BATCH = 20


def classifier(scale: float) -> nn.Sequential:
    """Two of these differ in every answer where their scales differ in sign."""
    torch.manual_seed(0)
    last = nn.Linear(16, 4, bias=False)
    with torch.no_grad():
        last.weight.mul_(scale)
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), last, nn.Softmax(-1)).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    scales = {"v1": 1.0, "v2": -1.0}
    return {label: surgery.save(classifier(scale), folder / label) for label, scale in scales.items()}


@contextmanager
def serving(registry: Registry, record: Path, *settings: str) -> Generator[str]:
    """A server's address. What it says goes to `said` beside the records."""
    words = [sys.executable, "-m", "gatewise", "serve", "m", "--registry", str(registry.folder), "--port", "0"]
    words += ["--record", str(record), "--canary", "10%", "--shadow", "100%", "--json"]
    words += [word for each in settings for word in ("--set", each)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with (
        said(record).open("w") as errors,
        subprocess.Popen(words, stdout=subprocess.PIPE, stderr=errors, text=True, env=environment) as child,
    ):
        assert child.stdout is not None
        try:
            line = child.stdout.readline()
            assert line, said(record).read_text()
            yield json.loads(line)["address"]
            child.send_signal(signal.SIGTERM)
            assert child.wait(20) == 0, said(record).read_text()
        finally:
            child.kill()


def said(record: Path) -> Path:
    return record.with_name("said.txt")


def post(url: str, document: Any) -> Any:
    data = json.dumps(document).encode()
    request = urllib.request.Request(url, data, {"content-type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def infer(address: str, name: str, rows: np.ndarray) -> Any:
    inputs = [{"name": "input", "datatype": "FP32", "shape": list(rows.shape), "data": rows.reshape(-1).tolist()}]
    return post(f"{address}/v2/models/m/infer", {"id": name, "inputs": inputs})


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def test_a_wrong_version_alarms_and_is_taken_out(
    models: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, record = Registry(tmp_path / "registry", create=True), tmp_path / "records"
    for label, folder in models.items():
        register(registry, Registration(target=str(folder), model="m", version=label))
    registry.promote("m", "v1")
    registry.promote("m", "v2", "shadow")
    registry.promote("m", "v2", "canary")
    settings = ("rollback=accuracy", "lame_duck_s=0", "learn_reference=100", "price_per_hour=0.5", "judge.alpha=1e-4")
    looked = ("health.every=1", "health.tokens=8", "health.learn=16", "health.most_share=1")
    draw, v1 = np.random.default_rng(0), classifier(1.0)
    with serving(registry, record, *settings, *looked) as address:
        for begin in range(0, 1_000, BATCH):
            if begin >= 200 and registry.alias("m", "canary").version is None:
                break
            rows = draw.standard_normal((BATCH, WIDTH)).astype(np.float32)
            for at in range(BATCH):
                infer(address, f"q{begin + at}", rows[at : at + 1])
            with torch.inference_mode():
                right = v1(torch.from_numpy(rows)).argmax(-1).tolist()
            labels = [{"request": f"q{begin + at}", "row": 0, "value": value} for at, value in enumerate(right)]
            post(f"{address}/v2/models/m/labels", {"labels": [*labels[::-1], *labels]})  # late, reversed, and twice
        with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
            metrics = answer.read().decode()
        post(f"{address}/gatewise/v1/refresh", {})
        with urllib.request.urlopen(f"{address}/gatewise/v1/stats", timeout=10) as answer:
            roles = [each["role"] for each in json.loads(answer.read())["models"][0]["versions"]]
    alarms = [each for each in lines(record / "alarms.jsonl") if each["version"] == "v2"]
    accuracy = next(each for each in alarms if each["kind"] == "accuracy")
    assert (accuracy["model"], accuracy["baseline"]) == ("m", "v1")
    assert accuracy["replay"] == f"gatewise monitor {record} --model m --until {accuracy['at_ns']}"

    moves = registry.history("m", "canary")
    assert [(each.before, each.after, each.by) for each in moves[1:]] == [("v2", None, "gatewise serve")]
    assert moves[-1].because == f"accuracy alarm: {accuracy['summary']}"
    assert registry.alias("m").version == "v1"
    assert "canary" not in roles
    done = lines(record / "actions.jsonl")
    assert [each["did"] for each in done] == ["took the canary v2 of m out"]
    assert done[0]["did"] in said(record).read_text()

    for name in ("gatewise_queue_depth", "gatewise_alias_info", "gatewise_records_pending", "gatewise_in_flight"):
        assert f"\n{name}" in metrics, name
    assert 'gatewise_shadow_pairs_total{model="m",version="v2"}' in metrics
    assert 'gatewise_notices_total{output="log",result="sent"}' in metrics

    capsys.readouterr()
    assert main(["monitor", str(record), "--json"]) == 1
    again = json.loads(capsys.readouterr().out)
    found = next(each for each in again["alarms"] if each["kind"] == "accuracy" and each["version"] == "v2")
    assert (found["at_ns"], found["summary"]) == (accuracy["at_ns"], accuracy["summary"])
    assert found["evidence"]["threshold"] == pytest.approx(np.log(1e4))
    assert again["registry"] == str(registry.folder)
    assert again["cost"] is not None
    assert {each["version"] for each in again["drift"]} == {"v1"}
    assert {each["version"] for each in again["health"]} == {"v1", "v2"}
