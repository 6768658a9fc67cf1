"""`benchmarks/kernels.py`: its targets are those of the issue, its ratios the judge's, and red stops every speed."""

import json
import math
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.activations import get
from gatewise.core import compare

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import kernels
from kernel_tables import asked, functions, limits, memory, peers, schedule, special, tables
from kernel_tables.figures import middle, ratio
from kernel_tables.record import Job, Record
from kernel_tables.targets import Target, judge

IN_CACHE = "elementwise 64x3072, recycled memory, 1 thread"


def target_of(**changes: object) -> Target:
    made = Target(part="p", section="S", row="r", baseline="eager", candidate="ours", least=2.0, limits=("limit copy",))
    return replace(made, **changes)


def process(eager: float, ours: float, **others: float) -> dict[str, dict[str, float]]:
    return {"S :: r": {"eager": eager, "ours": ours} | others}


# -- targets


@pytest.mark.parametrize(
    ("row", "candidate", "least"),
    [
        ("gelu forward f32", "ours", 1.8),
        ("gelu forward f32", "ours high", 1.3),
        ("gelu forward bf16", "ours", 2.2),
        ("gelu backward f32", "ours high", 3.0),
        ("gelu backward bf16", "ours", 4.0),
        ("swiglu forward f32", "ours", 2.5),
        ("swiglu forward bf16", "ours", 3.5),
        ("swiglu backward f32", "ours", 2.2),
        ("swiglu backward bf16", "ours", 3.0),
        ("swiglu both ways f32", "ours", 1.9),
        ("swiglu both ways bf16", "ours", 2.3),
    ],
)
def test_the_figures_in_cache_are_the_issues(row: str, candidate: str, least: float) -> None:
    found = [t.least for t in asked.targets() if (t.section, t.row, t.candidate) == (IN_CACHE, row, candidate)]
    assert found == [least]


def test_every_part_that_is_judged_is_run_and_no_target_stands_twice() -> None:
    every = asked.targets()
    keys = [(t.section, t.row, t.baseline, t.candidate) for t in every]
    assert len(keys) == len(set(keys))
    assert {t.part for t in every} <= set(schedule.PARTS)
    assert {t.part for t in every} >= {"elementwise", "small", "dram", "ffn", "train", "bf16", "lm"}
    assert all(t.least > 0 for t in every)


def test_rows_of_targets_are_rows_that_a_part_writes() -> None:
    written = {
        f"{n} {way} {dtype}" for n in functions.FUNCTIONS for way in functions.DIRECTIONS for dtype in functions.DTYPES
    }
    assert {t.row for t in asked.targets() if t.part in ("elementwise", "dram")} <= written


def test_a_target_is_judged_by_the_median_and_names_the_limit_where_it_is_missed() -> None:
    records = [process(4.0, 2.5, **{"limit copy": 2.1}), process(4.02, 2.5, **{"limit copy": 2.1})]
    (verdict,) = judge(target_of(), records)
    assert verdict.met is False
    assert verdict.word == "NOT met"
    assert "at most 1.91 by the copy of as many bytes" in verdict.why
    (verdict,) = judge(target_of(least=1.5), records)
    assert verdict.met is True
    assert "at most" not in verdict.why


def test_what_was_not_measured_is_neither_met_nor_missed() -> None:
    (verdict,) = judge(target_of(candidate="zentorch"), [process(4.0, 2.5)])
    assert verdict.met is None
    assert verdict.why == "zentorch not measured"
    (verdict,) = judge(target_of(section="elsewhere"), [process(4.0, 2.5)])
    assert verdict.word == "not measured"


def test_a_row_begins_with_the_targets_row_at_a_comma() -> None:
    records = [
        {"S :: d = 38, 4 tokens": {"eager": 2.0, "ours": 1.0}, "S :: d = 384, 4 tokens": {"eager": 8.0, "ours": 1.0}}
    ]
    (verdict,) = judge(target_of(row="d = 38"), records)
    assert verdict.found.startswith("2.00")


def test_an_interval_around_the_target_is_told() -> None:
    (verdict,) = judge(target_of(), [process(3.0, 1.0), process(1.6, 1.0), process(2.1, 1.0)])
    assert verdict.word == "undecided"
    assert "its interval spans the figure" in verdict.why
    (verdict,) = judge(target_of(), [process(3.0, 1.0)])
    assert (verdict.word, verdict.why) == ("undecided", "one process has no interval")


# -- figures

times = st.floats(1e-6, 1.0)


@settings(max_examples=50)
@given(st.lists(st.tuples(times, times), min_size=1, max_size=8))
def test_a_ratio_is_the_judges(pairs: list[tuple[float, float]]) -> None:
    records = [process(eager, ours) for eager, ours in pairs]
    found = ratio(records, "S :: r", "eager", "ours")
    assert found is not None
    assert found.n == len(pairs)
    ordered = sorted(eager / ours for eager, ours in pairs)
    assert ordered[0] <= found.median <= ordered[-1]
    judged = compare([p[1] for p in pairs], [p[0] for p in pairs], margin=0.0, method="mean")
    assert (found.low, found.high) == (judged.interval or (None, None))


def test_a_process_that_lacks_a_candidate_does_not_count() -> None:
    records = [process(4.0, 2.0), {"S :: r": {"eager": 9.0}}, {}]
    found = ratio(records, "S :: r", "eager", "ours")
    assert found is not None
    assert (found.median, found.n, found.low) == (2.0, 1, None)
    assert ratio(records, "S :: r", "eager", "compile") is None
    assert middle(records, "S :: r", "eager") == 6.5


# -- verdicts that are not one ratio


def swept(ours: float) -> list[dict[str, dict[str, float]]]:
    key = "sweep, recycled memory, 1 thread :: silu forward f32 16"
    return [{key: {"eager": 1e-5 * noise, "ours": ours}} for noise in (0.999, 1.0, 1.001)]


@pytest.mark.parametrize(("ours", "met"), [(0.9e-5, True), (1.04e-5, True), (1.09e-5, True), (1.2e-5, False)])
def test_the_sweep_forgives_a_microsecond_and_five_percent(ours: float, met: bool) -> None:
    (verdict,) = special.sweep(swept(ours))
    assert verdict.met is met


def test_the_sweep_forgives_five_percent_of_a_long_call_and_no_more() -> None:
    def long(ours: float) -> list[dict[str, dict[str, float]]]:
        key = f"{IN_CACHE} :: silu forward f32"
        return [{key: {"eager": 1e-3 * noise, "ours": ours}} for noise in (0.999, 1.0, 1.001)]

    assert special.sweep(long(1.05e-3))[0].met is True
    (verdict,) = special.sweep(long(1.06e-3))
    assert verdict.met is False
    assert "silu forward f32 ours: 0.94" in verdict.why


@pytest.mark.parametrize(("shift", "met"), [(0.0, True), (0.001, True), (0.5, False)])
def test_losses_are_compared_with_what_seeds_do(shift: float, met: bool) -> None:
    key = "byte-lm final loss, bits per byte :: swiglu"
    wobble = (0.0003, -0.0002, 0.0001)
    records = [
        {key: {"eager": eager, "ours": eager + shift + each}}
        for eager, each in zip((3.0, 3.02, 2.99), wobble, strict=True)
    ]
    (verdict,) = special.losses(records)
    assert verdict.met is met
    assert special.losses(records[:2])[0].met is None


def test_gradients_are_judged_by_what_rounding_does_to_eager() -> None:
    def seen(ours: float) -> list[dict[str, dict[str, float]]]:
        return [{"byte-lm first gradients :: d": {"eager": 1e-6, "ours": ours}}]

    assert special.gradients(seen(3e-6), 4.0, 1e-7)[0].met is True
    assert special.gradients(seen(5e-6), 4.0, 1e-7)[0].met is False
    assert special.gradients(seen(math.nan), 4.0, 1e-7)[0].met is False


# -- the run


class Processes:
    """Stands for the processes of a run: what each would hand back, and which were asked for."""

    def __init__(self, notes: dict[str, str]) -> None:
        self.notes, self.asked = notes, []

    def __call__(self, job: Job) -> dict[str, object]:
        self.asked.append(job)
        if job.part == "correctness":
            return Record(notes=self.notes).plain()
        noise = 1 + len(self.asked) / 1000
        cells = {f"{IN_CACHE} :: gelu forward f32": {"eager": 3e-5 * noise, "ours": 1e-5, "ours high": 2e-5}}
        return Record(cells=cells, skipped={"numba": "not installed"}).plain()


@pytest.fixture
def no_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "build", lambda folder: "")


@pytest.mark.usefixtures("no_machine")
def test_red_stops_every_speed(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stand_in = Processes({"accuracy": "| a table |", "RED 00": "gelu is off by 9 ULP"})
    monkeypatch.setattr(kernels, "in_a_process", stand_in)
    assert kernels.main(["--quick", "--json", str(tmp_path / "a.json")]) == 1
    out = capsys.readouterr().out
    assert [job.part for job in stand_in.asked] == ["correctness"]
    assert "RED gelu is off by 9 ULP" in out
    assert "Verdicts" not in out
    assert not (tmp_path / "a.json").exists()


@pytest.mark.usefixtures("no_machine")
def test_a_green_run_prints_tables_verdicts_and_what_was_left_out(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    stand_in = Processes({"accuracy": "| a table |"})
    monkeypatch.setattr(kernels, "in_a_process", stand_in)
    files = ["--json", str(tmp_path / "a.json"), "--markdown", str(tmp_path / "a.md")]
    assert kernels.main(["--part", "elementwise", "--quick", *files]) == 0
    out = capsys.readouterr().out
    assert {job.part for job in stand_in.asked[1:]} == {"elementwise"}
    assert "numba (elementwise) was left out: not installed" in out
    assert "cpu: " in out
    document = json.loads((tmp_path / "a.json").read_text())
    (forward,) = [
        v for v in document["verdicts"] if v["target"].startswith("gelu forward f32") and "/ ours >=" in v["target"]
    ]
    assert forward["met"] is True
    assert {"not measured", "met"} <= {v["word"] for v in document["verdicts"]}
    text = (tmp_path / "a.md").read_text()
    assert "| gelu forward f32 | 30.1 us | 3.0" in text
    assert "## Verdicts" in text


def test_after_the_time_is_up_two_processes_of_a_kind_are_left(monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = Processes({})
    monkeypatch.setattr(kernels, "in_a_process", stand_in)
    planned = schedule.steps(["elementwise"], [1], quick=False)
    run = kernels.measure(planned, "", False, until=-math.inf)
    assert len(run.found) == 4  # two with recycled, two with fresh memory
    assert run.remarks() == ["2 processes of elementwise, 1 thread, recycled memory were left out: the time was up"]


def test_a_part_that_is_asked_for_gets_processes_at_every_number_of_threads() -> None:
    for quick in (True, False):
        for part in schedule.PARTS:
            found = {step.asked["threads"] for step in schedule.steps([part], [1, 2], quick=quick)}
            assert found == ({1} if part == "small" else {1, 2})


@pytest.mark.parametrize("arguments", [["--threads", "0"], ["--part", "nothing"], ["--json", "/no/such/folder/a"]])
def test_a_bad_argument_ends_in_a_line(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        kernels.main(arguments)
    assert caught.value.code == 2
    assert capsys.readouterr().err.strip()


# -- candidates and limits


@pytest.mark.parametrize("name", functions.FUNCTIONS)
def test_eagers_backward_without_autograd_is_that_of_autograd(name: str) -> None:
    at = functions.arrays(name, functions.pool((64, 32), torch.float32, spread=4.0))
    found = functions.eager_backward(name, at)()
    found = found if isinstance(found, tuple) else (found,)
    right = functions.both_ways(get(name).torch, at)()
    for one, other in zip(found, right, strict=True):
        torch.testing.assert_close(one, other)


def test_every_native_function_is_measured() -> None:
    from gatewise.kernels import names

    assert set(names()) <= set(functions.FUNCTIONS)


def test_the_bound_takes_each_product_by_its_best_way_and_order() -> None:
    seen = {"limit matmul 2x3x4 mm": 2.0, "limit matmul 2x3x4 onednn": 1.0, "limit matmul 4x3x6 mm": 5.0}
    assert limits.matmul_bound(seen, [(2, 3, 4), (2, 3, 4), (4, 3, 6)]) == 7.0
    assert limits.matmul_bound(seen, [(4, 3, 2), (6, 3, 4)]) == 6.0  # the transposes
    assert limits.matmul_bound(seen, [(2, 3, 5)]) is None
    assert limits.flop([(2, 3, 4)]) == 48


def test_a_table_shows_shares_of_limits_and_hides_their_parts() -> None:
    records = [process(4.0, 2.0, **{"limit copy": 1.0, "limit copy plain": 1.5})]
    head, row = tables.table(records, "S")
    assert head == ["", "eager", "ours", "share of limit copy"]
    assert row[1:] == ["4 s", "2.00 (n = 1)", "50 %"]
    assert tables.markdown([["a|b"], ["c"]]) == "| a\\|b |\n| --- |\n| c |"


def test_the_peak_is_what_a_call_holds_at_once() -> None:
    block = 64 * 2**20  # more than malloc ever keeps for later

    def three_blocks() -> int:
        first = torch.ones(block // 4)
        second = first + 1
        third = second * 2
        del first, second
        return len(third)

    found = memory.peak_bytes(three_blocks)
    assert 3 * block <= found + 2**20
    assert found <= 3 * block + 16 * 2**20


@pytest.mark.usefixtures("no_machine")
def test_a_process_that_crashes_is_told_and_ends_in_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    stand_in = Processes({"accuracy": "| a table |"})

    def crashing(job: Job) -> dict[str, object]:
        if job.memory == "fresh":
            raise kernels.ProcessFailedError(f"the process of {job.label()} ended with -11")
        return stand_in(job)

    monkeypatch.setattr(kernels, "in_a_process", crashing)
    assert kernels.main(["--part", "elementwise", "--quick"]) == 1
    out = capsys.readouterr().out
    assert "FAILED the process of elementwise, 1 thread, fresh memory ended with -11" in out
    assert "Verdicts" in out


@pytest.mark.usefixtures("no_machine")
def test_a_check_that_crashes_is_red(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def crashing(job: Job) -> dict[str, object]:
        raise kernels.ProcessFailedError("it ended")

    monkeypatch.setattr(kernels, "in_a_process", crashing)
    assert kernels.main(["--part", "small"]) == 1
    assert "RED it ended" in capsys.readouterr().out


def test_the_sweep_has_a_column_a_size_and_limits_have_rates() -> None:
    section = "sweep, recycled memory, 1 thread"
    records = [
        {
            f"{section} :: silu forward f32 1024": {"eager": 3.0, "ours": 1.0, "ours high": 2.0},
            f"{section} :: silu forward f32 16": {"eager": 1.0, "ours": 2.0},
            "D :: gelu forward f32": {"limit copy": 0.5, "limit copy plain": 1.0, "work bytes": 1e10, "ours": 1.0},
        }
    ]
    head, default, high = tables.shown(records, section)
    assert head[1:] == ["16", "1024"]
    assert default == ["silu forward f32", "0.50", "3.00"]
    assert high == ["silu forward f32 high", "", "1.50"]
    assert tables.limits(records)[1:] == [
        ["copy", "gelu forward f32 (D)", "20 GB/s"],
        ["copy plain", "gelu forward f32 (D)", "10 GB/s"],
    ]


def test_a_peer_that_answers_something_else_is_left_out_with_a_reason() -> None:
    wanted, skipped = torch.ones(4), dict[str, str]()
    assert list(peers.checked("same", lambda: lambda: torch.ones(4), wanted, skipped)) == ["same"]
    assert peers.checked("other", lambda: lambda: torch.full((4,), 1.01), wanted, skipped) == {}
    assert peers.checked("nan", lambda: lambda: torch.full((4,), math.nan), wanted, skipped) == {}

    def absent() -> functions.Call:
        raise ImportError("No module named 'peer'")

    assert peers.checked("absent", absent, wanted, skipped) == {}
    assert skipped["absent"] == "ImportError: No module named 'peer'"
    assert "1e-02" in skipped["other"]
    assert set(skipped) == {"other", "nan", "absent"}


def test_a_process_without_the_kernels_that_the_run_began_with_ends(tmp_path: Path) -> None:
    job = Job(part="small", threads=1, memory="recycled", seed=0, quick=True, folder=str(tmp_path), kernels="avx10")
    with pytest.raises(kernels.ProcessFailedError, match="the native kernels were avx10 when the run began, and are"):
        kernels.in_a_process(job)


def test_the_arithmetic_loop_computes_what_it_says(tmp_path: Path) -> None:
    if why := limits.build(tmp_path):
        pytest.skip(why)
    core = limits.library(str(tmp_path / "streams.so"))
    assert core is not None
    before, after = torch.zeros(16), torch.zeros(16)
    core.multiply(0, 1, before.data_ptr())
    core.multiply(200, 1, after.data_ptr())
    lanes = int((before != 0).sum())
    sums = core.turn() // (2 * lanes)
    assert before[:lanes].tolist() == [sum(range(sums)) / 8] * lanes
    torch.testing.assert_close(after[:lanes], torch.full((lanes,), float(sums)), rtol=1e-6, atol=0)
    calls = limits.arithmetic(tmp_path)
    ways = ["limit arithmetic multiply-adds"] + (["limit arithmetic tiles"] if core.tile_turn() else [])
    assert list(calls) == ways
    for call in calls.values():
        call()
    product = (64, 64, 64)
    scaled = limits.with_bounds({"limit arithmetic multiply-adds": 2.0, "limit arithmetic tiles": 1.0}, [product])
    assert scaled["limit arithmetic"] == limits.flop([product]) / limits.ARITHMETIC


def test_the_tile_loop_computes_what_it_says(tmp_path: Path) -> None:
    if why := limits.build(tmp_path):
        pytest.skip(why)
    core = limits.library(str(tmp_path / "streams.so"))
    assert core is not None
    if not core.tile_turn():
        pytest.skip("no tiles here")
    assert core.tile_turn() == 24 * 2 * 16 * 16 * 32 / 6
    sums = [torch.zeros(16) for _ in range(3)]
    for turns, each in enumerate(sums):
        core.multiply_tiles(turns, 1, each.data_ptr())
    assert not bool(sums[0].any())
    assert bool((sums[1] != 0).all())
    torch.testing.assert_close(sums[2], 2 * sums[1], rtol=1e-5, atol=1e-4)


def test_the_memory_loops_move_what_they_say(tmp_path: Path) -> None:
    if why := limits.build(tmp_path):
        pytest.skip(why)
    size = 4096
    for pattern, (_, written) in limits.PATTERNS.items():
        arrays = [limits.aligned(size) for _ in range(5)]
        for number, array in enumerate(arrays[:3]):
            array.copy_((torch.arange(size) * (number + 3) % 251).to(torch.uint8))
        a, b, c, y, z = arrays
        right = {"copy": [a], "triad": [a ^ b], "gate": [a ^ b, b ^ c], "read_all": []}[pattern]
        for name, call in limits.memory(tmp_path, pattern, size, arrays).items():
            y.zero_()
            z.zero_()
            call()
            for got, wanted in zip((y, z)[:written], right, strict=True):
                assert torch.equal(got, wanted), name
