"""A/A studies: the plan, the record that survives a kill, rates that are known, the loop; one real study."""

import functools
import io
import itertools
import json
import os
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console
from scipy.stats import binomtest

from gatewise import doctor
from gatewise.cli import main
from gatewise.core import GatewiseError, environment
from gatewise.doctor import _aa
from gatewise.doctor._aa_plan import PLANTED, Design, plan
from gatewise.doctor._aa_record import FILE, Record
from gatewise.doctor._aa_summary import clopper_pearson, summary
from gatewise.doctor._missing import nulls, settle
from gatewise.study import BudgetTooSmallError

DESIGN = Design(workload="ffn", batch=(1, 4))
RIGHT = {"same": "equivalent", "same again": "equivalent", "slower by 0.5 %": "equivalent", "slower by 10 %": "worse"}


def comparison(arm: str, batch: int, verdict: str, *, twin: bool = False, refused: bool = False) -> dict[str, Any]:
    seen = {"smallest_detectable": None if refused else 0.03, "interval": None if refused else [0.99, 1.01]}
    conditions = {"batch": batch, "tokens": 16, "threads": 1, "device": "cpu"}
    common = {"metric": "latency", "arm": arm, "twin": twin, "conditions": conditions, "n": 11}
    return common | seen | {"verdict": verdict}


def study(seed: int = 0, **changes: str) -> dict[str, Any]:
    """A study at two batch sizes in which all went well, but for `arm_batch=verdict`; `twin_4=inconclusive`."""
    rows: list[dict[str, Any]] = []
    for batch in DESIGN.batch:
        twin = changes.get(f"twin_{batch}", "equivalent")
        rows.append(comparison("gelu (twin)", batch, twin, twin=True))
        for arm in PLANTED:
            key = f"{arm.replace(' ', '_').replace('.', '_').replace('%', 'p')}_{batch}"
            held = twin != "equivalent"
            rows.append(comparison(arm, batch, "inconclusive" if held else changes.get(key, RIGHT[arm]), refused=held))
    return {"seed": seed, "seconds": 40.0, "design": DESIGN.to_json(), "comparisons": rows}


def unfinished(seed: int) -> dict[str, Any]:
    """A study that ended before it had enough processes for any interval, the twin's included."""
    found = study(seed, twin_1="inconclusive", twin_4="inconclusive")
    for row in found["comparisons"]:
        row["interval"] = row["smallest_detectable"] = None
    return found


# The plan


def test_the_plan_holds_identical_arms_and_a_control() -> None:
    part = plan(Design(), seed=7, budget_s=70).parts[0]
    assert plan(Design(), seed=7, budget_s=70).seed == 7
    assert {arm.name for arm in part.arms} == {"gelu"}
    assert part.baseline == "gelu"
    assert [arm.slowdown for arm in part.arms] == [0, 0, 0, 0.005, 0.1]
    assert part.measure is not None
    assert part.measure.metrics == ("latency",)
    assert part.judge.margin_of("latency") == 0.02
    assert Design(workload="byte-lm").to_json()["workload"] == "byte-lm"


# Rates


@given(st.integers(0, 300).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_clopper_pearson_is_the_exact_interval(trial: tuple[int, int]) -> None:
    hits, total = trial
    low, high = clopper_pearson(hits, total)
    assert 0 <= low <= high <= 1
    if total:
        exact = binomtest(hits, total).proportion_ci(confidence_level=0.95, method="exact")
        assert low == pytest.approx(exact.low, abs=1e-9)
        assert high == pytest.approx(exact.high, abs=1e-9)


def test_rates_of_a_record() -> None:
    studies = [study(seed) for seed in range(8)]
    studies += [study(8, same_1="worse", same_4="better"), study(9, same_again_4="inconclusive")]
    found = settle(summary(studies))
    assert found["identical"] == {
        "comparisons": 40,
        "judged": 40,
        "better": 1,
        "worse": 1,
        "equivalent": 37,
        "inconclusive": 1,
        "blocked_by_twin": 0,
    }
    assert found["alarms_by_comparison"]["hits"] == 2
    assert found["alarms_by_comparison"]["of"] == 40
    assert found["alarms_by_comparison"]["rate"] == 0.05
    exact = binomtest(2, 40).proportion_ci(method="exact")
    assert found["alarms_by_comparison"]["interval"] == pytest.approx([exact.low, exact.high])
    assert (found["alarms_by_study"]["hits"], found["alarms_by_study"]["of"]) == (1, 10)  # both in one study
    assert found["control"]["worse"] == 20
    assert found["twins"] == {"comparisons": 20, "judged": 20, "equivalent": 20, "called_different": 0}
    assert found["others_cores"] is None
    assert found["study_seconds"] == {"median": 40.0, "low": 40.0, "high": 40.0}
    assert set(nulls({key: value for key, value in found.items() if key != "missing"})) == set(found["missing"])


def test_a_twin_blocks_its_own_cell_only() -> None:
    found = summary([study(0, twin_4="inconclusive")])
    assert found["identical"]["blocked_by_twin"] == 2
    assert found["control"]["blocked_by_twin"] == 1
    assert found["identical"]["equivalent"] == 2


def test_what_was_refused_counts_for_no_rate() -> None:
    found = summary([study(0, twin_4="worse"), study(1, twin_1="worse", twin_4="inconclusive"), study(2)])
    assert found["identical"]["comparisons"] == 12
    assert found["identical"]["judged"] == found["alarms_by_comparison"]["of"] == 6
    assert found["alarms_by_study"]["of"] == found["wrong_by_study"]["of"] == 2
    assert found["twins"]["called_different"] == 2


def test_what_counts_as_wrong() -> None:
    wrong = {"same_1": "better", "slower_by_0_5_p_1": "worse", "slower_by_10_p_1": "equivalent"}
    for arm, verdict in wrong.items():
        assert summary([study(0, **{arm: verdict})])["wrong_by_study"]["hits"] == 1
    silent = dict.fromkeys((*wrong, "same_4"), "inconclusive")
    assert summary([study(0, **silent)])["wrong_by_study"]["hits"] == 0
    assert summary([study(0, slower_by_0_5_p_1="worse")])["alarms_by_study"]["hits"] == 0


def test_the_smallest_difference_that_could_have_been_seen() -> None:
    one = study(0)
    for index, row in enumerate(row for row in one["comparisons"] if row["arm"].startswith("same")):
        row["smallest_detectable"] = (0.03, None, 0.05, 0.04)[index]
    assert summary([one])["smallest_detectable"] == {"median": 0.04, "worst": 0.05, "known": 3}


@pytest.mark.parametrize(
    ("studies", "answer"),
    [
        ([], "not yet"),
        ([study(0)], "not yet"),
        ([study(seed, twin_1="worse", twin_4="worse") for seed in range(50)], "too noisy"),
        ([unfinished(seed) for seed in range(50)], "not yet"),
        ([study(seed) for seed in range(50)], "yes"),
        ([study(seed, same_1="worse") for seed in range(6)], "no"),
        ([study(seed, slower_by_10_p_1="equivalent", slower_by_10_p_4="equivalent") for seed in range(2)], "no"),
        ([study(seed, same_1="inconclusive", same_4="inconclusive") for seed in range(50)], "too noisy"),
        ([study(seed, slower_by_10_p_1="inconclusive") for seed in range(50)], "too noisy"),
        ([study(seed) for seed in range(49)] + [study(49, same_1="worse")], "yes"),
    ],
    ids=[
        "none",
        "one",
        "twins not equal",
        "too short",
        "clean",
        "alarms",
        "deaf",
        "undecided",
        "control lost",
        "one alarm in 200",
    ],
)
def test_the_verdict(studies: list[dict[str, Any]], answer: str) -> None:
    found = settle(summary(studies))
    assert found["verdict"]["answer"] == answer
    assert found["verdict"]["basis"] == "measured"
    assert (found["verdict"]["next"] is None) == (answer == "yes")


def test_a_wrong_verdict_is_not_called_nothing() -> None:
    few = verdict_text([study(seed) for seed in range(4)] + [study(4, same_1="worse")])
    assert (
        few == "1 of 5 studies held a wrong verdict. 5 % are promised, and too few studies were run to tell chance "
        "from a fault."
    )
    noisy = verdict_text([study(0, same_1="worse")])
    assert "1 of 1 studies held a wrong verdict" in noisy
    assert "not wrong more often" not in noisy
    assert "nothing speaks against" in verdict_text([study(0)])


def verdict_text(studies: list[dict[str, Any]]) -> str:
    return settle(summary(studies))["verdict"]["text"]


def test_who_else_worked_meanwhile() -> None:
    told = [study(0) | {"others_cores": 0.1}, study(1) | {"others_cores": 0.5}, study(2) | {"others_cores": None}]
    assert summary(told)["others_cores"] == {"median": 0.3, "low": 0.1, "high": 0.5}


# The record


def line(seed: int = 0) -> dict[str, Any]:
    return {key: value for key, value in study(seed).items() if key != "design"}


def test_a_later_call_adds(tmp_path: Path) -> None:
    with Record(tmp_path / "new" / "folder", DESIGN) as record:
        assert record.next_seed == 0
        record.add(line(0))
        record.add(line(4))
    with Record(tmp_path / "new" / "folder", DESIGN) as record:
        assert [each["seed"] for each in record.studies] == [0, 4]
        assert record.next_seed == 5
        assert record.cut == 0


def test_a_study_is_on_the_disk_before_the_next(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pressed: list[int] = []
    monkeypatch.setattr(os, "fsync", pressed.append)
    with Record(tmp_path, DESIGN) as record:
        record.add(line(0))
        assert len(pressed) == 1
        content = (tmp_path / FILE).read_bytes()
        assert content.endswith(b"\n")
        assert json.loads(content)["comparisons"] == line(0)["comparisons"]


def two_lines(folder: Path) -> bytes:
    with Record(folder, DESIGN) as record:
        record.add(line(0))
        record.add(line(1))
    return (folder / FILE).read_bytes()


def test_a_half_written_last_line_is_cut(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (0.25, 0.25, 0.25))  # the one fact of a line that changes by itself
    whole = two_lines(tmp_path)
    second = whole.index(b"\n") + 1
    for kept in (1, 2, 40, len(whole) - second - 2):
        (tmp_path / FILE).write_bytes(whole[: second + kept])
        with Record(tmp_path, DESIGN):
            pass
        assert (tmp_path / FILE).read_bytes() == whole[: second + kept]  # a look at it changes nothing
        with Record(tmp_path, DESIGN) as record:
            assert [each["seed"] for each in record.studies] == [0]
            assert record.cut == kept
            record.add(line(1))
        assert (tmp_path / FILE).read_bytes() == whole


def test_a_line_that_lacks_only_its_end_is_kept(tmp_path: Path) -> None:
    whole = two_lines(tmp_path)
    (tmp_path / FILE).write_bytes(whole[:-1])
    with Record(tmp_path, DESIGN) as record:
        assert record.cut == 0
        assert len(record.studies) == 2
        record.add(line(2))
    assert (tmp_path / FILE).read_bytes().startswith(whole)
    with Record(tmp_path, DESIGN) as record:
        assert len(record.studies) == 3


def test_a_first_line_that_was_killed(tmp_path: Path) -> None:
    whole = two_lines(tmp_path)
    (tmp_path / FILE).write_bytes(whole[:30])
    with Record(tmp_path, DESIGN) as record:
        assert record.studies == []
        assert record.cut == 30


@pytest.mark.parametrize(
    "content",
    [b"name,value\n", b"hello", b"[]\n", b'{"schema": "other"}\n', b"\xff\xfe\n", b"{}\n", b"[" * 100_000 + b"\n"],
)
def test_a_file_of_something_else_is_left_alone(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    with pytest.raises(GatewiseError, match="--out"):
        Record(tmp_path, DESIGN)
    assert (tmp_path / FILE).read_bytes() == content


def test_damage_in_the_middle_is_said(tmp_path: Path) -> None:
    whole = two_lines(tmp_path)
    (tmp_path / FILE).write_bytes(whole[10:])
    with pytest.raises(GatewiseError, match="line 1"):
        Record(tmp_path, DESIGN)
    assert (tmp_path / FILE).read_bytes() == whole[10:]


def changed(folder: Path, change: Callable[[dict[str, Any]], None]) -> None:
    first = json.loads(two_lines(folder).splitlines()[0])
    change(first)
    (folder / FILE).write_text(json.dumps(first) + "\n")


def test_another_machine_is_refused(tmp_path: Path) -> None:
    changed(tmp_path, lambda first: first["environment"].update(cpu="another"))
    with pytest.raises(GatewiseError, match=r"another machine.*cpu differ"):
        Record(tmp_path, DESIGN)


def test_other_versions_are_refused(tmp_path: Path) -> None:
    changed(tmp_path, lambda first: first["environment"]["packages"].update(torch="1.0"))
    with pytest.raises(GatewiseError, match="packages differ"):
        Record(tmp_path, DESIGN)


def test_another_design_is_refused(tmp_path: Path) -> None:
    two_lines(tmp_path)
    with pytest.raises(GatewiseError, match=r"another design.*workload 'ffn'"):
        Record(tmp_path, Design(workload="byte-lm", batch=(1, 4)))


def test_two_at_once_are_refused(tmp_path: Path) -> None:
    pytest.importorskip("fcntl")
    with Record(tmp_path, DESIGN), pytest.raises(GatewiseError, match="another gatewise doctor"):
        Record(tmp_path, DESIGN)
    with Record(tmp_path, DESIGN) as record:
        assert record.studies == []


def test_a_folder_that_cannot_be(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(GatewiseError, match="cannot write"):
        Record(tmp_path / "file", DESIGN)


# The loop, with studies that cost nothing


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """Every study is a clean one of one second; what was asked of it is listed."""
    asked: list[tuple[int, float]] = []
    clock = itertools.count()

    def conduct(design: Design, seed: int, budget_s: float, progress: Any) -> dict[str, Any]:
        asked.append((seed, budget_s))
        progress("timing", 1.0)
        for _ in range(30):
            next(clock)
        return line(seed) | {"seconds": 30.0}

    monkeypatch.setattr(_aa, "_study", conduct)
    monkeypatch.setattr(_aa, "time", types.SimpleNamespace(monotonic=lambda: float(next(clock))))
    return asked


def test_as_many_as_were_asked(fake: list[tuple[int, float]], tmp_path: Path) -> None:
    told: list[str] = []
    found = doctor.aa(studies=3, out=tmp_path, progress=lambda what, left: told.append(what))
    assert [seed for seed, _ in fake] == [0, 1, 2]
    assert found["studies"] == found["in_this_call"] == 3
    assert found["stopped"] == "all studies are done"
    assert told[1] == "A/A study 2 of 3: timing"
    again = doctor.aa(studies=2, out=tmp_path)
    assert [seed for seed, _ in fake] == [0, 1, 2, 3, 4]
    assert (again["studies"], again["in_this_call"], again["from_before"]) == (5, 2, 3)
    assert len((tmp_path / FILE).read_text().splitlines()) == 5
    json.dumps(again, allow_nan=False)
    assert set(nulls({key: value for key, value in again.items() if key != "missing"})) == set(again["missing"])


def test_as_many_as_the_budget_allows(fake: list[tuple[int, float]]) -> None:
    found = doctor.aa(budget="4m")
    assert found["stopped"] == "the budget is spent"
    assert 4 <= len(fake) <= 8
    assert all(asked <= _aa.STUDY_S for _, asked in fake)
    assert fake[0][1] == _aa.STUDY_S


def test_a_repair_is_said(fake: list[tuple[int, float]], tmp_path: Path) -> None:
    doctor.aa(studies=2, out=tmp_path)
    with (tmp_path / FILE).open("ab") as lines:
        lines.write(b'{"schema": "gatewise.aa/1", "se')
    doctor.check(studies=1, out=tmp_path)
    found = doctor.aa(studies=1, out=tmp_path)
    assert (found["from_before"], found["in_this_call"]) == (2, 1)
    assert found["cut_bytes"] == 31
    assert "half written" in printed(found)
    assert [json.loads(each)["seed"] for each in (tmp_path / FILE).read_text().splitlines()] == [0, 1, 2]


def test_few_studies_share_a_long_budget(fake: list[tuple[int, float]]) -> None:
    doctor.aa(studies=2, budget="10m")
    assert fake[0] == (0, 300.0)


def test_ctrl_c_keeps_what_is_done(
    fake: list[tuple[int, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    conduct = _aa._study

    def stopped(design: Design, seed: int, budget_s: float, progress: Any) -> dict[str, Any]:
        if seed == 2:
            raise KeyboardInterrupt
        return conduct(design, seed, budget_s, progress)

    monkeypatch.setattr(_aa, "_study", stopped)
    found = doctor.aa(studies=5, out=tmp_path)
    assert found["interrupted"] is True
    assert found["studies"] == 2
    assert "Ctrl-C" in printed(found)
    assert len((tmp_path / FILE).read_text().splitlines()) == 2


def test_a_slow_machine_gets_longer_studies(fake: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch) -> None:
    conduct = _aa._study

    def slow(design: Design, seed: int, budget_s: float, progress: Any) -> dict[str, Any]:
        if budget_s < 100:
            raise BudgetTooSmallError("a budget cannot give one verdict")
        return conduct(design, seed, budget_s, progress)

    monkeypatch.setattr(_aa, "_study", slow)
    assert doctor.aa(budget="5m")["studies"] >= 1
    assert fake[0][1] >= 100
    with pytest.raises(BudgetTooSmallError):
        doctor.aa(budget="90s")


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"studies": 0}, "above 0"),
        ({"studies": True}, "above 0"),
        ({"workload": "fnn"}, "did you mean 'ffn'"),
        ({"workload": ""}, "unknown workload"),
        ({"budget": "5 lightyears"}, "time span"),
    ],
)
def test_bad_input(fake: list[tuple[int, float]], options: dict[str, Any], match: str) -> None:
    with pytest.raises(GatewiseError, match=match):
        doctor.aa(**options)
    with pytest.raises(GatewiseError, match=match):
        doctor.check(**options)
    assert fake == []


# What people see


def printed(found: dict[str, Any]) -> str:
    stream = io.StringIO()
    doctor.show(found, Console(file=stream, width=80, color_system=None, force_terminal=False))
    assert max(map(len, stream.getvalue().splitlines())) <= 80
    return stream.getvalue()


def test_the_page(fake: list[tuple[int, float]]) -> None:
    text = " ".join(printed(doctor.aa(studies=50)).split())
    assert "0 of 200: 0.0 % (0.0 % to 1.8 %) of the comparisons judged" in text
    assert "0 of 50: 0.0 % (0.0 % to 7.1 %) of their studies" in text
    assert "100: 100 worse" in text
    assert "a change of 3.0 % (median; worst 3.0 %)" in text
    assert "yes" in text.split("trusted here?")[1]


def test_the_page_of_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(_aa, "_study", stopped)
    assert "No A/A study has finished" in printed(doctor.aa(studies=1))


@pytest.mark.parametrize("option", ["--studies=2", "--budget=5m", "--workload=ffn", "--out=x"])
def test_options_of_studies_need_aa(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", option]) == 2
    assert "--aa" in capsys.readouterr().err


def test_the_command(
    fake: list[tuple[int, float]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(doctor, "look", lambda progress: {"schema": "gatewise.doctor/1", "kind": "look"})
    assert main(["doctor", "--aa", "--studies", "2", "--out", str(tmp_path), "--json"]) == 0
    document = json.loads(capsys.readouterr().out)
    assert document["kind"] == "look"
    assert document["aa"]["studies"] == 2


def test_the_command_ended_by_ctrl_c(
    fake: list[tuple[int, float]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: Any, **__: Any) -> dict[str, Any]:
        raise KeyboardInterrupt

    monkeypatch.setattr(_aa, "_study", stopped)
    monkeypatch.setattr(doctor, "look", lambda progress: {"schema": "gatewise.doctor/1", "kind": "look"})
    assert main(["doctor", "--aa", "--json"]) == 130
    assert json.loads(capsys.readouterr().out)["aa"]["interrupted"] is True
    monkeypatch.setattr(doctor, "look", stopped)
    assert main(["doctor"]) == 130
    assert "stopped" in capsys.readouterr().err


@pytest.mark.alone
@pytest.mark.slow
def test_a_real_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The real thing at one batch size. That it may end undecided on a busy machine would be no fault."""
    monkeypatch.setattr(_aa, "Design", functools.partial(Design, batch=(1,)))
    monkeypatch.setattr(_aa, "STUDY_S", 45.0)
    found = doctor.aa(studies=1, out=tmp_path)
    assert found["studies"] == 1
    assert found["identical"]["comparisons"] == 2
    assert found["inside_margin"]["comparisons"] == found["control"]["comparisons"] == 1
    assert found["control"]["better"] == found["control"]["equivalent"] == 0
    kept = json.loads((tmp_path / FILE).read_text())
    assert kept["environment"]["cpu"] == environment()["cpu"]
    assert [row["arm"] for row in kept["comparisons"] if row["twin"]] == ["gelu (twin)"]
    assert {row["n"] for row in kept["comparisons"]} != {0}
    assert 0 <= kept["others_cores"] <= (os.cpu_count() or 1)
