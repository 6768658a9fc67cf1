"""Joining labels: in any order, twice, before their record, too late, never; never more memory than allowed."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from gatewise.monitor import Label
from gatewise.monitor._labels import LabelJoin


def label(request, value=1.0, row=0, at_ns=0):
    """A label."""
    return Label(request=str(request), row=row, value=value, at_ns=at_ns)


def expect(join, i, rows=(0,)):
    """Wait for request `i`, which arrived at i."""
    return join.expect("ours", str(i), i, i, rows)


@given(st.randoms(use_true_random=False), st.integers(1, 12))
@settings(max_examples=60, deadline=None)
def test_requests_settle_in_their_order_whatever_the_order_of_labels(rng: random.Random, n: int):
    join, settled = LabelJoin(most=100), []
    events = [("record", i) for i in range(n)] + [("label", i) for i in range(n)] * rng.choice((1, 2))
    rng.shuffle(events)
    records = iter(range(n))  # records come in their order, labels whenever
    for kind, i in events:
        settled += expect(join, next(records)) if kind == "record" else join.label(label(i, float(i)))
    assert [item.payload for item in settled] == list(range(n))
    assert all(item.labels[0].value == item.payload for item in settled)
    assert join.counts().waiting == 0


def test_an_unlabelled_request_holds_back_those_behind_it_until_its_time_is_over():
    join = LabelJoin(most=100, within_s=10)
    expect(join, 0)
    expect(join, 1)
    assert join.label(label(1)) == []
    assert join.tick(10 * 10**9) == []
    done = join.tick(10 * 10**9 + 1)
    assert [(item.payload, item.complete) for item in done] == [(0, False), (1, True)]
    assert join.counts().evicted == 1


@given(st.randoms(use_true_random=False), st.integers(2, 30), st.integers(1, 8))
@settings(max_examples=60, deadline=None)
def test_missing_labels_hold_back_nobody_for_longer_and_change_nothing(rng: random.Random, n: int, within_s: int):
    """Every request is settled in its turn, with the label that came in time, however late, often or out of order."""
    missing = {i for i in range(n) if rng.random() < 0.3}
    told = [(i + rng.random() * within_s, i) for i in range(n) if i not in missing for _ in range(rng.choice((1, 2)))]
    join, settled = LabelJoin(most=1_000, within_s=within_s), []
    events = sorted([*((float(i), -1, i) for i in range(n)), *((at, 0, i) for at, i in told)])
    for _, kind, i in events:
        if kind == -1:
            settled += join.tick(i * 10**9) + expect(join, i * 10**9)
            assert len(settled) >= i - within_s  # those whose time is over are behind us
        else:
            settled += join.label(label(i * 10**9, float(i)))
    settled += join.finish()
    assert [item.payload for item in settled] == [i * 10**9 for i in range(n)]
    assert {item.payload // 10**9 for item in settled if item.given_up} == missing
    assert all(item.labels[0].value == item.payload // 10**9 for item in settled if not item.given_up)
    assert (join.counts().evicted, join.counts().late) == (len(missing), 0)


def test_a_label_that_comes_too_late_is_counted_as_late():
    join = LabelJoin(most=100, within_s=10)
    expect(join, 0)
    join.pass_over("7")
    join.tick(11 * 10**9)
    assert join.label(label(0)) == []
    join.label(label(7))
    assert (join.counts().late, join.counts().unneeded, join.counts().early) == (1, 1, 0)


def test_room_is_bounded():
    join = LabelJoin(most=10)
    given_up = [item for i in range(1_000) for item in expect(join, i)]
    assert [item.payload for item in given_up] == list(range(990))
    assert all(item.given_up for item in given_up)
    for i in range(5_000, 6_000):
        join.label(label(i))
    counts = join.counts()
    assert (counts.waiting, counts.early, counts.unmatched, counts.evicted) == (10, 10, 990, 990)


def test_the_label_that_became_known_first_counts_while_its_request_waits():
    join = LabelJoin(most=10)
    expect(join, 0)
    expect(join, 1)
    join.label(label(1, 5.0, at_ns=50))
    join.label(label(1, 4.0, at_ns=40))  # known before, told later
    join.label(label(1, 6.0, at_ns=60))
    first, second = join.label(label(0, at_ns=70))
    assert (first.payload, second.payload) == (0, 1)
    assert second.labels[0].value == 4.0
    assert join.counts().contradicted == 2
    join.label(label(1, 4.0))
    assert join.counts().repeated == 1


def test_every_row_that_is_needed_is_waited_for():
    join = LabelJoin(most=10)
    expect(join, 0, rows=(0, 2))
    assert join.label(label(0, row=2)) == []
    assert join.label(label(0, row=1)) == []
    assert join.counts().unneeded == 1
    (item,) = join.label(label(0, row=0))
    assert sorted(item.labels) == [0, 2]


def test_labels_that_nobody_needs_take_no_room():
    join = LabelJoin(most=10)
    join.pass_over("7")
    join.label(label(7))
    assert (join.counts().early, join.counts().unneeded) == (0, 1)


def test_two_parties_may_wait_for_one_request():
    join = LabelJoin(most=10)
    join.expect("one", "0", 0, "a", (0,))
    join.expect("other", "0", 0, "b", (0,))
    assert [item.payload for item in join.label(label(0))] == ["a", "b"]
    assert join.expect("third", "0", 1, "c", (0,))[0].labels[0].value == 1.0


def test_the_end_settles_what_came():
    join = LabelJoin(most=10)
    expect(join, 0)
    expect(join, 1)
    join.label(label(1))
    assert [(item.payload, item.given_up) for item in join.finish()] == [(0, True), (1, False)]
    assert join.finish() == []
