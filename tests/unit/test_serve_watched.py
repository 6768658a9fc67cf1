"""`gatewise serve --record` in a process of its own, from the first request to the alarm and what is done about it."""

import hashlib
import hmac
import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Generator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from gatewise import monitor, surgery
from gatewise.cli import main
from gatewise.versions import Registration, Registry, register

WIDTH = 8
BATCH = 20
ROWS = 8
UNITS = 40_000


def classifier(scale: float) -> nn.Sequential:
    """Two of these differ in every answer where their scales differ in sign."""
    torch.manual_seed(0)
    last = nn.Linear(16, 4, bias=False)
    with torch.no_grad():
        last.weight.mul_(scale)
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(WIDTH, 16), nn.GELU(), last, nn.Softmax(-1)).eval()


def slow(model: nn.Sequential) -> nn.Sequential:
    """The same answers, and many more units that have no part in them."""
    first, act, last, end = model
    wide, out = nn.Linear(WIDTH, UNITS), nn.Linear(UNITS, 4, bias=False)
    with torch.no_grad():
        wide.weight[:16], wide.bias[:16] = first.weight, first.bias
        out.weight.zero_()
        out.weight[:, :16] = last.weight
    return nn.Sequential(wide, act, out, end).eval()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    made = {"v1": classifier(1.0), "v2": classifier(-1.0), "wrong": classifier(1.0), "slow": slow(classifier(1.0))}
    with torch.no_grad():
        made["wrong"][2].weight.add_(0.02 * torch.randn(4, 16, generator=torch.Generator().manual_seed(2)))
    return {label: surgery.save(model, folder / label) for label, model in made.items()}


@pytest.fixture(scope="module")
def registered(models: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with all of them, to be copied."""
    registry = Registry(tmp_path_factory.mktemp("registered") / "registry", create=True)
    for label, folder in models.items():
        register(registry, Registration(target=str(folder), model="m", version=label))
    registry.promote("m", "v1")
    return registry.folder


@pytest.fixture
def registry(registered: Path, tmp_path: Path) -> Registry:
    return Registry(shutil.copytree(registered, tmp_path / "registry"))


@contextmanager
def serving(registry: Registry, record: Path, *settings: str, canary: str = "10%") -> Generator[str]:
    """A server's address. What it says goes to `said` beside the records."""
    words = [sys.executable, "-m", "gatewise", "serve", "m", "--registry", str(registry.folder), "--port", "0"]
    words += ["--record", str(record), "--canary", canary, "--shadow", "100%", "--json"]
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
    registry: Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    record = tmp_path / "records"
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


class Hook(BaseHTTPRequestHandler):
    """Takes what the webhook posts."""

    def do_POST(self) -> None:
        content = self.rfile.read(int(self.headers["content-length"]))
        self.server.got.append((dict(self.headers), content))  # pyright: ignore[reportAttributeAccessIssue]
        self.send_response(204)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing."""


@pytest.fixture
def hook() -> Generator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Hook) as server:
        server.got = []  # pyright: ignore[reportAttributeAccessIssue]
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server
        server.shutdown()
        thread.join(5)


def told(hook: Any) -> list[Any]:
    return [json.loads(content) for _, content in hook.got]


class Callers:
    """Sends rows to the server, and what v1 answers as their labels."""

    def __init__(self, address: str) -> None:
        self.address, self.n = address, 0
        self._draw, self._right = np.random.default_rng(0), classifier(1.0)

    def send(self, requests: int, *, shift: float = 0.0) -> None:
        labels: list[dict[str, Any]] = []
        for _ in range(requests):
            rows = (self._draw.standard_normal((ROWS, WIDTH)) + shift).astype(np.float32)
            infer(self.address, f"q{self.n}", rows)
            with torch.inference_mode():
                right = self._right(torch.from_numpy(rows)).argmax(-1).tolist()
            labels += [{"request": f"q{self.n}", "row": row, "value": value} for row, value in enumerate(right)]
            self.n += 1
        post(f"{self.address}/v2/models/m/labels", {"labels": labels})

    def point(self, registry: Registry, version: str) -> None:
        """Make a version the canary, and let the server see it."""
        registry.promote("m", version, "canary")
        post(f"{self.address}/gatewise/v1/refresh", {})

    def until_taken_out(self, registry: Registry, record: Path, version: str, most: int) -> list[int]:
        """Send until the server has emptied the alias. What its latency still needed for an interval, look by look."""
        needs: list[int] = []
        for _ in range(most):
            self.send(25)
            found = monitor.status(record)["comparisons"]
            mine = [each for each in found if (each["version"], each["metric"]) == (version, "latency")]
            needs += [each["needs"] for each in mine if each["needs"] and each["interval"] is None]
            if registry.alias("m", "canary").version is None:
                break
        return needs


def followed(address: str) -> list[str]:
    with urllib.request.urlopen(f"{address}/metrics", timeout=10) as answer:
        found: list[str] = answer.read().decode().splitlines()
    return [
        line.removeprefix("gatewise_alias_followed") for line in found if line.startswith("gatewise_alias_followed")
    ]


@pytest.mark.alone
def test_canaries_are_judged_and_taken_out_and_the_webhook_is_told(
    registry: Registry, tmp_path: Path, hook: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("GATEWISE_WEBHOOK_SECRET", "s3cret")
    record = tmp_path / "records"
    settings = ("rollback=accuracy,latency", "rollback.cool_down_s=0", "lame_duck_s=0", "learn_reference=100")
    wide = ("judge.latency_margin=0.5",)  # a busy machine is not what is tested
    looked = ("health.every=1", f"health.tokens={ROWS}", "health.learn=16", "health.most_share=1")
    url = f"webhook=http://127.0.0.1:{hook.server_port}/alarms"
    with serving(registry, record, *settings, *wide, *looked, url, canary="50%") as address:
        callers = Callers(address)
        callers.point(registry, "slow")
        callers.until_taken_out(registry, record, "slow", 24)
        callers.point(registry, "wrong")
        needs = callers.until_taken_out(registry, record, "wrong", 40)
        gone = monitor.status(record)
        for _ in range(12):
            if {"drift", "health"} <= {each["kind"] for each in told(hook)}:
                break
            callers.send(25, shift=2.0)
        next((registry.object(registry.version("m", "v2").digest) / "model").glob("*.safetensors")).write_bytes(b"no")
        callers.point(registry, "v2")
        seen = followed(address)
    moves = registry.history("m", "canary")
    assert [(each.before, each.after, each.by) for each in moves if each.after is None] == [
        ("slow", None, "gatewise serve"),
        ("wrong", None, "gatewise serve"),
    ]
    assert [each.because.partition(":")[0] for each in moves if each.after is None] == [
        "latency alarm",
        "accuracy alarm",
    ]
    assert needs == sorted(needs, reverse=True)
    assert needs[-1] < needs[0]
    assert 'alias="canary",model="m",version="v2"} 0.0' in " ".join(seen)
    assert 'alias="live",model="m",version="v1"} 1.0' in " ".join(seen)
    _check_advice(gone)
    _check_told(hook, record, capsys)


def _check_advice(gone: Any) -> None:
    """A canary that is out already is not to be taken out again."""
    texts = {each["version"]: each for each in gone["actions"]}
    for version in ("slow", "wrong"):
        assert texts[version]["command"] is None
        assert f"gatewise serve took the canary {version} of m out by itself" in texts[version]["text"]
    assert [(each["version"], each["roles"]) for each in gone["models"][0]["versions"]] == [
        ("slow", []),
        ("v1", ["live"]),
        ("wrong", []),
    ]


def _check_told(hook: Any, record: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Alarms of all three sorts came, once each, signed; each one's command shows it again."""
    alarms = told(hook)
    assert {("latency", "slow"), ("accuracy", "wrong"), ("drift", "v1"), ("health", "v1")} <= {
        (each["kind"], each["version"]) for each in alarms
    }
    assert len({each["id"] for each in alarms}) == len(alarms)
    for headers, content in hook.got:
        signed = headers["X-Gatewise-Timestamp"].encode() + b"." + content
        assert headers["X-Gatewise-Signature"] == f"sha256={hmac.new(b's3cret', signed, hashlib.sha256).hexdigest()}"
    for kind in ("accuracy", "drift", "health"):
        alarm = next(each for each in alarms if each["kind"] == kind)
        capsys.readouterr()
        assert main([*shlex.split(alarm["replay"])[1:], "--json"]) == 1
        again = json.loads(capsys.readouterr().out)["alarms"]
        assert alarm["summary"] in [each["summary"] for each in again], kind
