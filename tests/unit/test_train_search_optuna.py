"""The search as an Optuna study: the record of the built-in engine, a journal that outlives its process."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import pytest

from gatewise.core import GatewiseError, MissingExtraError
from gatewise.train import RateFound, RateSearch, TrainPlan, search_rate
from gatewise.train import _search as searching
from gatewise.workloads._byte_lm import ByteLMWorkload

SMALL = ByteLMWorkload(dim=16, layers=1, heads=2, context=32, batch=2, heldout_windows=16, heldout_batch=4)
SEARCH = RateSearch(rates=(1e-3, 1e-2, 1e-1, 30.0), steps=24, rungs=3, seeds=2)
OPTUNA = replace(SEARCH, engine="optuna")
PLAN = TrainPlan(steps=999, eval_every=7)
JOURNAL = "optuna.journal"

pytest.importorskip("optuna")


def search(folder: Path | None, asked: RateSearch = OPTUNA, arm: str = "gelu", **more: Any) -> RateFound:
    return replace(search_rate(SMALL, arm, search=asked, plan=PLAN, folder=folder, **more), seconds=0.0)


@pytest.fixture(scope="module")
def built_in() -> RateFound:
    return search(None, SEARCH)


def studies(journal: Path) -> dict[str, list[Any]]:
    """What anybody who opens the journal with Optuna finds."""
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    storage = JournalStorage(JournalFileBackend(str(journal)))
    names = optuna.get_all_study_names(storage)
    return {name: optuna.load_study(study_name=name, storage=storage).trials for name in names}


def states(trials: list[Any]) -> list[str]:
    return [trial.state.name for trial in trials]


def test_the_record_is_that_of_the_built_in_engine(built_in: RateFound, tmp_path: Path) -> None:
    found = search(tmp_path / "search-00")
    assert found == built_in
    assert found.to_json() == built_in.to_json()
    assert search(None) == built_in  # without a folder too


def test_the_journal_holds_a_trial_for_each_rate_with_its_losses(built_in: RateFound, tmp_path: Path) -> None:
    journal = tmp_path / "both.journal"
    search(tmp_path / "search-00", journal=journal)
    search(tmp_path / "search-01", journal=journal, arm="relu")
    found = studies(journal)
    assert set(found) == {"search-00: gelu", "search-01: relu"}
    trials = found["search-00: gelu"]
    assert [trial.params["learning_rate"] for trial in trials] == list(SEARCH.rates)
    for trial, entry in zip(trials, built_in.table, strict=True):
        assert trial.state.name == ("COMPLETE" if entry["stopped_at"] is None else "PRUNED")
        means = {int(n): math.inf if None in each else fmean(each) for n, each in entry["losses"].items()}
        assert trial.intermediate_values == pytest.approx(means, rel=1e-12)
    best = min((t for t in trials if t.state.name == "COMPLETE"), key=lambda trial: trial.value)
    assert best.params["learning_rate"] == built_in.chosen


@pytest.mark.parametrize("calls", range(1, 8))
def test_stopped_anywhere_it_goes_on_to_the_same_record(built_in: RateFound, tmp_path: Path, calls: int) -> None:
    left = iter(range(calls))

    def stop(step: object) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt(step)

    folder = tmp_path / "search-00"
    try:
        search(folder, tell=stop)
    except KeyboardInterrupt:
        with (folder / JOURNAL).open("ab") as file:
            file.write(b'{"op_code":6,"worker_id":"half a li')  # as a process leaves it that is killed while it writes
        (folder / f"{JOURNAL}.lock").symlink_to(folder / JOURNAL)
    again = search(folder)
    assert again == built_in
    (trials,) = studies(folder / JOURNAL).values()
    assert "RUNNING" not in states(trials)
    assert "WAITING" not in states(trials)
    assert sorted(states(trials)).count("COMPLETE") == SEARCH.standing[-1]
    assert states(trials).count("PRUNED") == len(SEARCH.rates) - SEARCH.standing[-1]


def test_a_search_that_is_over_is_read_back_and_nothing_is_added(built_in: RateFound, tmp_path: Path) -> None:
    folder = tmp_path / "search-00"
    search(folder)
    (before,) = studies(folder / JOURNAL).values()
    assert search(folder) == built_in
    (after,) = studies(folder / JOURNAL).values()
    assert states(after) == states(before)


def _waited(path: Path, process: "subprocess.Popen[bytes]") -> Iterator[None]:
    for _ in range(6000):
        if path.is_file() and b'"step":6' in path.read_bytes().replace(b" ", b""):
            return
        assert process.poll() is None, "it ended before it was killed"
        yield time.sleep(0.01)
    raise AssertionError("no loss was reported within a minute")


@pytest.mark.skipif(os.name != "posix", reason="kill -9 is a POSIX signal")
def test_killed_with_signal_9_it_goes_on_to_the_same_record(built_in: RateFound, tmp_path: Path) -> None:
    folder = tmp_path / "search-00"
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1])\n"
        "import test_train_search_optuna as here\n"
        "here.search(Path(sys.argv[2]), tell=lambda step: step.rung == 2 and sys.stdin.read())"
    )
    command = [sys.executable, "-c", code, str(Path(__file__).parent), str(folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        for _ in _waited(folder / JOURNAL, process):
            pass
        process.send_signal(signal.SIGKILL)
    assert process.returncode == -signal.SIGKILL
    assert search(folder) == built_in


def test_a_journal_of_another_search_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "search-00"
    search(folder)
    with pytest.raises(GatewiseError, match=r"holds another search of search-00: gelu") as caught:
        search(folder, replace(OPTUNA, rates=(1e-3, 1e-2)))
    assert len(str(caught.value).splitlines()) == 2


def test_a_journal_whose_losses_are_not_those_here_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "search-00"
    search(folder)
    journal = tmp_path / JOURNAL
    (folder / JOURNAL).rename(journal)
    other = replace(PLAN, weight_decay=0.0)
    with pytest.raises(GatewiseError, match="belongs to another model, plan or machine"):
        search_rate(SMALL, "gelu", search=OPTUNA, plan=other, folder=tmp_path / "new" / "search-00", journal=journal)


def test_what_is_no_journal_is_refused(tmp_path: Path) -> None:
    journal = tmp_path / JOURNAL
    journal.write_text("no journal\nat all\n")
    with pytest.raises(GatewiseError, match="cannot be read as an Optuna journal"):
        search(tmp_path / "search-00", journal=journal)


def test_without_optuna_the_extra_is_named_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "optuna", None)
    monkeypatch.setattr(searching.TrainRun, "train", lambda *a, **k: pytest.fail("it trained"))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType]
    with pytest.raises(MissingExtraError, match=r"gatewise\[optuna\]") as caught:
        search(None)
    assert len(str(caught.value).splitlines()) <= 2


def test_an_engine_of_another_name_is_refused() -> None:
    with pytest.raises(GatewiseError, match="did you mean 'optuna'"):
        replace(SEARCH, engine="optune")


def test_optuna_is_as_loud_as_before() -> None:
    import optuna

    before = optuna.logging.get_verbosity()
    search(None)
    assert optuna.logging.get_verbosity() == before


def test_the_journal_is_what_json_lines_are(tmp_path: Path) -> None:
    search(tmp_path / "search-00")
    lines = (tmp_path / "search-00" / JOURNAL).read_text().splitlines()
    assert all(isinstance(json.loads(line), dict) for line in lines)
