"""The timing loop: balanced, random, palindromic, with pairs that match; and the planted slowdown is what it says."""

import gc

from hypothesis import given
from hypothesis import strategies as st

from gatewise.measure import Effort, interleave, slowed


def calls_of(names: list[str], log: list[str]) -> dict[str, object]:
    return {name: (lambda name=name: log.append(name)) for name in names}


@given(st.integers(2, 6), st.integers(1, 5), st.integers(0, 1000))
def test_every_round_is_a_palindrome_of_all_arms(num_arms: int, rounds: int, seed: int) -> None:
    names, log = [f"arm{i}" for i in range(num_arms)], list[str]()
    effort = Effort(seconds=0, fewest=rounds, most=rounds, warmup=0)
    times = interleave(calls_of(names, log), effort=effort, seed=seed)  # pyright: ignore[reportArgumentType]
    assert times.pairs == [pair for pair in range(rounds) for _ in range(2)]
    for start in range(0, len(log), 2 * num_arms):
        block = log[start : start + 2 * num_arms]
        assert block == block[::-1]
        assert sorted(block[:num_arms]) == names
    assert all(len(values) == 2 * rounds and min(values) > 0 for values in times.values_s.values())


def test_the_order_is_drawn_from_the_seed() -> None:
    logs: list[list[str]] = []
    for seed in (1, 1, 2):
        log: list[str] = []
        interleave(
            calls_of(["a", "b", "c", "d"], log),  # pyright: ignore[reportArgumentType]
            effort=Effort(seconds=0, fewest=6, most=6),
            seed=seed,
        )
        logs.append(log)
    assert logs[0] == logs[1] != logs[2]


def test_the_collector_is_off_while_timing_and_back_on_after() -> None:
    seen: list[bool] = []
    interleave({"a": lambda: seen.append(gc.isenabled())}, effort=Effort(seconds=0, fewest=3, most=3, warmup=0), seed=0)
    assert seen == [False] * 6
    assert gc.isenabled()


def test_the_collector_comes_back_when_a_call_fails() -> None:
    def fail() -> None:
        raise RuntimeError("no")

    try:
        interleave({"a": fail}, effort=Effort(seconds=0, warmup=0), seed=0)
    except RuntimeError:
        assert gc.isenabled()
    else:
        raise AssertionError("the failure was swallowed")


def test_an_accelerator_is_waited_for_inside_every_timing() -> None:
    waits: list[int] = []
    interleave(
        {"a": lambda: None},
        effort=Effort(seconds=0, fewest=2, most=2, warmup=1),
        seed=0,
        synchronise=lambda: waits.append(1),
    )
    assert len(waits) >= 1 + 4


def test_a_planted_slowdown_waits_for_its_share_of_the_call() -> None:
    """With a clock of our own: a call of 1000 ticks is followed by exactly 100 more."""
    from gatewise.measure import _interleave

    now = 0

    class Clock:
        @staticmethod
        def perf_counter_ns() -> int:
            nonlocal now
            now += 1
            return now

    def call() -> str:
        nonlocal now
        now += 1000
        return "answer"

    real = _interleave.time
    _interleave.time = Clock  # pyright: ignore[reportAttributeAccessIssue]
    try:
        assert slowed(call, 0.1)() == "answer"
    finally:
        _interleave.time = real
    assert 1098 <= now <= 1108
