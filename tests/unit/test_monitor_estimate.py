"""Calibration, the accuracy that nobody has measured yet, and what happens when labels say it was wrong."""

import dataclasses

import numpy as np
import pytest
from scipy.stats import binom

from gatewise.core import GatewiseError
from gatewise.monitor import Label, Record
from gatewise.monitor._estimate import CANNOT_SEE, Estimator, calibration, wilson
from gatewise.monitor._estimate_watch import AccuracyWatch, EstimateSettings


def labelled(seed: int, n: int, bend: float = 1.3, a: float = 6.0):
    """Confidences, and answers that are right as often as a bent confidence says."""
    rng = np.random.default_rng(seed)
    p = rng.beta(a, 1.5, n)
    return p, rng.random(n) < p**bend


def test_the_calibration_error_is_the_definition():
    p = [0.95] * 100 + [0.55] * 100
    right = [True] * 80 + [False] * 20 + [True] * 55 + [False] * 45
    found = calibration(p, right)
    assert (found.n, found.accuracy, found.confidence) == (200, 0.675, pytest.approx(0.75))
    assert found.ks == pytest.approx(0.075)  # 100 of 200 are .15 too confident, the others right
    assert found.ks_interval[0] < 0.075 < found.ks_interval[1]
    assert not found.calibrated
    assert sum(each.n for each in found.bins) == 200


def test_ties_have_no_order():
    p, right = [0.7] * 60, [True] * 42 + [False] * 18
    assert calibration(p, right).ks == calibration(p, right[::-1]).ks == pytest.approx(0.0, abs=1e-12)


def test_the_calibrated_are_flagged_as_seldom_as_stated():
    flagged = sum(not calibration(*labelled(seed, 300, bend=1.0), seed=seed).calibrated for seed in range(60))
    assert flagged <= binom.ppf(1 - 1e-4, 60, 0.05)
    assert all(not calibration(*labelled(seed, 1000, bend=2.0)).calibrated for seed in range(5))


def test_wilsons_interval_is_the_published_one():
    # Newcombe 1998, Statistics in Medicine 17, table I: 81 of 263 gives .2553 to .3662.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(0, 20)[0] == 0.0


def test_the_estimate_follows_inputs_that_became_harder():
    missed = 0
    for seed in range(30):
        estimator = Estimator(*labelled(seed, 800), seed=seed)
        p, right = labelled(1000 + seed, 300, a=3.0)
        found = estimator.estimate(p)
        missed += not found.low <= right.mean() <= found.high
        assert 0.0 <= found.low <= found.value <= found.high <= 1.0
        assert found.high - found.low < 0.35
    assert missed <= binom.ppf(1 - 1e-4, 30, 0.05)


def test_the_estimate_cannot_see_that_answers_have_changed():
    p, right = labelled(0, 800)
    found = Estimator(p, right).estimate(p)
    assert not found.low <= 1.0 - right.mean() <= found.high
    assert found.cannot_see == CANNOT_SEE


def test_the_order_of_what_was_learnt_does_not_matter():
    rng = np.random.default_rng(0)
    p, right = np.round(rng.random(400), 1), rng.random(400) < 0.7
    order = rng.permutation(400)
    a, b = Estimator(p, right).estimate(p), Estimator(p[order], right[order]).estimate(p)
    assert a.by == b.by


@pytest.mark.parametrize(
    ("p", "right", "said"),
    [
        ([0.5] * 49, [True] * 49, "too few"),
        ([0.5] * 60, [True] * 59, "each confidence"),
        ([1.5] * 60, [True] * 60, "from 0 to 1"),
        ([float("nan")] * 60, [True] * 60, "from 0 to 1"),
    ],
)
def test_bad_pairs_are_refused(p, right, said):
    for call in (calibration, Estimator):
        with pytest.raises(GatewiseError, match=said):
            call(p, right)
    with pytest.raises(GatewiseError):
        Estimator([0.5] * 60, [True] * 60).estimate(p if said != "each confidence" else [])


SETTINGS = EstimateSettings(window=200, score_at=100, keep=20)


def stream(seed: int, n: int, bend: float = 1.3) -> list[tuple[Record, Label]]:
    p, right = labelled(seed, n, bend)
    found = []
    for at, (confidence, hit) in enumerate(zip(p.tolist(), right.tolist(), strict=True)):
        name = f"r{seed}-{at}"
        record = Record(
            request=name, at_ns=at, model="m", version="v1", digest="d", role="live",
            predictions=(1.0,), confidences=(confidence,),
        )  # fmt: skip
        found.append((record, Label(request=name, value=1.0 if hit else 0.0, at_ns=at)))
    return found


def fed(pairs, shuffle=None) -> tuple[AccuracyWatch, list]:
    watch = AccuracyWatch(Estimator(*labelled(99, 1000)), model="m", version="v1", settings=SETTINGS, replay="again")
    alarms = []
    for record, label in pairs:
        alarms += watch.add(record)
        if shuffle is None:
            alarms += watch.label(label)
    if shuffle is not None:
        for _, label in shuffle:
            alarms += watch.label(label) + watch.label(label)
    return watch, alarms


def test_estimates_that_labels_bear_out_stay_trusted():
    watch, alarms = fed(stream(1, 2000))
    state = watch.state()
    assert alarms == []
    assert (watch.trust, state["scored"]) == ("holds", 10)
    assert state["missed"] <= 3


def test_estimates_that_labels_refute_are_no_longer_trusted():
    watch, alarms = fed(stream(2, 1000, bend=4.0))
    assert len(alarms) == 1
    assert (watch.trust, watch.state()["trusted"]) == ("refuted", False)
    alarm = alarms[0]
    assert (alarm.kind, alarm.replay) == ("estimate", "again")
    assert alarm.evidence["latest"]["accuracy"] < alarm.evidence["latest"]["low"]
    watch.learn(Estimator(*labelled(98, 1000, bend=4.0)))
    assert watch.trust == "unchecked"


def test_without_labels_nothing_is_checked_and_it_says_so():
    watch, _ = fed(stream(3, 450), shuffle=[])
    assert (watch.trust, watch.state()["scored"]) == ("unchecked", 0)
    assert watch.state()["estimate"]["n"] == 200


def test_late_doubled_and_shuffled_labels_say_the_same():
    pairs = stream(4, 1000)
    order = np.random.default_rng(0).permutation(len(pairs))
    # Every label of a window is there when it is scored only if none is early; so compare the same order twice.
    late, _ = fed(pairs, shuffle=[pairs[at] for at in order])
    early = AccuracyWatch(Estimator(*labelled(99, 1000)), model="m", version="v1", settings=SETTINGS)
    for at in order:
        early.label(pairs[at][1])
        early.label(dataclasses.replace(pairs[at][1], value=7.0))  # the first one counts
    for record, _ in pairs:
        early.add(record)
    assert len(late.scores) == len(early.scores) == 5
    assert [each.missed for each in late.scores] == [each.missed for each in early.scores]


def test_memory_is_bounded():
    watch = AccuracyWatch(
        Estimator(*labelled(99, 100)),
        model="m",
        version="v1",
        settings=EstimateSettings(window=60, score_at=50, keep=2),
    )
    for at in range(50_000):
        watch.label(Label(request=f"never{at}", value=1.0, at_ns=at))
    for record, _ in stream(5, 600):
        watch.add(record)
    assert len(watch._early) == 120  # pyright: ignore[reportPrivateUsage]
    assert len(watch._home) <= 180  # pyright: ignore[reportPrivateUsage]


@pytest.mark.parametrize("wrong", [{"window": 50}, {"score_at": 10}, {"keep": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(GatewiseError):
        EstimateSettings(**wrong)
