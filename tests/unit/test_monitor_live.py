"""The live judge on shadow pairs: rates, power, order of arrival, versions that change, alarms."""

import dataclasses
import json
import math
import random

import numpy as np
import pytest
from scipy.stats import binomtest

from gatewise.core import GatewiseError
from gatewise.monitor import Label, Record
from gatewise.monitor._live import LiveJudge
from gatewise.monitor._live_settings import LiveSettings

SECOND_NS = 1_000_000_000


def record(i, version, role, **options):
    """A record of request `i`."""
    return Record(
        request=str(i), at_ns=i * SECOND_NS, model="encoder", version=version, digest=version, role=role, **options
    )


def pairs(seed, n, *, slower=0.0, tail=(0.0, 0.0), gained=0.0, lost=0.0):
    """Pairs of live and shadow, and the labels: the shadow alone is right in `gained`, live alone in `lost`."""
    rng = np.random.default_rng(seed)
    load = np.cumsum(rng.normal(0, 0.05, n))
    logs = load + rng.normal(0, 0.1, (2, n)) + math.log(10) * (rng.random((2, n)) < np.asarray(tail)[:, None])
    times = 0.03 * np.exp(logs + np.array([[0.0], [slower]]))
    drawn = rng.random(n)
    both, labels = [], []
    for i in range(n):
        live_right, shadow_right = not drawn[i] < gained, not gained <= drawn[i] < gained + lost
        both.append(
            [
                record(i, "v1", "live", first=True, compute_s=times[0, i], predictions=(float(live_right),)),
                record(i, "v2", "shadow", first=False, compute_s=times[1, i], predictions=(float(shadow_right),)),
            ]
        )
        labels.append(Label(request=str(i), value=1.0, at_ns=i * SECOND_NS + 5))
    return both, labels


def run(judge, both, labels=()):
    """Feed pairs, then labels; returns every alarm."""
    raised = [alarm for two in both for one in two for alarm in judge.add(one)]
    return raised + [alarm for one in labels for alarm in judge.label(one)]


def by_metric(judge):
    """The comparisons by metric."""
    return {found.metric: found for found in judge.comparisons()}


def test_equal_versions_raise_alarms_no_more_often_than_stated():
    settings, streams = LiveSettings(alpha=0.05, tail_limit_s=0.1), 60
    wrong = {"latency": 0, "tail": 0, "accuracy": 0}
    for seed in range(streams):
        raised = run(LiveJudge(settings), *pairs(seed, 300, tail=(0.02, 0.02), gained=0.02, lost=0.02))
        for kind in wrong:
            wrong[kind] += any(alarm.kind == kind for alarm in raised)
    for count in wrong.values():
        assert binomtest(count, streams, 0.05, alternative="greater").pvalue > 1e-4


def test_a_slow_shadow_is_found_once_and_the_alarm_carries_its_evidence():
    judge = LiveJudge(LiveSettings(tail_limit_s=10.0, folder="records"))
    raised = run(judge, pairs(1, 400, slower=math.log(1.2))[0])
    assert [alarm.kind for alarm in raised] == ["latency"]
    (alarm,) = raised
    assert (alarm.model, alarm.version, alarm.baseline, alarm.severity) == ("encoder", "v2", "v1", "ticket")
    assert alarm.evidence["evidence"] >= alarm.evidence["threshold"] == pytest.approx(math.log(1e3))
    assert alarm.evidence["n"] < 200
    assert alarm.replay == f"gatewise monitor records --model encoder --until {alarm.at_ns}"
    assert "v2 against v1" in alarm.summary
    json.dumps(dict(alarm.evidence), allow_nan=False)
    found = by_metric(judge)["latency"]
    assert found.verdict == "worse"
    assert found.interval[0] < 1.2 < found.interval[1]
    assert found.alarmed
    assert found.needs is None


def test_the_replay_comes_to_the_same_alarm():
    both = pairs(1, 400, slower=math.log(1.2))[0]
    (first,) = run(LiveJudge(LiveSettings(tail_limit_s=10.0)), both)
    until = [two for two in both if two[0].at_ns <= first.at_ns]
    assert run(LiveJudge(LiveSettings(tail_limit_s=10.0)), until) == [first]


def test_a_tail_that_triples_is_found_while_the_median_is_the_same():
    settings = LiveSettings(alpha=1e-3, metrics=("latency", "tail"), tail_limit_s=10.0)
    rng, found = np.random.default_rng(7), 0
    for _ in range(8):
        judge, kinds = LiveJudge(settings), []
        for i, late in enumerate((rng.random((4_000, 2)) < (0.01, 0.03)).tolist()):
            noise = np.exp(rng.normal(0, 0.1, 2))
            times = [float(value) * (100.0 if one else 1.0) for value, one in zip(noise, late, strict=True)]
            kinds += [a.kind for a in judge.add(record(i, "v1", "live", compute_s=times[0]))]
            kinds += [a.kind for a in judge.add(record(i, "v2", "shadow", compute_s=times[1]))]
        found += "tail" in kinds
        assert by_metric(judge)["tail"].notes["limit_s"] == 10.0
    assert found >= 6


def test_the_tail_begins_at_the_live_versions_own_quantile():
    settings = LiveSettings(metrics=("tail",), tail_share=0.05, tail_window=200)
    judge = LiveJudge(settings)
    both = pairs(3, 600)[0]
    run(judge, both)
    found = by_metric(judge)["tail"]
    first = sorted(two[0].latency_s for two in both[:200])
    assert found.notes["limit_s"] == first[-11]  # ten of 200 lie above
    assert found.n == 400


def test_accuracy_that_falls_is_found_and_equal_accuracy_is_not():
    settings = LiveSettings(metrics=("accuracy",))
    worse = LiveJudge(settings)
    raised = run(worse, *pairs(4, 6_000, gained=0.015, lost=0.045))
    assert [alarm.kind for alarm in raised] == ["accuracy"]
    found = by_metric(worse)["accuracy"]
    assert found.estimate == pytest.approx(-0.03, abs=0.01)
    assert found.interval[0] < -0.03 < found.interval[1]
    assert run(LiveJudge(settings), *pairs(5, 3_000, gained=0.025, lost=0.025)) == []


def test_labels_late_doubled_or_shuffled_change_nothing():
    settings = LiveSettings(metrics=("accuracy",))
    both, labels = pairs(6, 3_000, gained=0.01, lost=0.05)
    rng = random.Random(0)
    shuffled, doubled = rng.sample(labels, len(labels)), [one for one in labels for _ in range(2)]
    seen = []
    for order in (labels, shuffled, doubled, rng.sample(doubled, len(doubled))):
        judge = LiveJudge(settings)
        raised = run(judge, both, order) + judge.finish()
        seen.append((judge.comparisons(), [(alarm.kind, alarm.evidence["n"]) for alarm in raised]))
    early = LiveJudge(settings)
    for label in shuffled[:1_000]:
        early.label(label)
    raised = run(early, [rng.sample(two, 2) for two in both], shuffled[1_000:]) + early.finish()
    seen.append((early.comparisons(), [(alarm.kind, alarm.evidence["n"]) for alarm in raised]))
    assert seen[0][1] != []
    # What had agreed by the time of the alarm depends on when labels came; what was found does not.
    assert all(one[0] == seen[0][0] for one in seen)
    assert all([kind for kind, _ in one[1]] == ["accuracy"] for one in seen)


def test_labels_that_contradict_are_counted_and_the_first_one_counts():
    settings = LiveSettings(metrics=("accuracy",))
    both, labels = pairs(6, 500, gained=0.1, lost=0.1)
    plain, doubted = LiveJudge(settings), LiveJudge(settings)
    run(plain, both, labels)
    lies = [Label(request=one.request, value=0.0, at_ns=one.at_ns + 9) for one in labels]
    run(doubted, both, [label for two in zip(labels, lies, strict=True) for label in two])
    assert doubted.comparisons() == plain.comparisons()
    assert doubted.labels().contradicted > 50
    assert plain.labels().contradicted == 0


def test_disagreement_alarms_only_above_what_is_allowed():
    settings = LiveSettings(metrics=("disagreement",), allowed_disagreement=0.05)
    fine, wrong = LiveJudge(settings), LiveJudge(settings)
    assert run(fine, pairs(8, 2_000, gained=0.01, lost=0.01)[0]) == []
    assert by_metric(fine)["disagreement"].verdict == "equivalent"
    assert [alarm.kind for alarm in run(wrong, pairs(8, 2_000, gained=0.05, lost=0.08)[0])] == ["disagreement"]
    assert by_metric(wrong)["disagreement"].verdict == "worse"


def test_errors_of_the_shadow_alone_are_found():
    judge, raised = LiveJudge(LiveSettings(metrics=("errors", "latency"))), []
    for i, two in enumerate(pairs(20, 600)[0]):
        raised += judge.add(two[0])
        raised += judge.add(dataclasses.replace(two[1], status="error" if i % 20 == 0 else "ok"))
    assert "errors" in [alarm.kind for alarm in raised]
    assert by_metric(judge)["latency"].n == 570


def test_a_change_in_mid_stream_is_the_detectors():
    settings = LiveSettings(alpha=1e-6, run_length=1e6, metrics=("latency",))
    same, slower = pairs(9, 2_000)[0], pairs(10, 600, slower=math.log(1.2))[0]
    judge = LiveJudge(settings)
    assert run(judge, same) == []
    raised = []
    for i, two in enumerate(slower):
        for one in two:
            raised += judge.add(record(10_000 + i, one.version, one.role, compute_s=one.compute_s))
    assert raised[0].evidence["question"] == "change"
    assert raised[0].evidence["notes"]["recent"] > 1.02


def test_a_new_digest_begins_anew_and_old_comparisons_are_kept_and_bounded():
    judge = LiveJudge(LiveSettings(metrics=("latency",)))
    both = pairs(11, 30)[0]
    for generation in range(20):
        for i, two in enumerate(both):
            for one in two:
                version = one.version if one.role == "live" else f"s{generation}"
                judge.add(record(1_000 * generation + i, version, one.role, compute_s=one.compute_s))
    kept = judge.comparisons()
    assert [found.version for found in kept] == [f"s{generation}" for generation in range(12, 20)]
    assert all(found.n == 30 for found in kept)


def test_partners_meet_in_any_order_and_strangers_are_given_up():
    settings = LiveSettings(metrics=("latency",), waiting=50)
    both = pairs(12, 400)[0]
    plain, mixed = LiveJudge(settings), LiveJudge(settings)
    run(plain, both)
    for i in range(0, len(both), 20):  # twenty requests whose shadows all come first
        for one in [two[1] for two in both[i : i + 20]] + [two[0] for two in both[i : i + 20]]:
            mixed.add(one)
            mixed.add(one)  # and everything twice
    assert mixed.comparisons() == plain.comparisons()
    assert mixed.pairing()["repeated"] == 800
    for i in range(1_000):
        mixed.add(record(5_000 + i, "v1", "live", first=True, compute_s=0.1))
    assert mixed.pairing() == {"waiting": 50, "unpaired": 950, "repeated": 800}


def test_needs_is_about_right():
    """What it says at some point is within a factor of four of what it then takes, for most streams."""
    good = 0
    for seed in range(12):
        judge, said = LiveJudge(LiveSettings(alpha=0.01, metrics=("latency",))), None
        for i, two in enumerate(pairs(100 + seed, 3_000, slower=math.log(1.06))[0]):
            for one in two:
                judge.add(one)
            if i == 60:
                said = by_metric(judge)["latency"].needs
            if i > 60 and i % 10 == 0 and by_metric(judge)["latency"].verdict == "worse":
                good += said is None or (i - 60) / 5 <= said <= (i - 60) * 5 + 60
                break
    assert good >= 8


def test_nothing_is_said_of_nothing():
    assert LiveJudge().comparisons() == []
    assert LiveJudge().finish() == []
    judge = LiveJudge()
    judge.add(record(0, "v1", "live", compute_s=0.1))
    judge.add(record(0, "v2", "shadow", compute_s=0.1))
    for found in judge.comparisons():
        assert found.verdict == "inconclusive"
        json.dumps(found.json(), allow_nan=False)


@pytest.mark.parametrize(
    "options",
    [
        {"alpha": 0.0},
        {"alpha": 0.7},
        {"alpha": "small"},
        {"run_length": 1.0},
        {"metrics": ("speed",)},
        {"metrics": ()},
        {"latency_margin": -0.1},
        {"tail_limit_s": 0.0},
        {"tail_window": 100},
        {"tail_odds": 1.0},
        {"waiting": 0},
        {"timing": "wall"},
        {"allowed_disagreement": 0.0},
        {"labels_within_s": math.inf},
    ],
)
def test_impossible_settings_are_refused(options):
    with pytest.raises(GatewiseError, match=next(iter(options))):
        LiveSettings(**options)
