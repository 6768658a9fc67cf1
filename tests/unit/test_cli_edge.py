"""`gatewise forward`, `collect` and `proxy` as commands: an edge's records stand in the centre once, and only once."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gatewise.cli import main
from gatewise.monitor import Log, Record, read_records

httpx2 = pytest.importorskip("httpx2")
pytest.importorskip("uvicorn")


@contextmanager
def command(*arguments: str, token: str = "") -> Iterator[str]:
    """A command that serves, in a process of its own; its address. It ends by SIGTERM, with 0."""
    environment = {**os.environ, "GATEWISE_TOKEN": token}
    child = subprocess.Popen(
        [sys.executable, "-m", "gatewise", *arguments], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert child.stdout is not None
    try:
        yield child.stdout.readline().split()[0]
    finally:
        child.send_signal(signal.SIGTERM)
        assert child.wait(30) == 0
        child.stdout.close()


def record(number: int) -> Record:
    return Record(
        request=f"r{number}", at_ns=10**18 + number, model="m", version="v1", digest="d", role="live", compute_s=0.01
    )


def test_records_of_an_edge_arrive_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    edge, centre = str(tmp_path / "edge"), str(tmp_path / "centre")
    with Log(edge) as log:
        for number in range(50):
            log.append(record(number))
    with command("collect", centre, "--port", "0") as address:
        for sent in (50, 0):
            assert main(["forward", edge, "--to", address, "--edge", "shop-7", "--once", "--json"]) == 0
            assert json.loads(capsys.readouterr().out)["entries"] == sent
        held = httpx2.get(f"{address}/gatewise/v1/edges", trust_env=False).json()
        assert [each["entries"] for each in held.values()] == [50]
        nonsense = httpx2.post(f"{address}/gatewise/v1/batches", content=b"nonsense", trust_env=False)
        assert nonsense.status_code == 400
    assert list(read_records(centre)) == [record(number) for number in range(50)]


def test_a_link_that_is_down_is_said_in_one_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with Log(tmp_path / "edge") as log:
        log.append(record(1))
    folder = str(tmp_path / "edge")
    assert main(["forward", folder, "--to", "http://127.0.0.1:9", "--edge", "e", "--once"]) == 2
    assert main(["forward", folder, "--to", "central:8090", "--edge", "e", "--once"]) == 2
    assert main(["forward", str(tmp_path / "none"), "--to", "http://127.0.0.1:9", "--edge", "e", "--once"]) == 2
    told = capsys.readouterr().err.strip().splitlines()
    assert len(told) == 3
    assert "no such folder" in told[2]


def test_a_collector_with_a_token_takes_nothing_without_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    edge = str(tmp_path / "edge")
    with Log(edge) as log:
        log.append(record(1))
    with command("collect", str(tmp_path / "centre"), "--port", "0", token="secret") as address:
        forward = ["forward", edge, "--to", address, "--edge", "e", "--once"]
        monkeypatch.setenv("GATEWISE_TOKEN", "guessed")
        assert main(forward) == 2
        assert "401" in capsys.readouterr().err
        monkeypatch.setenv("GATEWISE_TOKEN", "secret")
        assert main(forward) == 0


def test_a_collector_that_everybody_could_write_to_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("GATEWISE_TOKEN", raising=False)
    assert main(["collect", str(tmp_path / "centre"), "--host", "0.0.0.0", "--port", "0"]) == 2
    assert "GATEWISE_TOKEN" in capsys.readouterr().err


def test_the_proxy_as_a_command_keeps_records_and_labels(tmp_path: Path) -> None:
    folder = str(tmp_path / "records")
    with command("collect", str(tmp_path / "unused"), "--port", "0") as behind:
        arguments = [
            "proxy",
            behind,
            "--record",
            folder,
            "--port",
            "0",
            "--set",
            "model=ranker",
            "--set",
            "path=/gate.*",
        ]
        with command(*arguments) as address:
            answer = httpx2.post(f"{address}/gatewise/v1/batches", content=b"nonsense", trust_env=False)
            assert answer.status_code == 400
            labels = {"labels": [{"request": "r1", "value": 1}]}
            assert httpx2.post(f"{address}/gatewise/v1/labels", json=labels, trust_env=False).status_code == 202
            assert httpx2.post(f"{address}/gatewise/v1/labels", json={}, trust_env=False).status_code == 400
    (kept,) = read_records(folder)
    assert (kept.model, kept.status, kept.reason) == ("ranker", "refused", "HTTP 400")


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["ftp://x"], "http://"),
        (["http://127.0.0.1:9", "--set", "shared=1"], "share"),
        (["http://127.0.0.1:9", "--set", "share=much"], "number"),
        (["http://127.0.0.1:9", "--set", "path=("], "regular expression"),
    ],
)
def test_bad_input_of_the_proxy(
    arguments: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["proxy", *arguments, "--record", str(tmp_path / "records")]) == 2
    told = capsys.readouterr().err
    assert words in told
    assert len(told.strip().splitlines()) <= 2
