"""Labels that never come, come late, twice or in any order: accuracy is judged on time, and alike."""

import random
from dataclasses import replace

import numpy as np
import pytest

from gatewise.monitor import Label, Record
from gatewise.monitor._live import LiveJudge
from gatewise.monitor._live_settings import LiveSettings

MINUTE_NS = 60 * 10**9
DAY_MINUTES = 24 * 60


def traffic(seed, n, *, missing=0.0):
    """Pairs a minute apart that differ in 10 %, the shadow being wrong in most of those, and the labels that exist."""
    rng = np.random.default_rng(seed)
    both, labels = [], []
    for i, drawn in enumerate(rng.random(n).tolist()):
        right = {"live": float(drawn >= 0.02), "shadow": float(drawn < 0.02 or drawn >= 0.1)}
        both.append(
            [
                Record(
                    request=str(i),
                    at_ns=i * MINUTE_NS,
                    model="m",
                    version=role,
                    digest=role,
                    role=role,
                    compute_s=0.01,
                    predictions=(right[role],),
                )
                for role in ("live", "shadow")
            ]
        )
        if rng.random() >= missing:
            labels.append(Label(request=str(i), value=1.0, at_ns=i * MINUTE_NS + 1))
    return both, labels


def run(judge, both, labels, delays):
    """Feed both in the order of time, each label after its delay in minutes. Returns when an alarm came first, or 0."""
    events = [(float(i), 0, record) for i, two in enumerate(both) for record in two]
    events += [(int(label.request) + delay, 1, label) for label, delay in zip(labels, delays, strict=True)]
    first = 0
    for at, kind, what in sorted(events, key=lambda event: event[:2]):
        if (judge.label(what) if kind else judge.add(what)) and not first:
            first = int(at) + 1
    return first


def test_one_missing_label_costs_a_day_and_no_more():
    both, labels = traffic(1, 4_000)
    disputed = [int(two[0].request) for two in both if two[0].predictions != two[1].predictions]
    without = [label for label in labels if int(label.request) != disputed[0]]
    settings = LiveSettings(metrics=("accuracy",))
    first = run(LiveJudge(settings), both, labels, [0.5] * len(labels))
    held = run(LiveJudge(settings), both, without, [0.5] * len(without))
    stalled = run(LiveJudge(replace(settings, labels_within_s=None)), both, without, [0.5] * len(without))
    assert 0 < first < DAY_MINUTES / 2
    assert held == disputed[0] + DAY_MINUTES + 2  # the first record that is more than a day later
    assert stalled == 0


@pytest.mark.parametrize("missing", [0.0, 0.3])
def test_labels_within_the_time_give_the_same_verdict_in_any_order(missing):
    both, labels = traffic(2, 4_000, missing=missing)
    rng, seen = random.Random(0), []
    n = len(labels)
    for told, delays in (
        (labels, [0.5] * n),
        (labels, [DAY_MINUTES - 1.0] * n),
        (labels, [rng.uniform(0, DAY_MINUTES - 1) for _ in labels]),
        (labels + labels, [rng.uniform(0, DAY_MINUTES - 1) for _ in range(2 * n)]),
    ):
        judge = LiveJudge(LiveSettings(metrics=("accuracy",)))
        run(judge, both, told, delays)
        judge.finish()
        seen.append(judge.comparisons())
        counts = judge.labels()
        assert (counts.waiting, counts.late) == (0, 0)
        assert (counts.evicted > 0) == (missing > 0)
    assert seen[0][0].verdict == "worse"
    assert all(one == seen[0] for one in seen)


def test_labels_that_come_after_the_time_are_counted_and_judged_nowhere():
    both, labels = traffic(3, 3_000)
    labels = labels[:-100]  # at the end the clock stands still
    judge = LiveJudge(LiveSettings(metrics=("accuracy",), labels_within_s=600.0))
    assert run(judge, both, labels, [20.5] * len(labels)) == 0
    judge.finish()
    (found,) = judge.comparisons()
    assert found.notes["labelled"] == 0
    assert found.verdict == "inconclusive"
    assert judge.labels().late > 200
