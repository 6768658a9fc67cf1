"""From what was seen to words: known situations and what must be said of them; the page that people read."""

import copy
import io
import json
import re
import tomllib
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gatewise import kernels
from gatewise.doctor import look, show
from gatewise.doctor._capacity import LEAST_BYTES, MOST_BYTES, array_bytes
from gatewise.doctor._installed import OPTIONAL, installed
from gatewise.doctor._look import Effort
from gatewise.doctor._missing import nulls, settle
from gatewise.doctor._opinion import causes, expected

QUIET: dict[str, Any] = {
    "machine": {
        "cores": {"allowed": 4},
        "virtual_machine": False,
        "frequency": {"governor": "performance"},
    },
    "load": {"average": 0.1},
    "quiet": {"others_cores": 0.01, "busiest": []},
    "whole": {"steal_share": 0.0, "throttled": None},
    "probe": {
        "drift": 0.001,
        "slow_share": 0.0,
        "slow_by": 0.0,
        "outliers": 0.001,
        "p99_over_median": 1.05,
        "autocorrelation": 0.05,
        "pairs": {"verdict": "equivalent", "interval": [0.999, 1.001], "smallest_detectable": 0.021},
    },
}


def situation(**changes: Any) -> dict[str, Any]:
    """The quiet machine with some facts changed, named as `table__fact`."""
    facts = copy.deepcopy(QUIET)
    for name, value in changes.items():
        *path, last = name.split("__")
        target = facts
        for step in path:
            target = target[step]
        target[last] = value
    return facts


def test_a_quiet_machine() -> None:
    found = expected(QUIET)
    assert found["answer"] == "yes"
    assert found["basis"] == "expected"
    assert found["causes"] == []
    assert "-0.10 % to +0.10 %" in found["text"]
    assert "gatewise doctor --aa" in found["next"]


@pytest.mark.parametrize(
    ("changes", "what", "answer"),
    [
        ({"quiet__others_cores": 0.2}, "other programs", "yes"),
        ({"quiet__others_cores": 1.4}, "other programs", "doubtful"),
        ({"load__average": 3.0}, "recent load", "yes"),
        ({"whole__steal_share": 0.01}, "another tenant", "yes"),
        ({"whole__steal_share": 0.10}, "another tenant", "doubtful"),
        ({"whole__throttled": 5}, "the quota", "doubtful"),
        ({"probe__drift": 0.03}, "drift", "yes"),
        ({"probe__drift": -0.08}, "drift", "doubtful"),
        ({"probe__slow_share": 0.125, "probe__slow_by": 0.2}, "changing speed", "yes"),
        ({"probe__slow_share": 0.5, "probe__slow_by": 0.2}, "changing speed", "doubtful"),
        ({"probe__outliers": 0.07}, "interruptions", "yes"),
        ({"probe__outliers": 0.3}, "interruptions", "doubtful"),
        ({"probe__p99_over_median": 3.0}, "interruptions", "yes"),
        ({"probe__p99_over_median": 30.0}, "interruptions", "doubtful"),
        ({"probe__autocorrelation": 0.6}, "runs", "yes"),
        ({"machine__frequency__governor": "powersave"}, "governor", "yes"),
    ],
)
def test_one_cause(changes: dict[str, Any], what: str, answer: str) -> None:
    found = expected(situation(**changes))
    assert [cause["what"] for cause in found["causes"]] == [what]
    assert found["causes"][0]["helps"]
    assert found["causes"][0]["serious"] == (answer == "doubtful")
    assert found["answer"] == answer


def test_pairs_that_are_not_equal_decide() -> None:
    pairs = {"verdict": "inconclusive", "interval": [0.9, 1.1], "smallest_detectable": 0.2}
    found = expected(situation(probe__pairs=pairs))
    assert found["answer"] == "no"
    assert "-10.00 % to +10.00 %" in found["text"]
    refused = {"verdict": "inconclusive", "interval": None, "smallest_detectable": None}
    assert "no interval" in expected(situation(probe__pairs=refused))["text"]


def test_a_probe_without_values_is_no_good_news() -> None:
    unknown = dict.fromkeys(
        ("drift", "slow_share", "slow_by", "outliers", "p99_over_median", "autocorrelation", "pairs")
    )
    assert expected(situation(probe=unknown))["answer"] == "doubtful"


def test_what_is_unknown_is_no_cause() -> None:
    unknown = situation(quiet__others_cores=None, whole__steal_share=None, load__average=None)
    assert causes(unknown) == []


def test_suspects_follow_the_machine() -> None:
    shaky = {"probe__slow_share": 0.5, "probe__slow_by": 0.2}
    virtual = causes(situation(machine__virtual_machine=True, **shaky))[0]
    assert "another tenant" in virtual["seen"]
    assert "instance" in virtual["helps"]
    metal = causes(situation(**shaky))[0]
    assert "tenant" not in metal["seen"]
    assert "governor" in causes(situation(machine__frequency__governor="schedutil", **shaky))[0]["helps"]
    busy = causes(situation(quiet__others_cores=1.0, **shaky))
    assert "most likely the other programs" in busy[-1]["seen"]


def test_serious_causes_come_first() -> None:
    found = causes(situation(probe__autocorrelation=0.6, whole__throttled=2, quiet__others_cores=0.2))
    assert [cause["serious"] for cause in found] == [True, False, False]


def test_missing_packages_name_their_command() -> None:
    found = settle(installed(find=lambda name: None if name == "transformers" else "1.0", which=lambda name: None))
    entry = next(each for each in found["optional"] if each["name"] == "transformers")
    assert entry["version"] is None
    assert entry["install"] == "pip install 'gatewise[hf]'"
    assert found["compiler"]["name"] is None
    assert "c++" in found["missing"]["compiler.name"]


def test_every_extra_that_users_install_is_explained() -> None:
    project = tomllib.loads((Path(__file__).parents[2] / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    listed = {
        (extra, re.split(r"[^\w.-]", line)[0])
        for extra, lines in project["optional-dependencies"].items()
        for line in lines
        if extra != "dev" and not line.startswith("gatewise")
    }
    assert listed
    assert listed == {(each.extra, each.package) for each in OPTIONAL}
    needed = {re.split(r"[^\w.-]", line)[0] for line in project["dependencies"]}
    assert needed | {"gatewise"} == set(settle(installed())["needed"])


def test_native_kernels_are_looked_for() -> None:
    found = settle(installed())
    assert (found["native_kernels"] is None) == (kernels.status().path is None)


@pytest.mark.parametrize(
    ("cache", "available", "size"),
    [
        (32 * 2**20, 24 * 2**30, 128 * 2**20),
        (0, 24 * 2**30, LEAST_BYTES),
        (2**20, 0, LEAST_BYTES),
        (2**30, 10**12, MOST_BYTES),
        (32 * 2**20, 240 * 2**20, 20 * 2**20),
        (32 * 2**20, 10, 2**20),
    ],
)
def test_arrays_lie_beyond_the_cache_and_within_the_memory(cache: int, available: int, size: int) -> None:
    assert array_bytes(cache, available) == size


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    return look(effort=Effort(quiet_s=0.05, probe_s=0.2, bandwidth_s=0.05, matmul_s=0.05, side=128))


def test_a_real_look(document: dict[str, Any]) -> None:
    assert document["schema"] == "gatewise.doctor/1"
    json.dumps(document, allow_nan=False)
    parts = {key: value for key, value in document.items() if key not in ("missing", "verdict")}
    assert set(nulls(parts)) == set(document["missing"])
    assert document["threads"][0] == 1
    for count in document["threads"]:
        for row in document["bandwidth"][f"threads_{count}"].values():
            rates = row["bytes_per_s"]
            assert 0 < rates["low"] <= rates["median"] <= rates["high"]
        assert 0 < document["matmul"][f"threads_{count}"]["linear_share_of_best"] <= 1
    assert sum(document["took_s"].values()) <= document["seconds"]


def test_a_look_where_nothing_is_told(tmp_path: Path) -> None:
    effort = Effort(quiet_s=0.01, probe_s=0.1, bandwidth_s=0.02, matmul_s=0.02, side=64)
    found = look(root=tmp_path, effort=effort)
    assert found["machine"]["caches"] is None
    assert found["bandwidth"]["beyond_cache"] is None
    assert "doctor" in printed(found)


def printed(document: dict[str, Any], width: int = 80, encoding: str = "utf-8") -> str:
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding=encoding, newline="")
    show(document, Console(file=stream, width=width, color_system=None, force_terminal=False))
    stream.flush()
    return raw.getvalue().decode(encoding)


@pytest.mark.parametrize("width", [80, 120])
def test_the_page_fits_and_says_everything(document: dict[str, Any], width: int) -> None:
    text = printed(document, width)
    assert max(map(len, text.splitlines())) <= width
    for word in ("Installed", "cores", "caches", "memory copy", "matmul f32", "on 1 thread", "probe"):
        assert word in text
    assert document["verdict"]["answer"] in text
    assert f"native kernels {document['installed']['native_kernels'] or 'absent'}" in " ".join(text.split())
    assert "\x1b" not in text


def test_absent_kernels_are_said_with_the_reason(document: dict[str, Any]) -> None:
    lacking = document | {
        "installed": document["installed"] | {"native_kernels": None},
        "missing": document["missing"] | {"installed.native_kernels": "nobody built them"},
    }
    assert "native kernels absent: nobody built them" in " ".join(printed(lacking, 120).split())


def test_a_terminal_that_is_not_utf8(document: dict[str, Any]) -> None:
    text = printed(document, encoding="ascii")
    assert "2 % verdict" in text
    assert "us: p99" in text or "calls are too few" in text


def test_no_colour_when_asked(document: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    stream = io.StringIO()
    show(document, Console(file=stream, width=80, force_terminal=True, color_system="standard"))
    assert "\x1b[3" not in stream.getvalue()
