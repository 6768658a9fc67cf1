"""`benchmarks/judge.py`: its fast twin is the real judge, its rivals are the real rivals, and it can fail."""

import json
import math
import statistics
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import stats
from torch.utils.benchmark import Compare, Measurement
from torch.utils.benchmark.utils.common import TaskSpec

from gatewise.core import MedianSequence, Rule, _sequence

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))

import judge
from judging import fixed, gates, ours, rivals, streams, timings

effects = st.lists(
    st.one_of(st.floats(-0.3, 0.3), st.sampled_from([-0.05, 0.0, 0.0, 0.02, 0.05])), min_size=1, max_size=90
)


@settings(max_examples=200)
@given(effects, st.sampled_from([0.0, 0.02]), st.sampled_from([0.05, 0.3]), st.sampled_from([0.0, 0.0198, 0.1]))
@example(values=[0.0] * 3 + [-0.125] + [0.25] * 5, margin=0.0, alpha=0.3, effect=0.1)  # the median leaves the interval
def test_the_twin_ends_every_stream_as_the_real_judge(
    values: list[float], margin: float, alpha: float, effect: float
) -> None:
    arm = np.array([values])
    rule = Rule(margin=margin)
    assert ours.disagreements(np.zeros_like(arm), arm, 1, rule, alpha=alpha, effect=effect) == 0


@pytest.mark.parametrize("stream", streams.STREAMS, ids=lambda stream: stream.name)
def test_the_twin_shows_the_interval_of_the_real_sequence(stream: streams.Stream) -> None:
    baseline, arm = stream.draw(np.random.default_rng(5), 3)
    counted = ours.units(baseline, arm, stream.block)
    run = ours.running(counted, 0.05)
    for study, values in enumerate(counted):
        real = MedianSequence(0.05)
        for i, value in enumerate(values):
            real.add(float(value))
            if real.interval is not None:
                assert real.interval == (run.lower[study, i], run.upper[study, i])
    assert counted.shape[1] == (streams.PROCESSES if stream.block > 1 else streams.PAIRS)


@pytest.mark.parametrize("stream", streams.STREAMS, ids=lambda stream: stream.name)
def test_no_stream_has_an_effect_of_its_own(stream: streams.Stream) -> None:
    """As many units above 0 as below, over many short studies, but for chance (z at most 5)."""
    baseline, arm = stream.draw(np.random.default_rng(7), 1_500)
    counted = ours.units(baseline, arm, stream.block)
    shares = (np.sign(counted)).mean(axis=1)
    assert abs(shares.mean()) <= 5 * shares.std() / math.sqrt(len(shares))


def test_the_six_noise_models_are_there() -> None:
    listed = [stream.name for stream in streams.STREAMS if stream.listed]
    assert listed == ["iid", "shared load", "tail", "drift", "co-tenant", "process offset"]
    assert all(stream.sound for stream in streams.STREAMS if stream.listed)


def printed_by_torch(times: list[list[float]]) -> list[str]:
    arms = [
        Measurement(1, values, TaskSpec(stmt="f", setup="", label="t", sub_label=name, description="d"))
        for name, values in zip("ab", times, strict=True)
    ]
    shown = Compare(arms)
    shown.trim_significant_figures()
    lines = [line for line in str(shown).splitlines() if line.strip().startswith(("a ", "b "))]
    return [line.split("|")[1].strip() for line in lines]


def test_the_torch_rival_is_what_torch_prints() -> None:
    rng = np.random.default_rng(3)
    scale = 10 ** rng.uniform(-3, -2, (150, 1))
    base, arm = (scale * np.exp(rng.normal(shift, 0.03, (150, 40))) for shift in (0.0, 0.01))
    words = rivals.torch_way(base, arm, 0.0)
    for b, a, word in zip(base, arm, words, strict=True):
        shown = printed_by_torch([b.tolist(), a.tolist()])
        assert word == np.sign(float(shown[1]) - float(shown[0]))
    assert 0 < np.mean(words != 0) < 1


def test_the_pyperf_rival_is_students_pooled_t() -> None:
    """The formula of its `tscore`, with the standard library."""
    rng = np.random.default_rng(4)
    base, arm = rng.normal(1.0, 0.03, (60, 12)), rng.normal(1.02, 0.03, (60, 12))
    critical = stats.t.ppf(0.975, 22)
    for b, a, word in zip(base, arm, rivals.pyperf(base, arm, 0.0), strict=True):
        pooled = (statistics.variance(b.tolist()) + statistics.variance(a.tolist())) / 2
        t = (statistics.fmean(a) - statistics.fmean(b)) / math.sqrt(2 * pooled / 12)
        assert word == (np.sign(t) if abs(t) >= critical else 0)


def test_the_t_rivals_are_scipys_looked_at_once_or_always() -> None:
    rng = np.random.default_rng(6)
    base = np.exp(rng.normal(0, 0.03, (80, 40)))
    arm = np.exp(rng.normal(0.01, 0.03, (80, 40)))
    fixed_words, peeked = rivals.fixed_t(base, arm, 0.0), rivals.peeking_t(base, arm, 0.0)
    for i in range(80):
        change = np.log(arm[i]) - np.log(base[i])
        tests = [stats.ttest_1samp(change[:n], 0) for n in range(10, 41)]
        first = next((np.sign(test.statistic) for test in tests if test.pvalue < 0.05), 0)
        assert peeked[i] == first
        assert (fixed_words[i] != 0) == (tests[-1].pvalue < 0.05)
    assert np.sum(peeked != 0) > np.sum(fixed_words != 0)


def test_a_gate_fails_where_chance_does_not_reach() -> None:
    kept = [gates.Gate(name="kept", count=60, trials=1_000, limit=0.05)] * 50
    broken = gates.Gate(name="broken", count=90, trials=1_000, limit=0.05)
    silent = gates.Gate(name="silent", count=700, trials=1_000, limit=0.8, at_most=False)
    assert gates.failures([*kept, broken, silent]) == [broken, silent]
    assert broken.p_value == pytest.approx(stats.binom.sf(89, 1_000, 0.05))


def test_a_sound_judge_rarely_fails_a_run() -> None:
    """With every rate exactly at its limit, whole runs of 60 gates fail at most 1 % of the time."""
    counts = np.random.default_rng(8).binomial(2_000, 0.05, (300, 60))
    level = gates.FALSE_FAILURES / 60
    limit = int(stats.binom.isf(level, 2_000, 0.05)) + 1  # the first count that fails
    first = gates.Gate(name="", count=limit, trials=2_000, limit=0.05)
    assert first.p_value < level
    assert np.mean((counts >= limit).any(axis=1)) <= 0.01 + 3 * math.sqrt(0.01 * 0.99 / 300)


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two streams and a few cells are enough to see a broken judge."""
    kept = tuple(stream for stream in streams.STREAMS if stream.name in ("iid", "process offset"))
    monkeypatch.setattr(judge, "STREAMS", kept)
    monkeypatch.setattr(fixed, "SEEDS", (4,))
    monkeypatch.setattr(fixed, "RESAMPLES", 99)
    monkeypatch.setattr(fixed, "ITEMS", fixed.ITEMS[-2:])
    monkeypatch.setattr(_sequence, "_RANKS", {})


def run(capsys: pytest.CaptureFixture[str], *more: str) -> tuple[int, str]:
    code = judge.main(["--studies", "400", *more])
    return code, capsys.readouterr().out


@pytest.mark.usefixtures("short")
def test_the_judge_as_it_is_passes(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    code, out = run(capsys, "--json", str(tmp_path / "counts.json"))
    assert code == 0, out
    document = json.loads((tmp_path / "counts.json").read_text(encoding="utf-8"))
    assert [row["stream"] for row in document["timings"]] == ["iid", "process offset"]
    assert document["failed"] == []
    assert f"{document['gates']} of {document['gates']} required rates hold" in out


@pytest.mark.usefixtures("short")
def test_the_same_seed_prints_the_same_counts(capsys: pytest.CaptureFixture[str]) -> None:
    tables = [run(capsys, "--seed", seed)[1].rpartition(";")[0] for seed in ("3", "3", "4")]
    assert tables[0] == tables[1] != tables[2]


def ten_times_too_lenient(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = _sequence.log_capital
    monkeypatch.setattr(_sequence, "log_capital", lambda n, k: honest(n, k) + math.log(10))


def peeking_without_correction(monkeypatch: pytest.MonkeyPatch) -> None:
    """An exact sign test at every look."""
    monkeypatch.setattr(
        _sequence,
        "log_capital",
        lambda n, k: -math.log(max(float(stats.binom.sf(k - 1, n, 0.5)), 1e-300)),
    )


def never_answering(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_sequence, "log_capital", lambda n, k: -math.inf)
    monkeypatch.setattr(timings, "disagreements", lambda *arguments, **named: 0)


def another_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """The real judge draws its line elsewhere than the twin."""
    monkeypatch.setattr(Rule, "decide", lambda self, low, high: "worse" if low > self.bound / 2 else "inconclusive")


def half_an_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = judge.fixed.compare

    def narrow(*arguments: object, **named: object) -> object:
        return honest(*arguments, **{**named, "alpha": 0.3})  # pyright: ignore

    monkeypatch.setattr(judge.fixed, "compare", narrow)


def items_that_forget_their_tails(monkeypatch: pytest.MonkeyPatch) -> None:
    """A t interval at twice the level instead of the paired one."""
    honest = fixed._t

    def narrow(n: int, gained: int, lost: int, both: int) -> tuple[float, float]:
        low, high = honest(n, gained, lost, both)
        return (3 * low + high) / 4, (low + 3 * high) / 4

    monkeypatch.setattr(fixed, "_paired", narrow)


@pytest.mark.usefixtures("short")
@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (ten_times_too_lenient, "iid: false alarm, no effect"),
        (peeking_without_correction, "iid: false alarm, no effect"),
        (never_answering, "+10 % found"),
        (another_rule, "otherwise than the real judge"),
        (half_an_interval, "4 seeds"),
        (items_that_forget_their_tails, "400 items"),
    ],
)
def test_a_broken_judge_fails_the_benchmark(
    fault: object, words: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    fault(monkeypatch)  # pyright: ignore
    code, out = run(capsys)
    assert code == 1
    assert any(line.startswith("FAILED") and words in line for line in out.splitlines()), out
