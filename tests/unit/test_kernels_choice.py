"""The measured choice: the quickest beyond noise, once, remembered, and forced by name. Clocks here are planted."""

import json
import random
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from planted_clocks import Planted, plant

from gatewise.kernels import _choice, _choice_file
from gatewise.kernels._choice_timing import GAIN, ROUNDS, Price, compare

KEY = {"rows": 8, "dtype": "float32"}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("GATEWISE_CHOOSE", raising=False)
    _choice.forget()
    yield
    _choice.forget()


def new_process() -> None:
    """What a new process knows: the file."""
    _choice.forget()


def the_file(tmp_path: Path) -> Path:
    (found,) = (tmp_path / "cache").glob("choices-*.json")
    return found


def test_the_quicker_one_is_chosen_and_its_times_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    assert _choice.choose("q", KEY, planted.candidates()) == "onednn"
    (choice,) = _choice.choices()
    assert choice.question == "q"
    assert dict(choice.key) == {**KEY, "threads": torch.get_num_threads()}
    assert (choice.chosen, choice.source, choice.rounds) == ("onednn", "measured", 10)
    assert choice.times_s == pytest.approx({"torch": 0.010, "onednn": 0.005})


@pytest.mark.parametrize(
    ("other", "chosen"),
    [(0.0101, "torch"), (0.010, "torch"), (0.0099, "torch"), (0.0097, "onednn"), (0.001, "onednn")],
)
def test_a_gain_too_small_to_matter_is_left(monkeypatch: pytest.MonkeyPatch, other: float, chosen: str) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=other)
    assert _choice.choose("q", KEY, planted.candidates()) == chosen


def test_noise_decides_nothing_and_is_not_kept(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Quicker in two of three readings, however long it is measured.
    planted = plant(monkeypatch, torch=0.020, onednn=[0.015, 0.015, 0.15] * 40)
    assert _choice.choose("q", KEY, planted.candidates()) == "torch"
    (choice,) = _choice.choices()
    assert choice.times_s["onednn"] < choice.times_s["torch"] * (1 - GAIN)
    assert choice.note == _choice.UNDECIDED
    assert not list(tmp_path.glob("cache/*.json"))
    calls = len(planted.calls)
    assert _choice.choose("q", KEY, planted.candidates()) == "torch"
    assert len(planted.calls) == calls  # once a process all the same
    new_process()
    _choice.choose("q", KEY, planted.candidates())
    assert len(planted.calls) > calls


def test_rounds_go_on_where_one_seems_quicker(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    # Two of the first six rounds are lost, then no more: one too many for six and for twelve, not for twenty-four.
    planted = plant(monkeypatch, torch=0.020, onednn=[0.015] * 5 + [0.15, 0.15] + [0.015] * 60, slow=0.030)
    assert _choice.choose("q", KEY, planted.candidates()) == "onednn"
    (choice,) = _choice.choices()
    assert (choice.rounds, choice.note) == (24, None)
    assert planted.calls.count("slow") == 2 + 6  # which has lost
    assert list(tmp_path.glob("cache/*.json"))


def test_a_winner_does_not_end_the_rounds_of_a_better_one(monkeypatch: pytest.MonkeyPatch) -> None:
    # `good` wins every round by little; `better` wins by much, but for two of the first ten, and of no later ones.
    better = [0.007] * 2 + [0.02] * 2 + [0.007] * 60
    planted = plant(monkeypatch, torch=0.010, good=0.0095, better=better)
    assert _choice.choose("q", KEY, planted.candidates()) == "better"
    (choice,) = _choice.choices()
    assert (choice.rounds, choice.note) == (20, None)


def test_a_winner_stays_where_a_better_one_stays_in_doubt(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planted = plant(monkeypatch, torch=0.010, good=0.0095, better=[0.007, 0.007, 0.02])
    assert _choice.choose("q", KEY, planted.candidates()) == "good"
    (choice,) = _choice.choices()
    assert choice.note is None
    assert list(tmp_path.glob("cache/*.json"))


def test_rounds_end_when_they_have_taken_long(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=1.0, onednn=[0.5, 0.5, 1.5] * 40)
    assert _choice.choose("q", KEY, planted.candidates()) == "torch"
    (choice,) = _choice.choices()
    assert choice.rounds < 10
    assert planted.now < 20


@given(
    stock=st.floats(1e-6, 3.0),
    other=st.floats(1e-6, 3.0),
    seed=st.integers(0, 2**32),
)
def test_a_bounded_number_of_rounds_in_random_order(stock: float, other: float, seed: int) -> None:
    planted = Planted({"torch": stock, "onednn": other})
    found = compare(planted.candidates(), clock=planted.clock, order=random.Random(seed))
    assert ROUNDS[0] <= found.rounds <= ROUNDS[1]
    if stock + other > 0.14:  # beyond 0.4 s in three rounds
        assert found.rounds == ROUNDS[0]
    first = (1 if stock >= 0.4 else 2) + (1 if other >= 0.4 else 2)
    assert planted.now <= 0.4 + first * max(stock, other) + ROUNDS[0] * (stock + other) + 0.1
    assert found.chosen == ("onednn" if other <= stock * (1 - GAIN) else "torch")


PRICES = {"less": Price(1.05), "least": Price(1.05, of="torch")}


@pytest.mark.parametrize(
    ("less", "least", "dear", "rounds"),
    [
        (1.04, 1.04, (), 3),
        (1.2, 1.2, ("less", "least"), 7),
        (1.0, 1.2, ("least",), 7),
        ([1.2] * 6 + [1.0] * 60, 1.0, (), 7),  # a first call and three rounds of noise, and what came then
    ],
)
def test_a_price_is_shown_and_not_guessed(
    less: float | list[float], least: float, dear: tuple[str, ...], rounds: int
) -> None:
    planted = Planted({"torch": 1.0, "less": less, "least": least})
    found = compare(planted.candidates(), clock=planted.clock, prices=PRICES)
    assert (found.chosen, found.dear, found.rounds) == ("torch", dear, rounds)


def test_a_price_is_of_the_quickest_or_of_the_one_that_it_names() -> None:
    planted = Planted({"torch": 1.0, "quick": 0.9, "less": 1.0, "least": 1.0})
    found = compare(planted.candidates(), clock=planted.clock, prices=PRICES)
    assert (found.chosen, found.dear) == ("quick", ("less",))
    planted = Planted({"torch": 1.0, "less": 0.7, "least": 0.8})
    assert compare(planted.candidates(), clock=planted.clock, prices=PRICES).dear == ()


def test_a_price_of_one_that_raised_is_of_the_quickest() -> None:
    planted = Planted({"torch": 1.0, "quick": 1.0, "least": 1.2})

    def broken() -> object:
        raise RuntimeError("not here")

    found = compare(planted.candidates() | {"torch": broken}, clock=planted.clock, prices=PRICES)
    assert (found.chosen, found.dear) == ("quick", ("least",))


def test_a_price_that_stays_in_doubt_is_not_called_dear() -> None:
    planted = Planted({"torch": 1.0, "less": [1.2, 1.2, 1.0]})
    found = compare(planted.candidates(), clock=planted.clock, prices=PRICES)
    assert (found.dear, found.rounds) == ((), 7)
    quick = Planted({"torch": 0.01, "less": [0.012, 0.012, 0.01]})
    assert compare(quick.candidates(), clock=quick.clock, prices=PRICES).rounds <= 40


def test_what_is_dear_is_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, less=0.020)
    _choice.choose("q", KEY, planted.candidates(), PRICES)
    new_process()
    assert _choice.measured("q", KEY) is None
    assert _choice.known("q", KEY) == "torch"
    found = _choice.measured("q", KEY)
    assert found is not None
    assert (found.dear, found.source) == (("less",), "cached")


def test_every_round_has_each_candidate_once_and_orders_differ() -> None:
    planted = Planted({"a": 0.03, "b": 0.03, "c": 0.03})
    compare(planted.candidates(), clock=planted.clock, order=random.Random(1))
    timed = planted.calls[6:]  # two first calls of each
    rounds = [tuple(timed[i : i + 3]) for i in range(0, len(timed), 3)]
    assert all(sorted(each) == ["a", "b", "c"] for each in rounds)
    assert len(set(rounds)) > 1


def test_the_order_leaves_the_programs_random_numbers_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    random.seed(5)
    torch.manual_seed(5)
    state, numbers = random.getstate(), torch.get_rng_state()
    _choice.choose("q", KEY, plant(monkeypatch, torch=0.01, onednn=0.02).candidates())
    assert random.getstate() == state
    assert torch.equal(torch.get_rng_state(), numbers)


def test_a_later_process_takes_the_same_way_without_measuring(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    _choice.choose("q", KEY, planted.candidates())
    calls = len(planted.calls)
    new_process()
    assert _choice.known("q", KEY) == "onednn"
    assert _choice.choose("q", KEY, planted.candidates()) == "onednn"
    assert len(planted.calls) == calls
    (choice,) = _choice.choices()
    assert choice.source == "cached"
    assert choice.times_s == pytest.approx({"torch": 0.010, "onednn": 0.005})
    kept = json.loads(the_file(tmp_path).read_text())
    assert kept["machine"]["torch"]
    assert [each["chosen"] for each in kept["choices"]] == ["onednn"]


def test_another_key_number_of_threads_or_machine_is_another_question(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    _choice.choose("q", KEY, planted.candidates())
    assert _choice.known("q", {**KEY, "rows": 16}) is None
    assert _choice.known("p", KEY) is None
    assert _choice.known("q", {**KEY, "threads": torch.get_num_threads() + 1}) is None
    here = _choice_file.machine()
    for name in here:
        monkeypatch.setattr(_choice_file, "machine", lambda name=name: {**here, name: "another"})
        new_process()
        assert _choice.known("q", KEY) is None
    monkeypatch.setattr(_choice_file, "machine", lambda: here)
    new_process()
    assert _choice.known("q", KEY) == "onednn"


@pytest.mark.parametrize(
    "content",
    [
        "",
        "{",
        "[]",
        "null",
        '{"schema": "SCHEMA"}',
        '{"schema": "gatewise.choices/999", "machine": MACHINE, "choices": []}',
        '{"schema": "SCHEMA", "machine": {}, "choices": []}',
        '{"schema": "SCHEMA", "machine": MACHINE, "choices": [{"question": "q"}]}',
        '{"schema": "SCHEMA", "machine": MACHINE, "choices": 3}',
        '{"schema": "SCHEMA", "machine": MACHINE, "choices": [{"question": "q", "times_s": 1}]}',
        "\x00\xff",
    ],
)
def test_a_broken_file_is_begun_anew_with_a_reason(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, content: str
) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    _choice.choose("q", KEY, planted.candidates())
    path = the_file(tmp_path)
    content = content.replace("SCHEMA", _choice_file.SCHEMA).replace("MACHINE", json.dumps(_choice_file.machine()))
    path.write_text(content, encoding="latin-1")
    new_process()
    assert _choice.known("q", KEY) is None
    reason = _choice_file.status().reason
    assert reason is not None
    assert reason.startswith(f"{path.name} could not be read and is begun anew: ")
    assert "\n" not in reason
    _choice.choose("q", KEY, planted.candidates())
    new_process()
    assert _choice.known("q", KEY) == "onednn"
    assert _choice_file.status().reason is None


def test_a_way_that_is_not_there_any_more_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    _choice.choose("q", KEY, plant(monkeypatch, torch=0.010, gone=0.005).candidates())
    new_process()
    assert _choice.choose("q", KEY, plant(monkeypatch, torch=0.010, onednn=0.020).candidates()) == "torch"


def test_a_place_that_cannot_be_written_keeps_choices_in_memory(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way of a folder")
    monkeypatch.setenv("GATEWISE_CACHE", str(tmp_path / "file" / "cache"))
    _choice.forget()
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    assert _choice.choose("q", KEY, planted.candidates()) == "onednn"
    assert _choice.choose("q", KEY, {"torch": never, "onednn": never}) == "onednn"
    reason = _choice_file.status().reason
    assert reason is not None
    assert reason.startswith("choices are kept in memory only: ")


def test_no_cache_is_wanted(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("GATEWISE_CACHE", "off")
    _choice.forget()
    assert _choice.choose("q", KEY, plant(monkeypatch, torch=0.010, onednn=0.005).candidates()) == "onednn"
    assert _choice_file.status() == _choice_file.Status(path=None, reason="GATEWISE_CACHE=off")
    assert not list(tmp_path.rglob("choices-*"))
    assert _choice.choose("q", KEY, {"torch": never, "onednn": never}) == "onednn"


def test_where_the_file_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert _choice_file.folder() == tmp_path / "cache"
    monkeypatch.delenv("GATEWISE_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    assert _choice_file.folder() == tmp_path / "xdg" / "gatewise"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert _choice_file.folder() == tmp_path / ".cache" / "gatewise"


WRITE = """
import sys
from gatewise.kernels import _choice_file
for number in range(int(sys.argv[1]), int(sys.argv[1]) + 10):
    _choice_file.store(
        _choice_file.Choice(question="q", key=(("rows", number),), chosen="a", source="measured", rounds=3)
    )
assert "torch" not in sys.modules
"""


def test_two_processes_that_write_lose_nothing(tmp_path: Path) -> None:
    processes = [subprocess.Popen([sys.executable, "-c", WRITE, first]) for first in ("0", "10")]
    assert [each.wait(60) for each in processes] == [0, 0]
    kept = json.loads(the_file(tmp_path).read_text())["choices"]
    assert sorted(each["key"]["rows"] for each in kept) == list(range(20))
    assert not list(tmp_path.glob("cache/*.tmp"))


def test_forgetting_the_file_too(monkeypatch: pytest.MonkeyPatch) -> None:
    _choice.choose("q", KEY, plant(monkeypatch, torch=0.010, onednn=0.005).candidates())
    _choice.forget(stored=True)
    assert _choice.known("q", KEY) is None
    assert _choice.choices() == ()


def never() -> object:
    raise AssertionError("this candidate must not be called")


WAYS: dict[str, Callable[[], object]] = {"torch": never, "onednn": never}


def test_many_threads_measure_once(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    barrier, found = threading.Barrier(8), list[str]()

    def ask() -> None:
        barrier.wait(60)
        found.append(_choice.choose("q", KEY, planted.candidates()))

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for each in threads:
        each.start()
    for each in threads:
        each.join(60)
    assert found == ["onednn"] * 8
    alone = Planted({"torch": 0.010, "onednn": 0.005})
    compare(alone.candidates(), clock=alone.clock)
    assert len(planted.calls) == len(alone.calls)


def test_a_candidate_that_asks_itself_does_not_wait_forever(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.005)
    inner = planted.candidates()
    outer = {"stock": lambda: _choice.choose("inner", KEY, inner), "ours": inner["torch"]}
    assert _choice.choose("outer", KEY, outer) in outer
    assert _choice.known("inner", KEY) == "onednn"


def test_one_that_raises_is_left_out_and_told(monkeypatch: pytest.MonkeyPatch) -> None:
    planted = plant(monkeypatch, torch=0.010, onednn=0.020)

    def broken() -> object:
        raise RuntimeError("could not create a primitive\nand more")

    assert _choice.choose("q", KEY, {**planted.candidates(), "broken": broken}) == "torch"
    (choice,) = _choice.choices()
    assert choice.note == "broken failed: could not create a primitive"
    assert set(choice.times_s) == {"torch", "onednn"}
    assert _choice.choose("p", KEY, {"broken": broken, "torch": planted.candidates()["torch"]}) == "torch"
    with pytest.raises(RuntimeError, match="primitive"):
        _choice.choose("o", KEY, {"broken": broken, "broken, too": broken})


def test_one_candidate_needs_no_measuring() -> None:
    assert _choice.choose("q", KEY, {"torch": never}) == "torch"
    (choice,) = _choice.choices()
    assert (choice.source, choice.times_s) == ("only", {})


def test_candidates_record_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch)
    seen: set[tuple[bool, bool, bool]] = set()

    def look() -> None:
        modes = torch.is_grad_enabled(), torch.is_autocast_enabled("cpu"), torch.is_inference_mode_enabled()
        seen.add(modes)

    with torch.autocast("cpu"), torch.inference_mode():
        _choice.choose("q", KEY, {"torch": look, "onednn": look})
    assert seen == {(False, False, False)}


def test_nothing_is_measured_where_torch_watches() -> None:
    from torch.autograd import forward_ad
    from torch.utils.flop_counter import FlopCounterMode

    def ask(x: torch.Tensor) -> torch.Tensor:
        assert _choice.choose("q", KEY, WAYS) == "torch"
        return x * 2

    torch.func.vmap(ask)(torch.ones(3))
    torch.func.grad(lambda x: ask(x).sum())(torch.ones(3))
    with FlopCounterMode(display=False):
        ask(torch.ones(3))
    with forward_ad.dual_level():
        ask(torch.ones(3))
    assert _choice.choices() == ()


@given(st.integers(0, 10_000))
def test_rows_are_asked_for_as_powers_of_two(rows: int) -> None:
    found = _choice.bucket(rows, 4096)
    assert found & (found - 1) == 0
    assert found == 4096 if rows > 4096 else max(rows, 1) <= found < 2 * max(rows, 1)


def test_what_is_recalled_is_what_holds_here(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _choice.note(("a",), "onednn") == "onednn"
    assert _choice.recall(("a",)) == "onednn"
    with _choice.forced(linear="torch"):
        assert _choice.recall(("a",)) is None
        _choice.note(("b",), "torch")
    assert _choice.recall(("b",)) is None
    _choice.forget()
    assert _choice.recall(("a",)) is None


def test_a_choice_is_data_for_a_record(monkeypatch: pytest.MonkeyPatch) -> None:
    _choice.choose("q", KEY, plant(monkeypatch, torch=0.010, onednn=0.005).candidates())
    (choice,) = _choice.choices()
    plain = json.loads(json.dumps(choice.plain()))
    assert plain["key"] == dict(choice.key)
    assert plain["times_s"] == choice.times_s
