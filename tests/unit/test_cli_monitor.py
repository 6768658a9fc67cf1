"""`gatewise monitor`: the view, the JSON, the page, the exit codes, and bad input in a line or two."""

import json
import os
import signal
import subprocess
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from monitor_examples import Story, write

from gatewise import monitor
from gatewise.cli import _monitor as command
from gatewise.cli import main
from gatewise.core import GatewiseError

LOUD = Story(requests=400, minutes=4.0, shadowed=0.6, slower=1.4)
CALM = Story(requests=60, minutes=2.0, slower=1.0, wrong=0.0, drift=False, burst=False)


@pytest.fixture(scope="module")
def loud(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("loud") / "records", LOUD)


@pytest.fixture(scope="module")
def calm(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write(tmp_path_factory.mktemp("calm") / "records", CALM)


def test_an_alarm_is_exit_code_1_and_silence_0(loud: Path, calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", str(loud)]) == 1
    assert "! encoder v2 is slower than v1." in capsys.readouterr().out
    assert main(["monitor", str(calm)]) == 0
    assert "No alarm." in capsys.readouterr().out


def test_json_is_one_document_and_nothing_else(loud: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", str(loud), "--json", "--set", "cores=2", "--set", "threads=v1:1,v2:1"]) == 1
    said = capsys.readouterr()
    assert said.err == ""
    found = json.loads(said.out)
    assert found["schema"] == "gatewise.monitor/1"
    assert [each["threads"] for each in found["cost"]["versions"]] == [1, 1]


def test_the_replay_command_shows_the_alarm_again(loud: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["monitor", str(loud), "--json"])
    alarm = json.loads(capsys.readouterr().out)["alarms"][0]
    assert main([*alarm["replay"].split()[1:], "--json"]) == 1
    assert alarm in json.loads(capsys.readouterr().out)["alarms"]


def test_a_page_is_written_and_the_exit_code_says_only_that(
    loud: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "page.html"
    assert main(["monitor", str(loud), "--out", str(page)]) == 0
    assert f"written: {page}" in capsys.readouterr().out
    assert "encoder v2 is slower than v1." in page.read_text("utf-8")


def test_the_machine_that_the_server_wrote_down_is_used_and_can_be_overridden(
    calm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monitor.keep_settings(calm, {"machine": {"cores": 4, "threads": {"v1": 2}}})
    try:
        main(["monitor", str(calm), "--json", "--set", "price_per_hour=0.5", "--set", "cores=8"])
    finally:
        (calm / "monitor.json").unlink()
    cost = json.loads(capsys.readouterr().out)["cost"]
    assert (cost["cores"], cost["price_per_hour"], cost["versions"][0]["threads"]) == (8, 0.5, 2)


def test_settings_of_the_judge_reach_it(calm: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["monitor", str(calm), "--json", "--set", "alpha=0.01", "--set", "metrics=latency,errors"])
    found = json.loads(capsys.readouterr().out)["comparisons"]
    assert {(each["metric"], each["alpha"]) for each in found} == {("latency", 0.01), ("errors", 0.01)}


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["--set", "coers=2"], "did you mean 'cores'"),
        (["--set", "cores"], "KEY=VALUE"),
        (["--set", "cores=two"], "cores must be a whole number"),
        (["--set", "price_per_hour=0.2"], "needs the machine's cores"),
        (["--set", "cores=2", "--set", "threads=v1"], "VERSION:COUNT"),
        (["--set", "cores=2", "--set", "idle=nobody"], "unknown rule for idle time"),
        (["--set", "alpha=2"], "alpha must lie"),
        (["--set", "alpha=often"], "alpha must be a number"),
        (["--set", "every=0"], "every is a number of seconds"),
        (["--set", "limit=0"], "limit must be"),
        (["--model", "decoder"], "unknown model 'decoder'"),
        (["--serve", "99999"], "a port is a number"),
        (["--serve", "0", "--follow"], "not both"),
        (["--follow", "--json"], "--json goes without it"),
        (["--follow", "--until", "5"], "--until goes without it"),
        (["--out", "."], "is a folder"),
    ],
)
def test_bad_input_is_said(calm: Path, arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["monitor", str(calm), *arguments]) == 2
    said = capsys.readouterr().err
    assert says in said
    assert said.startswith("gatewise: ")
    assert len(said.splitlines()) <= 2


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda path: None, "does not exist"),
        (lambda path: path.write_text("x"), "is a file"),
        (lambda path: path.mkdir(), "no log here"),
    ],
)
def test_no_folder_of_records(
    tmp_path: Path, make: Callable[[Path], Any], says: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "records"
    make(path)
    assert main(["monitor", str(path)]) == 2
    assert says in capsys.readouterr().err


def test_values_are_read_as_what_they_are() -> None:
    assert command._plain("0.001") == 0.001
    assert command._plain("latency,tail") == ["latency", "tail"]
    assert command._plain("null") is None
    with pytest.raises(GatewiseError):
        command._threads("v1:one")


def test_following_goes_on_until_ctrl_c(
    calm: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from gatewise.monitor import _status_follow

    slept: list[float] = []

    def sleep(seconds: float) -> None:
        slept.append(seconds)
        if len(slept) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(_status_follow.time, "sleep", sleep)
    assert main(["monitor", str(calm), "--follow", "--set", "every=0.5"]) == 0
    assert slept == [0.5] * 3
    assert capsys.readouterr().out.count("No alarm.") == 3


def test_serving_says_where_and_ends_with_ctrl_c(calm: Path) -> None:
    line = [sys.executable, "-W", "error", "-m", "gatewise", "monitor", str(calm), "--serve", "0"]
    with subprocess.Popen(line, stderr=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"}) as server:
        try:
            assert server.stderr is not None
            address = server.stderr.readline().split()[0]
            with urllib.request.urlopen(address + "status.json", timeout=30) as answer:
                assert json.load(answer)["state"] == "quiet"
            server.send_signal(signal.SIGINT)
            assert server.wait(20) == 0
        finally:
            server.kill()
