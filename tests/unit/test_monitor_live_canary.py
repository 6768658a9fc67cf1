"""The live judge on a canary: unpaired, under load that follows itself, with labels in any order."""

import math
import random

import numpy as np
import pytest
from scipy.stats import binomtest

from gatewise.core import Rule, judge_unpaired_stream
from gatewise.monitor import Label, Record
from gatewise.monitor._live import LiveJudge
from gatewise.monitor._live_settings import LiveSettings


def traffic(seed, n, *, share=0.2, slower=0.0, failing=(0.0, 0.0), wrong=(0.1, 0.1)):
    """Requests under a random-walk load, a share of them to the canary, and their labels."""
    rng = np.random.default_rng(seed)
    canary = rng.random(n) < share
    times = 0.03 * np.exp(np.cumsum(rng.normal(0, 0.05, n)) + rng.normal(0, 0.1, n) + slower * canary)
    failed, mistaken = rng.random(n), rng.random(n)
    records, labels = [], []
    for i in range(n):
        mine = bool(canary[i])
        records.append(
            Record(
                request=str(i),
                at_ns=i * 10**9,
                model="encoder",
                version="v2" if mine else "v1",
                digest="v2" if mine else "v1",
                role="canary" if mine else "live",
                status="error" if failed[i] < failing[mine] else "ok",
                compute_s=float(times[i]),
                predictions=(float(mistaken[i] >= wrong[mine]),),
            )
        )
        labels.append(Label(request=str(i), value=1.0, at_ns=i * 10**9 + 1))
    return records, labels


def run(judge, records, labels=()):
    """Feed records, then labels; returns every alarm."""
    raised = [alarm for one in records for alarm in judge.add(one)]
    return raised + [alarm for one in labels for alarm in judge.label(one)]


def test_equal_versions_raise_alarms_no_more_often_than_stated():
    settings = LiveSettings(alpha=0.05, metrics=("latency", "errors"))
    wrong = {"latency": 0, "errors": 0}
    for seed in range(50):
        raised = run(LiveJudge(settings), traffic(seed, 1_000, failing=(0.03, 0.03))[0])
        for kind in wrong:
            wrong[kind] += any(alarm.kind == kind for alarm in raised)
    for count in wrong.values():
        assert binomtest(count, 50, 0.05, alternative="greater").pvalue > 1e-4


def test_a_slow_canary_is_found_and_told():
    judge = LiveJudge(LiveSettings(metrics=("latency", "errors")))
    raised = run(judge, traffic(1, 8_000, slower=math.log(1.2))[0])
    assert [alarm.kind for alarm in raised] == ["latency"]
    latency, errors = judge.comparisons()
    assert latency.verdict == "worse"
    assert latency.interval[0] < 1.2 < latency.interval[1]
    assert latency.role == "canary"
    assert errors.verdict == "inconclusive"
    assert errors.needs is not None  # how much more it needs
    assert errors.needs > 0


def test_errors_and_wrong_answers_of_the_canary_are_found():
    judge = LiveJudge(LiveSettings(metrics=("errors", "accuracy")))
    raised = run(judge, *traffic(2, 6_000, failing=(0.01, 0.06), wrong=(0.1, 0.25)))
    assert {alarm.kind for alarm in raised} == {"errors", "accuracy"}
    accuracy = next(found for found in judge.comparisons() if found.metric == "accuracy")
    assert accuracy.verdict == "worse"
    assert accuracy.estimate == pytest.approx(-0.15, abs=0.04)


def test_labels_in_any_order_give_the_same_verdict():
    settings = LiveSettings(metrics=("accuracy",))
    records, labels = traffic(3, 3_000, wrong=(0.1, 0.2))
    rng, seen = random.Random(0), []
    for order in (labels, rng.sample(labels, len(labels)), labels + labels):
        judge = LiveJudge(settings)
        kinds = [alarm.kind for alarm in run(judge, records, order) + judge.finish()]
        seen.append((judge.comparisons(), kinds))
    assert seen[0] == seen[1] == seen[2]


def test_a_promotion_begins_anew():
    judge = LiveJudge(LiveSettings(metrics=("latency",)))
    run(judge, traffic(4, 2_000)[0])
    later = Record(request="x", at_ns=10**13, model="encoder", version="v3", digest="v3", role="live", compute_s=0.1)
    judge.add(later)
    first, second = judge.comparisons()
    assert (first.baseline, second.baseline) == ("v1", "v3")
    assert first.n > 1_000
    assert second.n == 0


@pytest.mark.parametrize("seen", [60, 400, 3_000])
def test_what_is_still_needed_is_enough_and_not_much_more(seen):
    """Without an error in either version: the verdict comes where it was said to come, whenever it was said."""
    judge = LiveJudge(LiveSettings(metrics=("errors",)))
    run(judge, traffic(3, 5 * seen)[0])
    (errors,) = judge.comparisons()
    assert errors.verdict == "inconclusive"
    assert errors.needs is not None
    rule = Rule(kind="difference", margin=0.001)
    for factor, verdict in ((1.05, "equivalent"), (0.8, "inconclusive")):
        n = round((errors.n + errors.needs) * factor)
        assert judge_unpaired_stream((0, n), (0, round(n * 4)), rule, 1e-3).verdict == verdict
