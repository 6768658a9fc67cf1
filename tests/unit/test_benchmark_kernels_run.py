"""A run of `benchmarks/kernels.py`: kept after every process, gone on with, rendered, and stopped by a wrong answer."""

import json
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import kernels
from kernel_tables import derived, limits, report, schedule, short, store
from kernel_tables.record import Job, Record

IN_CACHE = "elementwise 64x3072, recycled memory, 1 thread"
FFN = "FFN inference f32, recycled memory, 1 thread :: swiglu d = 384, 128 tokens"


class Processes:
    """Stands for the processes of a run; the one with the number `ends_at` ends the whole run."""

    def __init__(self, *, ends_at: int | None = None, skipped: dict[str, str] | None = None) -> None:
        self.asked: list[Job] = []
        self.ends_at, self.skipped = ends_at, skipped or {}

    def __call__(self, job: Job) -> dict[str, object]:
        if job.part == "correctness":
            return Record(notes={"accuracy": "| a table |"}).plain()
        if len(self.asked) == self.ends_at:
            raise KeyboardInterrupt
        self.asked.append(job)
        noise = 1 + len(self.asked) / 1000
        cells = {
            f"{IN_CACHE} :: gelu forward f32": {"eager": 3e-5 * noise, "ours": 1e-5},
            FFN: {"eager": 1.2 * noise, "ours": 1.0, "limit matmul": 0.9, "product 2x3x4 mm": 1e-9},
        }
        return Record(cells=cells, skipped=self.skipped).plain()


@pytest.fixture(autouse=True)
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "build", lambda folder: "")
    monkeypatch.setattr(store, "fingerprint", lambda: "as it is")


def run(monkeypatch: pytest.MonkeyPatch, stand_in: Processes, *arguments: str) -> int:
    monkeypatch.setattr(kernels, "in_a_process", stand_in)
    return kernels.main([*arguments])


def test_a_run_that_was_ended_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file = tmp_path / "a.json"
    asked = ("--part", "elementwise", "ffn", "--json", str(file))
    first = Processes(ends_at=3)
    with pytest.raises(KeyboardInterrupt):
        run(monkeypatch, first, *asked)
    assert len(json.loads(file.read_text())["processes"]) == 3
    assert kernels.main(["--render", str(file)]) == 0
    assert "this run was ended before its end" in capsys.readouterr().out
    second = Processes()
    assert run(monkeypatch, second, *asked) == 0
    whole = [(step.name, step.number) for step in schedule.steps(["elementwise", "ffn"], [1], quick=False)]
    done = [(process["name"], process["number"]) for process in json.loads(file.read_text())["processes"]]
    assert done == whole
    assert len(first.asked) + len(second.asked) == len(whole)
    assert "left" in capsys.readouterr().err


@pytest.mark.parametrize("change", [{"fingerprint": "other"}, {"quick": True}, {"machine": {"cpu": "another"}}])
def test_a_run_of_something_else_is_not_gone_on_with(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path, change: dict[str, object]
) -> None:
    file = tmp_path / "a.json"
    assert run(monkeypatch, Processes(), "--part", "linear", "--json", str(file)) == 0
    before = json.loads(file.read_text()) | change
    file.write_text(json.dumps(before))
    assert run(monkeypatch, Processes(), "--part", "linear", "--json", str(file)) == 2
    assert "holds another run" in capsys.readouterr().err
    assert json.loads(file.read_text()) == before


@pytest.mark.parametrize("content", ["{", "[]", "{}"])
def test_what_is_no_run_is_not_rendered(content: str, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    file = tmp_path / "a.json"
    file.write_text(content)
    assert kernels.main(["--render", str(file)]) == 2
    assert "is no run of this benchmark" in capsys.readouterr().err


def test_a_wrong_answer_in_a_process_that_times_stops_every_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stand_in = Processes(skipped={"ours": "differs from eager by 1e-01 of the largest number"})
    assert run(monkeypatch, stand_in, "--part", "ffn", "--json", str(tmp_path / "a.json")) == 1
    out = capsys.readouterr().out
    assert "RED ours differs from eager by 1e-01" in out
    assert "Verdicts" not in out
    assert kernels.main(["--render", str(tmp_path / "a.json")]) == 1
    assert report.wrong([{"skipped": {"zentorch": "differs from eager by 1", "ours": "absent"}, "job": "j"}]) == []


def test_the_short_tables_come_from_the_run(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    file, to = tmp_path / "a.json", tmp_path / "short.md"
    assert run(monkeypatch, Processes(), "--part", "elementwise", "ffn", "--json", str(file)) == 0
    assert kernels.main(["--render", str(file), "--summary", str(to)]) == 0
    docs, _, readme = to.read_text().partition("## For the README")
    assert "| gelu forward | 3.0" in docs
    assert "| d = 384, 128 tokens | 1.2" in docs
    assert f"1.2{short.MARKS['NOT met']}"[-2:] in docs
    assert readme.count("\n- ") == 4
    out = capsys.readouterr().out
    assert "by the products alone, each by the quickest measured way" in out
    assert "2x3x4" in out


def test_two_threads_come_last_and_are_left_out_first(monkeypatch: pytest.MonkeyPatch) -> None:
    planned = schedule.steps(schedule.PARTS, [2, 1], quick=False)
    threads = [step.asked["threads"] for step in planned]
    assert threads == sorted(threads)
    monkeypatch.setattr(kernels, "in_a_process", Processes())
    done = kernels.measure(planned, "", False, until=-1.0)
    assert {process["name"].rpartition(", ")[2] for process in done.found} == {"1"}


def test_what_is_judged_is_seen_by_three_processes_and_all_fits_an_hour() -> None:
    plain = {("linear", "recycled", ""), ("elementwise", "fresh", ""), ("dram", "fresh", "")}
    assert {kind for kind, found in schedule.KINDS.items() if found.one < 3} == plain
    assert schedule.remaining_s(schedule.steps(schedule.PARTS, [1, 2], quick=False), {}, quick=False) < 3600


def test_the_estimate_is_what_was_seen() -> None:
    planned = schedule.steps(["train"], [1], quick=False)
    name = planned[0].name
    assert schedule.remaining_s(planned[2:], {name: [50.0, 20.0]}, quick=False) == 20.0 * len(planned[2:])
    known = schedule.remaining_s(planned, {}, quick=False)
    assert known == planned[0].kind.first_s + planned[0].kind.next_s * (len(planned) - 1)
    assert schedule.remaining_s([], {}, quick=False) == 0.0


def test_both_ways_are_bound_by_their_halves() -> None:
    cells = {
        f"{IN_CACHE} :: swiglu forward f32": {"ours": 1.0, "limit triad": 0.5},
        f"{IN_CACHE} :: swiglu backward f32": {"ours": 2.0, "limit gate": 0.75},
        f"{IN_CACHE} :: swiglu both ways f32": {"eager": 9.0, "ours": 4.0},
        "DRAM-sized 64x6144, recycled memory, 1 thread :: swiglu forward f32": {"limit triad": 4.0},
    }
    (found,) = derived.with_derived([cells])
    both = found[f"{IN_CACHE} :: swiglu both ways f32"]
    assert (both["kernels alone"], both["traffic alone"]) == (3.0, 1.25)
    large = found["DRAM-sized 64x6144, recycled memory, 1 thread :: swiglu forward f32"]
    assert large["arithmetic alone"] == pytest.approx(2.0)
    assert "arithmetic alone" not in cells["DRAM-sized 64x6144, recycled memory, 1 thread :: swiglu forward f32"]


def test_single_products_become_a_bound_and_the_square_rate() -> None:
    side = limits.SQUARE[0]
    seen = {"eager": 3.0, "limit matmul 2x3x4 mm": 1.0, f"limit matmul {side}x{side}x{side} mm": 1.0}
    found = limits.with_bounds(seen, [(2, 3, 4)])
    assert found["limit matmul"] == 1.0
    assert found["work flop"] == 48
    assert found["limit square matmul"] == pytest.approx(48 / (2 * side**3))
    assert found["product 2x3x4 mm"] == 1.0
    assert not any("mm" in name for name in found if name.startswith("limit"))
