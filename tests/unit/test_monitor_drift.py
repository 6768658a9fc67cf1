"""Drift: exact merging of references, the rate of false alarms, what is found, and what autocorrelation does."""

import dataclasses
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kstest

from gatewise.core import GatewiseError
from gatewise.monitor import Record
from gatewise.monitor._drift import DriftSettings, DriftWatch, FeatureWatch
from gatewise.monitor._drift_bets import NUM_BETS, Ranks, densities
from gatewise.monitor._drift_blocks import Thinning, likeness
from gatewise.monitor._drift_words import moved
from gatewise.monitor._reference import NOT_FINITE, Histogram, Reference, bucket, lowest

ANY = st.floats(allow_nan=True, allow_infinity=True)
FINITE = st.floats(allow_nan=False, allow_infinity=False)


def record(n: int, **numbers: object) -> Record:
    return Record(request=f"r{n}", at_ns=n, model="m", version="v1", digest="d", role="live", **numbers)  # pyright: ignore


def histogram(values) -> Histogram:
    found = Histogram()
    for value in values:
        found.add(float(value))
    return found


def normal_reference(rng, d: int, n: int = 2000) -> Reference:
    return Reference(histograms={f"input {at}": histogram(rng.standard_normal(n)) for at in range(d)})


def first_alarm(watch: FeatureWatch, stream) -> int | None:
    return next((at for at, row in enumerate(stream.tolist()) if watch.add(row)), None)


def autoregressive(rng, n: int, d: int, phi: float):
    noise = rng.standard_normal((n, d))
    for at in range(1, n):
        noise[at] = phi * noise[at - 1] + math.sqrt(1 - phi * phi) * noise[at]
    return noise


@given(FINITE, FINITE)
def test_buckets_keep_the_order(a, b):
    low, high = sorted((a, b))
    assert bucket(low) <= bucket(high) < NOT_FINITE


@given(FINITE)
def test_a_bucket_is_narrow(value):
    found = lowest(bucket(value))
    assert abs(found) <= abs(value)
    assert abs(value) - abs(found) <= max(abs(value) / 128, 2.0**-1029)


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_what_is_not_finite_has_a_bucket_of_its_own(value):
    assert bucket(value) == NOT_FINITE


def test_small_whole_numbers_have_a_bucket_each():
    assert [lowest(bucket(float(value))) for value in range(-256, 257)] == [float(value) for value in range(-256, 257)]


@given(st.lists(ANY, min_size=1), st.lists(ANY, min_size=1))
def test_merging_is_the_histogram_of_both(a, b):
    assert histogram(a).merged(histogram(b)) == histogram(a + b)


@given(st.lists(ANY, min_size=1))
def test_a_reference_survives_json(values):
    reference = Reference(histograms={"input x": histogram(values)})
    assert Reference.from_json(reference.to_json()) == reference


@pytest.mark.parametrize(
    "text", ["", "[]", "{}", '{"schema":"other"}', '{"schema":"gatewise.reference/1","histograms":{"a":[[1,0]]}}']
)
def test_what_is_no_reference_is_refused(text):
    with pytest.raises(GatewiseError, match="not a reference"):
        Reference.from_json(text)


def test_a_reference_knows_classes_and_what_is_missing():
    records = [record(n, predictions=(float(n % 3),), features={"x": 1.0} if n % 2 else {}) for n in range(60)]
    reference = Reference.of([*records, dataclasses.replace(records[0], status="error")])
    assert reference.names == ("input x", "prediction = 0", "prediction = 1", "prediction = 2")
    assert reference.histogram("input x").not_finite == 30
    assert reference.histogram("prediction = 1").counts == {bucket(0.0): 40, bucket(1.0): 20}
    assert reference.values(records[1]) == [1.0, 0.0, 1.0, 0.0]


def test_no_records_make_no_reference():
    with pytest.raises(GatewiseError, match="status ok"):
        Reference.of([record(0, status="error", features={"x": 1.0})])


def test_each_bet_is_a_fair_density():
    p = (np.arange(200_000) + 0.5) / 200_000
    found = densities(p)
    assert found.shape == (NUM_BETS, len(p))
    assert found.min() >= 0.0
    assert found.mean(axis=1) == pytest.approx(np.ones(NUM_BETS), abs=1e-4)


@given(st.lists(st.floats(-10, 10), min_size=1), st.integers(1, 64))
def test_cells_part_what_is_common_from_everything_else(values, most):
    found = histogram([*values, *[0.5] * len(values)])
    cuts = found.cells(most)
    assert len(cuts) <= 2 * most + 2
    cell = {number: int(np.searchsorted(cuts, number)) for number in found.counts}
    common = {number for number, count in found.counts.items() if count * most >= found.n}
    assert all(cell[a] != cell[b] for a in common for b in found.counts if a != b)
    assert int(np.searchsorted(cuts, min(found.counts) - 1)) not in cell.values()
    assert int(np.searchsorted(cuts, max(found.counts) + 1)) not in cell.values()


@pytest.mark.parametrize("kind", ["continuous", "tied"])
def test_ranks_of_what_does_not_drift_are_uniform(kind):
    rng = np.random.default_rng(5)
    draw = rng.standard_normal if kind == "continuous" else (lambda n: rng.poisson(2.0, n).astype(float))
    ranks = Ranks([histogram(draw(300))], seed=1)
    p = np.array([ranks.add([value])[0] for value in draw(5000)])
    assert kstest(p, "uniform").pvalue > 1e-3
    assert abs(np.corrcoef(p[1:], p[:-1])[0, 1]) < 4 / math.sqrt(len(p))


def test_false_alarms_are_at_most_what_was_asked_for():
    """Two features, 40 streams of 500: each may alarm with a chance of at most 500 / 2500 = .2."""
    alarms = 0
    for seed in range(40):
        rng = np.random.default_rng(seed)
        settings = DriftSettings(false_alarm_every=2500, least_gap=0.0, thin=False, seed=seed)
        watch = FeatureWatch(normal_reference(rng, 2, 300), settings)
        alarms += first_alarm(watch, rng.standard_normal((500, 2))) is not None
    assert alarms <= binom.ppf(1 - 1e-4, 40, 0.2)


@pytest.mark.parametrize("phi", [0.8, 0.95])
def test_thinning_holds_what_autocorrelation_breaks(phi):
    """The same load without thinning alarms in nearly every stream; a textbook CUSUM does too."""
    thinned = plain = cusum = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        reference, stream = normal_reference(rng, 1), autoregressive(rng, 3000, 1, phi)
        settings = DriftSettings(false_alarm_every=1e5, least_gap=0.0)
        thinned += first_alarm(FeatureWatch(reference, settings), stream) is not None
        bare = dataclasses.replace(settings, thin=False)
        plain += first_alarm(FeatureWatch(reference, bare), stream) is not None
        cusum += textbook_cusum(stream[:, 0])
    assert thinned <= 1  # .03 a stream are allowed: two of six have a chance of 1 %
    assert plain >= 5
    assert cusum >= 5


def textbook_cusum(values, k: float = 0.5, h: float = 5.0) -> bool:
    up = down = 0.0
    for value in values:
        up, down = max(0.0, up + value - k), max(0.0, down - value - k)
        if max(up, down) > h:
            return True
    return False


@pytest.mark.parametrize(
    ("name", "change", "within"),
    [
        ("shift", lambda x: x + 1.0, 200),
        ("small shift", lambda x: x + 0.3, 1500),
        ("wider", lambda x: 1.6 * x, 700),
        ("narrower", lambda x: 0.5 * x, 700),
        ("missing", lambda x: np.where(np.arange(len(x)) % 5 == 0, np.nan, x), 700),
    ],
)
def test_what_drifts_is_found_and_named(name, change, within):
    del name
    found = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        watch = FeatureWatch(normal_reference(rng, 3), DriftSettings(seed=seed))
        stream = rng.standard_normal((1000 + within, 3))
        stream[1000:, 1] = change(stream[1000:, 1])
        for at, row in enumerate(stream.tolist()):
            hits = watch.add(row)
            if hits:
                assert at >= 1000
                assert hits == [1]
                found.append(at)
                break
    assert len(found) >= 4


def test_a_rare_class_that_becomes_common_is_found():
    rng = np.random.default_rng(0)
    reference = Reference.of(record(n, predictions=(float(n % 500 == 0),)) for n in range(2000))
    watch = FeatureWatch(reference, DriftSettings())
    classes = rng.random(1000) < 0.1
    assert first_alarm(watch, np.stack([~classes, classes], axis=1).astype(float)) is not None


def test_slow_drift_under_load_is_found_too():
    rng = np.random.default_rng(3)
    watch = FeatureWatch(normal_reference(rng, 1), DriftSettings())
    stream = autoregressive(rng, 8000, 1, 0.8) + np.linspace(0, 3, 8000)[:, None]
    assert first_alarm(watch, stream) is not None


def test_what_is_too_small_to_matter_raises_no_alarm():
    rng = np.random.default_rng(0)
    reference, stream = normal_reference(rng, 1), rng.standard_normal((4000, 1)) + 0.4
    assert first_alarm(FeatureWatch(reference, DriftSettings(least_gap=0.5, thin=False)), stream) is None
    assert first_alarm(FeatureWatch(reference, DriftSettings(least_gap=0.05, thin=False)), stream) is not None


def test_the_watch_reads_records_alarms_once_and_tells_by_how_much():
    rng = np.random.default_rng(1)
    train = [record(n, features={"length": 12.0 + rng.standard_normal()}, predictions=(0.0,)) for n in range(500)]
    watch = DriftWatch(Reference.of(train), model="m", version="v1", replay="again")
    alarms = [
        alarm
        for n in range(1500)
        for alarm in watch.add(
            record(
                n, features={"length": 12.0 + rng.standard_normal() + 2 * (n >= 300)}, predictions=(float(n >= 600),)
            )
        )
    ]
    by_feature = {alarm.evidence["feature"]: alarm for alarm in alarms}
    assert len(alarms) == len(by_feature)
    length = by_feature["input length"]
    assert length.kind == "drift"
    assert length.replay == "again"
    assert length.evidence["of"] == "input"
    assert length.evidence["now"][1] - length.evidence["before"][1] == pytest.approx(2.0, abs=0.5)
    assert by_feature["prediction = 0"].evidence["of"] == "output"
    assert watch.add(dataclasses.replace(train[0], version="v2")) == []
    top = watch.drifts()[0]
    assert (top["model"], top["alarmed"]) == ("m", True)
    watch.rearm()
    assert not any(each["alarmed"] for each in watch.drifts())


def test_the_same_records_give_the_same_alarm():
    rng = np.random.default_rng(2)
    train = [record(n, features={"x": rng.standard_normal()}) for n in range(300)]
    live = [record(n, features={"x": rng.standard_normal() + 1}) for n in range(400)]

    def run():
        watch = DriftWatch(Reference.of(train), model="m", version="v1")
        return [alarm for each in live for alarm in watch.add(each)]

    assert run() == run() != []


def test_psi_and_gap_are_the_textbook_ones():
    reference, values = histogram([0.0] * 50 + [1.0] * 50), [0.0] * 20 + [1.0] * 80
    found = moved(reference, values)
    assert found.gap == pytest.approx(0.3)
    assert (found.mean_before, found.mean_now) == (0.5, 0.8)
    assert found.psi == pytest.approx(0.3 * math.log(0.8 / 0.5) + -0.3 * math.log(0.2 / 0.5), abs=0.03)


def test_likeness_sees_neighbours_and_not_a_step():
    rng = np.random.default_rng(0)
    independent = rng.random((512, 1))
    step = independent + (np.arange(512) >= 250)[:, None]
    alike = autoregressive(rng, 512, 1, 0.8)
    assert abs(likeness(independent, 32)[0]) < 0.2
    assert likeness(step, 32)[0] < 0.3
    assert likeness(alike, 32)[0] > 0.5
    thinning = Thinning(1)
    for row in alike:
        thinning.add(row)
    assert thinning.widen()
    assert thinning.gap == 4
    assert [thinning.use() for _ in range(8)] == [False, False, False, True] * 2


@pytest.mark.parametrize("wrong", [{"false_alarm_every": 10}, {"least_gap": 1.0}, {"window": 10}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(GatewiseError):
        DriftSettings(**wrong)
